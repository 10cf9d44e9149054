//! What a node keeps: blobs, layers, images, snapshots (writable layers of containers), volumes and
//! the engine's records. The API is synchronous: the engine calls it on blocking threads.
//!
//! ```text
//! <root>/                       0700
//!   blobs/sha256/<hex>          content by digest: image configurations, manifests and indexes as
//!                               they came, layers in the compressed form they travel in
//!   downloads/<hex>             blobs that are not here as a whole yet
//!   layers/<diff-id-hex>/       fs/ (overlayfs form, ids 0-based), recipe, meta.json
//!   snapshots/<container-id>/   upper/, work/, meta.json
//!   volumes/<name>/             _data/, meta.json
//!   mirrors/<hash>/             directories of clients as they were at the last build
//!   tmp/                        whatever is being taken in; emptied at open
//!   estiba.redb, estiba.journal the image index and the engine's records
//! ```
//!
//! Trees in `tmp` and `volumes` are spread over the disk ([`spread()`]).
//!
//! A layer is unpacked below `tmp` and renamed into place when its digest is known, so that a crash
//! leaves only garbage in `tmp`. Layers are kept by diff id, not by chain id: in overlayfs form
//! (whiteouts as devices 0/0) a layer does not depend on what lies below it, so equal layers are
//! kept once and all layers of an image can be unpacked at the same time.
//!
//! Every name that an image, an archive or a client controls is resolved from a directory's file
//! descriptor with `openat2` (see [`tree`]). This crate never runs a program from an image, never
//! mounts anything that others can see, and knows nothing of containers but their ids.

pub mod archive;
mod blob;
mod blobs;
mod bound;
mod compress;
pub mod download;
mod error;
mod forms;
#[doc(hidden)]
pub mod fuzz;
mod gc;
mod gzip;
pub mod image;
pub mod kept;
pub mod layer;
pub mod mirror;
mod pack;
pub mod record;
mod replica;
pub mod snapshot;
mod spread;
mod store;
pub mod tar;
mod tree;
pub mod unpacker;
pub mod volume;
mod work;

pub use blobs::Blobs;
pub use compress::plain;
pub use error::{Error, Result};
pub use forms::{Compression, Packing};
pub use gc::{DiskUsage, Reclaimed};
pub use spread::spread;
pub use store::{Lease, Options, Store};
/// Places where a test can end the process, for the rooms above, which do not know `sys`.
pub use sys::failpoint;
pub use work::{LayerOptions, TempDir, Work};
