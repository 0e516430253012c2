//! Which kind of file system testnets are on.

use std::path::Path;

/// Kinds by the number that Linux knows them by (`linux/magic.h`).
const KINDS: [(u32, &str); 8] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlayfs"),
    (0x6969, "nfs"),
];

/// The kind of the file system that holds `path`: its name (ext2 and ext3 are called ext4 too), or its number in
/// hexadecimal digits; `None` if the system does not tell.
pub(super) fn kind(path: &Path) -> Option<String> {
    // The number has 32 bits, whatever type holds it.
    let number = rustix::fs::statfs(path).ok()?.f_type as u32;
    let known = KINDS.iter().find(|(known, _)| *known == number);
    Some(known.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).to_owned()))
}

/// Whether nothing that is on a file system of this kind outlives the machine's power.
pub(super) fn is_in_memory(kind: &str) -> bool {
    ["tmpfs", "ramfs"].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_name_or_by_number() {
        assert_eq!(kind(Path::new("/proc")).as_deref(), Some("0x9fa0"));
        assert_eq!(kind(Path::new("/no/such/folder")), None);
        // As every Linux has it, if it has it at all.
        assert!(kind(Path::new("/dev/shm")).is_none_or(|kind| is_in_memory(&kind)));
        assert!(!is_in_memory("ext4"));
    }
}
