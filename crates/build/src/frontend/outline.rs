//! What a target takes: the arguments it and its stages declare, and the secrets, agents and
//! caches that their steps mount. Asks for no image.

use super::PlanError;
use super::env::Env;
use super::globals::{Globals, before_stages};
use super::options::PlanOptions;
use super::stages::{Base, Stages};
use super::wrong::Wrong;
use crate::check::is_secret_name;
use crate::dockerfile::{
    ArgDefinition, Dockerfile, Fault, Instruction, Kind, MountFlag, MountType, Run,
};
use crate::expand::{Expander, Variables};
use crate::span::Location;
use crate::text::{base_name, clean_path};
use std::collections::BTreeSet;

/// What is shown of a value that looks like a secret.
const MASK: &str = "****";

/// What a target takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    /// The target's name; may be empty.
    pub name: String,
    /// The comment before it.
    pub description: String,
    /// Arguments.
    pub args: Vec<TakenArg>,
    /// Secrets by id.
    pub secrets: Vec<Taken>,
    /// SSH agents by id.
    pub agents: Vec<Taken>,
    /// Caches by id.
    pub caches: Vec<Taken>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenArg {
    /// Its name.
    pub name: String,
    /// The comment before it.
    pub description: String,
    /// What it is in this build; `None` without a default.
    pub value: Option<String>,
    /// Where it is declared.
    pub location: Location,
}

/// Something that steps mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Its id.
    pub name: String,
    /// The step fails without it.
    pub required: bool,
    /// The step.
    pub location: Location,
}

/// The outline of the target that `options` name.
///
/// # Errors
/// The file makes no sense, or has no such target.
pub fn outline(file: &Dockerfile, options: &PlanOptions) -> Result<Outline, PlanError> {
    let wrong = |wrong: Wrong| wrong.refuse(file);
    let platform = options.platforms.first().unwrap_or(&options.build_platform);
    let wanted = options.target.as_deref().unwrap_or_default();
    let globals = Globals::new(file, options, platform, wanted).map_err(wrong)?;
    let stages = stages_of(file, &globals).map_err(wrong)?;
    let target = stages.target(options.target.as_deref());
    let target = target.map_err(|message| wrong(Wrong::nowhere(message)))?;
    stages.verify_acyclic().map_err(wrong)?;
    let info = super::stages(file).into_iter().nth(target);
    let info = info.map(|info| (info.name.unwrap_or_default(), info.description));
    let (name, description) = info.unwrap_or_default();
    let description = description.unwrap_or_default();
    let outline = Outline { name, description, ..Outline::default() };
    let mut reader = Reader { file, options, globals: &globals, outline };
    let reachable = stages.reachable(target);
    let mut envs: Vec<Env> = Vec::new();
    let mut used = BTreeSet::new();
    for (stage, needed) in stages.list.iter().zip(reachable) {
        let mut env = match stage.base {
            Base::Stage(base) => envs.get(base).cloned().unwrap_or_default(),
            _ => Env::default(),
        };
        if needed {
            for step in &stage.steps {
                reader.step(&step.instruction, &mut env, &mut used);
            }
        }
        envs.push(env);
    }
    reader.globals(&used);
    Ok(reader.outline)
}

/// The stages with their bases, without any check.
fn stages_of(file: &Dockerfile, globals: &Globals) -> Result<Stages, Wrong> {
    let mut stages = Stages::default();
    let expander = Expander::new(file.directives.escape_char());
    for instruction in &file.instructions {
        let Kind::From(from) = &instruction.kind else { continue };
        let base = expander.expand(&from.base, &globals.env);
        let base = base.map_err(|error| (error.to_string(), instruction.span))?.text;
        stages.add(from, &base, None, instruction.span);
    }
    stages.fill(file)?;
    Ok(stages)
}

struct Reader<'a> {
    file: &'a Dockerfile,
    options: &'a PlanOptions,
    globals: &'a Globals,
    outline: Outline,
}

impl Reader<'_> {
    fn step(&mut self, at: &Instruction, env: &mut Env, used: &mut BTreeSet<String>) {
        match &at.kind {
            Kind::Arg(args) => args.iter().for_each(|arg| self.arg(at, arg, env, used)),
            Kind::Env(pairs) => {
                for pair in pairs {
                    let value = self.expand(&pair.value, env);
                    env.set(&pair.name, &value);
                }
            }
            Kind::Run(run) => self.mounts(at, run, env),
            _ => {}
        }
    }

    fn expand(&self, word: &str, env: &Env) -> String {
        let expander = Expander::new(self.file.directives.escape_char());
        expander.expand(word, env).map(|expanded| expanded.text).unwrap_or_default()
    }

    fn arg(
        &mut self,
        at: &Instruction,
        arg: &ArgDefinition,
        env: &mut Env,
        used: &mut BTreeSet<String>,
    ) {
        let own = || arg.default.as_ref().map(|default| self.expand(default, env));
        let given = self.options.build_args.get(&arg.name).cloned();
        let value = given.or_else(own).or_else(|| {
            used.insert(arg.name.clone());
            self.globals.env.value(&arg.name).map(str::to_owned)
        });
        if let Some(value) = &value {
            env.set(&arg.name, value);
        }
        self.add_arg(at, &arg.name, value);
    }

    /// Arguments before the first FROM, as far as FROM lines or the target's stages use them.
    fn globals(&mut self, used: &BTreeSet<String>) {
        let names_in_froms = |name: &str| {
            let mentions = |text: &String| {
                text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"))
            };
            self.file.instructions.iter().any(|it| match &it.kind {
                Kind::From(from) => {
                    mentions(&from.base) || from.platform.as_ref().is_some_and(mentions)
                }
                _ => false,
            })
        };
        let mut wanted = Vec::new();
        for at in before_stages(self.file) {
            let Kind::Arg(args) = &at.kind else { continue };
            for arg in args {
                if used.contains(&arg.name) || names_in_froms(&arg.name) {
                    wanted.push((at, arg.name.clone()));
                }
            }
        }
        for (at, name) in wanted {
            let value = self.globals.env.value(&name).map(str::to_owned);
            self.add_arg(at, &name, value);
        }
        let line = |arg: &TakenArg| arg.location.start().line;
        self.outline.args.sort_by_key(line);
    }

    fn add_arg(&mut self, at: &Instruction, name: &str, value: Option<String>) {
        if self.outline.args.iter().any(|known| known.name == name && known.value == value) {
            return;
        }
        let about = |comment: &String| Some(comment.strip_prefix(name)?.strip_prefix(' ')?.into());
        let value = match value {
            Some(value) if is_secret_name(name) && !value.is_empty() => Some(MASK.to_owned()),
            value => value,
        };
        self.outline.args.push(TakenArg {
            name: name.to_owned(),
            description: at.comments.iter().find_map(about).unwrap_or_default(),
            value,
            location: Location::new(&self.file.source, at.span),
        });
    }

    fn mounts(&mut self, at: &Instruction, run: &Run, env: &Env) {
        for value in &run.mounts {
            let mut expand = |word: &str| Ok::<_, Fault>(self.expand(word, env));
            let Ok(mount) = MountFlag::parse(value, &mut expand) else { continue };
            let name = match mount.kind {
                MountType::Secret => {
                    let named = [&mount.source, &mount.id].into_iter().find(|id| !id.is_empty());
                    named.map_or_else(|| base_name(&mount.target).to_owned(), Clone::clone)
                }
                MountType::Ssh if mount.id.is_empty() => "default".to_owned(),
                MountType::Cache if mount.id.is_empty() => clean_path(&mount.target),
                _ => mount.id.clone(),
            };
            let location = Location::new(&self.file.source, at.span);
            let list = match mount.kind {
                MountType::Secret => &mut self.outline.secrets,
                MountType::Ssh => &mut self.outline.agents,
                MountType::Cache => &mut self.outline.caches,
                MountType::Bind | MountType::Tmpfs => continue,
            };
            match list.iter_mut().find(|known| known.name == name) {
                Some(known) => known.required |= mount.required,
                None => list.push(Taken { name, required: mount.required, location }),
            }
        }
    }
}
