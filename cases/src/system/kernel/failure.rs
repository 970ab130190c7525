//! Memory of a device that fails, as the kernel is told through debugfs.
//!
//! That is a module for tests of memory failure. It takes a page by its number, so nobody need have it
//! mapped, which `MADV_HWPOISON` asks for.

use std::fs;
use std::io;
use std::path::Path;

use super::bench::modprobe;
use crate::action::PAGE;

/// Where debugfs is.
const DEBUGFS: &str = "/sys/kernel/debug";

/// What takes the number of a page.
const INJECT: &str = "/sys/kernel/debug/hwpoison/corrupt-pfn";

/// The physical address at which a device begins.
fn base(device: &Path) -> io::Result<u64> {
    let block = Path::new("/sys/class/block").join(device.file_name().unwrap_or_default());
    let text = fs::read_to_string(block.join("device/resource"))?;
    let digits = text.trim().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).map_err(io::Error::other)
}

/// Whether the kernel can be told so of the device's memory, or why not.
pub(super) fn offered(device: &Path) -> Result<(), String> {
    base(device).map_err(|why| format!("{}: where its memory is: {why}", device.display()))?;
    modprobe("hwpoison_inject", &[])?;
    let debugfs = Path::new(DEBUGFS);
    if !Path::new(INJECT).exists() {
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("debugfs"), debugfs, Some("debugfs"), none, None::<&str>)
            .map_err(|error| format!("cannot mount debugfs: {error}"))?;
    }
    if Path::new(INJECT).exists() { Ok(()) } else { Err(format!("there is no {INJECT}")) }
}

/// The memory of a block fails, by its number in pages of the device.
pub(super) fn inject(device: &Path, block: u64) -> io::Result<()> {
    fs::write(INJECT, format!("{}", base(device)? / PAGE + block))
}
