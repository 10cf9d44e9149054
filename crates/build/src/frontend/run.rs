//! RUN: its command, its mounts, what it may do.

use super::plan::Planner;
use super::state::State;
use super::step::{At, shown_value, with_shell};
use super::wrong::Wrong;
use crate::dockerfile::{Fault, MountFlag, MountType, Run};
use crate::expand::Variables;
use crate::graph::{
    Base, Bind, CacheMount, Change, Device, DirOwner, Edge, Exec, File, FileAction, Mount,
    MountKind, NetworkMode, OpKind, SecretEnv, SecretMount, Vertex,
};
use crate::text::{base_name, clean_path, is_absolute, join_paths, quote};

/// Where a here-document that is a program is mounted.
const SCRIPT_DIR: &str = "/dev/pipes";
/// Where agents' sockets are mounted unless told otherwise.
const AGENT_SOCKET: &str = "/run/buildkit/ssh_agent";

/// What a RUN starts.
struct Program {
    args: Vec<String>,
    /// As shown.
    title: String,
    /// A file to mount below [`SCRIPT_DIR`]: name and content.
    script: Option<(String, String)>,
}

impl Planner<'_> {
    pub(super) fn run_command(
        &mut self,
        at: &At<'_>,
        state: &mut State,
        run: &Run,
    ) -> Result<(), Wrong> {
        let program = program(at, state, run);
        let options = self.shared.options;
        let hostname = options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME");
        let mut exec = Exec {
            args: program.args,
            env: state.env.entries(),
            cwd: state.workdir().to_owned(),
            user: state.config.config.user.clone(),
            hostname: hostname.unwrap_or(&options.hostname).clone(),
            // Without `--network` the build's own mode counts.
            network: match run.network {
                None | Some(NetworkMode::Sandbox) => options.network,
                Some(mode) => mode,
            },
            security: run.security,
            extra_hosts: options.extra_hosts.clone(),
            ulimits: options.ulimits.clone(),
            shm_bytes: options.shm_bytes,
            devices: run
                .devices
                .iter()
                .map(|device| Device { name: device.name.clone(), required: device.required })
                .collect(),
            proxy: self.shared.proxies.clone(),
            cgroup_parent: options.cgroup_parent.clone(),
            ..Exec::default()
        };
        let mut inputs: Vec<Edge> = state.root.into_iter().collect();
        exec.root = Bind { input: state.root.map(|_| 0), output: Some(0), ..Bind::default() };
        if let Some((name, text)) = &program.script {
            let edge = self.script(at, state, name, text)?;
            inputs.push(edge);
            let bind = Bind { input: Some(inputs.len() - 1), readonly: true, ..Bind::default() };
            let dest = SCRIPT_DIR.to_owned();
            exec.mounts.push(Mount { dest, kind: MountKind::Bind(bind) });
        }
        for (place, value) in run.mounts.iter().enumerate() {
            let flag = self.mount_flag(at, state, value)?;
            self.mount(at, state, (place, flag), &mut exec, &mut inputs)?;
        }
        let masked: Vec<String> =
            exec.secret_env.iter().map(|secret| secret.name.clone()).collect();
        let vertex = Vertex {
            name: self.step_title(at, state, &program.title, &masked),
            ignore_cache: self.ignores_cache(at.index),
            limits: options.limits.clone(),
            ..Vertex::default()
        };
        let command = with_args(state, &exec.args);
        let platform = Some(state.platform.clone());
        let kind = OpKind::Exec(Box::new(exec));
        state.root = Some(self.add(kind, inputs, platform, vertex, at.instruction().span)?);
        state.commit_run(&command);
        Ok(())
    }

    fn script(
        &mut self,
        at: &At<'_>,
        state: &State,
        name: &str,
        text: &str,
    ) -> Result<Edge, Wrong> {
        let change = Change::Mkfile {
            path: join_paths("/", name),
            mode: 0o755,
            data: text.as_bytes().to_vec(),
            owner: None,
            time_ns: self.shared.epoch_ns,
        };
        let actions = vec![FileAction { base: Base::Empty, change, output: Some(0) }];
        let vertex = Vertex::named("[internal] preparing inline document");
        let platform = Some(state.platform.clone());
        let kind = OpKind::File(File { actions });
        self.add(kind, Vec::new(), platform, vertex, at.instruction().span)
    }

    fn mount_flag(&mut self, at: &At<'_>, state: &State, value: &str) -> Result<MountFlag, Wrong> {
        let mut expand = |word: &str| {
            self.expand(at, state, word).map_err(|wrong| Fault::at(wrong.message, word))
        };
        MountFlag::parse(value, &mut expand).map_err(|fault| at.fault(fault))
    }

    fn mount(
        &mut self,
        at: &At<'_>,
        state: &State,
        (place, flag): (usize, MountFlag),
        exec: &mut Exec,
        inputs: &mut Vec<Edge>,
    ) -> Result<(), Wrong> {
        match flag.kind {
            MountType::Secret => return secret(at, state, flag, exec),
            MountType::Ssh => {
                agent(state, flag, exec);
                return Ok(());
            }
            _ => {}
        }
        let dest = absolute(state, &flag.target);
        if dest == "/" {
            let message = format!("invalid mount target {}", quote(&dest));
            return Err(at.wrong(message).about(flag.target));
        }
        let selector = match join_paths("/", &flag.source).as_str() {
            "/" => String::new(),
            path => path.to_owned(),
        };
        let kind = match flag.kind {
            MountType::Tmpfs => MountKind::Tmpfs { size_bytes: flag.size_bytes },
            MountType::Cache => {
                let input = match &flag.from {
                    Some(_) => self.mount_source(at, place, &flag, inputs)?,
                    None => None,
                };
                MountKind::Cache(self.cache(flag, selector, input))
            }
            _ => {
                let input = self.mount_source(at, place, &flag, inputs)?;
                let readonly = flag.readonly;
                MountKind::Bind(Bind { input, selector, readonly, output: None })
            }
        };
        exec.mounts.push(Mount { dest, kind });
        Ok(())
    }

    /// The input that a mount shows: a stage's, or the context.
    fn mount_source(
        &mut self,
        at: &At<'_>,
        place: usize,
        flag: &MountFlag,
        inputs: &mut Vec<Edge>,
    ) -> Result<Option<usize>, Wrong> {
        let edge = match at.step.sources.get(place).copied().flatten() {
            Some(stage) => {
                if self.states[stage].is_none() {
                    let from = flag.from.as_deref().unwrap_or_default();
                    let message = format!(
                        "cannot mount from stage {} to {}, stage needs to be defined before \
                         current command",
                        quote(from),
                        quote(&flag.target)
                    );
                    return Err(at.wrong(message).about(from));
                }
                if let Some(local) = self.locals.get(stage).cloned().flatten() {
                    super::sources::note(&mut self.paths, &local, &flag.source);
                }
                match self.stage_root(at, stage)? {
                    Some(edge) => edge,
                    None => return Ok(None),
                }
            }
            None => {
                self.use_context(&flag.source);
                self.context(at.instruction().span)?
            }
        };
        let known = inputs.iter().position(|input| *input == edge);
        Ok(Some(known.unwrap_or_else(|| {
            inputs.push(edge);
            inputs.len() - 1
        })))
    }

    fn cache(&self, flag: MountFlag, selector: String, input: Option<usize>) -> CacheMount {
        let namespace = self.shared.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
        let id = if flag.id.is_empty() { clean_path(&flag.target) } else { flag.id };
        let asked = flag.uid.is_some() || flag.gid.is_some() || flag.mode.is_some();
        CacheMount {
            id: format!("{}/{id}", namespace.map_or("", String::as_str)),
            sharing: flag.sharing.unwrap_or_default(),
            readonly: flag.readonly,
            input,
            dir: (asked && selector.is_empty()).then(|| DirOwner {
                uid: flag.uid.unwrap_or(0),
                gid: flag.gid.unwrap_or(0),
                mode: flag.mode.unwrap_or(0o755),
            }),
            selector,
        }
    }
}

/// A path in the step.
fn absolute(state: &State, path: &str) -> String {
    match is_absolute(path) {
        true => clean_path(path),
        false => join_paths(state.workdir(), path),
    }
}

fn secret(at: &At<'_>, state: &State, flag: MountFlag, exec: &mut Exec) -> Result<(), Wrong> {
    let id = [&flag.source, &flag.id].into_iter().find(|id| !id.is_empty());
    let id = id.map_or_else(|| base_name(&flag.target).to_owned(), Clone::clone);
    if id.is_empty() || id == "." || id == "/" {
        return Err(at.wrong("one of source, target required"));
    }
    let target = match flag.target.as_str() {
        "" if flag.env.is_some() => None,
        "" => Some(format!("/run/secrets/{}", base_name(&id))),
        target => Some(absolute(state, target)),
    };
    if let Some(name) = flag.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("invalid environment variable name {}", quote(&name));
            return Err(at.wrong(message).about(name));
        }
        exec.secret_env.push(SecretEnv { id: id.clone(), name, required: flag.required });
    }
    if let Some(dest) = target {
        let secret = SecretMount {
            id,
            uid: flag.uid.unwrap_or(0),
            gid: flag.gid.unwrap_or(0),
            mode: flag.mode.unwrap_or(0o400),
            required: flag.required,
        };
        exec.mounts.push(Mount { dest, kind: MountKind::Secret(secret) });
    }
    Ok(())
}

/// An agent's socket; the first is the one that `SSH_AUTH_SOCK` names.
fn agent(state: &State, flag: MountFlag, exec: &mut Exec) {
    let agents = exec.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Ssh(_)));
    let number = agents.count();
    let dest = match flag.target.as_str() {
        "" => format!("{AGENT_SOCKET}.{number}"),
        target => absolute(state, target),
    };
    if number == 0 && !state.env.has("SSH_AUTH_SOCK") {
        exec.env.push(format!("SSH_AUTH_SOCK={dest}"));
    }
    let id = if flag.id.is_empty() { "default".to_owned() } else { flag.id };
    let socket = SecretMount {
        id,
        uid: flag.uid.unwrap_or(0),
        gid: flag.gid.unwrap_or(0),
        mode: flag.mode.unwrap_or(0o600),
        required: flag.required,
    };
    exec.mounts.push(Mount { dest, kind: MountKind::Ssh(socket) });
}

fn program(at: &At<'_>, state: &State, run: &Run) -> Program {
    let original = &at.instruction().original;
    if run.command.exec {
        return Program { args: run.command.args.clone(), title: original.clone(), script: None };
    }
    let text = run.command.args.join(" ");
    let (Some(doc), true) = (run.heredocs.first(), text.starts_with("<<")) else {
        return shell_program(state, run, text, original);
    };
    // More than the sign and the delimiter: a command of the shell's own.
    let only = run.heredocs.len() == 1 && crate::dockerfile::is_heredoc(&text);
    if !only {
        return shell_program(state, run, text, original);
    }
    let content = doc.text();
    let title = format!("{original} ({})", summary(&doc.content));
    if content.starts_with("#!") && state.config.os != "windows" {
        let name = base_name(&doc.name).to_owned();
        let args = vec![format!("{SCRIPT_DIR}/{name}")];
        return Program { args, title, script: Some((name, content)) };
    }
    Program { args: with_shell(state, &content), title, script: None }
}

/// Here-documents beside a command are the shell's business: it gets them as written.
fn shell_program(state: &State, run: &Run, mut text: String, original: &str) -> Program {
    for doc in &run.heredocs {
        text.push('\n');
        text.push_str(&doc.content);
        text.push_str(&doc.name);
    }
    Program { args: with_shell(state, &text), title: original.to_owned(), script: None }
}

/// The first line of a here-document.
fn summary(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { first + "..." } else { first }
}

/// The command with the ARGs it saw, as history shows it: `|2 A=1 B=2 /bin/sh -c make`.
fn with_args(state: &State, args: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for (index, (name, value)) in state.args.iter().enumerate() {
        if state.args[..index].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        let value = state.env.value(name).or(value.as_deref()).unwrap_or_default();
        shown.push(format!("{name}={}", shown_value(name, value)));
    }
    if !shown.is_empty() {
        shown.insert(0, format!("|{}", shown.len()));
    }
    shown.extend_from_slice(args);
    shown.join(" ")
}
