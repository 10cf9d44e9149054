//! Lists: repositories and tags, a page at a time.

use hyper::header;
use serde_json::json;

use super::super::answer::{self, Answer, with};
use super::super::name::Name;
use super::super::refusal::{Code, Refusal};
use super::super::registry::Shared;
use super::Query;

/// The longest page, whatever a client asks for (law D3).
const MAX_PAGE: usize = 10_000;
/// A page of repositories when the client names no length.
const DEFAULT_CATALOG: usize = 1000;

/// `GET /v2/_catalog`: the repositories that the client may read.
pub(crate) fn catalog(
    shared: &Shared,
    query: &Query,
    may_read: impl Fn(&Name) -> bool,
) -> Result<Answer, Refusal> {
    let page = Page::of(query, DEFAULT_CATALOG)?;
    let (names, more) = shared.storage.read(|index| {
        let names = index.repositories().map(|(name, _)| name).filter(|name| may_read(name));
        page.take(names.map(Name::as_str))
    });
    let answer = answer::json(&json!({ "repositories": names }))?;
    Ok(page.link(answer, "/v2/_catalog", &names, more))
}

/// `GET /v2/<name>/tags/list`
pub(crate) fn tags(shared: &Shared, name: &Name, query: &Query) -> Result<Answer, Refusal> {
    let page = Page::of(query, usize::MAX)?;
    let found = shared.storage.read(|index| {
        let repository = index.repository(name)?;
        Some(page.take(repository.tags.keys().map(super::super::name::Tag::as_str)))
    });
    let Some((tags, more)) = found else {
        let message = format!("the repository {name} is not known here");
        let detail = json!({ "name": name.as_str() });
        return Err(Refusal::new(Code::NameUnknown, message).with_detail(detail));
    };
    let answer = answer::json(&json!({ "name": name.as_str(), "tags": tags }))?;
    Ok(page.link(answer, &format!("/v2/{name}/tags/list"), &tags, more))
}

/// Which part of a list is wanted.
struct Page {
    length: usize,
    after: Option<String>,
}

impl Page {
    fn of(query: &Query, default: usize) -> Result<Self, Refusal> {
        let bad = || {
            let message = "n is no number of entries";
            Refusal::new(Code::PaginationNumberInvalid, message)
        };
        let length = match query.value("n") {
            Some(text) => text.parse::<usize>().map_err(|_| bad())?.min(MAX_PAGE),
            None => default,
        };
        Ok(Self { length, after: query.value("last").map(str::to_owned) })
    }

    /// The entries of this page, and whether others follow.
    fn take<'a>(&self, entries: impl Iterator<Item = &'a str>) -> (Vec<String>, bool) {
        let mut entries = entries.filter(|it| self.after.as_deref().is_none_or(|last| *it > last));
        let taken = entries.by_ref().take(self.length).map(str::to_owned).collect();
        (taken, entries.next().is_some())
    }

    /// Names the next page, RFC 5988.
    fn link(&self, answer: Answer, path: &str, entries: &[String], more: bool) -> Answer {
        match entries.last() {
            Some(last) if more => {
                let next = format!("<{path}?n={}&last={last}>; rel=\"next\"", self.length);
                with(answer, header::LINK, &next)
            }
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let all = ["a", "b", "c"];
        let take =
            |query: &str| Page::of(&Query::parse(query), 10).map(|it| it.take(all.into_iter()));
        assert_eq!(take("").unwrap(), (vec!["a".into(), "b".into(), "c".into()], false));
        assert_eq!(take("n=2").unwrap(), (vec!["a".into(), "b".into()], true));
        assert_eq!(take("n=2&last=b").unwrap(), (vec!["c".into()], false));
        assert_eq!(take("n=0").unwrap(), (vec![], true));
        assert!(take("n=-1").is_err());
        assert!(take("n=x").is_err());
        assert_eq!(Page::of(&Query::parse("n=99999999"), 1).unwrap().length, MAX_PAGE);
    }
}
