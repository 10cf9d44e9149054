//! The keys of steps in the cache: what a step does, upon what content. Secrets are named in them,
//! never their values; proxies, limits and names shown are no part.

use super::run::Build;
use crate::error::Result;
use crate::files;
use crate::graph::{Base, Change, Exec, File, MountKind, Op, OpKind};
use crate::tree::Tree;
use model::Digest;
use sha2::{Digest as _, Sha256};

/// Changed when the meaning of keys or records changes.
const FORM: &[u8] = b"estiba-build-step-1";

/// The key of a step. Blocking: files may be read.
pub(super) fn key(build: &Build, op: &Op, inputs: &[Tree]) -> Result<Digest> {
    let mut hash = Sha256::new();
    hash.update(FORM);
    hash.update(op.own_digest().0.as_bytes());
    if let Some(epoch) = build.source_date_epoch {
        hash.update(b"epoch");
        hash.update(epoch.to_le_bytes());
    }
    let contents = match &op.kind {
        OpKind::Exec(exec) => of_exec(build, exec, inputs)?,
        OpKind::File(file) => of_file(build, file, inputs)?,
        _ => Vec::new(),
    };
    for content in contents {
        hash.update(content.as_bytes());
    }
    Ok(Digest::sha256(hash.finalize().into()))
}

/// The key of a step that one build does for itself alone.
pub(super) fn alone(key: Digest, build: u64) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update(build.to_le_bytes());
    Digest::sha256(hash.finalize().into())
}

fn of_exec(build: &Build, exec: &Exec, inputs: &[Tree]) -> Result<Vec<Digest>> {
    let store = &build.inner.store;
    let mounted = exec.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(bind) => bind.input.map(|slot| (slot, bind.selector.as_str())),
        // What a cache begins with does not change what a step is.
        _ => None,
    });
    let mut out = Vec::new();
    for (slot, selector) in exec.root.input.map(|slot| (slot, "")).into_iter().chain(mounted) {
        let Some(tree) = inputs.get(slot) else { continue };
        out.push(match (tree, selector.trim_matches('/')) {
            (Tree::Layers(_), _) | (Tree::Dir(_), "") => tree.id(store)?,
            (Tree::Dir(_), part) => files::content_id(store, tree, &files::plain(part, "/"))?,
        });
    }
    Ok(out)
}

fn of_file(build: &Build, file: &File, inputs: &[Tree]) -> Result<Vec<Digest>> {
    let store = &build.inner.store;
    let mut out = Vec::new();
    for action in &file.actions {
        // A copy takes only a part; everything else that it works on counts as a whole.
        let copied = match &action.change {
            Change::Copy(copy) => match copy.from {
                Base::Input(slot) => inputs.get(slot).map(|tree| (copy, tree)),
                _ => None,
            },
            _ => None,
        };
        if let Some((copy, tree)) = copied {
            out.push(files::content_id(store, tree, copy)?);
        }
        let from = usize::from(matches!(action.change, Change::Copy(_)));
        for (at, base) in action.uses().enumerate() {
            if from == 1 && at == 1 {
                continue;
            }
            if let Base::Input(slot) = base
                && let Some(tree) = inputs.get(slot)
            {
                out.push(tree.id(store)?);
            }
        }
    }
    Ok(out)
}
