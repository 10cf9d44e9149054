//! A file's type and permissions as Go's `os.FileMode` has them (package `io/fs`): BuildKit's
//! clients and `docker cp` send them so.

/// A directory.
pub const DIR: u32 = 1 << 31;
/// A symbolic link.
pub const SYMLINK: u32 = 1 << 27;
/// A device; with [`CHAR_DEVICE`] one of characters.
pub const DEVICE: u32 = 1 << 26;
/// A named pipe.
pub const NAMED_PIPE: u32 = 1 << 25;
/// A socket.
pub const SOCKET: u32 = 1 << 24;
/// Whoever executes it becomes its owner.
pub const SETUID: u32 = 1 << 23;
/// Whoever executes it gets its group.
pub const SETGID: u32 = 1 << 22;
/// See [`DEVICE`].
pub const CHAR_DEVICE: u32 = 1 << 21;
/// Only owners remove what is in it.
pub const STICKY: u32 = 1 << 20;
/// None of the others.
pub const IRREGULAR: u32 = 1 << 19;
/// Every bit that says what a file is; a regular file has none.
pub const TYPE: u32 = DIR | SYMLINK | DEVICE | NAMED_PIPE | SOCKET | CHAR_DEVICE | IRREGULAR;

/// The special bits, in Go's place and in the kernel's.
const SPECIAL: [(u32, u32); 3] = [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)];

/// The permissions and special bits of a mode, in the kernel's places.
pub fn to_kernel(mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(go, _)| mode & go != 0);
    special.fold(mode & 0o777, |bits, (_, kernel)| bits | kernel)
}

/// Permissions and special bits of the kernel's, in Go's places; whatever else is left out.
pub fn from_kernel(mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(_, kernel)| mode & kernel != 0);
    special.fold(mode & 0o777, |bits, (go, _)| bits | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_go_both_ways() {
        for (kernel, go) in [
            (0o644, 0o644),
            (0o4755, SETUID | 0o755),
            (0o2711, SETGID | 0o711),
            (0o1777, STICKY | 0o777),
            (0o7000, SETUID | SETGID | STICKY),
        ] {
            assert_eq!((from_kernel(kernel), to_kernel(go)), (go, kernel), "{kernel:o}");
        }
        assert_eq!(from_kernel(0o100_644), 0o644);
        assert_eq!(to_kernel(DIR | 0o755), 0o755);
    }
}
