//! The registry over HTTP, as the distribution specification has it, and what is not in it:
//! restarts, rules, caches, listeners.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use lab::{Lab, digest_of, manifest_of};
use registry::server::{Auth, Config, Limits, Notify, Retention, Rule, Token, Upstream};
use serde_json::{Value, json};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn blobs_come_in_one_piece_in_two_requests_and_in_chunks() {
    let lab = Lab::start(Config::default());
    let digest = digest_of(b"one");
    let path = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let answer = lab.send("POST", &path, &[], b"one");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(answer.header("location"), format!("/v2/a/b/blobs/{digest}"));

    let digest = digest_of(b"two");
    let begun = lab.send("POST", "/v2/a/b/blobs/uploads/", &[], b"");
    assert_eq!((begun.status, begun.header("range").as_str()), (202, "0-0"));
    let put = format!("{}?digest={digest}", begun.header("location"));
    assert_eq!(lab.send("PUT", &put, &[], b"two").status, 201);

    let begun = lab.send("POST", "/v2/a/b/blobs/uploads/", &[], b"");
    let location = begun.header("location");
    let chunk = |range: &str, bytes: &[u8]| {
        lab.send("PATCH", &location, &[("content-range", range)], bytes)
    };
    assert_eq!(chunk("0-3", b"thre").header("range"), "0-3");
    let again = chunk("0-3", b"thre");
    assert_eq!((again.status, again.header("range").as_str()), (416, "0-3"), "out of order");
    assert_eq!(lab.send("GET", &location, &[], b"").header("range"), "0-3");
    assert_eq!(chunk("4-4", b"e").status, 202);
    let digest = digest_of(b"three");
    assert_eq!(lab.send("PUT", &format!("{location}?digest={digest}"), &[], b"").status, 201);
    assert_eq!(lab.send("GET", &format!("/v2/a/b/blobs/{digest}"), &[], b"").body, b"three");
    assert_eq!(lab.send("GET", &location, &[], b"").status, 404, "the upload is over");
}

#[test]
fn what_has_another_digest_is_not_kept() {
    let lab = Lab::start(Config::default());
    let other = digest_of(b"other");
    let path = format!("/v2/a/blobs/uploads/?digest={other}");
    let answer = lab.send("POST", &path, &[], b"this");
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(lab.send("HEAD", &format!("/v2/a/blobs/{other}"), &[], b"").status, 404);
    assert_eq!(std::fs::read_dir(lab.root().join("uploads")).unwrap().count(), 0);
    let sha512 = format!("sha512:{}", lab::sha512(b"this"));
    let path = format!("/v2/a/blobs/uploads/?digest={sha512}");
    assert_eq!(lab.send("POST", &path, &[], b"this").status, 201);
    assert_eq!(lab.send("GET", &format!("/v2/a/blobs/{sha512}"), &[], b"").body, b"this");
}

#[test]
fn blobs_are_read_in_part() {
    let lab = Lab::start(Config::default());
    let path = format!("/v2/a/blobs/{}", lab.blob("a", b"0123456789"));
    let part = |range: &str| lab.send("GET", &path, &[("range", range)], b"");
    let middle = part("bytes=3-5");
    assert_eq!((middle.status, middle.body.as_slice()), (206, &b"345"[..]));
    assert_eq!(middle.header("content-range"), "bytes 3-5/10");
    assert_eq!(part("bytes=7-").body, b"789");
    assert_eq!(part("bytes=99-").status, 416);
    let head = lab.send("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.header("content-length").as_str()), (200, "10"));
    let etag = head.header("etag");
    assert_eq!(lab.send("GET", &path, &[("if-none-match", &etag)], b"").status, 304);
}

#[test]
fn a_blob_is_seen_only_through_its_repositories() {
    let lab = Lab::start(Config::default());
    let digest = lab.blob("a", b"x");
    assert_eq!(lab.send("GET", &format!("/v2/b/blobs/{digest}"), &[], b"").status, 404);
    let path = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(lab.send("POST", &path, &[], b"").status, 201);
    assert_eq!(lab.send("GET", &format!("/v2/b/blobs/{digest}"), &[], b"").body, b"x");
    assert_eq!(lab.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
    assert_eq!(lab.send("GET", &format!("/v2/b/blobs/{digest}"), &[], b"").body, b"x");
    let path = format!("/v2/c/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(lab.send("POST", &path, &[], b"").status, 202, "not there: upload it");
}

#[test]
fn manifests_are_complete_or_refused() {
    let lab = Lab::start(Config::default());
    let (config, layer) = (lab.blob("a", b"{}"), digest_of(b"layer"));
    let manifest = manifest_of(&config, &[&layer]);
    let put = || lab.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI)], &manifest);
    let refused = put();
    assert_eq!((refused.status, refused.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    lab.blob("a", b"layer");
    let created = put();
    let digest = digest_of(&manifest);
    assert_eq!((created.status, created.header("docker-content-digest")), (201, digest.clone()));
    for reference in ["v1", &digest] {
        let got = lab.send("GET", &format!("/v2/a/manifests/{reference}"), &[], b"");
        assert_eq!((got.status, got.body == manifest), (200, true), "{reference}");
        assert_eq!(got.header("content-type"), OCI);
    }
    let wrong = format!("/v2/a/manifests/{}", digest_of(b"other"));
    assert_eq!(
        lab.send("PUT", &wrong, &[("content-type", OCI)], &manifest).code(),
        "DIGEST_INVALID"
    );
    let unknown = lab.send("GET", "/v2/a/manifests/v2", &[], b"");
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    let big = vec![b' '; (4 << 20) + 1];
    let too_big = lab.send("PUT", "/v2/a/manifests/v3", &[("content-type", OCI)], &big);
    assert_eq!((too_big.status, too_big.code().as_str()), (413, "SIZE_INVALID"));
    assert_eq!(lab.send("DELETE", "/v2/a/manifests/v1", &[], b"").status, 202);
    assert_eq!(lab.send("GET", "/v2/a/manifests/v1", &[], b"").status, 404, "the tag is gone");
    let by_digest = format!("/v2/a/manifests/{digest}");
    assert_eq!(lab.send("GET", &by_digest, &[], b"").status, 200, "the manifest is not");
    assert_eq!(lab.send("DELETE", &by_digest, &[], b"").status, 202);
    assert_eq!(lab.send("GET", &by_digest, &[], b"").status, 404);
}

#[test]
fn lists_have_pages() {
    let lab = Lab::start(Config::default());
    for (repository, tag) in [("b", "v1"), ("a", "v2"), ("a", "v1"), ("a", "v3")] {
        lab.image(repository, tag, b"layer");
    }
    let list = |path: &str| lab.send("GET", path, &[], b"");
    assert_eq!(list("/v2/_catalog").json(), json!({ "repositories": ["a", "b"] }));
    let first = list("/v2/a/tags/list?n=2");
    assert_eq!(first.json(), json!({ "name": "a", "tags": ["v1", "v2"] }));
    assert_eq!(first.header("link"), "</v2/a/tags/list?n=2&last=v2>; rel=\"next\"");
    let last = list("/v2/a/tags/list?n=2&last=v2");
    assert_eq!(last.json()["tags"], json!(["v3"]));
    assert_eq!(last.header("link"), "");
    assert_eq!(list("/v2/none/tags/list").code(), "NAME_UNKNOWN");
    assert_eq!(list("/v2/_catalog?n=-1").code(), "PAGINATION_NUMBER_INVALID");
}

#[test]
fn signatures_are_found_by_what_they_sign() {
    let lab = Lab::start(Config::default());
    let subject = lab.image("a", "v1", b"layer");
    let config = lab.blob("a", b"{}");
    for kind in ["application/x-sbom", "application/x-signature"] {
        let mut manifest: Value = serde_json::from_slice(&manifest_of(&config, &[])).unwrap();
        manifest["artifactType"] = json!(kind);
        manifest["annotations"] = json!({ "kind": kind });
        manifest["subject"] = json!({ "mediaType": OCI, "digest": subject, "size": 1 });
        let bytes = manifest.to_string().into_bytes();
        let path = format!("/v2/a/manifests/{}", digest_of(&bytes));
        let answer = lab.send("PUT", &path, &[("content-type", OCI)], &bytes);
        assert_eq!((answer.status, answer.header("oci-subject")), (201, subject.clone()));
    }
    let all = lab.send("GET", &format!("/v2/a/referrers/{subject}"), &[], b"");
    assert_eq!(all.header("content-type"), INDEX);
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    let path = format!("/v2/a/referrers/{subject}?artifactType=application%2Fx-sbom");
    let one = lab.send("GET", &path, &[], b"");
    assert_eq!(one.header("oci-filters-applied"), "artifactType");
    assert_eq!(one.json()["manifests"][0]["annotations"]["kind"], json!("application/x-sbom"));
    let none = lab.send("GET", &format!("/v2/a/referrers/{}", digest_of(b"x")), &[], b"");
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
}

#[test]
fn everything_survives_a_restart_unfinished_uploads_too() {
    let lab = Lab::start(Config::default());
    let digest = lab.image("a", "v1", b"layer");
    let location = lab.send("POST", "/v2/a/blobs/uploads/", &[], b"").header("location");
    assert_eq!(lab.send("PATCH", &location, &[], b"first ").status, 202);
    let lab = lab.restart(Config::default());
    assert_eq!(lab.send("GET", &format!("/v2/a/manifests/{digest}"), &[], b"").status, 200);
    assert_eq!(lab.send("GET", &location, &[], b"").header("range"), "0-5");
    let path = format!("{location}?digest={}", digest_of(b"first second"));
    assert_eq!(lab.send("PUT", &path, &[], b"second").status, 201);
    assert_eq!(lab.send("GET", "/v2/b/blobs/uploads/0123", &[], b"").status, 404);
}

#[test]
fn a_connection_that_breaks_leaves_what_arrived() {
    let lab = Lab::start(Config::default());
    let location = lab.send("POST", "/v2/a/blobs/uploads/", &[], b"").header("location");
    lab.send_and_break("PATCH", &location, b"half", 8);
    let range = || lab.send("GET", &location, &[], b"").header("range");
    lab::eventually("the half arrives", || range() == "0-3");
    let path = format!("{location}?digest={}", digest_of(b"half and"));
    assert_eq!(lab.send("PUT", &path, &[], b" and").status, 201);
}

#[test]
fn what_nothing_names_is_collected_and_what_is_named_stays() {
    let lab = Lab::start(Config::default());
    let (kept, loose) = (lab.image("a", "v1", b"layer"), lab.blob("a", b"loose"));
    lab.image("a", "v2", b"newer");
    let limits = Limits { blob_hours: 0, ..Limits::default() };
    let retention = vec![Retention {
        repositories: vec!["*".into()],
        tags: vec!["v1".into()],
        keep: Some(0),
        keep_days: None,
        untagged: true,
    }];
    let lab = lab.restart(Config { limits, retention, ..Config::default() });
    let gone = |path: String| lab.send("HEAD", &path, &[], b"").status == 404;
    lab::eventually("the blob goes", || gone(format!("/v2/a/blobs/{loose}")));
    assert!(gone(format!("/v2/a/manifests/{kept}")), "its tag was let go of");
    assert!(gone(format!("/v2/a/blobs/{}", digest_of(b"layer"))));
    assert_eq!(lab.send("GET", "/v2/a/manifests/v2", &[], b"").status, 200);
    assert_eq!(
        lab.send("GET", &format!("/v2/a/blobs/{}", digest_of(b"newer")), &[], b"").status,
        200
    );
    assert_eq!(lab.files(), 3, "a configuration, a layer, a manifest");
}

/// `htpasswd -B` of alice:wonder and bob:builder, of the least cost.
fn accounts(dir: &std::path::Path) -> std::path::PathBuf {
    let line =
        |user: &str, password: &str| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    let path = dir.join("htpasswd");
    std::fs::write(&path, line("alice", "wonder") + &line("bob", "builder")).unwrap();
    path
}

fn rules() -> Vec<Rule> {
    let rule = |users: &[&str], repositories: &[&str], actions: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        Rule { users: owned(users), repositories: owned(repositories), actions: owned(actions) }
    };
    vec![
        rule(&["*", "anonymous"], &["public/*"], &["pull"]),
        rule(&["alice"], &["*"], &["pull", "push"]),
    ]
}

const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVy");
const BOB: (&str, &str) = ("authorization", "Basic Ym9iOmJ1aWxkZXI=");
const BAD: (&str, &str) = ("authorization", "Basic YWxpY2U6d3Jvbmc=");

#[test]
fn every_method_asks_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let auth = Auth { htpasswd: Some(accounts(dir.path())), token: None };
    let lab = Lab::start(Config { auth, access: rules(), ..Config::default() });
    let digest = digest_of(b"x");
    let post = format!("/v2/public/x/blobs/uploads/?digest={digest}");
    assert_eq!(lab.send("POST", &post, &[ALICE], b"x").status, 201);
    let blob = format!("/v2/public/x/blobs/{digest}");
    let upload = "/v2/public/x/blobs/uploads/".to_owned();
    let hidden = "/v2/team/x/tags/list".to_owned();
    // The statuses of nobody, bob, alice, and a wrong password.
    for (method, path, want) in [
        ("GET", "/v2/".to_owned(), [401, 200, 200, 401]),
        ("GET", blob.clone(), [200, 200, 200, 401]),
        ("HEAD", blob.clone(), [200, 200, 200, 401]),
        ("POST", upload, [401, 403, 202, 401]),
        ("DELETE", blob, [401, 403, 403, 401]),
        ("DELETE", "/v2/public/x/manifests/v1".into(), [401, 403, 403, 401]),
        ("PUT", "/v2/public/x/manifests/v1".into(), [401, 403, 400, 401]),
        ("GET", hidden, [401, 403, 404, 401]),
        ("GET", "/v2/_catalog".into(), [401, 200, 200, 401]),
    ] {
        for (headers, want) in [&[][..], &[BOB], &[ALICE], &[BAD]].iter().zip(want) {
            let answer = lab.send(method, &path, headers, b"");
            assert_eq!(answer.status, want, "{method} {path} {headers:?}");
            if want == 401 {
                assert!(answer.header("www-authenticate").starts_with("Basic "), "{path}");
            }
        }
    }
    let path = format!("/v2/team/y/blobs/uploads/?mount={digest}&from=public/x");
    assert_eq!(lab.send("POST", &path, &[BOB], b"").status, 403);
    assert_eq!(lab.send("POST", &path, &[ALICE], b"").status, 201);
}

#[test]
fn tokens_open_what_the_rules_say_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let service = "estiba-registry".to_owned();
    let token = Token { realm: None, service: service.clone(), issuer: service, jwks: None };
    let auth = Auth { htpasswd: Some(accounts(dir.path())), token: Some(token) };
    let lab = Lab::start(Config { auth, access: rules(), ..Config::default() });
    let asked = lab.send("GET", "/v2/team/x/tags/list", &[], b"").header("www-authenticate");
    let realm = format!("Bearer realm=\"http://{}/token\"", lab.address());
    assert!(asked.starts_with(&realm), "{asked}");
    assert!(asked.ends_with("scope=\"repository:team/x:pull\""), "{asked}");
    let token = |headers: &[(&str, &str)], scope: &str| {
        let path = format!("/token?service=estiba-registry&scope={scope}");
        let answer = lab.send("GET", &path, headers, b"");
        (answer.status, format!("Bearer {}", answer.json()["token"].as_str().unwrap_or_default()))
    };
    let scope = "repository:team/x:pull,push,delete";
    assert_eq!(token(&[BAD], scope).0, 401);
    let statuses = |headers: &[(&str, &str)]| {
        let (_, token) = token(headers, scope);
        [
            ("GET", "/v2/team/x/tags/list"),
            ("POST", "/v2/team/x/blobs/uploads/"),
            ("DELETE", "/v2/team/x/manifests/v1"),
            ("GET", "/v2/other/tags/list"),
        ]
        .map(|(method, path)| lab.send(method, path, &[("authorization", &token)], b"").status)
    };
    assert_eq!(statuses(&[ALICE]), [404, 202, 401, 401]);
    assert_eq!(statuses(&[BOB]), [401, 401, 401, 401]);
    assert_eq!(statuses(&[]), [401, 401, 401, 401]);
    let (_, public) = token(&[], "repository:public/x:pull");
    let path = "/v2/public/x/tags/list";
    assert_eq!(lab.send("GET", path, &[("authorization", &public)], b"").status, 404);
}

#[test]
fn a_cache_brings_what_is_asked_for_and_serves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let auth = Auth { htpasswd: Some(accounts(dir.path())), token: None };
    let upstream = Lab::start(Config { auth, ..Config::default() });
    let (config, layer) = (digest_of(b"{}"), digest_of(b"layer"));
    for (digest, bytes) in [(&config, &b"{}"[..]), (&layer, b"layer")] {
        let path = format!("/v2/team/x/blobs/uploads/?digest={digest}");
        assert_eq!(upstream.send("POST", &path, &[ALICE], bytes).status, 201);
    }
    let manifest = manifest_of(&config, &[&layer]);
    let put = [ALICE, ("content-type", OCI)];
    assert_eq!(upstream.send("PUT", "/v2/team/x/manifests/v1", &put, &manifest).status, 201);
    let password = dir.path().join("password");
    std::fs::write(&password, "wonder\n").unwrap();
    let cache = Lab::start(Config {
        upstream: Some(Upstream {
            url: format!("http://{}/team", upstream.address()),
            username: Some("alice".into()),
            password_file: Some(password),
            tag_seconds: 0,
        }),
        ..Config::default()
    });
    let serves = |what: &str| {
        let got = cache.send("GET", "/v2/x/manifests/v1", &[], b"");
        assert_eq!((got.status, got.body == manifest), (200, true), "{what}");
        assert_eq!(cache.send("GET", &format!("/v2/x/blobs/{layer}"), &[], b"").body, b"layer");
    };
    assert_eq!(cache.send("GET", "/v2/x/manifests/none", &[], b"").status, 404);
    serves("the first time");
    assert_eq!(cache.send("POST", "/v2/x/blobs/uploads/", &[], b"").code(), "UNSUPPORTED");
    drop(upstream);
    serves("without upstream");
    assert_eq!(cache.send("GET", &format!("/v2/x/blobs/{config}"), &[], b"").status, 500);
}

#[test]
fn bounds_hold() {
    let limits =
        Limits { blob_bytes: 100, total_bytes: 120, repository_bytes: 60, ..Limits::default() };
    let lab = Lab::start(Config { limits, ..Config::default() });
    let push = |repository: &str, bytes: &[u8]| {
        let digest = digest_of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        lab.send("POST", &path, &[], bytes)
    };
    assert_eq!(push("a", &[0; 101]).code(), "SIZE_INVALID");
    assert_eq!(push("a", &[1; 50]).status, 201);
    assert_eq!(push("a", &[2; 50]).code(), "DENIED", "the repository is full");
    assert_eq!(push("b", &[2; 50]).status, 201);
    assert_eq!(push("c", &[3; 50]).code(), "DENIED", "the registry is full");
    assert_eq!(push("c", &[1; 50]).status, 201, "what is there already costs nothing more");
}

#[test]
fn a_read_only_registry_says_so() {
    let lab = Lab::start(Config::default());
    lab.image("a", "v1", b"layer");
    let lab = lab.restart(Config { read_only: true, ..Config::default() });
    assert_eq!(lab.send("GET", "/v2/a/manifests/v1", &[], b"").status, 200);
    for (method, path) in [("POST", "/v2/a/blobs/uploads/"), ("DELETE", "/v2/a/manifests/v1")] {
        let answer = lab.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (405, "UNSUPPORTED"), "{method}");
    }
}

#[test]
fn listeners_are_told() {
    let listener = lab::Listener::start();
    let notify = vec![Notify { url: listener.url(), header: Some("X-Token: t".into()) }];
    let lab = Lab::start(Config { notify, ..Config::default() });
    let digest = lab.image("a", "v1", b"layer");
    let told = listener.wait_for(|event| event["target"]["tag"] == json!("v1"));
    assert_eq!(told["action"], json!("push"));
    assert_eq!(told["target"]["digest"], json!(digest));
    let text = lab.send("GET", "/metrics", &[], b"").body;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("estiba_registry_manifests_pushed_total 1\n"), "{text}");
    assert!(text.contains("estiba_registry_repositories 1\n"), "{text}");
}
