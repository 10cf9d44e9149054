//! Tar archives as bytes from outside: [`reader`] takes one apart and bounds everything it claims,
//! [`header`] and [`pax`] know the formats (V7, ustar, PAX, GNU), [`writer`] makes archives,
//! [`extract`] puts entries into a directory without ever leaving it. Formats: POSIX.1-2024 pax,
//! GNU tar manual "Basic Tar Format"; where readers differ, Go's archive/tar is followed, because
//! that is what the images were made for.

pub(crate) mod doors;
pub(crate) mod extract;
pub(crate) mod header;
pub(crate) mod name;
pub(crate) mod node;
pub(crate) mod pax;
pub(crate) mod reader;
pub(crate) mod sparse;
pub(crate) mod writer;

/// The unit of a tar archive.
pub(crate) const BLOCK: usize = 512;

/// The limits on what an archive may ask of us.
pub mod limits {
    /// Entries in one archive.
    pub const MAX_ENTRIES: u64 = 2_000_000;
    /// Bytes of one PAX or GNU extension header.
    pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;
    /// Bytes of a path or a link target: Linux' PATH_MAX.
    pub const MAX_PATH_BYTES: usize = 4096;
    /// Components of a path.
    pub const MAX_PATH_DEPTH: usize = 512;
    /// Bytes of one extended attribute's value: Linux' XATTR_SIZE_MAX.
    pub const MAX_XATTR_BYTES: usize = 64 << 10;
    /// Extents of one sparse file.
    pub const MAX_EXTENTS: usize = 1 << 16;
    /// Apparent bytes of one file.
    pub const MAX_FILE_BYTES: u64 = 4 << 40;
    /// Bytes of content in one archive.
    pub const MAX_CONTENT_BYTES: u64 = 4 << 40;
    /// Bytes of entries that are skipped but must be kept to write the archive again.
    pub const MAX_SKIPPED_BYTES: u64 = 1 << 20;
    /// Bytes after the end-of-archive mark.
    pub const MAX_TRAILER_BYTES: u64 = 64 << 20;
    /// Entries that replace an earlier entry with content.
    pub const MAX_REPLACED: usize = 10_000;
    /// Bytes that decompress without regard to the ratio.
    pub const RATIO_GRACE_BYTES: u64 = 256 << 20;
    /// Plain bytes per compressed byte beyond the grace. Deflate cannot exceed 1032.
    pub const MAX_RATIO: u64 = 1100;
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Dir,
    Fifo,
}

/// A point in time as an archive and the kernel know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since the epoch.
    pub(crate) seconds: i64,
    /// 0..1e9.
    pub(crate) nanos: u32,
}

/// A stretch of a sparse file that has content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// One entry of an archive; its content follows in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As written, not yet normalised.
    pub(crate) name: Vec<u8>,
    /// Target of a link, as written.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Apparent bytes of a file.
    pub(crate) size: u64,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Where a sparse file has content; `None` for an ordinary file.
    pub(crate) extents: Option<Vec<Extent>>,
    /// Extended attributes by name.
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}
