//! Removing images by Docker's rules: a name goes before the image, the image goes with its last
//! name, and what others depend on stays.
//!
//! ```text
//! by name, others remain      -> only the name goes (digest names of the same repository with it)
//! by name, the last one       -> containers?  -> name and image go
//! by id, one repository       -> its names and the image go
//! by id, several repositories -> conflict, unless forced
//! ```

use super::{ImageRecord, Images, index};
use crate::error::Result;
use crate::record::{Batch, Durability};
use crate::store::lock;
use model::image::Removed;
use model::{ContainerId, Denied, Digest, ImageId, ImageRef};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A container that uses an image. Who looks reports a running one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// Which.
    pub container: ContainerId,
    /// Whether it runs.
    pub running: bool,
}

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Take names from several repositories, and from stopped containers.
    pub force: bool,
    /// Remove parents that nothing else needs.
    pub prune_parents: bool,
}

type InUse<'a> = &'a dyn Fn(ImageId) -> Option<ImageUse>;

impl Images {
    /// Removes a name or an image; `in_use` tells which container uses an image. Layers that
    /// nothing needs any more are gone on return.
    pub fn remove(
        &self,
        query: &str,
        options: RemoveOptions,
        in_use: InUse<'_>,
    ) -> Result<Vec<Removed>> {
        let removed = {
            let _change = lock(&self.store.inner.index_change);
            let mut removal =
                Removal { images: self, force: options.force, in_use, removed: Vec::new() };
            removal.start(query, options.prune_parents)?;
            removal.removed
        };
        if removed.iter().any(|removed| matches!(removed, Removed::Deleted(_))) {
            sys::failpoint::hit("store.image.removed");
            self.store.gc()?;
        }
        Ok(removed)
    }

    /// Takes back an image that [`Images::put_built`] has added, unless it has a name or a child by
    /// now. What only it needed goes with the next collection.
    pub fn withdraw(&self, id: ImageId) -> Result<()> {
        let _change = lock(&self.store.inner.index_change);
        // Somebody may have been quicker.
        let Ok(image) = self.record(id) else { return Ok(()) };
        let nobody = |_| None;
        let mut removal =
            Removal { images: self, force: false, in_use: &nobody, removed: Vec::new() };
        if image.names().next().is_some() || removal.check(&image, true).is_err() {
            return Ok(());
        }
        removal.delete(id, false)
    }

    /// Takes one name from its image, which stays even without a name.
    pub fn untag(&self, name: &ImageRef) -> Result<ImageId> {
        let _change = lock(&self.store.inner.index_change);
        let id = self
            .index()
            .named(name)
            .ok_or_else(|| Denied::not_found(format!("No such image: {}", name.familiar())))?;
        let batch = index::delete_name(Batch::new(), name);
        self.store.records().commit(batch, Durability::Immediate)?;
        self.change(|index| index.unname(name));
        Ok(id)
    }
}

struct Removal<'a> {
    images: &'a Images,
    force: bool,
    in_use: InUse<'a>,
    removed: Vec<Removed>,
}

impl Removal<'_> {
    fn start(&mut self, query: &str, prune: bool) -> Result<()> {
        let image = self.images.resolve(query)?;
        if is_id(&image, query) {
            if is_single_reference(&image) {
                // Its own names do not hold it.
                self.check(&image, false)?;
                self.untag_all(&image)?;
            }
        } else if !self.untag_one(&image, query)? {
            return Ok(());
        }
        self.delete(image.id, prune)
    }

    /// Takes the name away that was asked for. Whether the image has to go as well.
    fn untag_one(&mut self, image: &Arc<ImageRecord>, query: &str) -> Result<bool> {
        let asked = ImageRef::parse(query)?;
        let name = match asked.digest() {
            Some(digest) => {
                ImageRef::parse(&format!("{}/{}@{digest}", asked.host(), asked.path()))?
            }
            None => asked.or_latest(),
        };
        if !self.force
            && is_single_reference(image)
            && let Some(user) = (self.in_use)(image.id)
        {
            return Err(Denied::conflict(format!(
                "conflict: unable to remove repository reference {query:?} (must force) - \
                 container {} is using its referenced image {}",
                user.container.short(),
                image.id.short()
            ))
            .into());
        }
        let known = self.images.index().named(&name).is_some();
        match known {
            true => self.untag(&name)?,
            // By what the repository has under its tags.
            false => {
                let tags = image.refs.iter().filter(|other| other.same_repository(&name));
                tags.into_iter().try_for_each(|tag| self.untag(tag))?;
            }
        }
        let rest = self.images.record(image.id)?;
        let all = name.tag().is_some() || !known;
        if all && rest.refs.iter().all(|other| !other.same_repository(&name)) {
            for digest in rest.digests.iter().filter(|other| other.same_repository(&name)) {
                self.untag(digest)?;
            }
        }
        Ok(self.images.record(image.id)?.names().next().is_none())
    }

    /// Removes the image itself, and parents that only it needed.
    fn delete(&mut self, id: ImageId, prune: bool) -> Result<()> {
        let image = self.images.record(id)?;
        self.check(&image, true)?;
        self.untag_all(&image)?;
        let batch = index::delete_image(Batch::new(), &image);
        self.images.store.records().commit(batch, Durability::Immediate)?;
        self.images.change(|index| index.remove(id));
        self.removed.push(Removed::Deleted(id));
        sys::failpoint::hit("store.image.deleted");
        for chain in self.unneeded_chains(&image)? {
            self.removed.push(Removed::Deleted(chain));
        }
        self.delete_held(&image)?;
        let Some(parent) = image.parent.filter(|_| prune) else { return Ok(()) };
        let Ok(parent) = self.images.record(parent) else { return Ok(()) };
        let dangling = parent.names().next().is_none();
        self.force = false;
        if dangling && parent.local && self.check(&parent, true).is_ok() {
            return self.delete(parent.id, true);
        }
        Ok(())
    }

    /// Removes the images that only the removed one's index held. One that a container uses stays.
    fn delete_held(&mut self, image: &Arc<ImageRecord>) -> Result<()> {
        for other in self.images.siblings(image) {
            let held = other.id == image.id || other.names().next().is_some();
            let known = self.images.record(other.id).is_ok();
            let indexes = self.images.named_indexes();
            if held || !known || Images::is_held(&other, &indexes) {
                continue;
            }
            if self.check(&other, true).is_ok() {
                self.delete(other.id, false)?;
            }
        }
        Ok(())
    }

    /// Whether something holds the image.
    fn check(&self, image: &ImageRecord, names_hold: bool) -> Result<()> {
        let conflict = |hard: bool, why: String| {
            let how = if hard { "cannot be forced" } else { "must be forced" };
            let id = image.id.short();
            Err(Denied::conflict(format!("conflict: unable to delete {id} ({how}) - {why}")).into())
        };
        if self.images.index().children(image.id).next().is_some() {
            return conflict(true, "image has dependent child images".into());
        }
        let user = (self.in_use)(image.id);
        if let Some(user) = user.filter(|user| user.running) {
            let id = user.container.short();
            return conflict(true, format!("image is being used by running container {id}"));
        }
        if self.force {
            return Ok(());
        }
        if names_hold && image.names().next().is_some() {
            return conflict(false, "image is referenced in multiple repositories".into());
        }
        if let Some(user) = user {
            let id = user.container.short();
            return conflict(false, format!("image is being used by stopped container {id}"));
        }
        Ok(())
    }

    fn untag_all(&mut self, image: &ImageRecord) -> Result<()> {
        image.names().try_for_each(|name| self.untag(name))
    }

    fn untag(&mut self, name: &ImageRef) -> Result<()> {
        let batch = index::delete_name(Batch::new(), name);
        self.images.store.records().commit(batch, Durability::Immediate)?;
        self.images.change(|index| index.unname(name));
        self.removed.push(Removed::Untagged(name.familiar()));
        sys::failpoint::hit("store.image.untagged");
        Ok(())
    }

    /// The chains of a removed image that no image and no container needs, topmost first.
    fn unneeded_chains(&self, image: &ImageRecord) -> Result<Vec<Digest>> {
        let mut needed: BTreeSet<Digest> =
            self.images.index().all().flat_map(|other| other.chain()).collect();
        let snapshots = self.images.store.snapshots();
        for container in snapshots.list()? {
            if let Ok((_, layers)) = snapshots.meta(container) {
                needed.extend(crate::layer::chain_ids(&layers));
            }
        }
        Ok(image.chain().into_iter().rev().filter(|chain| !needed.contains(chain)).collect())
    }
}

/// Whether the query was (the beginning of) the image's id, and no name of it.
fn is_id(image: &ImageRecord, query: &str) -> bool {
    let hex = query.strip_prefix("sha256:").unwrap_or(query);
    let named = ImageRef::parse(query).is_ok_and(|name| {
        let name = name.or_latest();
        image.refs.contains(&name)
    });
    !named && !hex.is_empty() && image.id.hex().starts_with(hex)
}

/// At most one tag, and everything in one repository.
fn is_single_reference(image: &ImageRecord) -> bool {
    let repositories: BTreeSet<(&str, &str)> =
        image.names().map(|name| (name.host(), name.path())).collect();
    image.refs.len() <= 1 && repositories.len() <= 1
}
