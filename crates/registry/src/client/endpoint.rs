//! A place where a repository is asked for: a mirror, or the registry itself. Values only; who
//! decides which there are is in `settings`, `hosts` and `registries`.

use super::auth::Credentials;
use super::url::Origin;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A place where a repository is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// Path of the API, with a slash at both ends: `/v2/`.
    pub(crate) root: String,
    /// The repository's path there.
    pub(crate) repository: String,
    /// The host that a mirror is told it stands for (`?ns=`, containerd's convention).
    pub(crate) stands_for: Option<String>,
    /// The registry itself: the user's credentials are for it, and for nobody else.
    pub(crate) own: bool,
    /// Certificates are not checked, plain HTTP is allowed.
    pub(crate) insecure: bool,
    pub(crate) may: May,
    /// How its origin is reached, where somebody decided that for this place.
    pub(crate) reach: Option<Arc<Reach>>,
    /// What the administrator gave this place to know us by.
    pub(crate) credentials: Option<Credentials>,
}

/// What a place is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct May {
    /// What a tag stands for: it is believed.
    pub(crate) tags: bool,
    /// Images named by digest.
    pub(crate) digests: bool,
    /// Content that was decided elsewhere: manifests and blobs by their digests.
    pub(crate) content: bool,
    /// It takes what is pushed.
    pub(crate) push: bool,
}

impl May {
    /// Everything.
    pub(crate) const ALL: Self = Self { tags: true, digests: true, content: true, push: true };
    /// Everything that reads.
    pub(crate) const READ: Self = Self { push: false, ..Self::ALL };
}

/// How an origin is reached, beyond what holds for everybody. Two connections that differ in it
/// are never taken for one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reach {
    /// Files with certificates of further authorities.
    pub(crate) authorities: Vec<PathBuf>,
    /// Our certificate and its key, which may be in one file.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// Certificates are not checked.
    pub(crate) skip_verify: bool,
    /// Sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// How long a connection may take to come about.
    pub(crate) dial_timeout: Option<Duration>,
}

/// An origin and how it is reached: what connections are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) origin: Origin,
    pub(crate) reach: Option<Arc<Reach>>,
}

impl Way {
    /// As everybody reaches it.
    pub(crate) fn plain(origin: &Origin) -> Self {
        Self { origin: origin.clone(), reach: None }
    }
}

impl Endpoint {
    /// How an origin is reached that this endpoint sent us to: its own rules are for itself.
    pub(crate) fn way(&self, origin: &Origin) -> Way {
        let reach = self.reach.clone().filter(|_| *origin == self.origin);
        Way { origin: origin.clone(), reach }
    }
}
