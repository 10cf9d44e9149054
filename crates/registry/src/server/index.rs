//! What the registry holds: repositories, their tags, manifests and blobs. Pure: it changes by
//! [`Change`]s, which somebody else writes down, and answers questions from memory.
//!
//! A blob belongs to every repository it was pushed or mounted to, and can be seen only through
//! one of them (law D7): knowing a digest opens nothing.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::manifest::Document;
use super::name::{Digest, Name, Tag};

/// Seconds since the epoch.
pub(crate) type Seconds = u64;

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Index {
    repositories: BTreeMap<Name, Repository>,
    /// How many repositories hold a blob or a manifest, and its size.
    holders: HashMap<Digest, (usize, u64)>,
}

/// One repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) tags: BTreeMap<Tag, Tagged>,
    pub(crate) manifests: BTreeMap<Digest, Held>,
    pub(crate) blobs: BTreeMap<Digest, Blob>,
}

/// A tag's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tagged {
    pub(crate) digest: Digest,
    pub(crate) at: Seconds,
}

/// A blob in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) size: u64,
    pub(crate) at: Seconds,
}

/// A manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) document: Document,
    pub(crate) size: u64,
    pub(crate) at: Seconds,
}

/// One change. Each is written down before it is applied.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A manifest is kept.
    Keep(Name, Digest, Box<Held>),
    /// A manifest goes, with the tags that name it.
    Drop(Name, Digest),
    /// A tag names a manifest.
    Tag(Name, Tag, Tagged),
    /// A tag goes.
    Untag(Name, Tag),
    /// A blob belongs to a repository.
    Link(Name, Digest, Blob),
    /// A blob no longer does.
    Unlink(Name, Digest),
}

impl Index {
    pub(crate) fn repository(&self, name: &Name) -> Option<&Repository> {
        self.repositories.get(name)
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = (&Name, &Repository)> {
        self.repositories.iter()
    }

    /// The blob as this repository holds it.
    pub(crate) fn blob(&self, name: &Name, digest: &Digest) -> Option<Blob> {
        self.repositories.get(name)?.blobs.get(digest).copied()
    }

    /// The manifest as this repository holds it.
    pub(crate) fn manifest(&self, name: &Name, digest: &Digest) -> Option<&Held> {
        self.repositories.get(name)?.manifests.get(digest)
    }

    /// What a tag names.
    pub(crate) fn tagged(&self, name: &Name, tag: &Tag) -> Option<Digest> {
        Some(self.repositories.get(name)?.tags.get(tag)?.digest.clone())
    }

    /// Bytes of all distinct content.
    pub(crate) fn bytes(&self) -> u64 {
        self.holders.values().map(|(_, size)| size).sum()
    }

    /// Bytes of a repository's content, what it shares with others included.
    pub(crate) fn repository_bytes(&self, name: &Name) -> u64 {
        let Some(repository) = self.repositories.get(name) else { return 0 };
        let blobs: u64 = repository.blobs.values().map(|blob| blob.size).sum();
        blobs + repository.manifests.values().map(|held| held.size).sum::<u64>()
    }

    /// Whether anybody holds this content.
    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        self.holders.contains_key(digest)
    }

    /// Manifests about `subject`, oldest first.
    pub(crate) fn referrers(&self, name: &Name, subject: &Digest) -> Vec<(&Digest, &Held)> {
        let Some(repository) = self.repositories.get(name) else { return Vec::new() };
        let about = |(_, held): &(&Digest, &Held)| held.document.subject.as_ref() == Some(subject);
        let mut found: Vec<_> = repository.manifests.iter().filter(about).collect();
        found.sort_by_key(|(digest, held)| (held.at, (*digest).clone()));
        found
    }

    /// Applies a change and returns content that nobody holds any more.
    pub(crate) fn apply(&mut self, change: Change) -> Vec<Digest> {
        let name = match &change {
            Change::Keep(name, ..)
            | Change::Drop(name, _)
            | Change::Tag(name, ..)
            | Change::Untag(name, _)
            | Change::Link(name, ..)
            | Change::Unlink(name, _) => name.clone(),
        };
        let repository = self.repositories.entry(name.clone()).or_default();
        let mut loose = Vec::new();
        match change {
            Change::Keep(_, digest, held) => {
                let size = held.size;
                if repository.manifests.insert(digest.clone(), *held).is_none() {
                    self.holders.entry(digest).or_insert((0, size)).0 += 1;
                }
            }
            Change::Drop(_, digest) => {
                repository.tags.retain(|_, tagged| tagged.digest != digest);
                if repository.manifests.remove(&digest).is_some() {
                    loose.extend(release(&mut self.holders, digest));
                }
            }
            Change::Tag(_, tag, tagged) => drop(repository.tags.insert(tag, tagged)),
            Change::Untag(_, tag) => drop(repository.tags.remove(&tag)),
            Change::Link(_, digest, blob) => {
                if repository.blobs.insert(digest.clone(), blob).is_none() {
                    self.holders.entry(digest).or_insert((0, blob.size)).0 += 1;
                }
            }
            Change::Unlink(_, digest) => {
                if repository.blobs.remove(&digest).is_some() {
                    loose.extend(release(&mut self.holders, digest));
                }
            }
        }
        if repository.is_empty() {
            self.repositories.remove(&name);
        }
        loose
    }
}

impl Repository {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.blobs.is_empty()
    }
}

/// Takes one holder away; the content itself, when that was the last.
fn release(holders: &mut HashMap<Digest, (usize, u64)>, digest: Digest) -> Option<Digest> {
    let (count, _) = holders.get_mut(&digest)?;
    *count -= 1;
    if *count > 0 {
        return None;
    }
    holders.remove(&digest);
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn digest(letter: &str) -> Digest {
        Digest::parse(&format!("sha256:{}", letter.repeat(64))).unwrap()
    }

    fn held(blob: &str, subject: Option<&str>) -> Box<Held> {
        let document = Document {
            media_type: "m".into(),
            artifact_type: None,
            annotations: BTreeMap::new(),
            subject: subject.map(digest),
            blobs: vec![digest(blob)],
            manifests: Vec::new(),
        };
        Box::new(Held { document, size: 10, at: 1 })
    }

    #[test]
    fn content_stays_while_anybody_holds_it() {
        let mut index = Index::default();
        let blob = Blob { size: 5, at: 0 };
        for repository in ["a", "b"] {
            assert!(index.apply(Change::Link(name(repository), digest("1"), blob)).is_empty());
        }
        assert_eq!(index.bytes(), 5, "shared content counts once");
        assert!(index.apply(Change::Unlink(name("a"), digest("1"))).is_empty());
        assert!(index.blob(&name("a"), &digest("1")).is_none(), "not seen through another");
        assert_eq!(index.apply(Change::Unlink(name("b"), digest("1"))), [digest("1")]);
        assert_eq!(index.repositories().count(), 0, "an empty repository is none");
    }

    #[test]
    fn a_manifest_takes_its_tags_along() {
        let mut index = Index::default();
        index.apply(Change::Keep(name("a"), digest("2"), held("1", None)));
        let tag = Tag::parse("v1").unwrap();
        let tagged = Tagged { digest: digest("2"), at: 0 };
        index.apply(Change::Tag(name("a"), tag.clone(), tagged));
        assert_eq!(index.tagged(&name("a"), &tag), Some(digest("2")));
        assert_eq!(index.apply(Change::Drop(name("a"), digest("2"))), [digest("2")]);
        assert_eq!(index.tagged(&name("a"), &tag), None);
    }

    #[test]
    fn doing_a_thing_twice_is_doing_it_once() {
        let mut index = Index::default();
        for _ in 0..2 {
            index.apply(Change::Keep(name("a"), digest("2"), held("1", Some("3"))));
        }
        assert_eq!(index.referrers(&name("a"), &digest("3")).len(), 1);
        assert_eq!(index.apply(Change::Drop(name("a"), digest("2"))).len(), 1);
        assert!(index.apply(Change::Drop(name("a"), digest("2"))).is_empty());
        assert!(!index.is_held(&digest("2")));
    }
}
