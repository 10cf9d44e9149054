//! The one place where the API reads the wall clock: for texts like `Up 3 minutes` and for times
//! given relative to now.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
