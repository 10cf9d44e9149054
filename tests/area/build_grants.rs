//! What a build may do and take: images that the rules list, by every way that a Dockerfile has to
//! one, and devices that an administrator lends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Output, Setup, text};

/// A daemon whose clients may use `busybox` and what is in one repository, and no other image.
fn ruled() -> (Lab, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    let rules = serde_json::json!({"rules": [{
        "name": "builders", "clients": {"anyone": true}, "allow": ["*"], "objects": "all",
        "containers": "any",
        "images": ["docker.io/library/busybox:*", "127.0.0.1:5000/allowed/*"]
    }]});
    std::fs::write(&file, rules.to_string()).unwrap();
    let arguments = vec![format!("--authorization-policy={}", text(&file))];
    (Lab::with(Setup { arguments, ..Setup::default() }), dir)
}

const WHY: &str = "image private.example/base:1 is not allowed";

#[test]
fn no_way_of_a_dockerfile_leads_to_an_image_that_is_not_allowed() {
    let (lab, _rules) = ruled();
    lab.estiba(&["tag", "busybox", "private.example/base:1"]).ok();
    let ways = [
        "FROM private.example/base:1\n",
        "FROM private.example/base:1 AS unused\nFROM busybox\nCOPY --from=unused /bin/sh /x\n",
        "FROM busybox\nCOPY --from=private.example/base:1 /bin/sh /x\n",
        "FROM busybox\nRUN --mount=from=private.example/base:1,target=/m true\n",
        "ARG B=private.example/base\nFROM ${B}:1\nRUN true\n",
    ];
    let refused = |how: &str, built: &Output| {
        let said = built.stderr.contains(WHY) || built.stdout.contains(WHY);
        assert!(built.status != 0 && said, "{how}: {built:?}");
    };
    let socket = lab.socket();
    for way in ways {
        let dir = lab.dockerfile(way);
        refused(way, &lab.estiba(&["build", text(&dir)]));
        // Stages that a target does not need are not looked at, so the question is asked too.
        if let Some(built) = lab.buildkit_docker(&["build", text(&dir)], b"") {
            refused(way, &built);
        }
        let tar = lab.dir().join("way.tar");
        lab.in_network(&["tar", "-C", text(&dir), "-cf", text(&tar), "."]).ok();
        let sent = format!("@{}", text(&tar));
        let words = ["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/x-tar"];
        let rest = ["--unix-socket", text(&socket), "--data-binary", &sent];
        let url = ["http://localhost/v1.43/build"];
        let told = lab.in_network(&[&words[..], &rest, &url].concat());
        assert!(told.ok().contains(WHY), "{way}: {told:?}");
    }
    // As another name of a context, as a scanner, as a cache, as where a result goes.
    let dir = lab.dockerfile("FROM busybox\nRUN echo ran\n");
    let named = "busybox=docker-image://private.example/base:1";
    refused(named, &lab.estiba(&["build", "--build-context", named, text(&dir)]));
    let layout = format!("type=oci,dest={}", text(&lab.dir().join("o.tar")));
    let scanner = "--sbom=generator=private.example/base:1";
    refused(scanner, &lab.estiba(&["build", scanner, "-o", &layout, text(&dir)]));
    let to = "type=registry,ref=private.example/base:1";
    refused(to, &lab.estiba(&["build", "--cache-to", to, text(&dir)]));
    let pushed =
        lab.estiba(&["build", "--no-cache", "--push", "-t", "private.example/base:1", text(&dir)]);
    refused("--push", &pushed);
    assert!(!pushed.stderr.contains("RUN echo ran"), "built before it was refused: {pushed:?}");
    // What is allowed goes.
    lab.estiba(&["build", "-t", "mine", text(&dir)]).ok();
}

/// A device of the Container Device Interface, where the daemon's administrator lends devices.
#[test]
fn steps_get_the_devices_that_are_lent() {
    let mut lab = Lab::new();
    let dir = lab.dockerfile(
        "FROM busybox\n\
         RUN --device=lab.example/hole=one test -c /dev/hole && echo x > /dev/hole && \
         echo \"$HOLE\" > /given\n\
         RUN test ! -e /dev/hole && echo none > /after\n\
         RUN --device=lab.example/hole=missing,required=false echo without > /optional\n",
    );
    let words = ["build", "--allow", "device", "-t", "lent", text(&dir)];
    lab.estiba(&words).fails(1, "granting entitlement device is not allowed");
    lab.stop_daemon();
    let granted = r#"{"builder": {"entitlements": {"device": true}}}"#;
    std::fs::write(lab.dir().join("daemon.json"), granted).unwrap();
    // Specifications are read where the host has them; this host's are not touched.
    lab.in_network(&["mount", "-t", "tmpfs", "run", "/run"]).ok();
    let specification = r#"{"cdiVersion": "0.6.0", "kind": "lab.example/hole", "devices": [
        {"name": "one", "containerEdits": {"env": ["HOLE=lent"], "deviceNodes": [
            {"path": "/dev/hole", "hostPath": "/dev/null"}]}}]}"#;
    let script =
        format!("mkdir /run/cdi && cat > /run/cdi/hole.json <<'END'\n{specification}\nEND");
    lab.in_network(&["sh", "-c", &script]).ok();
    lab.start_daemon();
    lab.estiba(&["build", text(&dir)]).fails(1, "device");
    lab.estiba(&words).ok();
    let shown = lab.estiba(&["run", "--rm", "lent", "cat", "/given", "/after", "/optional"]);
    assert_eq!(shown.ok(), "lent\nnone\nwithout");
    let dir = lab.dockerfile("FROM busybox\nRUN --device=lab.example/hole=missing,required true\n");
    lab.estiba(&["build", "--allow", "device", text(&dir)]).fails(1, "lab.example/hole=missing");
}

/// A scanner that is asked for runs upon the result, and what it finds is said beside the image.
#[test]
fn a_scanner_of_ones_own_says_what_is_in_an_image() {
    let lab = Lab::new();
    let scanner = r#"FROM busybox
COPY --chmod=755 <<'END' /scan
#!/bin/sh
test -e "$BUILDKIT_SCAN_SOURCE/marked" || exit 3
cat > "$BUILDKIT_SCAN_DESTINATION/found.spdx.json" <<DOC
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
 "predicate": {"spdxVersion": "SPDX-2.3", "name": "by-a-scanner"}}
DOC
END
ENTRYPOINT ["/scan"]
"#;
    let dir = lab.dockerfile(scanner);
    lab.estiba(&["build", "-t", "scanner", text(&dir)]).ok();
    let dir = lab.dockerfile("FROM busybox\nRUN touch /marked\n");
    let layout = lab.dir().join("layout");
    let out = format!("type=oci,tar=false,dest={}", text(&layout));
    lab.estiba(&["build", "--sbom=generator=scanner", "-o", &out, text(&dir)]).ok();
    let found = lab.in_network(&["grep", "-rl", "by-a-scanner", text(&layout)]);
    assert_eq!(found.ok().lines().count(), 1);
    // One that fails fails the build, with its status.
    let dir = lab.dockerfile("FROM busybox\nRUN touch /other\n");
    let failed = lab.estiba(&["build", "--sbom=generator=scanner", "-o", &out, text(&dir)]);
    failed.fails(1, "exit code: 3");
}

/// Stages and the context are scanned too where a Dockerfile or a build argument says so.
#[test]
fn what_is_scanned_beside_the_result_is_said_by_arguments() {
    let lab = Lab::new();
    let scanner = r#"FROM busybox
COPY --chmod=755 <<'END' /scan
#!/bin/sh
cd "$BUILDKIT_SCAN_SOURCE_EXTRAS" 2>/dev/null && for dir in *; do
    seen="$seen $dir:$(cd "$dir" && echo mark-*)"
done
echo '{"predicateType": "https://spdx.dev/Document", "predicate": {"name": "extras'$seen'"}}' \
    > "$BUILDKIT_SCAN_DESTINATION/found.spdx.json"
END
ENTRYPOINT ["/scan"]
"#;
    lab.build(&lab.dockerfile(scanner), &["-t", "scanner"]).ok();
    let dockerfile = "FROM busybox AS make\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n\
        RUN touch /mark-make\n\
        FROM busybox AS unneeded\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN exit 9\n\
        FROM busybox AS other\nRUN touch /mark-other\n\
        FROM busybox\nCOPY --from=make /mark-make /\nCOPY --from=other /mark-other /\n";
    let dir = lab.context(&[("Dockerfile", dockerfile), ("mark-context", "")]);
    let layout = lab.dir().join("layout");
    let out = format!("type=oci,tar=false,dest={}", text(&layout));
    let said = |sbom: &str, arguments: &[&str], pattern: &str| {
        let _ = std::fs::remove_dir_all(&layout);
        let mut words = vec![sbom, "-o", &out];
        arguments.iter().for_each(|argument| words.extend(["--build-arg", argument]));
        lab.build(&dir, &words).ok();
        lab.in_network(&["grep", "-rhoE", pattern, text(&layout)]).ok().to_owned()
    };
    let scanned = |arguments: &[&str]| {
        said("--sbom=generator=scanner", arguments, "\"name\": *\"extras[^\"]*")
            .rsplit('"')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(scanned(&[]), "extras make:mark-make");
    let context = "BUILDKIT_SBOM_SCAN_CONTEXT=true";
    assert_eq!(scanned(&[context]), "extras context:mark-context make:mark-make");
    let other = "BUILDKIT_SBOM_SCAN_STAGE=other";
    assert_eq!(scanned(&[other]), "extras other:mark-other");
    assert_eq!(scanned(&["BUILDKIT_SBOM_SCAN_STAGE=false"]), "extras");
    // What is built in says of each what it lists.
    let documents = said("--sbom=true", &[context], "\"SPDXID\":\"SPDXRef-DOCUMENT\"");
    assert_eq!(documents.lines().count(), 3, "{documents}");
}
