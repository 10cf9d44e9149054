//! What may go: tags that the retention rules let go of, and blobs that no manifest names. The
//! plan is pure; it is made and carried out under the storage's order, so no push can slip in
//! between.

use std::collections::BTreeSet;

use super::access::matches;
use super::config::Retention;
use super::index::{Change, Index, Repository, Seconds};
use super::name::{Digest, Name};

/// Everything that may go now. `grace` is how long a blob may wait for its manifest.
pub(crate) fn plan(
    index: &Index,
    rules: &[Retention],
    grace: Seconds,
    now: Seconds,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, repository) in index.repositories() {
        for rule in rules.iter().filter(|rule| any(&rule.repositories, name.as_str())) {
            tags(name, repository, rule, now, &mut changes);
        }
        let loose = rules.iter().any(|it| it.untagged && any(&it.repositories, name.as_str()));
        let gone = if loose {
            untagged(name, repository, grace, now, &mut changes)
        } else {
            BTreeSet::new()
        };
        blobs(name, repository, &gone, grace, now, &mut changes);
    }
    changes
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Tags that are neither among the newest nor young. Without a number and an age, all stay.
fn tags(
    name: &Name,
    repository: &Repository,
    rule: &Retention,
    now: Seconds,
    changes: &mut Vec<Change>,
) {
    if rule.keep.is_none() && rule.keep_days.is_none() {
        return;
    }
    let named = |tag: &str| rule.tags.is_empty() || any(&rule.tags, tag);
    let mut tags: Vec<_> = repository.tags.iter().filter(|(tag, _)| named(tag.as_str())).collect();
    tags.sort_by_key(|(tag, tagged)| (std::cmp::Reverse(tagged.at), (*tag).clone()));
    for (rank, (tag, tagged)) in tags.into_iter().enumerate() {
        let new = rule.keep.is_some_and(|keep| rank < keep);
        let age = now.saturating_sub(tagged.at);
        let young = rule.keep_days.is_some_and(|days| age < days.saturating_mul(86_400));
        if !new && !young {
            changes.push(Change::Untag(name.clone(), tag.clone()));
        }
    }
}

/// Manifests that no tag reaches, not even through an index or as what a reached one is about.
fn untagged(
    name: &Name,
    repository: &Repository,
    grace: Seconds,
    now: Seconds,
    changes: &mut Vec<Change>,
) -> BTreeSet<Digest> {
    let untagged: BTreeSet<&super::name::Tag> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Untag(of, tag) if of == name => Some(tag),
            _ => None,
        })
        .collect();
    let tagged = repository.tags.iter().filter(|(tag, _)| !untagged.contains(tag));
    let mut reached: BTreeSet<Digest> = tagged.map(|(_, it)| it.digest.clone()).collect();
    let mut before = usize::MAX;
    while before != reached.len() {
        before = reached.len();
        for (digest, held) in &repository.manifests {
            if reached.contains(digest) {
                reached.extend(held.document.manifests.iter().cloned());
            } else if held.document.subject.as_ref().is_some_and(|it| reached.contains(it)) {
                reached.insert(digest.clone());
            }
        }
    }
    let old = |at: Seconds| now.saturating_sub(at) >= grace;
    let manifests = repository.manifests.iter();
    let gone: BTreeSet<Digest> = manifests
        .filter(|(digest, held)| !reached.contains(*digest) && old(held.at))
        .map(|(digest, _)| digest.clone())
        .collect();
    changes.extend(gone.iter().map(|digest| Change::Drop(name.clone(), digest.clone())));
    gone
}

/// Blobs that no manifest names, and that have waited for one long enough.
fn blobs(
    name: &Name,
    repository: &Repository,
    gone: &BTreeSet<Digest>,
    grace: Seconds,
    now: Seconds,
    changes: &mut Vec<Change>,
) {
    let manifests = repository.manifests.iter().filter(|(digest, _)| !gone.contains(*digest));
    let named: BTreeSet<&Digest> = manifests.flat_map(|(_, held)| &held.document.blobs).collect();
    for (digest, blob) in &repository.blobs {
        if !named.contains(digest) && now.saturating_sub(blob.at) >= grace {
            changes.push(Change::Unlink(name.clone(), digest.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::{Blob, Held, Tagged};
    use super::super::manifest::Document;
    use super::super::name::Tag;
    use super::*;

    const DAY: Seconds = 86_400;

    fn digest(letter: &str) -> Digest {
        Digest::parse(&format!("sha256:{}", letter.repeat(64))).unwrap()
    }

    fn name() -> Name {
        Name::parse("ci/app").unwrap()
    }

    fn held(blobs: &[&str], manifests: &[&str], subject: Option<&str>) -> Box<Held> {
        let document = Document {
            media_type: "m".into(),
            artifact_type: None,
            annotations: Default::default(),
            subject: subject.map(digest),
            blobs: blobs.iter().map(|it| digest(it)).collect(),
            manifests: manifests.iter().map(|it| digest(it)).collect(),
        };
        Box::new(Held { document, size: 1, at: 0 })
    }

    /// Tags v1..v3 a day apart, an index over a manifest, a signature, and a loose manifest.
    fn index() -> Index {
        let mut index = Index::default();
        for letter in ["a", "b", "c", "d"] {
            index.apply(Change::Link(name(), digest(letter), Blob { size: 1, at: 0 }));
        }
        index.apply(Change::Keep(name(), digest("1"), held(&["a"], &[], None)));
        index.apply(Change::Keep(name(), digest("2"), held(&[], &["1"], None)));
        index.apply(Change::Keep(name(), digest("3"), held(&["b"], &[], Some("2"))));
        index.apply(Change::Keep(name(), digest("4"), held(&["c"], &[], None)));
        for (number, target) in [(1, "4"), (2, "2"), (3, "2")] {
            let tag = Tag::parse(&format!("v{number}")).unwrap();
            let tagged = Tagged { digest: digest(target), at: number * DAY };
            index.apply(Change::Tag(name(), tag, tagged));
        }
        index
    }

    fn rule(keep: Option<usize>, keep_days: Option<u64>, untagged: bool) -> Retention {
        Retention { repositories: vec!["ci/*".into()], tags: vec![], keep, keep_days, untagged }
    }

    fn texts(changes: &[Change]) -> Vec<String> {
        let one = |change: &Change| match change {
            Change::Untag(_, tag) => format!("tag {tag}"),
            Change::Drop(_, digest) => format!("manifest {}", &digest.hex()[..1]),
            Change::Unlink(_, digest) => format!("blob {}", &digest.hex()[..1]),
            other => format!("{other:?}"),
        };
        changes.iter().map(one).collect()
    }

    #[test]
    fn only_what_nothing_names_goes() {
        assert_eq!(texts(&plan(&index(), &[], DAY, 10 * DAY)), ["blob d"]);
        assert!(plan(&index(), &[], 11 * DAY, 10 * DAY).is_empty(), "it may still be named");
    }

    #[test]
    fn the_newest_stay_or_the_young() {
        let gone = |rule| texts(&plan(&index(), &[rule], DAY, 4 * DAY));
        assert_eq!(gone(rule(Some(1), None, false)), ["tag v2", "tag v1", "blob d"]);
        assert_eq!(gone(rule(None, Some(2), false)), ["tag v2", "tag v1", "blob d"]);
        assert_eq!(gone(rule(Some(1), Some(3), false)), ["tag v1", "blob d"]);
        assert_eq!(gone(rule(None, None, false)), ["blob d"]);
    }

    #[test]
    fn what_a_tag_reaches_stays() {
        let gone = texts(&plan(&index(), &[rule(Some(2), None, true)], DAY, 10 * DAY));
        assert_eq!(gone, ["tag v1", "manifest 4", "blob c", "blob d"]);
    }

    #[test]
    fn carrying_it_out_leaves_nothing_to_do() {
        let mut index = index();
        let rules = [rule(Some(1), None, true)];
        for change in plan(&index, &rules, DAY, 10 * DAY) {
            index.apply(change);
        }
        assert!(plan(&index, &rules, DAY, 10 * DAY).is_empty());
        assert!(index.manifest(&name(), &digest("1")).is_some(), "the index still has its part");
    }
}
