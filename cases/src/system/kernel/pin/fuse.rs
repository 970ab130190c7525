//! Pins by read(2) and write(2) of a file on FUSE, whose server does not answer.
//!
//! The server asks for direct I/O (`FOPEN_DIRECT_IO`), so FUSE pins the caller's pages, queues a request and
//! waits for the answer. The request is left in the queue: that it is there can be seen without reading it,
//! and what write(2) sends is copied from the pages when it is read. The server reads and answers it at the
//! release.
//!
//! The mount is a detached one (fsmount(2)) whose root is the file: nobody else can see it, and it goes with
//! its last descriptor, however the case ends. The requests and their answers are those of
//! include/uapi/linux/fuse.h, in the host's byte order.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::call::{first_of, until_it_waits};
use super::{Flight, Holder, Means, Pages, Prepared};
use crate::action::{Content, Direction};
use crate::system::kernel::actor::Actor;
use crate::system::kernel::bench::{modprobe, trouble};
use crate::system::kernel::{KernelSystem, wire};
use crate::system::{Tried, Trouble};

/// To or from a file whose server does not answer.
pub(super) struct Fuse {
    pub(super) direction: Direction,
    /// What the server answers with.
    pub(super) byte: u8,
}

impl Means for Fuse {
    fn offered(&self, _kernel: &mut KernelSystem) -> Result<(), String> {
        modprobe("fuse", &[])?;
        Server::new(self.byte).map(drop).map_err(|error| format!("FUSE: {error}"))
    }

    fn prepare(&self, _kernel: &mut KernelSystem, len: u64) -> Tried<Prepared> {
        if len > LONGEST.into() {
            return Err(Trouble::Machinery {
                what: format!("a pin of {len} bytes"),
                why: format!("a request of FUSE has {LONGEST} at most"),
            });
        }
        let open = || {
            let (server, file) = Server::new(self.byte)?;
            let queue = server.device.try_clone()?;
            Ok((server, vec![file.into(), queue.into()]))
        };
        let (server, theirs) = open().map_err(trouble("a file on FUSE"))?;
        Ok(Prepared { holder: Some(Box::new(server)), theirs })
    }

    /// Has a thread call read(2) or write(2), and returns once its request is in the queue.
    fn take(&self, actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        let [file, queue]: [OwnedFd; 2] = fds
            .try_into()
            .map_err(|_| io::Error::other("the action came without its descriptors"))?;
        let (mapping, span) = (pages.mapping.clone(), pages.span);
        let write = self.direction == Direction::FromMemory;
        let call =
            until_it_waits(&queue, move || mapping.transfer(span, file.as_raw_fd(), 0, write))?;
        actor.tables().flights.insert(pages.pin, Flight::Call(call));
        Ok(())
    }
}

/// The longest request, in bytes.
const LONGEST: u32 = 1 << 20;

/// The server of one file, which has no name.
#[derive(Debug)]
struct Server {
    device: File,
    byte: u8,
    /// What went through the pin, once that is answered.
    content: Option<Content>,
}

/// A request.
#[derive(Debug)]
struct Request {
    /// `FUSE_*`.
    opcode: u32,
    unique: u64,
    /// What comes after the header.
    body: Vec<u8>,
}

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;

/// `FOPEN_DIRECT_IO`, `FOPEN_NOFLUSH`, and the minor version of the protocol that brought that.
const DIRECT_IO: u32 = 1 << 0;
const NO_FLUSH: u32 = 1 << 5;
const NO_FLUSH_SINCE: u32 = 35;

/// The lengths of `struct fuse_in_header`, `fuse_out_header`, and of `fuse_read_in` and `fuse_write_in`, in bytes.
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const IO_IN: usize = 40;

impl Server {
    /// A server, and the file. Whatever FUSE asks beside the transfer itself has been asked by then.
    fn new(byte: u8) -> io::Result<(Self, File)> {
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/fuse")?;
        let mount = mounted(&device)?;
        let mut server = Self { device, byte, content: None };
        let (over, ends) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let first = std::thread::spawn(move || -> io::Result<File> {
            let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
            let mut file = File::options().read(true).write(true).open(path)?;
            // Once it is told that there are no extended attributes, FUSE does not ask again.
            file.write_all(&[0])?;
            drop(ends);
            Ok(file)
        });
        while first_of(&server.device, &over)? {
            if let Some(request) = server.next()? {
                server.answer(&request)?;
            }
        }
        let file = first.join().map_err(|_| io::Error::other("the first user panicked"))?;
        Ok((server, file?))
    }

    /// The next request, if there is one.
    fn next(&mut self) -> io::Result<Option<Request>> {
        // FUSE wants room for a page beside the longest request.
        let mut bytes = vec![0; LONGEST as usize + 4096];
        let length = match self.device.read(&mut bytes) {
            Ok(length) => length,
            // Also if it was cancelled meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        bytes.truncate(length);
        if length < IN_HEADER {
            return Err(io::Error::other("a request of FUSE without a header"));
        }
        let body = bytes.split_off(IN_HEADER);
        let opcode = u32_at(&bytes, 4)?;
        let unique = bytes[8..16].try_into().map(u64::from_ne_bytes).map_err(io::Error::other)?;
        Ok(Some(Request { opcode, unique, body }))
    }

    /// Answers what is asked before there is a pin.
    fn answer(&mut self, request: &Request) -> io::Result<()> {
        match request.opcode {
            // struct fuse_init_out: version 7.31, no more than FUSE_MAX_PAGES, and how long requests may be.
            INIT => {
                let minor = u32_at(&request.body, 4)?;
                if minor < NO_FLUSH_SINCE {
                    let why = format!("version 7.{minor} of its protocol has no FOPEN_NOFLUSH");
                    return Err(io::Error::other(why));
                }
                let max_pages: u16 = (LONGEST / 4096) as u16;
                let mut out = Vec::new();
                out.extend([7, 31, 0, 1 << 22].map(u32::to_ne_bytes).concat());
                out.extend([16u16, 16].map(u16::to_ne_bytes).concat());
                out.extend([LONGEST, 1].map(u32::to_ne_bytes).concat());
                out.extend([max_pages, 0].map(u16::to_ne_bytes).concat());
                out.resize(64, 0);
                self.reply(request, 0, &out)
            }
            // struct fuse_open_out: no handle. Without FOPEN_NOFLUSH, who closes a descriptor of the file would
            // wait for the write(2) of another: for the inode's lock.
            OPEN => {
                let flags = DIRECT_IO | NO_FLUSH;
                self.reply(request, 0, &[0, 0, flags, 0].map(u32::to_ne_bytes).concat())
            }
            // struct fuse_attr_out: valid for an hour, empty, a file.
            GETATTR => {
                let mut out = [0u8; 104];
                out[..8].copy_from_slice(&3600u64.to_ne_bytes());
                out[16..24].copy_from_slice(&1u64.to_ne_bytes());
                out[76..80].copy_from_slice(&MODE.to_ne_bytes());
                out[80..84].copy_from_slice(&1u32.to_ne_bytes());
                self.reply(request, 0, &out)
            }
            READ | WRITE => self.transfer(request).map(drop),
            RELEASE => self.reply(request, 0, &[]),
            FORGET | INTERRUPT => Ok(()),
            _ => self.reply(request, libc::ENOSYS, &[]),
        }
    }

    /// Answers a read or a write; what went through it.
    fn transfer(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        let len = u32_at(&request.body, 16)?;
        if request.opcode == WRITE {
            let data = request.body.get(IO_IN..).unwrap_or_default();
            self.reply(request, 0, &[len, 0].map(u32::to_ne_bytes).concat())?;
            return Ok(data.to_vec());
        }
        let data = vec![self.byte; len as usize];
        self.reply(request, 0, &data)?;
        Ok(data)
    }

    fn reply(&mut self, request: &Request, errno: i32, body: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(OUT_HEADER + body.len());
        out.extend(((OUT_HEADER + body.len()) as u32).to_ne_bytes());
        out.extend((-errno).to_ne_bytes());
        out.extend(request.unique.to_ne_bytes());
        out.extend(body);
        self.device.write_all(&out)
    }
}

impl Holder for Server {
    fn release(&mut self, patience: Duration) -> Tried<Option<Content>> {
        let what = "the request of a file on FUSE";
        let broken = |why: String| Err(Trouble::Machinery { what: what.to_owned(), why });
        if !wire::readable_until(&self.device, Instant::now() + patience)? {
            // The caller does not come as far as to ask.
            let (what, seconds) = (what.to_owned(), patience.as_secs());
            return Err(Trouble::Stuck { what, seconds, state: String::new() });
        }
        match self.next().map_err(trouble(what))? {
            Some(request) if matches!(request.opcode, READ | WRITE) => {
                let data = self.transfer(&request).map_err(trouble(what))?;
                self.content = Some(Content::of(&data));
                Ok(None)
            }
            Some(request) => broken(format!("request {} was taken for it", request.opcode)),
            None => broken("it was cancelled".to_owned()),
        }
    }

    // Its end comes when the caller wakes.
    fn drops_at_once(&self) -> bool {
        false
    }

    fn content(&self) -> Tried<Option<Content>> {
        Ok(self.content.clone())
    }
}

/// A file that its owner may read and write.
const MODE: u32 = libc::S_IFREG | 0o600;

/// A mount, nowhere, of what the server behind `device` has.
fn mounted(device: &File) -> io::Result<OwnedFd> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [
        ("fd", device.as_raw_fd().to_string()),
        ("rootmode", format!("{MODE:o}")),
        ("user_id", nix::unistd::geteuid().to_string()),
        ("group_id", nix::unistd::getegid().to_string()),
    ] {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map(u32::from_ne_bytes).ok_or_else(|| io::Error::other("a request of FUSE ends early"))
}
