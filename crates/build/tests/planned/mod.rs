//! Plans a Dockerfile with every image known, and writes the plan out.

use build::dockerfile::Dockerfile;
use build::frontend::{KnownImage, KnownImages, Plan, PlanOptions, Planning, Target, plan};
use build::graph::{Change, FileAction, Op, OpKind, Unpack};
use build::platform::Platform;
use std::fmt::Write as _;
use wire::oci::image::{History, ImageConfig, RootFs, RunConfig};

/// An image as every name gives it; `onbuild` has triggers, `debian` a command.
fn image(reference: &str, platform: &Platform) -> ImageConfig {
    let mut config =
        RunConfig { env: Some(vec!["PATH=/usr/bin:/bin".to_owned()]), ..RunConfig::default() };
    if reference.contains("onbuild") {
        config.on_build = Some(vec!["COPY . /app".to_owned(), "RUN make".to_owned()]);
    }
    if reference.contains("debian") {
        config.cmd = Some(vec!["bash".to_owned()]);
    }
    ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        config,
        history: vec![History { created_by: Some("base".to_owned()), ..History::default() }],
        rootfs: RootFs { diff_ids: vec!["sha256:00".to_owned()], ..RootFs::default() },
        ..ImageConfig::default()
    }
}

/// Plans with every image known.
fn planned(file: &Dockerfile, options: &PlanOptions) -> Result<Plan, String> {
    let mut known = KnownImages::new();
    for _ in 0..10 {
        match plan(file, options, &known).map_err(|err| {
            let place = err.location.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{place}: {err}")
        })? {
            Planning::Done(plan) => return Ok(*plan),
            Planning::Needs(needs) => {
                for need in needs.into_keys() {
                    let config = image(&need.reference, &need.platform);
                    let platform = need.platform.clone();
                    let reference = format!("{}@known", need.reference);
                    known.insert(need, KnownImage { reference, platform, config });
                }
            }
        }
    }
    Err("never done".to_owned())
}

/// For amd64, with two build arguments.
pub(crate) fn options() -> PlanOptions {
    let mut options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    options.build_args.insert("GITHUB_TOKEN".into(), "s3cr3t".into());
    options.build_args.insert("HTTP_PROXY".into(), "http://proxy".into());
    options
}

fn describe(plan: &Plan) -> String {
    let mut out = String::new();
    for (id, op) in plan.graph.iter() {
        let inputs: Vec<String> =
            op.inputs.iter().map(|edge| format!("{}.{}", edge.op.0, edge.output)).collect();
        let platform = op.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "{} <- [{}] {platform} | {}", id.0, inputs.join(" "), op.meta.name);
        describe_op(&mut out, op);
    }
    for target in &plan.targets {
        describe_target(&mut out, target);
    }
    for warning in &plan.warnings {
        let line = warning.location.as_ref().map_or(0, |location| location.start().line);
        let _ = writeln!(out, "check {} (line {line}): {}", warning.rule, warning.message);
    }
    out
}

fn describe_op(out: &mut String, op: &Op) {
    let _ = match &op.kind {
        OpKind::Exec(exec) => {
            let _ = writeln!(out, "    run {:?} in {} as {:?}", exec.args, exec.cwd, exec.user);
            let _ = writeln!(out, "    env {:?} proxy {:?}", exec.env, exec.proxy);
            if !exec.secret_env.is_empty() {
                let _ = writeln!(out, "    secret env {:?}", exec.secret_env);
            }
            for mount in &exec.mounts {
                let _ = writeln!(out, "    mount {} {:?}", mount.dest, mount.kind);
            }
            let (network, security) = (exec.network, exec.security);
            writeln!(out, "    {network:?} {security:?} {:?} root {:?}", exec.devices, exec.root)
        }
        OpKind::File(file) => {
            file.actions.iter().for_each(|action| describe_action(out, action));
            Ok(())
        }
        kind => writeln!(out, "    {kind:?}"),
    };
}

fn describe_action(out: &mut String, action: &FileAction) {
    let _ = write!(out, "    {:?} -> {:?}: ", action.base, action.output);
    let _ = match &action.change {
        Change::Copy(copy) => {
            let _ = write!(out, "copy {:?} {} {}", copy.from, copy.src, copy.dest);
            let flags = [
                (copy.contents_only, "contents"),
                (copy.wildcard, "wildcard"),
                (copy.follow_symlinks, "follow"),
                (copy.unpack == Unpack::Detect, "unpack"),
            ];
            for (_, name) in flags.iter().filter(|(set, _)| *set) {
                let _ = write!(out, " {name}");
            }
            if let Some(owner) = &copy.owner {
                let _ = write!(out, " {owner:?}");
            }
            if let Some(mode) = &copy.mode {
                let _ = write!(out, " {mode:?}");
            }
            for (name, list) in
                [("include", &copy.include), ("exclude", &copy.exclude), ("need", &copy.required)]
            {
                if !list.is_empty() {
                    let _ = write!(out, " {name}{list:?}");
                }
            }
            writeln!(out)
        }
        Change::Mkfile { path, mode, data, .. } => {
            writeln!(out, "mkfile {path} {mode:o} {:?}", String::from_utf8_lossy(data))
        }
        change => writeln!(out, "{change:?}"),
    };
}

fn describe_target(out: &mut String, target: &Target) {
    let _ = writeln!(out, "target {} {:?}", target.platform, target.result);
    let config = serde_json::to_string(&target.config.config).expect("it is data");
    let _ = writeln!(out, "    {config}");
    for entry in &target.config.history {
        let layer = if entry.empty_layer { ' ' } else { '+' };
        let _ = writeln!(out, "  {layer} {}", entry.created_by.as_deref().unwrap_or_default());
    }
}

/// What is planned for a text, or what is wrong with it.
pub(crate) fn described(text: &[u8], options: &PlanOptions) -> String {
    let plan = Dockerfile::parse("Dockerfile", text)
        .map_err(|err| err.to_string())
        .and_then(|file| planned(&file, options));
    match plan {
        Ok(plan) => describe(&plan),
        Err(err) => format!("error: {err}\n"),
    }
}
