//! Operations on images: made, named, fetched and removed.

use crate::containers::{is_running, remove, running};
use crate::matrix::{Matrix, Operation, matrix};
use lab::{Lab, Session, binaries, eventually};

const LOADING: Operation = Operation {
    prepare: |lab| {
        let path = lab.dir().join("saved.tar");
        if !path.exists() {
            lab.estiba(&["commit", "-c", "LABEL of=saved", "by", "saved"]).ok();
            lab.estiba(&["save", "-o", path.to_str().unwrap(), "saved"]).ok();
            lab.estiba(&["rmi", "saved"]).ok();
        }
    },
    act: |lab| lab.estiba(&["load", "-q", "-i", lab.dir().join("saved.tar").to_str().unwrap()]),
    done: |lab| image(lab, "saved"),
    clean: |lab| drop(lab.estiba(&["rmi", "saved"]).ok().to_owned()),
};

/// Whether an image is there, and then whether it is whole.
fn image(lab: &Lab, name: &str) -> bool {
    let there = lab.estiba(&["image", "inspect", "-f", "{{.Id}}", name]);
    if there.status == 0 {
        assert_eq!(lab.estiba(&["run", "--rm", name, "echo", "whole"]).ok(), "whole");
    }
    there.status == 0
}

pub(crate) const COMMITTING: Operation = Operation {
    prepare: |lab| {
        running(lab);
        lab.estiba(&["exec", "one", "sh", "-c", "echo new > /new"]).ok();
    },
    act: |lab| lab.estiba(&["commit", "one", "made"]),
    done: |lab| is_running(lab, "one") && image(lab, "made"),
    clean: |lab| {
        lab.estiba(&["rmi", "made"]).ok();
        remove(lab);
        lab.estiba(&["image", "prune", "-f"]).ok();
    },
};

const TAGGING: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["tag", "busybox", "other:tag"]),
    done: |lab| image(lab, "busybox") && image(lab, "other:tag"),
    clean: |lab| drop(lab.estiba(&["rmi", "other:tag"]).ok().to_owned()),
};

const REMOVING_IMAGE: Operation = Operation {
    prepare: |lab| {
        (LOADING.prepare)(lab);
        (LOADING.act)(lab).ok();
    },
    act: |lab| lab.estiba(&["rmi", "saved"]),
    done: |lab| !image(lab, "saved"),
    clean: |lab| drop(lab.estiba(&["image", "prune", "-f"]).ok().to_owned()),
};

const PRUNING_IMAGES: Operation = Operation {
    act: |lab| lab.estiba(&["image", "prune", "-af", "--filter", "label=of=saved"]),
    ..REMOVING_IMAGE
};

const BUILDING: Operation = Operation {
    prepare: |lab| {
        let dir = lab.dir().join("context");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("Dockerfile"), "FROM busybox\nCOPY a /a\nRUN cp /a /b\n").unwrap();
        std::fs::write(dir.join("a"), "content").unwrap();
    },
    act: |lab| {
        lab.estiba(&["build", "-q", "-t", "built", lab.dir().join("context").to_str().unwrap()])
    },
    done: |lab| image(lab, "built"),
    clean: |lab| {
        lab.estiba(&["rmi", "built"]).ok();
        lab.estiba(&["builder", "prune", "-af"]).ok();
    },
};

/// What a build leaves beside the node: a layout in an archive.
const EXPORTING: Operation = Operation {
    act: |lab| {
        let (out, context) = (lab.dir().join("out.tar"), lab.dir().join("context"));
        let out = format!("type=oci,dest={}", out.to_str().unwrap());
        lab.estiba(&["build", "-q", "-o", &out, context.to_str().unwrap()])
    },
    done: |lab| {
        let out = lab.dir().join("out.tar");
        let listed = lab.in_network(&["tar", "-tf", out.to_str().unwrap()]);
        listed.status == 0 && listed.stdout.contains("index.json")
    },
    clean: |lab| {
        std::fs::remove_file(lab.dir().join("out.tar")).unwrap();
        // It has no name here.
        lab.estiba(&["image", "prune", "-f"]).ok();
        lab.estiba(&["builder", "prune", "-af"]).ok();
    },
    ..BUILDING
};

const PRUNING_BUILDS: Operation = Operation {
    prepare: |lab| {
        (BUILDING.prepare)(lab);
        (BUILDING.act)(lab).ok();
        lab.estiba(&["rmi", "built"]).ok();
    },
    act: |lab| lab.estiba(&["builder", "prune", "-af"]),
    done: |lab| {
        let used = lab.estiba(&["builder", "du"]).ok().to_owned();
        used.lines().any(|line| line.split_whitespace().eq(["Total:", "0B"]))
    },
    clean: |_| {},
};

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_loaded_committed_tagged_and_removed() {
    let making = [("load", &LOADING), ("commit", &COMMITTING), ("tag", &TAGGING)];
    let removing = [("rmi", &REMOVING_IMAGE), ("image prune", &PRUNING_IMAGES)];
    matrix(&[&making[..], &removing[..]].concat(), 40);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_built() {
    matrix(&[("build", &BUILDING)], 40);
}

#[test]
#[ignore = "takes minutes: make crash"]
fn builds_are_sent_away_and_their_cache_is_pruned() {
    matrix(&[("builder prune", &PRUNING_BUILDS), ("build -o", &EXPORTING)], 80);
}

const PULLED: &str = "127.0.0.1:5999/some/image";

/// A registry in the lab's network, with an image.
fn registry(lab: &Lab) -> Session {
    let program = binaries().join("estiba");
    let (program, root) = (program.to_string_lossy(), lab.dir().join("registry"));
    let words = ["registry", "serve", "--listen", "127.0.0.1:5999", "--root"];
    let session =
        lab.start_in_network(&[&[&*program], &words[..], &[&root.to_string_lossy()]].concat());
    let probe = ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:5999/healthz"];
    eventually("the registry answers", || lab.in_network(&probe).status == 0);
    lab.estiba(&["commit", "by", PULLED]).ok();
    lab.estiba(&["push", "-q", PULLED]).ok();
    lab.estiba(&["rmi", PULLED]).ok();
    session
}

const PULLING: Operation = Operation {
    prepare: |_| {},
    act: |lab| lab.estiba(&["pull", "-q", PULLED]),
    done: |lab| image(lab, PULLED),
    clean: |lab| {
        lab.estiba(&["rmi", PULLED]).ok();
        lab.estiba(&["image", "prune", "-f"]).ok();
    },
};

#[test]
#[ignore = "takes minutes: make crash"]
fn images_are_pulled() {
    let mut matrix = Matrix::new();
    let registry = registry(&matrix.lab);
    let met = matrix.run("pull", &PULLING);
    assert!(met >= 20, "only {met} places");
    registry.signal(rustix::process::Signal::KILL);
    registry.finish();
    matrix.finish();
}
