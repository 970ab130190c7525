//! Where the running kernel keeps the fields that the probes read, from its BTF.
//!
//! Each field has alternatives, because kernels move them: `index` was in `struct page` and is in
//! `struct folio` now. Which kernel it is does not matter.

use std::path::Path;

use btf_rs::{Btf, Type};

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel was built without BTF, or it is not readable.
    #[error(
        "no BTF at {path}: the kernel needs CONFIG_DEBUG_INFO_BTF (for modules: \
             CONFIG_DEBUG_INFO_BTF_MODULES)"
    )]
    Missing {
        /// Where it should be.
        path: String,
        /// What the parser said.
        #[source]
        source: btf_rs::Error,
    },
    /// No alternative of a field exists.
    #[error("the kernel's BTF has none of {0}")]
    Field(String),
}

const FOLDER: &str = "/sys/kernel/btf";

/// A kernel's types, or those of one of its modules.
pub struct Types {
    btf: Btf,
}

impl Types {
    /// The running kernel's own types.
    pub fn kernel() -> Result<Self, Error> {
        let path = Path::new(FOLDER).join("vmlinux");
        Btf::from_file(&path)
            .map(|btf| Self { btf })
            .map_err(|source| Error::Missing { path: path.display().to_string(), source })
    }

    /// The types of a loaded module.
    pub fn module(&self, name: &str) -> Result<Self, Error> {
        let path = Path::new(FOLDER).join(name);
        Btf::from_split_file(&path, &self.btf)
            .map(|btf| Self { btf })
            .map_err(|source| Error::Missing { path: path.display().to_string(), source })
    }

    /// The offset in bytes of the first of `fields` that exists, each given as `struct.field`.
    pub fn offset(&self, fields: &[&str]) -> Result<u32, Error> {
        fields
            .iter()
            .find_map(|field| {
                let (structure, member) = field.split_once('.')?;
                self.offset_in(structure, member)
            })
            .ok_or_else(|| Error::Field(fields.join(", ")))
    }

    /// The size in bytes of a structure.
    pub fn size(&self, structure: &str) -> Result<u32, Error> {
        self.structures(structure)
            .next()
            .and_then(|found| u32::try_from(found.size()).ok())
            .ok_or_else(|| Error::Field(structure.to_owned()))
    }

    /// The value of an enumerator.
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        self.btf.resolve_types_by_name(enumeration).ok()?.into_iter().find_map(|found| {
            let Type::Enum(found) = found else {
                return None;
            };
            found
                .members
                .iter()
                .find(|member| self.btf.resolve_name(*member).is_ok_and(|known| known == name))
                .map(btf_rs::EnumMember::val)
        })
    }

    fn structures(&self, name: &str) -> impl Iterator<Item = btf_rs::Struct> {
        self.btf.resolve_types_by_name(name).unwrap_or_default().into_iter().filter_map(|found| {
            match found {
                Type::Struct(found) | Type::Union(found) => Some(found),
                _ => None,
            }
        })
    }

    fn offset_in(&self, structure: &str, member: &str) -> Option<u32> {
        self.structures(structure)
            .find_map(|found| self.member(&found, member))
            .map(|bits| bits / 8)
    }

    /// The offset in bits, also of a member of an anonymous structure inside.
    fn member(&self, structure: &btf_rs::Struct, name: &str) -> Option<u32> {
        structure.members.iter().find_map(|member| {
            let known = self.btf.resolve_name(member).unwrap_or_default();
            if known == name {
                return Some(member.bit_offset());
            }
            if !known.is_empty() {
                return None;
            }
            // An anonymous structure may be wrapped in a `const`, as in `struct vm_fault`.
            self.btf.chained_type_iter(member).find_map(|inner| match inner {
                Type::Struct(inner) | Type::Union(inner) => {
                    self.member(&inner, name).map(|bits| member.bit_offset() + bits)
                }
                _ => None,
            })
        })
    }
}

/// Name of a probe's global and the fields that can give it.
pub(crate) const KERNEL: &[(&str, &[&str])] = &[
    ("PAGE_FLAGS", &["page.flags"]),
    ("PAGE_REFS", &["page._refcount", "folio._refcount"]),
    ("PAGE_MAPS", &["page._mapcount", "folio._mapcount"]),
    ("PAGE_MAPPING", &["page.mapping", "folio.mapping"]),
    ("PAGE_INDEX", &["page.index", "folio.index"]),
    ("MAPPING_HOST", &["address_space.host"]),
    ("MAPPING_LOCK", &["address_space.invalidate_lock"]),
    ("INODE_NUMBER", &["inode.i_ino"]),
    ("INODE_FLAGS", &["inode.i_flags"]),
    ("INODE_SB", &["inode.i_sb"]),
    ("INODE_MAPPING", &["inode.i_mapping"]),
    ("INODE_LOCK", &["inode.i_rwsem"]),
    ("SB_DEVICE", &["super_block.s_dev"]),
    ("RWSEM_OWNER", &["rw_semaphore.owner"]),
    ("TASK_STATE", &["task_struct.__state"]),
    ("FILE_INODE", &["file.f_inode"]),
    ("DENTRY_INODE", &["dentry.d_inode"]),
    ("BIO_VECS", &["bio.bi_io_vec"]),
    ("BIO_COUNT", &["bio.bi_vcnt"]),
    ("PIPE_BUFFER_PAGE", &["pipe_buffer.page"]),
    ("FAULT_VMA", &["vm_fault.vma"]),
    ("FAULT_INDEX", &["vm_fault.pgoff"]),
    ("VMA_FILE", &["vm_area_struct.vm_file"]),
];
