//! The running kernel's symbols, both ways: which there are, and what lies at an address.

use std::collections::{BTreeSet, HashMap};
use std::fs;

/// Why the symbols could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not readable.
    #[error("cannot read {KALLSYMS}")]
    Read(#[source] std::io::Error),
    /// Addresses are hidden from this process.
    #[error("{KALLSYMS} shows no addresses: kernel.kptr_restrict hides them, even from root")]
    Hidden,
}

const KALLSYMS: &str = "/proc/kallsyms";

/// One symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where it is.
    pub address: u64,
    /// What it is called.
    pub name: String,
    /// The module it belongs to, if not to the kernel itself.
    pub module: Option<String>,
    /// Whether it is a function.
    pub code: bool,
}

/// The modules that are livepatches.
fn livepatches() -> BTreeSet<String> {
    let there = fs::read_dir("/sys/kernel/livepatch").into_iter().flatten().flatten();
    there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// All symbols of code and data.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Sorted by address.
    sorted: Vec<Symbol>,
    by_name: HashMap<String, usize>,
}

impl Symbols {
    /// Reads the running kernel's.
    pub fn read() -> Result<Self, Error> {
        let text = fs::read_to_string(KALLSYMS).map_err(Error::Read)?;
        let symbols = Self::parse_beside(&text, &livepatches());
        if symbols.sorted.iter().all(|symbol| symbol.address == 0) {
            return Err(Error::Hidden);
        }
        Ok(symbols)
    }

    /// Parses the lines of `/proc/kallsyms`.
    pub fn parse(text: &str) -> Self {
        Self::parse_beside(text, &BTreeSet::new())
    }

    /// The same, where these modules are livepatches.
    fn parse_beside(text: &str, patches: &BTreeSet<String>) -> Self {
        let mut sorted: Vec<Symbol> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let code = matches!(words.next()?, "t" | "T" | "w" | "W");
                let name = words.next()?.to_owned();
                let module = words.next().map(|module| module.trim_matches(['[', ']']).to_owned());
                Some(Symbol { address, name, module, code })
            })
            .collect();
        sorted.sort_by_key(|symbol| symbol.address);
        // A livepatch brings symbols of the same names: what it replaces goes before, and the kernel's own before
        // a module's.
        let rank = |symbol: &Symbol| match &symbol.module {
            None => 0,
            Some(module) if !patches.contains(module) => 1,
            Some(_) => 2,
        };
        let mut by_name = HashMap::with_capacity(sorted.len());
        for (position, symbol) in sorted.iter().enumerate() {
            let known: Option<&usize> = by_name.get(&symbol.name);
            if known.is_none_or(|&known| rank(symbol) < rank(&sorted[known])) {
                by_name.insert(symbol.name.clone(), position);
            }
        }
        Self { sorted, by_name }
    }

    /// The symbol of this name.
    pub fn named(&self, name: &str) -> Option<&Symbol> {
        self.by_name.get(name).map(|&position| &self.sorted[position])
    }

    /// The function a compiler made of `name` under another name, such as `name.isra.0`.
    pub fn derived(&self, name: &str) -> Option<&Symbol> {
        self.sorted.iter().find(|symbol| {
            symbol
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(".isra.") || rest.starts_with(".constprop."))
        })
    }

    /// `name+0xoffset [module]` for an address in code, or the address if it is in none.
    pub fn describe(&self, address: u64) -> String {
        let Some(symbol) = self.around(address) else {
            return format!("{address:#x}");
        };
        let offset = address - symbol.address;
        match &symbol.module {
            Some(module) => format!("{}+{offset:#x} [{module}]", symbol.name),
            None => format!("{}+{offset:#x}", symbol.name),
        }
    }

    /// The function that an address is in, by the name that its source has.
    pub fn function(&self, address: u64) -> Option<&str> {
        // A compiler puts ".isra.0" and the like behind it.
        self.around(address)?.name.split('.').next()
    }

    /// Whether an address is in a BPF program, or in what the kernel made to call one.
    pub fn is_probe(&self, address: u64) -> bool {
        // kernel/kallsyms.c, `get_ksymbol_bpf`: all of these have this for a module.
        self.around(address).is_some_and(|symbol| symbol.module.as_deref() == Some("bpf"))
    }

    /// The code that an address is in.
    fn around(&self, address: u64) -> Option<&Symbol> {
        let after = self.sorted.partition_point(|symbol| symbol.address <= address);
        let symbol = &self.sorted[after.checked_sub(1)?];
        // Beyond any function's length it is no code that a symbol names.
        (symbol.code && address - symbol.address <= 1 << 16).then_some(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 T _text\n\
                        ffffffff81001000 t dax_disassociate_entry.isra.0\n\
                        ffffffffc0001000 t xfs_break_layouts\t[xfs]\n\
                        ffffffffc0002000 t bpf_trampoline_1\t[bpf]\n";

    #[test]
    fn what_a_livepatch_replaces_goes_before_it() {
        let text = "ffffffffc0000010 t ext4_break_layouts\t[skip_break]\n\
                    ffffffffc0767750 t ext4_break_layouts\t[ext4]\n";
        let symbols = Symbols::parse_beside(text, &["skip_break".to_owned()].into());
        assert_eq!(symbols.named("ext4_break_layouts").unwrap().module.as_deref(), Some("ext4"));
    }

    #[test]
    fn names_addresses_and_derived_names_are_found() {
        let symbols = Symbols::parse(TEXT);
        assert_eq!(symbols.named("xfs_break_layouts").unwrap().module.as_deref(), Some("xfs"));
        assert!(symbols.named("dax_disassociate_entry").is_none());
        let derived = symbols.derived("dax_disassociate_entry").unwrap();
        assert_eq!(derived.address, 0xffff_ffff_8100_1000);
        assert_eq!(symbols.describe(0xffff_ffff_c000_1010), "xfs_break_layouts+0x10 [xfs]");
        assert_eq!(symbols.describe(0x10), "0x10");
        assert_eq!(symbols.function(derived.address + 8), Some("dax_disassociate_entry"));
        assert_eq!(symbols.function(0x10), None);
        assert!(symbols.is_probe(0xffff_ffff_c000_2048));
        assert!(!symbols.is_probe(0xffff_ffff_c000_1010));
    }
}
