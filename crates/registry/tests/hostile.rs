//! Registries that lie, break off, never end, and fish for credentials: each is refused or
//! survived, nothing of it is kept, and no secret goes where it does not belong.
#![allow(clippy::unwrap_used, clippy::too_many_lines, reason = "tests fail by panicking")]

mod fake;
#[path = "fake/site.rs"]
mod site;

use fake::{Reply, Server, headers, sha256, tar, text, through};
use model::ImageRef;
use registry::{Client, Credentials, Error, Events, PullRequest, Pulled, Settings};
use serde_json::json;
use site::{DOCKER, OCI, OCI_INDEX, Site, range, start};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

const SECRET: &str = "hunter2-secret";

struct Outcome {
    result: Result<Pulled, Error>,
    store: Store,
    registry: Server,
    _dir: tempfile::TempDir,
}

fn settings() -> Settings {
    Settings {
        attempts: 3,
        pause: Duration::from_millis(1),
        certificates: Vec::new(),
        ..Settings::default()
    }
}

fn pull(site: Site, settings: Settings, credentials: Option<Credentials>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
    let registry = Server::new(Arc::new(move |request| site.answer(request)));
    let reference = ImageRef::parse(&format!("{}/some/image:tag", registry.address)).unwrap();
    let client = Client::new(store.clone(), settings).unwrap();
    let quiet: Events = Arc::new(|_| {});
    let request = PullRequest { reference, platform: None, credentials };
    let result = Client::drive(client.pull(request, quiet));
    Outcome { result, store, registry, _dir: dir }
}

fn entries(outcome: &Outcome, dir: &str) -> usize {
    std::fs::read_dir(outcome.store.root().join(dir)).unwrap().count()
}

/// Nothing that a refused pull brought is in use.
fn clean(outcome: &Outcome) {
    assert!(outcome.store.images().list().unwrap().is_empty());
    outcome.store.gc().unwrap();
    for dir in ["layers", "tmp", "blobs/sha256"] {
        assert_eq!(entries(outcome, dir), 0, "{dir}");
    }
}

type Spoil = fn(&mut Site);

/// What is refused: a name, the spoiling, and words of the refusal.
const REFUSED: &[(&str, Spoil, &str)] = &[
    (
        "manifest of another digest than its header",
        |s| {
            s.part("manifest", |_, s| {
                let head = headers(&[
                    ("Content-Type", OCI),
                    ("Docker-Content-Digest", &sha256(b"x").to_string()),
                ]);
                Reply::Plain(200, head, s.manifest.clone())
            })
        },
        "promised",
    ),
    (
        "manifest cut off",
        |s| {
            s.part("manifest", |_, s| {
                Reply::Cut(200, headers(&[("Content-Type", OCI)]), s.manifest.clone(), 40)
            })
        },
        "manifests/tag",
    ),
    (
        "manifest cut at a length that is JSON",
        |s| {
            s.part("manifest", |_, s| {
                Reply::Plain(200, headers(&[("Content-Type", OCI)]), s.manifest[..40].to_vec())
            })
        },
        "EOF",
    ),
    ("manifest with something behind it", |s| s.manifest.extend_from_slice(b"{}"), "trailing"),
    ("manifest beyond 4 MiB", |s| s.manifest.resize((4 << 20) + 1, b' '), "4194304 bytes"),
    (
        "endless manifest",
        |s| s.part("manifest", |_, _| Reply::Endless(headers(&[("Content-Type", OCI)]))),
        "4194304 bytes",
    ),
    ("endless headers", |s| s.part("manifest", |_, _| Reply::HeaderFlood), "manifests/tag"),
    (
        "no HTTP",
        |s| s.part("manifest", |_, _| Reply::Raw(b"SSH-2.0-x\r\n".to_vec())),
        "manifests/tag",
    ),
    (
        "a web page",
        |s| {
            s.part("manifest", |_, _| {
                Reply::Plain(200, headers(&[("Content-Type", "text/html")]), b"<html>".to_vec())
            })
        },
        "expected value",
    ),
    ("media types that disagree", |s| s.manifest_type = DOCKER.into(), "its sender says"),
    ("manifest and index in one", |s| s.manifest(|m| m["manifests"] = json!([])), "an index"),
    (
        "index with a manifest's type",
        |s| {
            s.manifest =
                json!({"schemaVersion": 2, "mediaType": OCI, "manifests": []}).to_string().into();
        },
        "an index",
    ),
    (
        "manifest with an index's type",
        |s| {
            s.manifest_type = OCI_INDEX.into();
            s.manifest(|_| {});
        },
        "members of a manifest",
    ),
    (
        "members twice",
        |s| {
            let text = String::from_utf8(s.manifest.clone()).unwrap();
            s.manifest = text.replacen("\"layers\"", "\"layers\":[],\"layers\"", 1).into();
        },
        "duplicate",
    ),
    ("schema version 1", |s| s.manifest(|m| m["schemaVersion"] = json!(1)), "version 2"),
    (
        "no media type",
        |s| {
            s.manifest(|m| drop(m.as_object_mut().unwrap().remove("mediaType")));
            s.part("manifest", |_, s| Reply::Plain(200, Vec::new(), s.manifest.clone()));
        },
        "no media type",
    ),
    (
        "an artifact",
        |s| s.manifest(|m| m["config"]["mediaType"] = json!("application/x.helm")),
        "not an image",
    ),
    (
        "layers of an unknown type",
        |s| s.manifest(|m| m["layers"][0]["mediaType"] = json!("text/plain")),
        "layer type",
    ),
    (
        "digest that is a path",
        |s| s.manifest(|m| m["config"]["digest"] = json!("sha256:../../../etc/passwd")),
        "invalid digest",
    ),
    (
        "digest of another algorithm",
        |s| {
            s.manifest(|m| m["layers"][0]["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e"))
        },
        "unsupported digest",
    ),
    ("negative length", |s| s.manifest(|m| m["layers"][0]["size"] = json!(-5)), "invalid value"),
    ("absurd length", |s| s.manifest(|m| m["layers"][0]["size"] = json!(1u64 << 60)), "too many"),
    (
        "501 layers",
        |s| {
            s.manifest(|m| {
                let layer = m["layers"][0].clone();
                m["layers"] = json!(vec![layer; 501]);
            })
        },
        "500 layers",
    ),
    (
        "deep nesting",
        |s| {
            s.manifest = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).into();
        },
        "recursion",
    ),
    (
        "index without our platform",
        |s| {
            s.index(|i| {
                i["manifests"][0]["platform"]["architecture"] = json!("s390x");
            })
        },
        "no matching manifest for linux/amd64",
    ),
    (
        "index that lies about a length",
        |s| {
            s.index(|i| {
                let size = i["manifests"][0]["size"].as_u64().unwrap();
                i["manifests"][0]["size"] = json!(size + 1);
            })
        },
        "not what its index says",
    ),
    (
        "index that lies about a type",
        |s| {
            s.index(|i| {
                i["manifests"][0]["mediaType"] = json!(DOCKER);
            })
        },
        "not what its index says",
    ),
    (
        "index that lies about a digest",
        |s| {
            s.index(|i| {
                i["manifests"][0]["digest"] = json!(sha256(b"other").to_string());
            })
        },
        "want digest",
    ),
    (
        "index with too many entries",
        |s| {
            s.index(|i| {
                let entry = i["manifests"][0].clone();
                i["manifests"] = json!(vec![entry; 1001]);
            })
        },
        "1000 entries",
    ),
    (
        "indexes in indexes",
        |s| {
            let mut documents = vec![s.manifest.clone()];
            for _ in 0..6 {
                let inner = documents.last().unwrap();
                let kind = if documents.len() == 1 { OCI } else { OCI_INDEX };
                documents.push(json!({
                "schemaVersion": 2, "mediaType": OCI_INDEX,
                "manifests": [{"mediaType": kind, "digest": sha256(inner).to_string(),
                    "size": inner.len(), "platform": {"os": "linux", "architecture": "amd64"}}],
            }).to_string().into_bytes());
            }
            s.instead(move |request, _| {
                let name = request.target.split("/manifests/").nth(1)?;
                let known = documents.iter().find(|d| sha256(d).to_string() == name);
                let document = known.unwrap_or(documents.last().unwrap()).clone();
                let kind = if document == documents[0] { OCI } else { OCI_INDEX };
                Some(Reply::Plain(200, headers(&[("Content-Type", kind)]), document))
            });
        },
        "nested too deep",
    ),
    (
        "configuration of other bytes",
        |s| s.part("config", |_, s| Reply::Plain(200, Vec::new(), vec![b' '; s.config.len()])),
        "blob sha256",
    ),
    (
        "configuration too short",
        |s| s.part("config", |_, s| Reply::Plain(200, Vec::new(), s.config[1..].to_vec())),
        "blob sha256",
    ),
    (
        "configuration too long",
        |s| s.part("config", |_, s| Reply::Plain(200, Vec::new(), [&s.config[..], b" "].concat())),
        "more than",
    ),
    ("endless configuration", |s| s.part("config", |_, _| Reply::Endless(Vec::new())), "more than"),
    (
        "configuration that is none",
        |s| {
            s.config = b"[]".to_vec();
            s.manifest(|_| {});
        },
        "image configuration",
    ),
    (
        "configuration with fewer layers",
        |s| s.config(|c| c["rootfs"]["diff_ids"] = json!([])),
        "1 layers, its configuration 0",
    ),
    (
        "contents that are no digests",
        |s| s.config(|c| c["rootfs"]["diff_ids"] = json!(["../../x"])),
        "invalid digest",
    ),
    (
        "layer of another content",
        |s| {
            s.config(|c| {
                c["rootfs"]["diff_ids"] = json!([sha256(b"something else").to_string()]);
            })
        },
        "diff id",
    ),
    (
        "one layer with two contents",
        |s| {
            let other = sha256(b"other").to_string();
            s.config(|c| c["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(other)));
            s.manifest(|m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            });
        },
        "two contents",
    ),
    (
        "layer of other bytes",
        |s| {
            s.part("layer", |_, s| {
                let mut bytes = s.layer.clone();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Reply::Plain(200, Vec::new(), bytes)
            })
        },
        "",
    ),
    (
        "layer that is longer",
        |s| s.part("layer", |_, s| Reply::Plain(200, Vec::new(), [&s.layer[..], b"x"].concat())),
        "bytes are offered",
    ),
    (
        "layer that is longer, in chunks",
        |s| s.part("layer", |_, s| Reply::Chunked(Vec::new(), [&s.layer[..], b"x"].concat())),
        "more than",
    ),
    ("endless layer", |s| s.part("layer", |_, _| Reply::Endless(Vec::new())), ""),
    (
        "layer always cut off at the same place",
        |s| {
            s.part("layer", |request, s| match start(request) {
                0 => Reply::Cut(200, Vec::new(), s.layer.clone(), 1000),
                at => Reply::Cut(206, range(at, s.layer.len()), s.layer[at..].to_vec(), 0),
            })
        },
        "blobs/sha256",
    ),
    (
        "layer that goes on elsewhere",
        |s| {
            s.part("layer", |request, s| match start(request) {
                0 => Reply::Cut(200, Vec::new(), s.layer.clone(), 1000),
                _ => Reply::Plain(206, range(500, s.layer.len()), s.layer[500..].to_vec()),
            })
        },
        "wrong range",
    ),
    (
        "layer that cannot go on",
        |s| {
            s.part("layer", |request, s| match start(request) {
                0 => Reply::Cut(200, Vec::new(), s.layer.clone(), 1000),
                _ => text(416, ""),
            })
        },
        "416",
    ),
    ("layer that is not there", |s| s.part("layer", |_, _| text(404, "")), "404"),
    (
        "layer of noise",
        |s| {
            let noise: Vec<u8> = (0..5000u32).map(|n| (n * n / 7).to_le_bytes()[0]).collect();
            s.layer(noise.clone(), noise);
        },
        "",
    ),
    (
        "layer in a compression of its own",
        |s| {
            let plain = tar("file", b"x");
            s.layer(plain.clone(), through(&["xz", "-c"], &plain));
        },
        "do not use",
    ),
    (
        "layer with something behind its end",
        |s| {
            let packed = [through(&["gzip", "-nc"], &s.plain), b"garbage".to_vec()].concat();
            let plain = s.plain.clone();
            s.layer(plain, packed);
        },
        "",
    ),
    (
        "layer that leads out",
        |s| {
            let plain = tar("../../../../escaped-by-a-layer", b"x");
            s.layer(plain.clone(), through(&["gzip", "-nc"], &plain));
        },
        "",
    ),
    (
        "decompression bomb",
        |s| {
            let zeros = vec![0u8; 600 << 20];
            let packed = through(&["zstd", "-qc", "-19", "--long=24", "-T2"], &zeros);
            s.layer(b"not verified before".to_vec(), packed);
        },
        "",
    ),
    (
        "redirects in a circle",
        |s| {
            s.part("layer", |request, _| {
                Reply::Plain(307, headers(&[("Location", &request.target)]), Vec::new())
            })
        },
        "redirects",
    ),
    (
        "redirect without a place",
        |s| s.part("layer", |_, _| Reply::Plain(307, Vec::new(), Vec::new())),
        "Location",
    ),
    (
        "redirect to a file",
        |s| {
            s.part("layer", |_, _| {
                Reply::Plain(302, headers(&[("Location", "file:///etc/passwd")]), Vec::new())
            })
        },
        "bad URL",
    ),
    (
        "redirect with a user",
        |s| {
            s.part("layer", |_, _| {
                Reply::Plain(302, headers(&[("Location", "http://a:b@127.0.0.1/")]), Vec::new())
            })
        },
        "bad URL",
    ),
    (
        "401 for ever",
        |s| {
            s.part("manifest", |_, _| {
                Reply::Plain(401, headers(&[("WWW-Authenticate", "Basic realm=\"x\"")]), Vec::new())
            })
        },
        "unauthorized",
    ),
    (
        "a challenge of noise",
        |s| {
            s.part("manifest", |_, _| {
                Reply::Plain(401, headers(&[("WWW-Authenticate", "=,\"=Bearer ,,,")]), Vec::new())
            })
        },
        "unauthorized",
    ),
    ("500 for ever", |s| s.part("manifest", |_, _| text(500, "")), "500"),
    ("hangs up for ever", |s| s.part("manifest", |_, _| Reply::Hangup), "manifests/tag"),
    (
        "denied, with control characters",
        |s| {
            s.part("manifest", |_, _| {
                text(403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2Jway\"}]}")
            })
        },
        "denied: no[2Jway",
    ),
];

fn secret() -> Option<Credentials> {
    Some(Credentials { username: "me".into(), password: SECRET.into(), ..Credentials::default() })
}

/// Runs cases on several threads; a failure names its case.
fn each<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(case) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    run(case);
                }
            });
        }
    });
}

#[test]
fn lies_are_refused_and_leave_nothing() {
    assert!(REFUSED.len() >= 55);
    each(REFUSED, |(name, spoil, words)| {
        let mut site = Site::new();
        spoil(&mut site);
        let outcome = pull(site, settings(), None);
        let error = match &outcome.result {
            Ok(pulled) => panic!("{name}: pulled {pulled:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(words), "{name}: {error}");
        assert!(!error.chars().any(char::is_control), "{name}: {error:?}");
        clean(&outcome);
        let asked = outcome.registry.seen().len();
        assert!(asked <= 40, "{name}: asked {asked} times");
        let escaped = std::path::Path::new("/escaped-by-a-layer").exists()
            || outcome.store.root().parent().unwrap().join("escaped-by-a-layer").exists();
        assert!(!escaped, "{name}");
    });
}

/// What is survived.
const SURVIVED: &[(&str, Spoil)] = &[
    ("nothing wrong", |_| {}),
    ("an index", |s| s.index(|_| {})),
    ("Docker's types", |s| {
        s.manifest_type = DOCKER.into();
        s.manifest(|m| {
            m["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
            m["layers"][0]["mediaType"] =
                json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
        });
    }),
    ("a plain layer", |s| {
        let plain = s.plain.clone();
        s.layer(plain.clone(), plain);
    }),
    ("a layer that is longer than the tar in it", |s| {
        let plain = [s.plain.clone(), vec![0; 8192]].concat();
        let packed = through(&["gzip", "-nc"], &plain);
        s.layer(plain, packed);
    }),
    ("a zstd layer", |s| {
        let (plain, packed) = (s.plain.clone(), through(&["zstd", "-qc"], &s.plain));
        s.layer(plain, packed);
    }),
    ("cut off every 1,000 bytes", |s| {
        s.part("layer", |request, s| match start(request) {
            0 => Reply::Cut(200, Vec::new(), s.layer.clone(), 1000),
            at => Reply::Cut(206, range(at, s.layer.len()), s.layer[at..].to_vec(), 70_000),
        })
    }),
    ("no ranges, cut once", |s| {
        s.part("layer", |request, s| match request.before {
            0 => Reply::Cut(200, Vec::new(), s.layer.clone(), 1000),
            _ => Reply::Plain(200, Vec::new(), s.layer.clone()),
        })
    }),
    ("busy at first", |s| {
        s.instead(|request, _| {
            (request.before < 2 && request.method == "GET")
                .then(|| Reply::Plain(429, headers(&[("Retry-After", "0")]), Vec::new()))
        })
    }),
    ("broken at first", |s| {
        s.instead(|request, _| {
            (request.before < 2 && request.method == "GET").then(|| text(503, ""))
        })
    }),
    ("hangs up at first", |s| {
        s.instead(|request, _| {
            (request.before < 1 && request.method == "GET").then_some(Reply::Hangup)
        })
    }),
    ("a layer in chunks", |s| s.part("layer", |_, s| Reply::Chunked(Vec::new(), s.layer.clone()))),
];

#[test]
fn weakness_is_survived() {
    each(SURVIVED, |(name, spoil)| {
        let mut site = Site::new();
        spoil(&mut site);
        let (layer, plain) = (sha256(&site.layer), sha256(&site.plain));
        let outcome = pull(site, Settings { attempts: 4, ..settings() }, None);
        let pulled = match &outcome.result {
            Ok(pulled) => pulled,
            Err(error) => panic!("{name}: {error}"),
        };
        let record = outcome.store.images().record(pulled.id).unwrap();
        assert_eq!(record.diff_ids, [plain], "{name}");
        assert_eq!(record.digests[0].digest(), Some(pulled.digest), "{name}");
        assert_eq!(record.sources[0].layers[0].digest, layer, "{name}");
        outcome.store.gc().unwrap();
        assert!(outcome.store.blobs().contains(layer).unwrap(), "{name}");
        assert_eq!((entries(&outcome, "tmp"), entries(&outcome, "downloads")), (0, 0), "{name}");
    });
}

#[test]
fn a_registry_that_stalls_is_given_up() {
    for part in ["manifest", "config", "layer"] {
        let mut site = Site::new();
        site.part(part, |_, _| Reply::Stall(Vec::new()));
        let patience = Duration::from_millis(300);
        let outcome = pull(site, Settings { patience, attempts: 2, ..settings() }, None);
        let error = outcome.result.as_ref().unwrap_err().to_string();
        assert!(error.contains("nothing arrives") || error.contains("offered"), "{part}: {error}");
        clean(&outcome);
    }
}

/// Where the secret arrived: as it is, or in a `Basic` header.
fn leaked(server: &Server) -> bool {
    let coded = through(&["base64", "-w0"], format!("me:{SECRET}").as_bytes());
    let coded = String::from_utf8(coded).unwrap();
    server.seen().iter().any(|request| {
        let all = format!("{request:?}");
        all.contains(SECRET) || all.contains(&coded)
    })
}

fn challenged(realm: String) -> impl Fn(&fake::Request, &Site) -> Option<Reply> {
    move |request, _| {
        let open = request.header("authorization").starts_with("Bearer good");
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:some/image:pull\"");
        (!open && request.target.starts_with("/v2/"))
            .then(|| Reply::Plain(401, headers(&[("WWW-Authenticate", &challenge)]), Vec::new()))
    }
}

#[test]
fn a_redirect_sees_no_credentials() {
    let mut site = Site::new();
    let layer = site.layer.clone();
    // Another address of this host is another origin.
    let elsewhere =
        Server::on("127.0.0.2", Arc::new(move |_| Reply::Plain(200, Vec::new(), layer.clone())));
    let target = elsewhere.url("/signed?x=1");
    site.instead(|request, _| {
        request.header("authorization").is_empty().then(|| {
            Reply::Plain(401, headers(&[("WWW-Authenticate", "Basic realm=\"r\"")]), Vec::new())
        })
    });
    site.part("layer", move |_, _| {
        Reply::Plain(307, headers(&[("Location", &target)]), Vec::new())
    });
    let outcome = pull(site, settings(), secret());
    outcome.result.as_ref().unwrap();
    assert!(leaked(&outcome.registry), "the registry itself gets them");
    assert!(!elsewhere.seen().is_empty());
    assert!(elsewhere.seen().iter().all(|r| r.header("authorization").is_empty()));
}

#[test]
fn a_token_realm_elsewhere_sees_no_credentials() {
    let tokens: fake::Answers = Arc::new(|_| text(200, r#"{"token":"good"}"#));
    let elsewhere = Server::on("127.0.0.2", Arc::clone(&tokens));
    let mut site = Site::new();
    site.instead(challenged(elsewhere.url("/token")));
    let outcome = pull(site.clone(), settings(), secret());
    let error = outcome.result.as_ref().unwrap_err().to_string();
    assert!(error.contains("credentials were not sent"), "{error}");
    assert!(elsewhere.seen().is_empty());
    // Without credentials there is nothing to lose; and the administrator may say otherwise.
    pull(site.clone(), settings(), None).result.unwrap();
    let realms = vec!["127.0.0.1=127.0.0.2".to_owned()];
    pull(site, Settings { realms, ..settings() }, secret()).result.unwrap();
    assert!(leaked(&elsewhere));

    let beside = Server::new(tokens);
    let mut site = Site::new();
    site.instead(challenged(beside.url("/token")));
    pull(site, settings(), secret()).result.unwrap();
    assert!(leaked(&beside), "the same host may keep its tokens elsewhere");
    let asked = &beside.seen()[0].target;
    assert!(asked.contains("service=s&scope=repository:some/image:pull"), "{asked}");
}

#[test]
fn a_token_server_that_leads_away_or_gives_noise_is_refused() {
    let elsewhere = Server::on("127.0.0.2", Arc::new(|_| text(200, r#"{"token":"good"}"#)));
    let away = elsewhere.url("/token");
    let answers: [(&str, Reply); 6] = [
        ("redirect", Reply::Plain(307, headers(&[("Location", &away)]), Vec::new())),
        ("control characters", text(200, "{\"token\":\"good\\r\\nX-Evil: 1\"}")),
        ("no token", text(200, "{}")),
        ("no JSON", text(200, "good")),
        ("endless", Reply::Endless(Vec::new())),
        ("denied", text(401, "")),
    ];
    for (name, reply) in answers {
        let tokens = Server::new(Arc::new(move |_| reply.clone()));
        let mut site = Site::new();
        site.instead(challenged(tokens.url("/token")));
        let outcome = pull(site, settings(), secret());
        assert!(outcome.result.is_err(), "{name}");
        clean(&outcome);
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_mirror_serves_and_sees_no_credentials() {
    let site = Site::new();
    let mirrored = site.clone();
    let mirror = Server::on("127.0.0.3", Arc::new(move |request| mirrored.answer(request)));
    let mirrors = vec![format!("*=http://{}/cache/{{host}}", mirror.address)];
    let outcome = pull(site.clone(), Settings { mirrors, ..settings() }, secret());
    outcome.result.as_ref().unwrap();
    assert!(outcome.registry.seen().is_empty(), "the mirror had everything");
    assert!(!leaked(&mirror));
    let asked = &mirror.seen()[0].target;
    let path = format!("/v2/cache/{}/some/image/manifests/tag", outcome.registry.address);
    assert!(asked.starts_with(&path), "{asked}");

    // A mirror that has nothing, or only the manifest, or is not there.
    let nothing = Server::on("127.0.0.3", Arc::new(|_| text(404, "")));
    let half = site.clone();
    let half = Server::on(
        "127.0.0.3",
        Arc::new(move |request| match half.what(request) {
            "manifest" => half.answer(request),
            _ => text(500, ""),
        }),
    );
    let gone = Server::on("127.0.0.3", Arc::new(|_| Reply::Hangup)).address.clone();
    for address in [&nothing.address, &half.address, &gone] {
        let mirrors = vec![format!("*=http://{address}")];
        let outcome = pull(site.clone(), Settings { mirrors, ..settings() }, None);
        outcome.result.as_ref().unwrap();
        assert!(!outcome.registry.seen().is_empty());
    }
    let blocked = vec!["127.0.0.1".into()];
    let outcome = pull(site.clone(), Settings { blocked, ..settings() }, None);
    assert!(outcome.result.is_ok(), "a host with another port is another registry");
}

#[test]
fn what_was_cut_off_is_taken_up_by_the_next_pull() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
    let mut site = Site::new();
    site.part("layer", |request, s| match (request.before, start(request)) {
        (0, _) => Reply::Cut(200, Vec::new(), s.layer.clone(), 3000),
        (1, _) => text(400, ""),
        _ => s.ranged(request),
    });
    let registry = Server::new(Arc::new(move |request| site.answer(request)));
    let reference = ImageRef::parse(&format!("{}/some/image:tag", registry.address)).unwrap();
    let client = Client::new(store.clone(), settings()).unwrap();
    let quiet: Events = Arc::new(|_| {});
    let request = PullRequest { reference, platform: None, credentials: None };
    Client::drive(client.pull(request.clone(), Arc::clone(&quiet))).unwrap_err();
    let first = Client::drive(client.pull(request.clone(), Arc::clone(&quiet))).unwrap();
    assert!(first.newer);
    let ranges: Vec<String> = registry
        .seen()
        .iter()
        .map(|r| r.header("range").to_owned())
        .filter(|r| !r.is_empty())
        .collect();
    assert_eq!(ranges, ["bytes=3000-", "bytes=3000-"]);
    // What is here is asked for with one question.
    let before = registry.seen().len();
    let again = Client::drive(client.pull(request, quiet)).unwrap();
    assert_eq!((again.id, again.newer), (first.id, false));
    let asked: Vec<String> =
        registry.seen()[before..].iter().map(|r| format!("{} {}", r.method, r.target)).collect();
    assert!(asked.len() <= 2, "{asked:?}");
}
