//! The build cache in bounds: collected by itself and when asked, what goes and what stays, and a
//! disk that is full.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Setup, eventually};
use serde_json::Value;

/// The records of the cache.
fn records(lab: &Lab) -> Vec<Value> {
    let socket = lab.socket();
    let url = "http://d/v1.47/system/df?type=build-cache";
    let words = ["curl", "-s", "--unix-socket", socket.to_str().unwrap(), url];
    let answer = lab.in_network(&words);
    let answer: Value = serde_json::from_str(answer.ok()).unwrap();
    answer["BuildCache"].as_array().cloned().unwrap_or_default()
}

fn bytes(records: &[Value]) -> u64 {
    records.iter().map(|record| record["Size"].as_u64().unwrap()).sum()
}

const LARGE: &str = "FROM busybox\n\
    RUN head -c 5000000 /dev/urandom > /a\n\
    RUN head -c 5000000 /dev/urandom > /b\n\
    RUN head -c 5000000 /dev/urandom > /c\n";

#[test]
fn the_cache_stays_below_its_cap() {
    let rules = r#"{"gc": {"policy": [{"all": true, "maxUsedSpace": "12MB"}]}}"#;
    let arguments = vec!["--builder".to_owned(), rules.to_owned()];
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let dir = lab.dockerfile(LARGE);
    lab.build(&dir, &["-t", "large"]).ok();
    eventually("the cache is below its cap", || bytes(&records(&lab)) <= 12 << 20);
    assert!(bytes(&records(&lab)) >= 4_000_000, "no more goes than must");
    // The image is not the cache's.
    assert_eq!(lab.estiba(&["run", "--rm", "large", "wc", "-c", "/a"]).ok(), "5000000 /a");
    // A build right after a collection is the last for now: it is bounded all the same.
    lab.build(&dir, &["--no-cache", "-o", "type=cacheonly"]).ok();
    eventually("the cache is below its cap again", || bytes(&records(&lab)) <= 12 << 20);
}

/// What is reserved stays, whatever the cap says.
#[test]
fn what_is_reserved_stays() {
    let rule = r#"{"all": true, "maxUsedSpace": "1MB", "reservedSpace": "8MB"}"#;
    let rules = format!(r#"{{"gc": {{"policy": [{rule}]}}}}"#);
    let arguments = vec!["--builder".to_owned(), rules];
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    lab.build(&lab.dockerfile(LARGE), &["-o", "type=cacheonly"]).ok();
    eventually("the cache is at its reserve", || bytes(&records(&lab)) <= 8 << 20);
    assert!(bytes(&records(&lab)) >= 4_000_000, "what is reserved is gone");
}

#[test]
fn pruning_takes_what_it_is_told() {
    let rules = vec!["--builder".to_owned(), r#"{"gc": {"enabled": false}}"#.to_owned()];
    let lab = Lab::with(Setup { arguments: rules, ..Setup::default() });
    let dir = lab.dockerfile(
        "FROM busybox\nRUN --mount=type=cache,target=/c head -c 3000000 /dev/urandom > /c/f\n\
         RUN head -c 2000000 /dev/urandom > /a\nRUN head -c 2000000 /dev/urandom > /b\n",
    );
    lab.build(&dir, &["--output", "type=cacheonly"]).ok();
    let kinds = |kind: &str| records(&lab).iter().filter(|it| it["Type"] == kind).count();
    assert_eq!((kinds("regular"), kinds("exec.cachemount")), (3, 1));
    let prune = |arguments: &[&str]| {
        lab.estiba(&[&["builder", "prune", "-f"], arguments].concat()).ok().to_owned()
    };
    prune(&["--filter", "until=1h"]);
    assert_eq!(records(&lab).len(), 4, "nothing is that old");
    prune(&["--keep-storage", "100MB"]);
    assert_eq!(records(&lab).len(), 4, "all of it may stay");
    prune(&["--filter", "type=exec.cachemount"]);
    assert_eq!((kinds("regular"), kinds("exec.cachemount")), (3, 0));
    // Used again, a step is the last to go.
    let again = lab.build(&dir, &["--output", "type=cacheonly"]);
    assert!(again.stderr.contains("CACHED"), "{again:?}");
    prune(&["--keep-storage", "2500kB"]);
    let left = records(&lab);
    assert!(bytes(&left) <= 2_560_000 && bytes(&left) >= 1_900_000, "{left:?}");
    assert!(prune(&["-a"]).contains("Total"));
    assert_eq!(records(&lab), Vec::<Value>::new());
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_else() {
    let lab = Lab::with(Setup { data_mib: Some(48), ..Setup::default() });
    let small = lab.dockerfile("FROM busybox\nCOPY Dockerfile /x\nRUN cp /x /y\n");
    lab.build(&small, &["-t", "small"]).ok();
    let step = lab.dockerfile("FROM busybox\nRUN head -c 90000000 /dev/zero > /big\n");
    let failed = lab.build(&step, &["-t", "big"]);
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.to_lowercase().contains("no space left"), "{failed:?}");
    let copy = lab.dockerfile("FROM busybox\nCOPY big /\n");
    let file = std::fs::File::create(copy.join("big")).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(7), 90_000_000), &mut { file }).unwrap();
    let failed = lab.build(&copy, &["-t", "big"]);
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.to_lowercase().contains("no space left"), "{failed:?}");
    // What was there is there, and there is room again.
    assert_eq!(lab.estiba(&["run", "--rm", "small", "cat", "/y"]).status, 0);
    lab.build(&small, &["-t", "again", "--no-cache"]).ok();
    let images = lab.estiba(&["images", "-q", "big"]);
    assert_eq!(images.ok(), "");
}

#[test]
fn what_is_not_granted_is_refused() {
    let lab = Lab::new();
    let dir = lab.dockerfile("FROM busybox\nRUN --network=host true\n");
    let refused = lab.build(&dir, &[]);
    assert!(refused.stderr.contains("network.host"), "{refused:?}");
    lab.build(&dir, &["--allow", "network.host"]).ok();
    let insecure =
        "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --security=insecure true\n";
    let dir = lab.dockerfile(insecure);
    let refused = lab.build(&dir, &["--allow", "security.insecure"]);
    assert!(refused.stderr.contains("builder.entitlements"), "{refused:?}");
    let granted = r#"{"entitlements": {"security-insecure": true, "network-host": false}}"#;
    let arguments = vec!["--builder".to_owned(), granted.to_owned()];
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    let dir = lab.dockerfile(insecure);
    lab.build(&dir, &["--allow", "security.insecure"]).ok();
    assert_ne!(lab.build(&dir, &[]).status, 0);
    let dir = lab.dockerfile("FROM busybox\nRUN --network=host true\n");
    assert_ne!(lab.build(&dir, &["--allow", "network.host"]).status, 0);
}
