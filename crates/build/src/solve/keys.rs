//! The keys of steps in the cache: what a step does, upon what content. Secrets are named in them,
//! never their values; proxies, limits and names shown are no part.

use super::run::Build;
use crate::content::Reading;
use crate::error::{Error, Result};
use crate::files;
use crate::graph::{Base, Change, Exec, File, MountKind, Op, OpKind};
use crate::tree::Tree;
use model::Digest;
use sha2::{Digest as _, Sha256};

/// Changed when the meaning of keys or records changes.
const FORM: &[u8] = b"estiba-build-step-2";

/// What an operation takes: a file system, or only how one would come to be.
pub(super) enum Input {
    Tree(Tree),
    Definition(Digest),
}

/// The key of an operation upon file systems, or the name of its definition where these are not
/// known. Blocking: files may be read.
pub(super) fn key(build: &Build, op: &Op, inputs: &[Input]) -> Result<Digest> {
    let key = Keys { build, reading: Reading::Allowed }.key(op, inputs)?;
    key.ok_or_else(|| Error::internal("files were read and are not known"))
}

/// The same where little has to be read for it.
pub(super) fn key_at_hand(build: &Build, op: &Op, inputs: &[Input]) -> Result<Option<Digest>> {
    Keys { build, reading: Reading::Little }.key(op, inputs)
}

struct Keys<'a> {
    build: &'a Build,
    reading: Reading,
}

impl Keys<'_> {
    fn key(&self, op: &Op, inputs: &[Input]) -> Result<Option<Digest>> {
        let mut hash = Sha256::new();
        hash.update(FORM);
        hash.update(op.own_digest().0.as_bytes());
        if let Some(epoch) = self.build.source_date_epoch {
            hash.update(b"epoch");
            hash.update(epoch.to_le_bytes());
        }
        let contents: Option<Vec<Digest>> = match &op.kind {
            OpKind::Exec(exec) => self.of_exec(exec, inputs)?,
            OpKind::File(file) => self.of_file(file, inputs)?,
            _ => inputs.iter().map(|input| self.whole(input)).collect::<Result<_>>()?,
        };
        let Some(contents) = contents else { return Ok(None) };
        for content in contents {
            hash.update(content.as_bytes());
        }
        Ok(Some(Digest::sha256(hash.finalize().into())))
    }

    fn whole(&self, input: &Input) -> Result<Option<Digest>> {
        match input {
            Input::Tree(tree) => tree.id(&self.build.inner.store, self.reading),
            Input::Definition(digest) => Ok(Some(*digest)),
        }
    }

    fn of_exec(&self, exec: &Exec, inputs: &[Input]) -> Result<Option<Vec<Digest>>> {
        let store = &self.build.inner.store;
        let mounted = exec.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind(bind) => bind.input.map(|slot| (slot, bind.selector.as_str())),
            // What a cache begins with does not change what a step is.
            _ => None,
        });
        let mut out = Vec::new();
        for (slot, selector) in exec.root.input.map(|slot| (slot, "")).into_iter().chain(mounted) {
            let Some(input) = inputs.get(slot) else { continue };
            let content = match (input, selector.trim_matches('/')) {
                (Input::Tree(tree @ Tree::Dir(_)), part) if !part.is_empty() => {
                    files::content_id(store, tree, &files::plain(part, "/"), self.reading)?
                }
                _ => self.whole(input)?,
            };
            let Some(content) = content else { return Ok(None) };
            out.push(content);
        }
        Ok(Some(out))
    }

    fn of_file(&self, file: &File, inputs: &[Input]) -> Result<Option<Vec<Digest>>> {
        let store = &self.build.inner.store;
        let mut out = Vec::new();
        for action in &file.actions {
            // A copy takes only a part; everything else that it works on counts as a whole.
            let copied = match &action.change {
                Change::Copy(copy) => match copy.from {
                    Base::Input(slot) => inputs.get(slot).map(|input| (copy, input)),
                    _ => None,
                },
                _ => None,
            };
            if let Some((copy, input)) = copied {
                let content = match input {
                    Input::Tree(tree) => files::content_id(store, tree, copy, self.reading)?,
                    Input::Definition(digest) => Some(*digest),
                };
                let Some(content) = content else { return Ok(None) };
                out.push(content);
            }
            let from = usize::from(matches!(action.change, Change::Copy(_)));
            for (at, base) in action.uses().enumerate() {
                if from == 1 && at == 1 {
                    continue;
                }
                if let Base::Input(slot) = base
                    && let Some(input) = inputs.get(slot)
                {
                    let Some(content) = self.whole(input)? else { return Ok(None) };
                    out.push(content);
                }
            }
        }
        Ok(Some(out))
    }
}

/// The key of a step that one build does for itself alone.
pub(super) fn alone(key: Digest, build: u64) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update(build.to_le_bytes());
    Digest::sha256(hash.finalize().into())
}

/// One output of an operation, by its definition.
pub(super) fn output_of(definition: Digest, output: usize) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"definition");
    hash.update(definition.as_bytes());
    hash.update((output as u64).to_le_bytes());
    Digest::sha256(hash.finalize().into())
}
