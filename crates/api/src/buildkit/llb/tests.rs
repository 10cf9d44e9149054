//! Definitions, honest and hostile.

use super::*;
use build::graph::{Base, Change, MountKind};

fn encode(op: &pb::Op) -> (Vec<u8>, String) {
    let bytes = op.encode_to_vec();
    let digest = digest_of(&bytes);
    (bytes, digest)
}

fn source(identifier: &str, attrs: &[(&str, &str)]) -> pb::Op {
    let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let source = pb::SourceOp { identifier: identifier.to_owned(), attrs };
    pb::Op { op: Some(pb::op::Op::Source(source)), ..pb::Op::default() }
}

fn input(digest: &str, index: i64) -> pb::Input {
    pb::Input { digest: digest.to_owned(), index }
}

fn terminal(digest: &str) -> Vec<u8> {
    pb::Op { inputs: vec![input(digest, 0)], ..pb::Op::default() }.encode_to_vec()
}

fn run(root: i64) -> pb::ExecOp {
    pb::ExecOp {
        meta: Some(pb::Meta {
            args: vec!["/bin/true".to_owned()],
            env: vec!["A=b".to_owned()],
            cwd: "/".to_owned(),
            ..pb::Meta::default()
        }),
        mounts: vec![
            pb::Mount { input: root, dest: "/".to_owned(), ..pb::Mount::default() },
            pb::Mount {
                input: -1,
                output: -1,
                dest: "/root/.cache".to_owned(),
                mount_type: pb::MountType::Cache.into(),
                ..pb::Mount::default()
            },
            pb::Mount {
                input: -1,
                output: -1,
                dest: "/run/secrets/x".to_owned(),
                mount_type: pb::MountType::Secret.into(),
                secret_opt: Some(pb::SecretOpt {
                    id: "x".to_owned(),
                    mode: 0o400,
                    ..pb::SecretOpt::default()
                }),
                ..pb::Mount::default()
            },
        ],
        ..pb::ExecOp::default()
    }
}

/// Image, process upon it, file copied into the result.
fn definition() -> pb::Definition {
    let (image, image_digest) = encode(&source("docker-image://docker.io/library/a:1", &[]));
    let exec = pb::Op {
        inputs: vec![input(&image_digest, 0)],
        op: Some(pb::op::Op::Exec(run(0))),
        ..pb::Op::default()
    };
    let (exec, exec_digest) = encode(&exec);
    let (local, local_digest) = encode(&source(
        "local://context",
        &[("local.includepattern", "[\"a\",\"b\"]"), ("local.followpaths", "null")],
    ));
    let copy = pb::FileActionCopy {
        src: "/a".to_owned(),
        dest: "/b".to_owned(),
        mode: -1,
        timestamp: -1,
        ..pb::FileActionCopy::default()
    };
    let action = pb::FileAction {
        input: 0,
        secondary_input: 1,
        output: 0,
        action: Some(pb::file_action::Action::Copy(copy)),
    };
    let file = pb::Op {
        inputs: vec![input(&exec_digest, 0), input(&local_digest, 0)],
        op: Some(pb::op::Op::File(pb::FileOp { actions: vec![action] })),
        ..pb::Op::default()
    };
    let (file, file_digest) = encode(&file);
    let meta = pb::OpMetadata {
        ignore_cache: true,
        description: [("llb.customname".to_owned(), "COPY a\x1b b".to_owned())].into(),
        ..pb::OpMetadata::default()
    };
    // Users before their inputs: the order of a definition means nothing.
    pb::Definition {
        def: vec![file, exec, local, image, terminal(&file_digest)],
        metadata: [(file_digest, meta)].into(),
        source: None,
    }
}

#[test]
fn decodes_in_any_order() {
    let decoded = decode(&definition()).unwrap();
    let target = decoded.target.unwrap();
    assert_eq!(decoded.graph.ops().len(), 4);
    let op = decoded.graph.op(target.op).unwrap();
    assert_eq!(op.meta.name, "COPY a b");
    assert!(op.meta.ignore_cache);
    let OpKind::File(file) = &op.kind else { panic!("{:?}", op.kind) };
    assert_eq!(file.actions[0].base, Base::Input(0));
    let Change::Copy(copy) = &file.actions[0].change else { panic!() };
    assert_eq!((copy.from, copy.mode.clone(), copy.time_ns), (Base::Input(1), None, None));
    let exec = decoded.graph.op(op.inputs[0].op).unwrap();
    let OpKind::Exec(exec) = &exec.kind else { panic!() };
    assert_eq!(exec.mounts.len(), 2);
    assert!(matches!(&exec.mounts[0].kind, MountKind::Cache(cache) if cache.id == "/root/.cache"));
    assert!(matches!(&exec.mounts[1].kind, MountKind::Secret(secret) if secret.required));
    let local = decoded.graph.op(op.inputs[1].op).unwrap();
    let OpKind::Local(local) = &local.kind else { panic!() };
    assert_eq!((local.include.len(), local.follow.len()), (2, 0));
}

#[test]
fn an_empty_definition_is_the_empty_file_system() {
    assert!(decode(&pb::Definition::default()).unwrap().target.is_none());
}

#[test]
fn refuses_what_does_not_fit_together() {
    let mut missing = definition();
    missing.def.remove(3);
    assert!(matches!(decode(&missing), Err(LlbError::Missing { .. })));
    let garbage = pb::Definition { def: vec![vec![0xff; 40]], ..pb::Definition::default() };
    assert!(matches!(decode(&garbage), Err(LlbError::Encoding(0, _))));
    for op in [
        source("docker-image:x", &[]),
        source("ftp://x", &[]),
        source("local://x\0y", &[]),
        source("local://x", &[("local.includepattern", "{}")]),
        source("https://x/y", &[("http.filename", "../y")]),
        source("https://x/y", &[("http.perm", "999")]),
        pb::Op { op: Some(pb::op::Op::Exec(pb::ExecOp::default())), ..pb::Op::default() },
        pb::Op { op: Some(pb::op::Op::Exec(run(0))), ..pb::Op::default() },
        pb::Op { op: Some(pb::op::Op::Exec(run(i64::MIN))), ..pb::Op::default() },
        pb::Op { op: Some(pb::op::Op::Build(pb::BuildOp::default())), ..pb::Op::default() },
    ] {
        let (bytes, digest) = encode(&op);
        let definition =
            pb::Definition { def: vec![bytes, terminal(&digest)], ..pb::Definition::default() };
        assert!(decode(&definition).is_err(), "{op:?}");
    }
}

#[test]
fn ids_that_lead_elsewhere_are_refused() {
    for id in ["../x", "a/../b", "a\nb", "a\0b", &"x".repeat(2000)] {
        let mut exec = run(-1);
        exec.mounts[1].cache_opt = Some(pb::CacheOpt { id: id.to_owned(), sharing: 0 });
        let op = pb::Op { op: Some(pb::op::Op::Exec(exec)), ..pb::Op::default() };
        let (bytes, digest) = encode(&op);
        let definition =
            pb::Definition { def: vec![bytes, terminal(&digest)], ..pb::Definition::default() };
        assert!(decode(&definition).is_err(), "{id:?}");
    }
}

/// Every way to cut or flip an honest definition gives a graph or an error, never a panic.
#[test]
fn hostile_bytes_do_not_panic() {
    let honest = definition();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(bound).unwrap()).unwrap()
    };
    for _ in 0..20_000 {
        let mut hostile = honest.clone();
        for _ in 0..=random(3) {
            let op = random(hostile.def.len());
            let bytes = &mut hostile.def[op];
            if bytes.is_empty() {
                continue;
            }
            let at = random(bytes.len());
            match random(4) {
                0 => bytes.truncate(at),
                1 => bytes[at] = u8::try_from(random(256)).unwrap(),
                2 => bytes.insert(at, 0xff),
                _ => bytes[at] ^= 1 << random(8),
            }
        }
        // Digests that fit again let the decoder come further than the first check.
        if let Some(last) = hostile.def.len().checked_sub(2) {
            let digest = digest_of(&hostile.def[last]);
            hostile.def.truncate(last + 1);
            hostile.def.push(terminal(&digest));
        }
        let _ = decode(&hostile);
    }
}
