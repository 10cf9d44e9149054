//! The order of planning: stages, images, triggers, then instruction by instruction.

use super::globals::{self, Globals};
use super::options::{CacheUse, ContextSource, ImageNeed, KnownImages, PlanOptions};
use super::scan::Scan;
use super::sources::{self, Named, Paths};
use super::stages::{Base, Stage, Stages};
use super::state::State;
use super::wrong::Wrong;
use super::{Needs, Plan, PlanError, Planning, Target};
use crate::check::{self, Checks, rule};
use crate::dockerfile::{ArgDefinition, Dockerfile, Instruction, Kind, parse_trigger};
use crate::graph::{Edge, Graph, OpKind, Vertex};
use crate::ignore::Matcher;
use crate::platform::Platform;
use crate::span::{Location, Span};
use crate::text::quote;
use model::error::ErrorKind;
use std::rc::Rc;
use wire::oci::image::ImageConfig;

/// How often triggers may bring further triggers.
const MAX_ROUNDS: usize = 32;

/// What all platforms share.
pub(super) struct Shared<'a> {
    pub(super) file: &'a Dockerfile,
    pub(super) options: &'a PlanOptions,
    pub(super) known: &'a KnownImages,
    pub(super) ignore: Option<Matcher>,
    pub(super) multi: bool,
    pub(super) proxies: Vec<String>,
    /// Nanoseconds of `SOURCE_DATE_EPOCH`.
    pub(super) epoch_ns: Option<i64>,
    /// What the first pass found.
    pub(super) paths: Paths,
}

/// Planning for one platform.
pub(super) struct Planner<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) checks: &'a mut Checks,
    pub(super) graph: &'a mut Graph,
    /// What this pass finds.
    pub(super) paths: Paths,
    pub(super) platform: Platform,
    pub(super) globals: Globals,
    pub(super) stages: Stages,
    /// What stages begin with, when that is no other stage.
    begins: Vec<Option<State>>,
    /// Stages that are done.
    pub(super) states: Vec<Option<State>>,
    /// The client's directory that a stage is, if it is one.
    pub(super) locals: Vec<Option<String>>,
    pub(super) context: Option<Edge>,
}

/// What is wrong, with a place in the file.
pub(super) fn plan(
    file: &Dockerfile,
    options: &PlanOptions,
    known: &KnownImages,
) -> Result<Planning, PlanError> {
    let nowhere = |message: String| Wrong::nowhere(message).refuse(file);
    let check_options = globals::check_options(file, options).map_err(nowhere)?;
    let mut checks = Checks::new(check_options, &file.source);
    let planned = plan_checked(file, options, known, &mut checks);
    match (planned, checks.failure()) {
        (Ok(Planning::Done(_)), Some(failure)) => Err(PlanError {
            kind: ErrorKind::Invalid,
            message: failure,
            location: None,
            warnings: checks.finish(),
        }),
        (Ok(Planning::Done(mut plan)), None) => {
            plan.warnings = checks.finish();
            Ok(Planning::Done(plan))
        }
        (Ok(needs), _) => Ok(needs),
        (Err(err), _) => Err(PlanError { warnings: checks.finish(), ..err }),
    }
}

fn plan_checked(
    file: &Dockerfile,
    options: &PlanOptions,
    known: &KnownImages,
    checks: &mut Checks,
) -> Result<Planning, PlanError> {
    check_file(file, options, checks).map_err(|wrong| wrong.refuse(file))?;
    let platforms = match options.platforms.as_slice() {
        [] => std::slice::from_ref(&options.build_platform),
        platforms => platforms,
    };
    let epoch = options.build_args.get("SOURCE_DATE_EPOCH");
    let epoch = epoch.and_then(|text| text.parse::<i64>().ok());
    let mut shared = Shared {
        file,
        options,
        known,
        ignore: Matcher::new(&options.ignore).ok().filter(|matcher| !matcher.is_empty()),
        multi: globals::is_multi_platform(options),
        proxies: globals::proxies(&options.build_args),
        epoch_ns: epoch.and_then(|seconds| seconds.checked_mul(1_000_000_000)),
        paths: Paths::new(),
    };
    // The first pass only finds which paths of the client's directories are used.
    for last in [false, true] {
        let mut graph = Graph::new();
        let mut targets = Vec::new();
        let mut needs = Needs::new();
        let mut paths = Paths::new();
        for platform in platforms {
            let mut planner = Planner::new(&shared, checks, &mut graph, platform)
                .map_err(|wrong| wrong.refuse(file))?;
            match planner.run(&mut needs).map_err(|wrong| wrong.refuse(file))? {
                Some(target) => targets.push(target),
                None => continue,
            }
            for (name, used) in planner.paths {
                paths.entry(name).or_default().extend(used);
            }
        }
        if !needs.is_empty() {
            return Ok(Planning::Needs(needs));
        }
        if last {
            return Ok(Planning::Done(Box::new(finish(graph, targets, file, options))));
        }
        shared.paths = paths;
    }
    Err(Wrong::nowhere("the plan has no pass").refuse(file))
}

/// Leaves out what no target needs (stages planned for the checks' sake).
fn finish(graph: Graph, targets: Vec<Target>, file: &Dockerfile, options: &PlanOptions) -> Plan {
    let edges = targets.iter().flat_map(|target| {
        let scanned = target.scans.iter().filter_map(|scan| scan.tree);
        target.result.into_iter().chain(scanned)
    });
    let needed = graph.needed(edges.map(|edge| edge.op));
    let (graph, places) = graph.retain(&needed);
    let moved = |edge: Edge| places[edge.op.0].map(|op| Edge { op, ..edge });
    let targets = targets
        .into_iter()
        .map(|mut target| {
            target.result = target.result.and_then(moved);
            target.scans.iter_mut().for_each(|scan| scan.tree = scan.tree.and_then(moved));
            target
        })
        .collect();
    let unused_args = globals::unused(file, &options.build_args);
    Plan { graph, targets, warnings: Vec::new(), unused_args }
}

/// What needs nothing but the file.
fn check_file(file: &Dockerfile, options: &PlanOptions, checks: &mut Checks) -> Result<(), Wrong> {
    for line in &file.empty_continuations {
        let message = "Empty continuation line".to_owned();
        checks.report_at(&rule::NO_EMPTY_CONTINUATION, Span::lines(*line, *line), message);
    }
    for instruction in globals::before_stages(file) {
        if !matches!(instruction.kind, Kind::Arg(_)) {
            let message = "no build stage in current context".to_owned();
            return Err((message, instruction.span).into());
        }
    }
    let is_from = |instruction: &Instruction| matches!(instruction.kind, Kind::From(_));
    if !file.instructions.iter().any(is_from) {
        return Err(Wrong::nowhere("dockerfile contains no stages to build"));
    }
    for instruction in &file.instructions {
        match &instruction.kind {
            Kind::Maintainer(_) => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                checks.report(&rule::MAINTAINER_DEPRECATED, instruction, message.to_owned());
            }
            Kind::From(from) => {
                check::from_casing(instruction, from, checks);
                let names: Vec<&str> = from.name.as_deref().into_iter().collect();
                check_description(instruction, "FROM", &names, checks);
            }
            Kind::Arg(args) => {
                let names: Vec<&str> =
                    args.iter().map(|ArgDefinition { name, .. }| name.as_str()).collect();
                check_description(instruction, "ARG", &names, checks);
            }
            _ => {}
        }
    }
    check::stage_names(file, checks);
    check::instruction_casing(file, checks);
    globals::check_defaults(file, options, checks);
    Ok(())
}

fn check_description(at: &Instruction, what: &str, names: &[&str], checks: &mut Checks) {
    let (Some(comment), Some(first)) = (at.comments.last(), names.first()) else { return };
    if !names.contains(&comment.split(' ').next().unwrap_or_default()) {
        let name = if names.len() > 1 { "<arg_key>" } else { first };
        let message =
            format!("Comment for {what} should follow the format: `# {name} <description>`");
        checks.report(&rule::INVALID_DEFINITION_DESCRIPTION, at, message);
    }
}

impl<'a> Planner<'a> {
    fn new(
        shared: &'a Shared<'a>,
        checks: &'a mut Checks,
        graph: &'a mut Graph,
        platform: &Platform,
    ) -> Result<Self, Wrong> {
        let file = shared.file;
        let froms = || {
            file.instructions.iter().filter_map(|instruction| match &instruction.kind {
                Kind::From(from) => Some((instruction, from)),
                _ => None,
            })
        };
        let default_target = froms().next_back().and_then(|(_, from)| from.name.clone());
        let target = shared.options.target.clone().or(default_target).unwrap_or_default();
        let globals = Globals::new(file, shared.options, platform, &target)?;
        let escape = file.directives.escape_char();
        let mut stages = Stages::default();
        for (instruction, from) in froms() {
            let base = globals.expand(&from.base, instruction, escape, checks)?.text;
            if base.is_empty() {
                let message = format!("base name ({}) should not be blank", from.base);
                return Err(Wrong::from((message, instruction.span)).about(&from.base));
            }
            let mut wanted = None;
            if let Some(written) = &from.platform {
                let expanded = globals.expand(written, instruction, escape, checks)?;
                globals.check_platform(from, &expanded, instruction, checks);
                if expanded.text.is_empty() {
                    let message = format!("empty platform value from expression {written}");
                    return Err(Wrong::from((message, instruction.span)).about(written));
                }
                wanted = Some(expanded.text);
            }
            stages.add(from, &base, wanted, instruction.span);
        }
        stages.fill(file)?;
        Ok(Self {
            shared,
            checks,
            graph,
            paths: Paths::new(),
            platform: platform.clone(),
            globals,
            stages,
            begins: Vec::new(),
            states: Vec::new(),
            locals: Vec::new(),
            context: None,
        })
    }

    /// The target's result; `None` when images are needed first.
    fn run(&mut self, needs: &mut Needs) -> Result<Option<Target>, Wrong> {
        let target = self.stages.target(self.shared.options.target.as_deref());
        let target = target.map_err(Wrong::nowhere)?;
        self.stages.verify_acyclic()?;
        self.stages.untitle_lone();
        let Some(reachable) = self.resolve(target, needs)? else { return Ok(None) };
        for (index, wanted) in reachable.iter().enumerate() {
            if *wanted && self.states[index].is_none() {
                self.build_stage(index)?;
            }
        }
        if let Some(local) = self.locals[target].clone() {
            sources::note(&mut self.paths, &local, "/");
        }
        let state = self.states[target].clone();
        let missing = || Wrong::nowhere("the target stage was not planned");
        let state = state.ok_or_else(missing)?;
        let scans = self.scans(target, &reachable)?;
        Ok(Some(self.target(state, scans)))
    }

    fn target(&self, state: State, scans: Vec<Scan>) -> Target {
        let mut config = state.config;
        let options = self.shared.options;
        if !options.labels.is_empty() {
            let labels = config.config.labels.get_or_insert_default();
            labels.extend(options.labels.clone());
        }
        if !options.platforms.is_empty() {
            config.os.clone_from(&self.platform.os);
            config.architecture.clone_from(&self.platform.architecture);
            let variant = Some(self.platform.variant.clone()).filter(|text| !text.is_empty());
            config.variant = variant.or(config.variant);
        }
        let platform = Platform::new(
            &config.os,
            &config.architecture,
            config.variant.as_deref().unwrap_or_default(),
        );
        Target { platform, result: state.root, config, base: state.base, scans }
    }

    /// Which stages are needed, when all images they need are known. Triggers may add stages.
    fn resolve(&mut self, target: usize, needs: &mut Needs) -> Result<Option<Vec<bool>>, Wrong> {
        for _ in 0..MAX_ROUNDS {
            self.begins.resize(self.stages.list.len(), None);
            self.states.resize(self.stages.list.len(), None);
            self.locals.resize(self.stages.list.len(), None);
            let mut reachable = self.stages.reachable(target);
            if self.shared.options.all_stages {
                reachable.fill(true);
            }
            let mut complete = true;
            for index in (0..reachable.len()).filter(|index| reachable[*index]) {
                if self.states[index].is_none() && self.begins[index].is_none() {
                    complete &= self.resolve_base(index, needs)?;
                }
            }
            if !complete {
                return Ok(None);
            }
            // A context `target:` made another stage needed.
            let mut changed = self.stages.reachable(target) != reachable;
            changed &= !self.shared.options.all_stages;
            for index in (0..reachable.len()).filter(|index| reachable[*index]) {
                changed |= self.add_triggers(index)?;
            }
            if !changed {
                return Ok(Some(reachable));
            }
            self.stages.verify_acyclic()?;
        }
        Err(Wrong::nowhere("ONBUILD triggers bring ever more triggers"))
    }

    /// What a stage begins with, if that is no other stage. `Ok(false)`: an image must be known.
    fn resolve_base(&mut self, index: usize, needs: &mut Needs) -> Result<bool, Wrong> {
        let stage = self.stages.list[index].clone();
        let wrong = |message: String| Wrong::from((message, stage.span));
        let platform = match &stage.platform {
            Some(text) => Platform::parse(text, &self.platform).map_err(|err| {
                wrong(format!("failed to parse platform {text}: {err}")).about(text)
            })?,
            None => self.platform.clone(),
        };
        let options = self.shared.options;
        // A context of a stage's name stands for the whole stage.
        let replaced = stage.name.as_deref();
        let replaced = replaced.and_then(|name| {
            sources::named_context(options, name, &platform).map(|address| (name, address))
        });
        let context = match (&stage.base, replaced) {
            (_, Some((name, address))) => Some((name.to_owned(), address)),
            (Base::Image(name), None) => sources::named_context(options, name, &platform)
                .map(|address| (name.clone(), address)),
            _ => None,
        };
        let whole = replaced.is_some() || stage.external;
        if let Some((name, address)) = context {
            let named = sources::parse_context(&name, address, &platform).map_err(wrong)?;
            return self.take_context(index, (&name, named), &platform, whole, needs);
        }
        match &stage.base {
            Base::Stage(_) => Ok(true),
            Base::Scratch => {
                let state = State::scratch(&platform, options.history);
                self.begin(index, state, whole);
                Ok(true)
            }
            Base::Image(name) => {
                let need = sources::image_need(name, &platform);
                let need = need.map_err(|message| wrong(message).about(name))?;
                self.take_image(index, name, need, whole, needs)
            }
        }
    }

    fn take_context(
        &mut self,
        index: usize,
        (name, named): (&str, Named),
        platform: &Platform,
        whole: bool,
        needs: &mut Needs,
    ) -> Result<bool, Wrong> {
        let style = self.shared.options.history;
        let mut kind = match named {
            Named::Scratch => {
                self.begin(index, State::scratch(platform, style), whole);
                return Ok(true);
            }
            Named::Image(need) => return self.take_image(index, name, need, whole, needs),
            Named::Stage(other) => {
                let span = self.stages.list[index].span;
                let missing = || (format!("stage {} could not be found", quote(&other)), span);
                let found = self.stages.find(&other).filter(|found| *found != index);
                let found = found.ok_or_else(missing)?;
                self.stages.list[index].base = Base::Stage(found);
                if whole {
                    self.stages.list[index].steps.clear();
                    self.stages.list[index].triggers_done = true;
                }
                self.stages.verify_acyclic()?;
                return Ok(true);
            }
            Named::Source(kind) => kind,
        };
        if let OpKind::Local(local) = &mut kind {
            local.follow = sources::follow(self.shared.paths.get(&local.name));
            self.locals[index] = Some(local.name.clone());
            if !whole {
                sources::note(&mut self.paths, &local.name, "/");
            }
        }
        let vertex = Vertex::named(format!("[context {name}] load from client"));
        let root = self.add(kind, Vec::new(), None, vertex, self.stages.list[index].span)?;
        let mut state = State::scratch(platform, style);
        state.root = Some(root);
        self.begin(index, state, whole);
        Ok(true)
    }

    fn take_image(
        &mut self,
        index: usize,
        name: &str,
        need: ImageNeed,
        whole: bool,
        needs: &mut Needs,
    ) -> Result<bool, Wrong> {
        let Some(known) = self.shared.known.get(&need) else {
            let span = self.stages.list[index].span;
            let place = || Location::new(&self.shared.file.source, span).pointing_at(name);
            needs.entry(need).or_insert_with(place);
            return Ok(false);
        };
        let span = self.stages.list[index].span;
        let options = self.shared.options;
        if known.platform.os != need.platform.os
            || known.platform.architecture != need.platform.architecture
        {
            let message = format!(
                "Base image {name} was pulled with platform {}, expected {} for current build",
                quote(&known.platform.to_string()),
                quote(&need.platform.to_string())
            );
            self.checks.report_at(&rule::INVALID_BASE_IMAGE_PLATFORM, span, message);
        }
        let mut root = None;
        if has_layers(&known.config) {
            let text = format!("FROM {}", known.reference);
            let title = self.title(index, 1, &text, false);
            let kind = sources::image_source(&need, &known.reference, options);
            let vertex = Vertex { name: title, ..Vertex::default() };
            let platform = Some(need.platform.clone());
            root = Some(self.add(kind, Vec::new(), platform, vertex, span)?);
        }
        let platform = if options.platforms.is_empty() { &known.platform } else { &need.platform };
        let mut state = State::of(root, known.config.clone(), platform, options.history);
        state.base = Some(known.reference.clone());
        self.begin(index, state, whole);
        Ok(true)
    }

    /// `whole`: the stage is just that, and has no instructions to come.
    fn begin(&mut self, index: usize, state: State, whole: bool) {
        if whole {
            self.stages.list[index].steps.clear();
            self.stages.list[index].triggers_done = true;
            self.states[index] = Some(state);
        } else {
            self.begins[index] = Some(state);
        }
    }

    /// Puts the triggers of a stage's base before its own instructions. Whether there were any.
    fn add_triggers(&mut self, index: usize) -> Result<bool, Wrong> {
        let stage = &self.stages.list[index];
        if stage.triggers_done {
            return Ok(false);
        }
        let span = stage.span;
        let triggers: Vec<String> = match (&stage.base, &mut self.begins[index]) {
            (Base::Stage(base), _) => self.stages.list[*base]
                .steps
                .iter()
                .filter_map(|step| match &step.instruction.kind {
                    Kind::OnBuild(trigger) => Some(trigger.expression.clone()),
                    _ => None,
                })
                .collect(),
            (_, Some(begin)) => begin.config.config.on_build.take().unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut steps = Vec::new();
        for trigger in &triggers {
            let parsed = parse_trigger(trigger, &self.shared.file.source, span);
            let instruction = parsed.map_err(|err| (err.message, span))?;
            steps.push(self.stages.step(Rc::new(instruction), true)?);
        }
        let stage = &mut self.stages.list[index];
        stage.triggers_done = true;
        stage.steps.splice(0..0, steps);
        Ok(!triggers.is_empty())
    }

    /// Carries out the instructions of a stage whose sources are there.
    fn build_stage(&mut self, index: usize) -> Result<(), Wrong> {
        let stage = self.stages.list[index].clone();
        let begin = match stage.base {
            Base::Stage(base) => {
                if self.states[base].is_none() && base > index {
                    // Only a named context `target:` points forward.
                    self.build_stage(base)?;
                }
                if let Some(local) = self.locals[base].clone() {
                    sources::note(&mut self.paths, &local, "/");
                }
                self.states[base].as_ref().map(State::child)
            }
            _ => self.begins[index].clone(),
        };
        // A context `target:` that is copied from stands behind all stages, and is only a name.
        for source in stage.steps.iter().flat_map(|step| step.sources.iter().flatten()) {
            let Stage { external, base, .. } = &self.stages.list[*source];
            if let (true, Base::Stage(named)) = (external, base)
                && self.states[*source].is_none()
            {
                self.states[*source] = self.states[*named].clone();
            }
        }
        let missing = || (format!("stage {} has no base", quote(&stage.title)), stage.span);
        let state = begin.ok_or_else(missing)?;
        let state = self.run_steps(index, &stage, state)?;
        self.states[index] = Some(state);
        Ok(())
    }

    /// Whether a stage's steps may not come from the cache.
    pub(super) fn ignores_cache(&self, index: usize) -> bool {
        match &self.shared.options.cache {
            CacheUse::All => false,
            CacheUse::None => true,
            CacheUse::Without(stages) => {
                let stage = &self.stages.list[index];
                stage.name.as_ref().is_some_and(|name| {
                    stages.iter().any(|filter| filter.eq_ignore_ascii_case(name))
                })
            }
        }
    }

    /// `[linux/arm64 build 2/5] RUN make`.
    pub(super) fn title(&self, index: usize, number: usize, text: &str, on_build: bool) -> String {
        let stage = &self.stages.list[index];
        let total = usize::from(matches!(stage.base, Base::Image(_)))
            + stage.steps.iter().filter(|step| step.is_shown()).count();
        if total == 0 {
            return text.to_owned();
        }
        let platform =
            if self.shared.multi { format!("{} ", self.platform) } else { String::new() };
        let title = match stage.title.as_str() {
            "" => String::new(),
            title => format!("{title} "),
        };
        let width = total.to_string().len();
        let on_build = if on_build { "ONBUILD " } else { "" };
        format!("[{platform}{title}{number:width$}/{total}] {on_build}{text}")
    }

    /// The context's file system.
    pub(super) fn context(&mut self, span: Span) -> Result<Edge, Wrong> {
        if let Some(edge) = self.context {
            return Ok(edge);
        }
        let kind = sources::context_source(self.shared.options, &self.shared.paths);
        let vertex = Vertex::named("[internal] load build context");
        let edge = self.add(kind, Vec::new(), None, vertex, span)?;
        self.context = Some(edge);
        Ok(edge)
    }

    /// Notes that a path of the context is used.
    pub(super) fn use_context(&mut self, path: &str) {
        if let ContextSource::Local(name) = &self.shared.options.context {
            sources::note(&mut self.paths, name, path);
        }
    }

    /// Adds an operation and gives its first output.
    pub(super) fn add(
        &mut self,
        kind: OpKind,
        inputs: Vec<Edge>,
        platform: Option<Platform>,
        vertex: Vertex,
        span: Span,
    ) -> Result<Edge, Wrong> {
        let location = Some(Location::new(&self.shared.file.source, span));
        let vertex = Vertex { location, ..vertex };
        let op = self.graph.add(kind, inputs, platform, vertex);
        Ok(Edge { op: op.map_err(|err| (err.to_string(), span))?, output: 0 })
    }
}

/// Images without layers are the empty file system.
fn has_layers(config: &ImageConfig) -> bool {
    !config.rootfs.diff_ids.is_empty() || config.history.iter().any(|entry| !entry.empty_layer)
}
