//! A file operation as a whole: its actions in order, each upon an input, the empty file system or
//! the result of an action before it. An action's result that nobody else needs is changed on;
//! what becomes an output, or is needed twice, becomes a layer first.

use super::{copy, find, owner, place};
use crate::error::{Act, Error, Result};
use crate::graph::{Base, Change, Copy, File, FileAction, Owner};
use crate::tree::Tree;
use crate::walk::open_in;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::OwnedFd;
use store::{LayerOptions, Lease, Store, Work};

/// What came of an operation: its outputs by number.
pub(crate) type Applied = Vec<(usize, Tree)>;

/// Carries out an operation upon its inputs. Blocking.
pub(crate) fn apply(
    store: &Store,
    lease: &Lease,
    file: &File,
    inputs: &[Tree],
    options: LayerOptions,
) -> Result<Applied> {
    let mut run = Run { store, lease, inputs, options, done: Vec::new(), open: None };
    let mut outputs = Vec::new();
    for (number, action) in file.actions.iter().enumerate() {
        run.action(number, action, &file.actions)?;
        if let Some(output) = action.output {
            let tree = run.settled(number)?;
            outputs.push((output, tree));
        }
    }
    Ok(outputs)
}

struct Run<'a> {
    store: &'a Store,
    lease: &'a Lease,
    inputs: &'a [Tree],
    options: LayerOptions,
    /// Results of actions; `None` while it is still [`Run::open`].
    done: Vec<Option<Tree>>,
    /// The tree that is being changed, and the action it is the result of.
    open: Option<(usize, Open)>,
}

/// A tree that is being changed.
struct Open {
    below: Tree,
    work: Work,
    root: OwnedFd,
}

impl Run<'_> {
    fn action(&mut self, number: usize, action: &FileAction, all: &[FileAction]) -> Result<()> {
        // What this action reads must not be the tree that it writes.
        let reads = action.uses().skip(1).collect::<Vec<_>>();
        for read in &reads {
            if let Base::Action(of) = read {
                self.settled(*of)?;
            }
        }
        let shared = |of: usize| {
            all[of].output.is_some()
                || all.iter().skip(number + 1).any(|it| it.uses().any(|b| b == Base::Action(of)))
        };
        let goes_on = match (&self.open, action.base) {
            (Some((of, _)), Base::Action(base)) => *of == base && !shared(base),
            _ => false,
        };
        let open = if goes_on {
            self.open.take().map(|(_, open)| open)
        } else {
            self.settle()?;
            None
        };
        let open = match open {
            Some(open) => open,
            None => self.begin(action.base)?,
        };
        self.change(&open.root, &action.change)?;
        self.done.push(None);
        self.open = Some((number, open));
        Ok(())
    }

    fn begin(&self, base: Base) -> Result<Open> {
        let below = as_layers(self.store, self.lease, self.tree(base)?, self.options.clone())?;
        let work = self.store.work(below.layers().unwrap_or_default())?;
        let root = work.root()?;
        Ok(Open { below, work, root })
    }

    fn tree(&self, base: Base) -> Result<Tree> {
        match base {
            Base::Empty => Ok(Tree::empty()),
            Base::Input(slot) => self.inputs.get(slot).cloned().ok_or_else(no_input),
            Base::Action(number) => self.done.get(number).cloned().flatten().ok_or_else(no_input),
        }
    }

    /// The result of an action as a tree that does not change any more.
    fn settled(&mut self, number: usize) -> Result<Tree> {
        if self.open.as_ref().is_some_and(|(of, _)| *of == number) {
            self.settle()?;
        }
        self.tree(Base::Action(number))
    }

    fn settle(&mut self) -> Result<()> {
        let Some((number, open)) = self.open.take() else { return Ok(()) };
        drop(open.root);
        let mut layers = open.below.layers().unwrap_or_default().to_vec();
        layers
            .extend(open.work.commit(self.lease, self.options.clone())?.map(|layer| layer.diff_id));
        self.done[number] = Some(Tree::Layers(layers.into()));
        Ok(())
    }

    fn owner(&self, owner: Option<&Owner>, root: &OwnedFd) -> Result<Option<(u32, u32)>> {
        let mut open = |base: Base| match base {
            Base::Action(number) if self.done.get(number).is_some_and(Option::is_none) => {
                root.try_clone().act(|| "open a tree".into())
            }
            base => self.tree(base)?.open(self.store),
        };
        owner.map(|owner| owner::resolve(owner, &mut open)).transpose()
    }

    fn change(&self, root: &OwnedFd, change: &Change) -> Result<()> {
        match change {
            Change::Copy(copy) => self.copy(root, copy),
            Change::Mkdir { path, mode, parents, owner, time_ns } => {
                let owner = Some(self.owner(owner.as_ref(), root)?.unwrap_or((0, 0)));
                let making = place::Making { owner, mode: *mode, time: *time_ns };
                make_dir(root, path, *parents, making)
            }
            Change::Mkfile { path, mode, data, owner, time_ns } => {
                let owner = self.owner(owner.as_ref(), root)?.unwrap_or((0, 0));
                make_file(root, path, data, (owner, *mode, *time_ns))
            }
            Change::Symlink { path, target, owner, time_ns } => {
                let owner = self.owner(owner.as_ref(), root)?.unwrap_or((0, 0));
                make_link(root, path, target, owner, *time_ns)
            }
            Change::Remove { path, allow_missing, wildcard } => {
                remove(root, path, *allow_missing, *wildcard)
            }
        }
    }

    fn copy(&self, root: &OwnedFd, asked: &Copy) -> Result<()> {
        let from = self.tree(asked.from)?;
        let owner = self.owner(asked.owner.as_ref(), root)?;
        copy::copy((self.store, &from), root, asked, owner)
    }
}

/// A directory as a layer of its own; layers as they are.
pub(crate) fn as_layers(
    store: &Store,
    lease: &Lease,
    tree: Tree,
    options: LayerOptions,
) -> Result<Tree> {
    if tree.layers().is_some() {
        return Ok(tree);
    }
    let work = store.work(&[])?;
    let root = work.root()?;
    let everything = Copy { allow_empty: true, ..super::part::plain("/", "/") };
    copy::copy((store, &tree), &root, &everything, None)?;
    drop(root);
    let layer = work.commit(lease, options)?;
    Ok(Tree::Layers(layer.iter().map(|layer| layer.diff_id).collect::<Vec<_>>().into()))
}

fn no_input() -> Error {
    Error::internal("a file operation names an input that it does not have")
}

fn make_dir(root: &OwnedFd, path: &str, parents: bool, making: place::Making) -> Result<()> {
    let path = place::parts(path)?;
    if !parents && let Some((_, above)) = path.split_last() {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let above = place::joined(above);
        open_in(root, &*above, flags).act(|| place::opening(&above))?;
    }
    place::make_dirs(root, &path, making).map(drop)
}

/// The directory of a path, which must be there, and the last component.
fn parent(root: &OwnedFd, path: &str) -> Result<(OwnedFd, CString)> {
    let parts = place::parts(path)?;
    let (name, dirs) =
        parts.split_last().ok_or_else(|| Error::invalid(format!("{path}: is the root")))?;
    let dir = place::joined(dirs);
    let dir =
        open_in(root, &*dir, OFlags::RDONLY | OFlags::DIRECTORY).act(|| place::opening(&dir))?;
    Ok((dir, name.clone()))
}

fn make_file(
    root: &OwnedFd,
    path: &str,
    data: &[u8],
    (owner, mode, time): ((u32, u32), u32, Option<i64>),
) -> Result<()> {
    let act = || format!("make file {path}");
    let (dir, name) = parent(root, path)?;
    if place::lstat(&dir, &name)?.is_some_and(|stat| place::is_dir(&stat)) {
        return Err(Error::invalid(format!("{path}: is a directory")));
    }
    place::remove(&dir, &name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::openat(&dir, &name, flags, Mode::RUSR | Mode::WUSR).act(act)?;
    let mut file = std::fs::File::from(file);
    file.write_all(data).act(act)?;
    place::give(&file, Some(owner), Some(mode)).act(act)?;
    time.map_or(Ok(()), |time| place::date(&file, time)).act(act)
}

fn make_link(
    root: &OwnedFd,
    path: &str,
    target: &str,
    (uid, gid): (u32, u32),
    time: Option<i64>,
) -> Result<()> {
    let act = || format!("make link {path}");
    let (dir, name) = parent(root, path)?;
    fs::symlinkat(target, &dir, &name).act(act)?;
    let owner = (Some(fs::Uid::from_raw(uid)), Some(fs::Gid::from_raw(gid)));
    fs::chownat(&dir, &name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).act(act)?;
    let Some(time) = time else { return Ok(()) };
    fs::utimensat(&dir, &name, &place::times(time), AtFlags::SYMLINK_NOFOLLOW).act(act)
}

fn remove(root: &OwnedFd, path: &str, allow_missing: bool, wildcard: bool) -> Result<()> {
    let found = find::sources(root, path, wildcard, false)?;
    if found.is_empty() && !allow_missing {
        return Err(Error::not_found(format!("{path}: not found")));
    }
    found.iter().try_for_each(|it| match it.name.to_bytes() {
        b"." => Err(Error::invalid("the root cannot be removed")),
        _ => place::remove(&it.parent, &it.name),
    })
}
