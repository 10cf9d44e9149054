//! Registries that are odd rather than hostile: what their search and their lists of referrers
//! answer is understood as far as it can be, and refused in words otherwise.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod fake;

use fake::{Reply, Request, Server, headers, sha256, text};
use model::ImageRef;
use registry::{Client, Error, SearchHit, Settings};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A client of a server that answers everything but `/v2/` with this.
fn client(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Server, Client) {
    let server = Server::new(Arc::new(move |request: &Request| match request.target.as_str() {
        "/v2/" => text(200, "{}"),
        _ => answer(request),
    }));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
    let settings = Settings {
        search: server.url("/index"),
        pause: Duration::from_millis(1),
        attempts: 2,
        certificates: Vec::new(),
        registries: None,
        ..Settings::default()
    };
    let client = Client::new(store, settings).unwrap();
    (server, client)
}

fn search(answer: Reply) -> Result<Vec<SearchHit>, Error> {
    let (_server, client) = client(move |_| answer.clone());
    Client::drive(client.search("web", None, None))
}

#[test]
fn searches_are_understood_as_far_as_they_can_be() {
    let hits = |answer: &str| search(text(200, answer)).unwrap();
    let nulls = r#"{"num_results": "2", "results": [
        {"name": "a", "description": null, "star_count": null, "is_official": null},
        {"name": "b", "pull_count": 7, "is_automated": "no", "extra": {"x": []}}], "page": null}"#;
    let found = hits(nulls);
    assert_eq!(found.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found[0].description.as_str(), found[0].star_count), ("", 0));
    for nothing in [r#"{"results": null}"#, r#"{"results": []}"#, "{}"] {
        assert_eq!(hits(nothing), [], "{nothing}");
    }
    let chunked = Reply::Chunked(headers(&[("Content-Type", "text/plain")]), nulls.into());
    assert_eq!(search(chunked).unwrap().len(), 2);
}

#[test]
fn searches_that_make_no_sense_are_refused() {
    for (answer, words) in [
        (text(200, "<html>"), "search results"),
        (text(200, r#"{"results": {"name": "a"}}"#), "search results"),
        (text(404, "no such page"), "404"),
        (text(401, ""), "401"),
        (Reply::Hangup, "/index"),
        (Reply::Endless(Vec::new()), "4194304 bytes"),
    ] {
        let refused = search(answer.clone()).unwrap_err().to_string();
        assert!(refused.contains(words), "{answer:?}: {refused}");
    }
}

fn entry(artifact: &str) -> Value {
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7,
        "digest": sha256(artifact.as_bytes()).to_string(), "artifactType": artifact})
}

fn list(entries: &[Value]) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    index.to_string().into_bytes()
}

fn typed(kind: &str, body: Vec<u8>) -> Reply {
    Reply::Plain(200, headers(&[("Content-Type", kind)]), body)
}

/// The artifact types of what refers to something, where `GET referrers` is answered so and the tag
/// that clients of old keep has the entry `tagged`.
fn referrers(
    wanted: Option<&str>,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Result<Vec<String>, Error> {
    let (server, client) = client(move |request| match request.target.contains("/referrers/") {
        true => answer(request),
        false => typed(INDEX, list(&[entry("tagged")])),
    });
    let repository = ImageRef::parse(&format!("{}/some/thing", server.address)).unwrap();
    let found = Client::drive(client.referrers((&repository, sha256(b"x")), wanted, None))?;
    Ok(found.into_iter().filter_map(|entry| entry.artifact_type).collect())
}

#[test]
fn registries_that_keep_no_referrers_are_asked_for_the_tag() {
    for status in [400, 404, 405, 501] {
        assert_eq!(referrers(None, move |_| text(status, "{}")).unwrap(), ["tagged"], "{status}");
    }
    let page = |_: &Request| typed("text/html; charset=utf-8", b"<html>".to_vec());
    assert_eq!(referrers(None, page).unwrap(), ["tagged"]);
}

#[test]
fn lists_of_referrers_are_read_in_any_form_that_is_one() {
    let both = || list(&[entry("sbom"), entry("signature")]);
    for kind in [INDEX, "application/json", "text/plain"] {
        let found = referrers(None, move |_| typed(kind, both())).unwrap();
        assert_eq!(found, ["sbom", "signature"], "{kind}");
    }
    // The filter is passed over.
    let found = referrers(Some("sbom"), move |_| typed(INDEX, both())).unwrap();
    assert_eq!(found, ["sbom"]);
    let null = |_: &Request| {
        typed(INDEX, br#"{"schemaVersion": 2, "manifests": null, "annotations": null}"#.to_vec())
    };
    assert_eq!(referrers(None, null).unwrap().len(), 0);
    // The second page is one of another server: it is not asked.
    let elsewhere = |_: &Request| {
        let link = "<http://127.0.0.9:1/v2/x>; rel=\"next\"";
        let head = headers(&[("Content-Type", INDEX), ("Link", link)]);
        Reply::Plain(200, head, list(&[entry("first")]))
    };
    assert_eq!(referrers(None, elsewhere).unwrap(), ["first"]);
    // A page that goes missing leaves those before it.
    let lost = |request: &Request| match request.target.contains("page=2") {
        true => text(404, ""),
        false => {
            let link = format!("<{}?page=2>; rel=\"next\"", request.target);
            let head = headers(&[("Content-Type", INDEX), ("Link", &link)]);
            Reply::Plain(200, head, list(&[entry("first")]))
        }
    };
    assert_eq!(referrers(None, lost).unwrap(), ["first"]);
}

#[test]
fn lists_of_referrers_that_lie_are_refused() {
    let mut path = entry("path");
    path["digest"] = json!("../../etc/passwd");
    let path = list(&[path]);
    let again = |request: &Request| {
        let link = format!("<{}>; rel=\"next\"", request.target);
        Reply::Plain(200, headers(&[("Content-Type", INDEX), ("Link", &link)]), list(&[]))
    };
    for (refused, words) in [
        (referrers(None, move |_| typed(INDEX, path.clone())), "digest"),
        (referrers(None, |_| typed(INDEX, b"<html>".to_vec())), "referrers"),
        (
            referrers(None, |_| typed(INDEX, br#"{"schemaVersion":1,"manifests":[]}"#.to_vec())),
            "list",
        ),
        (referrers(None, again), "too many pages"),
        (referrers(None, |_| text(403, "")), "403"),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
}
