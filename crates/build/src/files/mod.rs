//! Changes of files without a process: COPY, ADD, WORKDIR and LLB's file operations. Everything is
//! done through descriptors of the two trees; a name in them is resolved inside its own tree with
//! `openat2`, and a name that was found is never looked up a second time by its path.

mod change;
mod copy;
mod find;
mod mode;
mod owner;
mod part;
mod place;

pub(crate) use change::{apply, as_layers};
pub(crate) use copy::{content_id, is_archive};
pub(crate) use part::{PART, copy_part, fill, fill_dir, plain};
