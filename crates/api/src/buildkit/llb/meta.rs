//! What a definition says of its operations beside what they do: names, source locations, whether
//! the cache may be used. Knows no kind of operation but to name it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use build::graph::{Change, FileAction, Group, OpKind, Vertex};
use build::span::{Location, Position, Source, Span};

/// The most source files of a definition, and the most locations of one operation.
const MAX_SOURCES: usize = 256;
/// The longest name that is shown.
const MAX_NAME_CHARS: usize = 4096;
/// The description by which clients name their operations.
const CUSTOM_NAME: &str = "llb.customname";

/// What a definition says of its operations.
pub(super) struct Describe<'d> {
    definition: &'d pb::Definition,
    sources: Vec<Arc<Source>>,
    locations: Option<&'d BTreeMap<String, pb::Locations>>,
}

impl<'d> Describe<'d> {
    /// Reads the source files once.
    pub(super) fn new(definition: &'d pb::Definition) -> Self {
        let source = definition.source.as_ref();
        let infos = source.map(|source| source.infos.as_slice()).unwrap_or_default();
        let sources = infos.iter().take(MAX_SOURCES).map(|info| {
            let text = String::from_utf8_lossy(&info.data).into_owned();
            Arc::new(Source { name: info.filename.clone(), text })
        });
        let locations = source.map(|source| &source.locations);
        Self { definition, sources: sources.collect(), locations }
    }

    /// The vertex of an operation.
    pub(super) fn vertex(&self, digest: &str, kind: &OpKind) -> Vertex {
        let location = self.location(digest);
        let Some(meta) = self.definition.metadata.get(digest) else {
            return Vertex { name: name(kind), location, ..Vertex::default() };
        };
        let custom = meta.description.get(CUSTOM_NAME).filter(|name| !name.is_empty());
        let group = meta.progress_group.as_ref().map(|group| Group {
            id: group.id.clone(),
            name: bounded(&group.name),
            weak: group.weak,
        });
        let mut description: BTreeMap<_, _> = meta.description.clone().into_iter().collect();
        description.remove(CUSTOM_NAME);
        Vertex {
            name: custom.map_or_else(|| name(kind), |name| bounded(name)),
            location,
            ignore_cache: meta.ignore_cache,
            group,
            limits: None,
            description,
        }
    }

    fn location(&self, digest: &str) -> Option<Location> {
        let found = self.locations?.get(digest)?.locations.first()?;
        let source = self.sources.get(usize::try_from(found.source_index).ok()?)?;
        let spans = found.ranges.iter().take(MAX_SOURCES).map(|range| Span {
            start: position(range.start.as_ref()),
            end: position(range.end.as_ref()),
        });
        Some(Location { source: Arc::clone(source), spans: spans.collect() })
    }
}

fn position(position: Option<&pb::Position>) -> Position {
    let number = |number: i32| u32::try_from(number).unwrap_or(0);
    position.map_or_else(Position::default, |position| Position {
        line: number(position.line),
        column: number(position.character),
    })
}

/// Names go to terminals: bounded, and without control characters.
fn bounded(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

/// The name of an operation that has none.
fn name(kind: &OpKind) -> String {
    bounded(&match kind {
        OpKind::Image(image) => format!("docker-image://{}", image.reference),
        OpKind::OciLayout(layout) => format!("oci-layout://{}", layout.reference),
        OpKind::Local(local) => format!("local://{}", local.name),
        OpKind::Git(git) => format!("git {}#{}", git.remote, git.reference),
        OpKind::Http(http) => http.url.clone(),
        OpKind::Exec(exec) => exec.args.join(" "),
        OpKind::File(file) => file.actions.iter().map(action_name).collect::<Vec<_>>().join(", "),
        OpKind::Merge => "merge".to_owned(),
        OpKind::Diff { .. } => "diff".to_owned(),
    })
}

fn action_name(action: &FileAction) -> String {
    match &action.change {
        Change::Copy(copy) => format!("copy {} {}", copy.src, copy.dest),
        Change::Mkdir { path, .. } => format!("mkdir {path}"),
        Change::Mkfile { path, .. } => format!("mkfile {path}"),
        Change::Symlink { path, target, .. } => format!("symlink {path} -> {target}"),
        Change::Remove { path, .. } => format!("rm {path}"),
    }
}
