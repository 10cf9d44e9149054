//! Volumes of the `local` driver: directories that outlive containers. What a volume mounts
//! (`type`, `o`, `device`) is told as data: this module makes directories and never mounts.

use crate::bound::Bound;
use crate::error::{Act, Result};
use crate::image::now;
use crate::record::{self, v1};
use crate::replica::{self, Original};
use crate::snapshot::merge::MergedDir;
use crate::store::{Published, Store, random_name};
use crate::tar::extract::{Extractor, Rules};
use crate::tar::name::TreePath;
use crate::tar::node::Ownership;
use crate::tar::reader::{Discard, End, TarReader};
use crate::tree;
use crate::{Error, archive, compress};
use model::volume::VolumeDraft;
use model::{ContainerId, Denied, Timestamp, VolumeName};
use rustix::fs::{self, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::BufReader;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The only driver here.
pub const LOCAL_DRIVER: &str = "local";
const MAX_LINKS: usize = 40;

/// The volumes of a store.
#[derive(Clone, Debug)]
pub struct Volumes {
    pub(crate) store: Store,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created: Timestamp,
    /// Whether its name was made up.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options as given.
    pub options: BTreeMap<String, String>,
    /// The directory with its content, or where [`Volume::mount`] goes.
    pub data: PathBuf,
    /// What has to be mounted on `data` before use.
    pub mount: Option<LocalMount>,
}

/// What a volume mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMount {
    /// File system type; `none` with `bind` among the options for a bind mount.
    pub fstype: String,
    /// What is mounted.
    pub device: String,
    /// Mount options, separated by commas.
    pub options: String,
}

/// What the options of a volume mean.
struct Meaning {
    mount: Option<LocalMount>,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
    /// The most that its content may take.
    limit_bytes: Option<u64>,
}

impl Volumes {
    /// Makes a volume; without a name a random one is made up. An existing one of that name is
    /// given as it is, as Docker does.
    pub fn create(&self, draft: &VolumeDraft) -> Result<Volume> {
        self.create_filled(draft, |_| Ok(()))
    }

    /// Makes a volume with the content of a tar, plain or compressed: all of it, or no volume. One
    /// of that name must not exist.
    pub fn import(&self, draft: &VolumeDraft, tar: &mut dyn std::io::Read) -> Result<Volume> {
        if let Ok(name) = VolumeName::parse(&draft.name) {
            self.check_free(&name)?;
        }
        self.create_filled(draft, |data| unpack(data, tar))
    }

    /// Writes a volume's content as a tar: names from `./` on, owners as stored.
    pub fn export(&self, name: &VolumeName, out: &mut dyn std::io::Write) -> Result<()> {
        let data = self.content(name)?;
        archive::read(data.as_fd(), "/.", archive::ReadOptions::default(), out)
    }

    /// Makes a volume with the labels and the content that another has now.
    pub fn copy(&self, from: &VolumeName, to: &VolumeName) -> Result<Volume> {
        self.check_free(to)?;
        let source = self.find(from)?;
        let data = self.content(from)?;
        let mut options = source.options;
        options.retain(|name, _| matches!(name.as_str(), "uid" | "gid" | "mode" | "size"));
        let draft = VolumeDraft {
            name: to.to_string(),
            labels: source.labels,
            options,
            ..VolumeDraft::default()
        };
        self.create_filled(&draft, |target| replica::make(&Original::Plain(data), target))
    }

    /// Gives a volume another name. The caller knows that nothing uses or mounts it.
    pub fn rename(&self, from: &VolumeName, to: &VolumeName) -> Result<()> {
        self.find(from)?;
        self.check_free(to)?;
        let volumes = &self.store.inner.dirs.volumes;
        let renaming = || format!("rename volume {from} to {to}");
        let flags = RenameFlags::NOREPLACE;
        fs::renameat_with(volumes, from.as_str(), volumes, to.as_str(), flags).act(renaming)?;
        sys::failpoint::hit("store.volume.renamed");
        fs::fsync(volumes).act(renaming)
    }

    fn check_free(&self, name: &VolumeName) -> Result<()> {
        match self.look_up(name)? {
            None => Ok(()),
            Some(_) => Err(Denied::conflict(format!("volume {name} exists already")).into()),
        }
    }

    /// The directory with a volume's own content; what a volume mounts is not its own.
    fn content(&self, name: &VolumeName) -> Result<OwnedFd> {
        let volume = self.find(name)?;
        if volume.mount.is_some() {
            return Err(Denied::unsupported(format!(
                "volume {name} mounts {:?}: its content is not kept here",
                volume.options.get("device").map_or("", String::as_str)
            ))
            .into());
        }
        tree::open_dir(&volume.data).act(|| format!("open volume {name}"))
    }

    fn create_filled(
        &self,
        draft: &VolumeDraft,
        fill: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<Volume> {
        if !matches!(draft.driver.as_str(), "" | LOCAL_DRIVER) {
            let message =
                format!("error looking up volume plugin {}: plugin not found", draft.driver);
            return Err(Denied::not_found(message).into());
        }
        let anonymous = draft.name.is_empty() || draft.anonymous;
        let name = if draft.name.is_empty() {
            random_volume_name()?
        } else {
            VolumeName::parse(&draft.name)?
        };
        let meaning = meaning(&draft.options)?;
        if let Some(known) = self.look_up(&name)? {
            return Ok(known);
        }
        let making = || format!("make volume {name}");
        let scratch = self.store.scratch()?;
        sys::failpoint::hit("store.volume.begun");
        fs::mkdirat(&scratch.dir, c"_data", Mode::RWXU).act(making)?;
        let data = tree::child_dir(&scratch.dir, c"_data").act(making)?;
        let (uid, gid) = meaning.owner.unwrap_or((0, 0));
        fs::fchown(&data, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).act(making)?;
        fs::fchmod(&data, Mode::from_raw_mode(meaning.mode.unwrap_or(0o755))).act(making)?;
        sys::failpoint::hit("store.volume.made");
        let what = || format!("volume {name}");
        let bound =
            meaning.limit_bytes.map(|bytes| Bound::set(&data, bytes, &what())).transpose()?;
        fill(&data)?;
        sys::failpoint::hit("store.volume.filled");
        let meta = v1::VolumeMeta {
            version: v1::VERSION,
            created_ns: now().0,
            anonymous,
            labels: draft.labels.clone(),
            options: draft.options.clone(),
        };
        record::write_meta_durably(&scratch.dir, &meta)?;
        sys::failpoint::hit("store.volume.described");
        // A volume is promised to last, and so it does from here on.
        fs::fsync(&scratch.dir).act(making)?;
        let volumes = &self.store.inner.dirs.volumes;
        // Who was faster made the one that both get.
        let published = scratch.publish(volumes, name.as_str()).act(making)?;
        if let (Published::New, Some(bound)) = (published, bound) {
            bound.keep();
        }
        sys::failpoint::hit("store.volume.named");
        fs::fsync(volumes).act(making)?;
        self.find(&name)
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let names = tree::names(&self.store.inner.dirs.volumes).act(|| "list volumes".into())?;
        let mut volumes = Vec::new();
        for name in names.iter().filter_map(|name| VolumeName::parse(name.to_str().ok()?).ok()) {
            volumes.extend(self.look_up(&name)?);
        }
        Ok(volumes)
    }

    /// One volume.
    pub fn find(&self, name: &VolumeName) -> Result<Volume> {
        self.look_up(name)?
            .ok_or_else(|| Denied::not_found(format!("get {name}: no such volume")).into())
    }

    /// Removes a volume with its content. The caller knows that nothing uses or mounts it.
    pub fn remove(&self, name: &VolumeName) -> Result<()> {
        let removing = || format!("remove volume {name}");
        self.find(name)?;
        let scratch = self.store.scratch()?;
        sys::failpoint::hit("store.volume.remove");
        fs::renameat(&self.store.inner.dirs.volumes, name.as_str(), &scratch.dir, c"removed")
            .act(removing)?;
        sys::failpoint::hit("store.volume.removed");
        let _bound = tree::child_dir(&scratch.dir, c"removed")
            .ok()
            .and_then(|removed| Bound::of(&removed, c"_data"));
        tree::remove(&scratch.dir, c"removed").act(removing)
    }

    /// Bytes of the files in a volume.
    pub fn usage(&self, name: &VolumeName) -> Result<u64> {
        let measuring = || format!("measure volume {name}");
        let data = tree::open_dir(&self.find(name)?.data).act(measuring)?;
        Ok(tree::measure(data).act(measuring)?.apparent)
    }

    /// Fills an empty volume with what the container's image has at `path`, owner and mode of the
    /// directory included. Whether there was something to copy; a volume with content stays as it
    /// is. Ids are as stored, 0-based. With a `subpath` the directory there is filled, if there is
    /// one: no link leads out of the volume.
    pub fn copy_up(
        &self,
        name: &VolumeName,
        subpath: &str,
        container: ContainerId,
        path: &str,
    ) -> Result<bool> {
        let copying = || format!("copy {path} of the image into volume {name}");
        let mut data = tree::open_dir(&self.find(name)?.data).act(copying)?;
        if !subpath.is_empty() {
            let (flags, within) = (OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::BENEATH);
            let Ok(beneath) = tree::openat2(&data, subpath, flags, within) else {
                return Ok(false);
            };
            data = beneath;
        }
        // Most are full already, and then the image is not looked at.
        if !tree::names(&data).act(copying)?.is_empty() {
            return Ok(false);
        }
        match self.filling(container, path)? {
            Some(filling) => filling.fill(&data),
            None => Ok(false),
        }
    }

    /// What the container's image has at `path`, to fill a volume with that is kept elsewhere.
    pub fn filling(&self, container: ContainerId, path: &str) -> Result<Option<Filling>> {
        let merged = self.store.snapshots().merged(container)?;
        Ok(descend(merged, path)?.map(Filling))
    }

    fn look_up(&self, name: &VolumeName) -> Result<Option<Volume>> {
        let volumes = &self.store.inner.dirs.volumes;
        let Some(meta) = record::read_meta::<v1::VolumeMeta>(volumes, name.as_str())? else {
            return Ok(None);
        };
        Ok(Some(Volume {
            name: name.clone(),
            created: Timestamp(meta.created_ns),
            anonymous: meta.anonymous,
            labels: meta.labels,
            mount: meaning(&meta.options)?.mount,
            options: meta.options,
            data: self.store.root().join("volumes").join(name.as_str()).join("_data"),
        }))
    }
}

/// A directory of an image, to fill a volume with.
pub struct Filling(MergedDir);

impl Filling {
    /// Copies it into an empty directory; one with content stays as it is. Whether it was copied.
    pub fn fill(self, dir: &OwnedFd) -> Result<bool> {
        let filling = || "fill a volume".to_owned();
        let data = tree::child_dir(dir, c".").act(filling)?;
        if !tree::names(&data).act(filling)?.is_empty() {
            return Ok(false);
        }
        sys::failpoint::hit("store.volume.copy-up");
        replica::make(&Original::Merged(self.0), &data)?;
        sys::failpoint::hit("store.volume.copied-up");
        Ok(true)
    }
}

/// Checks the options as Docker's local driver does; `uid`, `gid` and `mode` are ours.
fn meaning(options: &BTreeMap<String, String>) -> Result<Meaning> {
    let fail = |message: String| Err(Denied::invalid(message).into());
    for (key, value) in options {
        match key.as_str() {
            "type" | "o" | "device" | "uid" | "gid" | "mode" | "size" => {}
            other => return fail(format!("invalid option: {other:?}")),
        }
        if value.contains('\0') {
            return fail(format!("invalid option {key:?}: contains NUL"));
        }
    }
    let option = |key: &str| options.get(key).map(String::as_str).filter(|v| !v.is_empty());
    let id = |key: &str| -> Result<Option<u32>> {
        let Some(text) = option(key) else { return Ok(None) };
        match text.parse() {
            Ok(id) if id < u32::MAX - 1 => Ok(Some(id)),
            _ => Err(Denied::invalid(format!("invalid {key} {text:?}")).into()),
        }
    };
    let (uid, gid) = (id("uid")?, id("gid")?);
    let owner = (uid.is_some() || gid.is_some()).then(|| (uid.unwrap_or(0), gid.unwrap_or(0)));
    let mode = match option("mode").map(|text| u32::from_str_radix(text, 8)) {
        None => None,
        Some(Ok(mode)) if mode <= 0o7777 => Some(mode),
        Some(_) => return fail("invalid mode: want octal digits".into()),
    };
    let mount = match (option("type"), option("device")) {
        (None, None) if option("o").is_none() => None,
        (None, _) => return fail("missing required option: \"type\"".into()),
        (_, None) => return fail("missing required option: \"device\"".into()),
        (Some(fstype), Some(device)) => Some(LocalMount {
            fstype: fstype.to_owned(),
            device: device.to_owned(),
            options: option("o").unwrap_or_default().to_owned(),
        }),
    };
    let limit_bytes = option("size").map(model::size::bytes).transpose()?;
    let (mount, limit_bytes) = match (mount, limit_bytes) {
        // Memory knows by itself how much of it may be used.
        (Some(mut mount), Some(bytes)) if mount.fstype == "tmpfs" => {
            let comma = if mount.options.is_empty() { "" } else { "," };
            mount.options = format!("{}{comma}size={bytes}", mount.options);
            (Some(mount), None)
        }
        (Some(mount), Some(_)) => {
            return fail(format!(
                "option \"size\": what {:?} holds is bounded where it is kept",
                mount.device
            ));
        }
        bounded => bounded,
    };
    Ok(Meaning { mount, owner, mode, limit_bytes })
}

/// The directory that a path means in the image, links followed inside it.
fn descend(root: MergedDir, path: &str) -> Result<Option<MergedDir>> {
    let mut todo: Vec<CString> = TreePath::parse(path.as_bytes())?.parts().to_vec();
    todo.reverse();
    let mut above: Vec<MergedDir> = vec![root];
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let Some(current) = above.last() else { return Ok(None) };
        if part.as_bytes() == b".." {
            above.truncate(above.len().saturating_sub(1).max(1));
            continue;
        }
        let Some(child) = current.child(&part)? else { return Ok(None) };
        match tree::kind(&child.stat) {
            FileType::Directory => match current.enter(&part)? {
                Some(next) => above.push(next),
                None => return Ok(None),
            },
            FileType::Symlink => {
                links += 1;
                let target = tree::read_link(current.level(child.level), &part)
                    .act(|| format!("read link {}", part.to_string_lossy()))?;
                if links > MAX_LINKS || above.len() + todo.len() > 1000 {
                    return Err(Denied::invalid(format!("{path}: too many links")).into());
                }
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                let parts = target.split(|byte| *byte == b'/').rev();
                for part in parts.filter(|part| !matches!(*part, b"" | b".")) {
                    todo.push(CString::new(part).map_err(|_| Error::bad("NUL in link"))?);
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(above.pop())
}

/// Extracts a volume's whole content, attributes of its root included.
fn unpack(data: &OwnedFd, tar: &mut dyn std::io::Read) -> Result<()> {
    let owner = Ownership::default();
    let rules = Rules { layer: false, keep_kinds: false, root: true, owner };
    if let Some(unpacker) = crate::unpacker::installed() {
        return unpacker.tree(data.as_fd(), &TreePath::default(), rules, tar).map(drop);
    }
    let source = BufReader::new(compress::plain(tar)?);
    let mut tar = TarReader::new(source, Discard, End::Marked);
    Extractor::new(data.as_fd(), TreePath::default(), rules).run(&mut tar).map(drop)
}

fn random_volume_name() -> Result<VolumeName> {
    let mut name = String::new();
    while name.len() < 64 {
        name.push_str(&random_name()?.to_string_lossy());
    }
    name.truncate(64);
    Ok(VolumeName::parse(&name)?)
}
