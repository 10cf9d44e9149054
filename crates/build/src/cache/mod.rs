//! The build cache as its users see it: records of what is kept, and what pruning spares.

pub(crate) mod index;
pub(crate) mod mounts;
pub(crate) mod remote;
mod v1;

use model::Timestamp;

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRecord {
    /// Its id.
    pub id: String,
    /// Ids of what it stands on.
    pub parents: Vec<String>,
    /// What it is.
    pub kind: CacheKind,
    /// What made it.
    pub description: String,
    /// A build uses it now.
    pub in_use: bool,
    /// Images use its layer too: removing it frees nothing.
    pub shared: bool,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// How often it was used.
    pub usage_count: u64,
}

/// What a cache record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKind {
    /// The result of a step.
    Regular,
    /// Files of a client, with what is known of their content.
    SourceLocal,
    /// A git repository.
    SourceGit,
    /// A file fetched over HTTP.
    SourceHttp,
    /// The directory of a cache mount.
    CacheMount,
}

impl CacheKind {
    /// From what BuildKit's API names it.
    pub fn parse(name: &str) -> Option<Self> {
        use CacheKind::{CacheMount, Regular, SourceGit, SourceHttp, SourceLocal};
        let mut all = [Regular, SourceLocal, SourceGit, SourceHttp, CacheMount].into_iter();
        all.find(|kind| kind.name() == name)
    }

    /// As BuildKit's API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::SourceLocal => "source.local",
            Self::SourceGit => "source.git.checkout",
            Self::SourceHttp => "source.http",
            Self::CacheMount => "exec.cachemount",
        }
    }
}

/// What pruning removes. What a build uses now always stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Also what images share, and internal records.
    pub all: bool,
    /// Only records of these kinds; empty is all.
    pub kinds: Vec<CacheKind>,
    /// Only records with these ids (or leading parts of them); empty is all.
    pub ids: Vec<String>,
    /// Only what was not used for so long, seconds; 0 is all.
    pub unused_for_s: u64,
    /// Stop when no more than so many bytes are left; 0 removes everything.
    pub reserved_bytes: u64,
    /// Remove (oldest first) while more than so many bytes are kept; 0 is no limit.
    pub max_used_bytes: u64,
    /// Remove (oldest first) while the disk has fewer free bytes; 0 is no limit.
    pub min_free_bytes: u64,
}
