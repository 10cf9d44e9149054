//! Images, for those who ask about them.

use crate::chunks::{Source, produce};
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::streams::{ByteStream, LoadProgress, STREAM_DEPTH};
use crate::transfer::Platform;
use crate::{EngineError, Result, image_config, image_shares, variants};
use model::error::HasKind;
use model::event::EventKind;
use model::image::{HistoryLine, ImageDraft, ImageLine, ImageView, Removed};
use model::mount::MountSource;
use model::view::ContainerView;
use model::{Digest, ErrorKind, ImageId, ImageRef};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use store::image::{ImageRecord, ImageUse, RemoveOptions, SaveOptions};
use tokio::sync::mpsc;
use wire::oci::image::ImageConfig;

/// Images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    pub(crate) node: Arc<Node>,
}

impl Images {
    /// Every image, newest first.
    pub async fn list(&self) -> Result<Vec<ImageLine>> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let around = Around::of(&node);
            let line = |it: &Arc<ImageRecord>| line(it, &around);
            Ok(node.store.images().list()?.iter().map(line).collect())
        })
        .await
    }

    /// The same, with what they share.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list_with_shares(&self) -> Result<Vec<ImageLine>> {
        let (mut lines, node) = (self.list().await?, Arc::clone(&self.node));
        blocking(move || {
            let layers = node.store.layers();
            image_shares::note(&mut lines, |layer| {
                Ok::<_, EngineError>(layers.find(layer)?.map_or(0, |layer| layer.size))
            })?;
            Ok(lines)
        })
        .await
    }

    /// One image.
    pub async fn view(&self, query: &str) -> Result<ImageView> {
        self.view_for(query, None).await
    }

    /// One image, of those behind the name the one for a platform.
    ///
    /// # Errors
    /// There is none, or none for that platform.
    pub async fn view_for(&self, query: &str, platform: Option<Platform>) -> Result<ImageView> {
        let (node, query) = (Arc::clone(&self.node), query.to_owned());
        blocking(move || {
            let record = variants::find_for(&node, &query, platform.as_ref())?;
            Ok(view(&record, &node.store.images()))
        })
        .await
    }

    /// How it was made, newest line first.
    ///
    /// # Errors
    /// There is no such image, or none for that platform.
    pub async fn history(
        &self,
        query: &str,
        platform: Option<Platform>,
    ) -> Result<Vec<HistoryLine>> {
        let begun = Instant::now();
        let (node, query) = (Arc::clone(&self.node), query.to_owned());
        blocking(move || {
            let id = variants::find_for(&node, &query, platform.as_ref())?.id;
            let lines = node.store.images().history(&id.to_string())?;
            node.metrics.note(Timed::ImageHistory, begun);
            Ok(lines)
        })
        .await
    }

    /// Names it.
    pub async fn tag(&self, query: &str, name: &ImageRef) -> Result<()> {
        let (node, query, name) = (Arc::clone(&self.node), query.to_owned(), name.clone());
        blocking(move || {
            if name.familiar_name() == "sha256" {
                let why = "refusing to create an ambiguous tag using digest algorithm as name";
                return Err(EngineError::invalid(why));
            }
            let id = find(&node, &query)?.id;
            node.store.images().tag(&id.to_string(), &name)?;
            emit(&node, "tag", id, &name.or_latest().familiar());
            Ok(())
        })
        .await
    }

    /// Removes a name, and the image with its last.
    pub async fn remove(
        &self,
        query: &str,
        force: bool,
        prune_children: bool,
    ) -> Result<Vec<Removed>> {
        let begun = Instant::now();
        // A container that just ended may still be being cleared away.
        self.node.teardowns.idle().await;
        let (node, query) = (Arc::clone(&self.node), query.to_owned());
        let options = RemoveOptions { force, prune_parents: prune_children };
        blocking(move || {
            let removed = remove(&node, &query, options)?;
            node.metrics.note(Timed::ImageDelete, begun);
            Ok(removed)
        })
        .await
    }

    /// Makes an image of one layer from a tar archive of a root filesystem.
    pub async fn import(&self, draft: ImageDraft, body: ByteStream) -> Result<ImageId> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut source = Source::new(body);
            let id = node.store.images().import(&mut source, "-", &draft)?;
            source.drain();
            emit(&node, "import", id, &draft.reference);
            Ok(id)
        })
        .await
    }

    /// Takes images in from an archive as `save` writes it; those for a platform, when one is
    /// given.
    pub async fn load(
        &self,
        body: ByteStream,
        quiet: bool,
        platform: Option<Platform>,
    ) -> Result<mpsc::Receiver<Result<LoadProgress>>> {
        let node = Arc::clone(&self.node);
        let (tx, rx) = mpsc::channel(STREAM_DEPTH);
        tokio::task::spawn_blocking(move || {
            let mut source = Source::new(body);
            let mut progress = |at: store::image::LoadProgress| {
                let layer = LoadProgress::Layer { id: at.layer, current: at.done, total: at.total };
                if !quiet {
                    // Progress that nobody reads is dropped; the load goes on.
                    let _ = tx.try_send(Ok(layer));
                }
            };
            let wanted = |config: &ImageConfig| {
                platform.as_ref().is_none_or(|platform| variants::fits(platform, config))
            };
            match node.store.images().load_some(&mut source, &wanted, &mut progress) {
                Ok(loaded) => {
                    source.drain();
                    for image in loaded {
                        emit(&node, "load", image.id, &image.id.to_string());
                        let mut names: Vec<String> =
                            image.refs.iter().map(ImageRef::familiar).collect();
                        if names.is_empty() {
                            names.push(image.id.to_string());
                        }
                        for reference in names {
                            let _ = tx.blocking_send(Ok(LoadProgress::Loaded { reference }));
                        }
                    }
                }
                Err(error) => drop(tx.blocking_send(Err(error.into()))),
            }
        });
        Ok(rx)
    }

    /// Images as an archive: for one platform or all that are here, without the layers of the
    /// images in `since`, which the other side has.
    ///
    /// # Errors
    /// There is no such image, or none for that platform.
    pub async fn save(
        &self,
        queries: &[String],
        platform: Option<Platform>,
        since: &[String],
    ) -> Result<ByteStream> {
        let (node, queries) = (Arc::clone(&self.node), queries.to_vec());
        let (checked, names, wanted) = (Arc::clone(&node), queries.clone(), platform.clone());
        let since = since.to_vec();
        let omitted = since.clone();
        blocking(move || {
            for query in &names {
                // A repository without a tag means all its tags: only ids and tags are looked up.
                if query.contains(':') {
                    variants::find_for(&checked, query, wanted.as_ref())?;
                }
            }
            for query in &omitted {
                find(&checked, query)?;
            }
            Ok(())
        })
        .await?;
        let pick = platform.map(variants::picker);
        let options = SaveOptions { pick, since };
        Ok(produce(move |out| Ok(node.store.images().save(&queries, &options, out)?)))
    }

    /// Removes images that no container uses: those without a name, or all, and then also names
    /// that an image in use can do without. `keep` protects. Returns what went and the bytes freed.
    pub async fn prune(
        &self,
        dangling_only: bool,
        keep: &(dyn Fn(&ImageLine) -> bool + Sync),
    ) -> Result<(Vec<Removed>, u64)> {
        self.node.teardowns.idle().await;
        let all = self.list().await?;
        let parents: Vec<ImageId> = all.iter().filter_map(|image| image.parent).collect();
        let spare: Vec<String> = match dangling_only {
            true => Vec::new(),
            false => {
                let used = all.iter().filter(|image| image.containers > 0 && !keep(image));
                used.flat_map(|image| spare_names(&self.node, image)).collect()
            }
        };
        let wanted: Vec<ImageLine> = all
            .into_iter()
            .filter(|image| image.containers == 0 && !image.held && !keep(image))
            .filter(|image| !dangling_only || image.tags.is_empty())
            .filter(|image| !parents.contains(&image.id) || !dangling_only)
            .collect();
        let node = Arc::clone(&self.node);
        blocking(move || {
            let used = || node.store.disk_usage().map(|used| used.layers + used.blobs);
            let before = used()?;
            let options = RemoveOptions { force: false, prune_parents: true };
            let mut removed = Vec::new();
            for name in spare {
                removed.extend(remove(&node, &name, options).unwrap_or_default());
            }
            for image in wanted {
                let names = image.tags.iter().chain(&image.digests).cloned();
                let mut queries: Vec<String> = names.collect();
                if queries.is_empty() {
                    queries.push(image.id.to_string());
                }
                for query in queries {
                    // One that came into use meanwhile stays.
                    removed.extend(remove(&node, &query, options).unwrap_or_default());
                }
            }
            let after = used()?;
            // Pulls that were broken off and that nobody is at.
            let partial = node.store.downloads().forget()?;
            Ok((removed, before.saturating_sub(after) + partial))
        })
        .await
    }
}

/// The tags that an image in use can do without: all but those that containers were made by, or but
/// the last when they were made by its id.
fn spare_names(node: &Node, image: &ImageLine) -> Vec<String> {
    let by =
        |view: &ContainerView| ImageRef::parse(&view.draft.image).ok().map(ImageRef::or_latest);
    let all = node.registry.all().into_iter().map(|handle| handle.view());
    let asked: HashSet<String> = all
        .filter(|view| view.image == image.id)
        .filter_map(|view| by(&view).map(|name| name.familiar()))
        .collect();
    let mut tags = image.tags.clone();
    tags.sort();
    let named = tags.iter().any(|tag| asked.contains(tag));
    if !named {
        tags.pop();
    }
    tags.retain(|tag| !asked.contains(tag));
    tags
}

/// The image that a query means, in Docker's words when there is none.
pub(crate) fn find(node: &Node, query: &str) -> Result<Arc<ImageRecord>> {
    node.store.images().resolve(query).map_err(|error| match error.kind() {
        ErrorKind::NotFound => EngineError::NoSuchImage(familiar(query)),
        _ => error.into(),
    })
}

fn familiar(query: &str) -> String {
    let looks_like_id = model::Digest::parse(query).is_ok();
    match ImageRef::parse(query) {
        Ok(reference) if !looks_like_id => reference.or_latest().familiar(),
        _ => query.to_owned(),
    }
}

fn mounts_image(view: &ContainerView, id: ImageId) -> bool {
    view.spec.mounts.iter().any(
        |mount| matches!(&mount.source, MountSource::Image { image, .. } if *image == Some(id)),
    )
}

/// A container that uses an image, a running one first.
pub(crate) fn user_of(node: &Node, image: ImageId) -> Option<ImageUse> {
    let all = node.registry.all().into_iter().map(|handle| handle.view());
    let mut users: Vec<ImageUse> = all
        .filter(|view| view.image == image || mounts_image(view, image))
        .map(|view| ImageUse { container: view.id, running: view.phase.run().is_some() })
        .collect();
    users.sort_by_key(|user| !user.running);
    users.first().copied()
}

pub(crate) fn remove(node: &Node, query: &str, options: RemoveOptions) -> Result<Vec<Removed>> {
    let id = find(node, query)?.id;
    let in_use = |image: ImageId| user_of(node, image);
    let removed = node.store.images().remove(query, options, &in_use)?;
    for step in &removed {
        match step {
            Removed::Untagged(name) => emit(node, "untag", id, name),
            Removed::Deleted(gone) => emit(node, "delete", *gone, &gone.to_string()),
        }
    }
    Ok(removed)
}

pub(crate) fn emit(node: &Node, action: &str, id: ImageId, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    node.emit(EventKind::Image, action, id.to_string(), attributes);
}

/// What an image's line shows of its surroundings.
struct Around {
    users: BTreeMap<ImageId, u32>,
    indexes: HashSet<Digest>,
    images: store::image::Images,
}

impl Around {
    fn of(node: &Node) -> Self {
        let images = node.store.images();
        Self { users: users(node), indexes: images.named_indexes(), images }
    }
}

/// How many containers use each image.
fn users(node: &Node) -> BTreeMap<ImageId, u32> {
    let mut users = BTreeMap::new();
    for handle in node.registry.all() {
        *users.entry(handle.view().image).or_insert(0) += 1;
    }
    users
}

fn line(record: &ImageRecord, around: &Around) -> ImageLine {
    let config = &record.config;
    ImageLine {
        id: record.id,
        tags: record.refs.iter().map(ImageRef::familiar).collect(),
        digests: record.digests.iter().map(ImageRef::familiar).collect(),
        parent: record.parent,
        created: config.created.is_some().then_some(record.created),
        labels: config.config.labels.clone().unwrap_or_default(),
        size_bytes: record.size,
        shared_bytes: 0,
        layers: record.diff_ids.clone(),
        containers: around.users.get(&record.id).copied().unwrap_or(0),
        held: store::image::Images::is_held(record, &around.indexes),
        target: variants::target(&around.images, record),
    }
}

fn view(record: &ImageRecord, images: &store::image::Images) -> ImageView {
    let config = &record.config;
    let paths = images.layer_paths(record);
    ImageView {
        id: record.id,
        tags: record.refs.iter().map(ImageRef::familiar).collect(),
        digests: record.digests.iter().map(ImageRef::familiar).collect(),
        parent: record.parent,
        container: config.extra.get("container").and_then(Value::as_str).unwrap_or("").to_owned(),
        comment: config.comment.clone().unwrap_or_default(),
        created: config.created.is_some().then_some(record.created),
        author: config.author.clone().unwrap_or_default(),
        config: image_config::from_wire(&config.config),
        architecture: config.architecture.clone(),
        variant: config.variant.clone().unwrap_or_default(),
        os: config.os.clone(),
        size_bytes: record.size,
        layers: record.diff_ids.clone(),
        layer_paths: paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        last_tagged: record.tagged_at,
        target: variants::target(images, record),
    }
}
