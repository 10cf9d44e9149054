//! Archives are taken apart by processes that can do nothing else (law A5). A decompressor and an
//! extractor, both this same program, are made for one archive and end with it; what one archive
//! may do to them cannot reach the next.
//!
//! ```text
//!  this process                          the lobby: no root, no network, waits for orders
//!                                           │ fork for each archive, nothing executed
//!  source ──▶ pipe ──▶ decompressor ──▶ pipe│ no file at all, no capability
//!                                       │   │
//!  sha256 ◀── read ◀────────────────────┘   │
//!     └────── tee ───▶ pipe ──▶ extractor ──┤ the target directory and nothing else
//!                                  │        │
//!  devices, opaque marks ◀── asks ─┘
//! ```
//!
//! The plain bytes pass through the process that trusts nobody: it hashes what the extractor gets,
//! so a decompressor that was taken over can only give bytes whose digest is wrong, and an
//! extractor never sees bytes before the hash does. Pages in a pipe cannot be changed by who wrote
//! them, since `vmsplice` is not among the decompressor's calls.
//!
//! **Who they are.** A layer's directory holds ids as the image says, from 0. The lobby's user
//! namespace maps those to 2³¹ and above, ids that nobody else on the host has, and gets the
//! directory through an idmapped mount: on disk stands the image's id, while outside this mount the
//! process is nobody. Five capabilities of that namespace (`CHOWN`, `DAC_OVERRIDE`, `FOWNER`,
//! `FSETID`, `SETFCAP`) count there and nowhere else. Trees of containers are entered with the
//! container's own ids. Where a file system cannot map ids, the lobby has the host's ids, without
//! any of the host's capabilities.
//!
//! **What the kernel keeps for itself.** Device nodes and `trusted.overlay.opaque` want the first
//! user namespace; the extractor asks for them by name, and the name is resolved here, beneath the
//! target, through no link. Whiteouts (device 0/0) and file capabilities it makes itself; these
//! are stored with the namespace's root, which is 0 on disk: the same as any other.
//!
//! **How long.** One that moves nothing for three minutes while there is something to move is ended
//! ([`patience`]).
//!
//! Without [`install`] everything runs in the caller's process: the decisions are the same code
//! either way, and are tested so. This module never knows what an archive is for.

mod confine;
mod host;
mod lobby;
mod message;
mod patience;
mod plain;
mod pump;

pub(crate) use host::installed;
pub use host::{install, install_with_limit, peak_kib};
pub use lobby::{Hook, Inside, main, main_with};
pub(crate) use plain::Plain;

/// The first word of the command line that makes a process a lobby; what follows is the number of
/// the descriptor that orders come through.
pub const WORD: &str = "unpacker";
