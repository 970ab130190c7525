//! The kernel's tracing file system: which tracepoints there are, and what their records look like.

use std::fs;
use std::path::{Path, PathBuf};

/// Where it is mounted.
pub(crate) fn root() -> Option<PathBuf> {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    places.iter().map(Path::new).find(|root| root.join("events").is_dir()).map(Path::to_owned)
}

/// Whether the kernel has this tracepoint.
pub(crate) fn tracepoint_exists(category: &str, name: &str) -> bool {
    tracepoint_file(category, name, "id").is_some()
}

/// What one of a tracepoint's files says.
pub(crate) fn tracepoint_file(category: &str, name: &str, file: &str) -> Option<String> {
    fs::read_to_string(root()?.join("events").join(category).join(name).join(file)).ok()
}

/// The offset of a field in a tracepoint's `format` file.
pub(crate) fn field(format: &str, name: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().split(';');
        let declaration = parts.next()?.strip_prefix("field:")?;
        if declaration.rsplit(' ').next()? != name {
            return None;
        }
        parts.next()?.trim().strip_prefix("offset:")?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_a_tracepoints_format() {
        let format = "name: ext4_free_blocks\nformat:\n\
                      \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
                      \tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;\n\
                      \tfield:__u64 block;\toffset:24;\tsize:8;\tsigned:0;\n";
        assert_eq!(field(format, "dev"), Some(8));
        assert_eq!(field(format, "block"), Some(24));
        assert_eq!(field(format, "len"), None);
    }
}
