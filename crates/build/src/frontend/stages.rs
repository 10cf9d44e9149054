//! The stages of a file: which there are, what each needs of others, and that none needs itself.

use super::wrong::Wrong;
use crate::dockerfile::{Dockerfile, From, Instruction, Kind, MountFlag, Run};
use crate::span::Span;
use crate::text::{did_you_mean, quote};
use std::collections::HashMap;
use std::rc::Rc;

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    /// An image or a named context, by the name written (expanded).
    Image(String),
}

/// An instruction of a stage.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) instruction: Rc<Instruction>,
    /// The stages it takes files from: of a COPY one, of a RUN one per mount.
    pub(super) sources: Vec<Option<usize>>,
    /// It is a trigger of the base.
    pub(super) on_build: bool,
}

impl Step {
    /// Whether it is a step that users see and count.
    pub(super) fn is_shown(&self) -> bool {
        let kind = &self.instruction.kind;
        matches!(kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
    }
}

/// A stage, or an image that is only copied from.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) base: Base,
    /// Name in lower case.
    pub(super) name: Option<String>,
    /// As shown.
    pub(super) title: String,
    /// Platform, expanded.
    pub(super) platform: Option<String>,
    pub(super) span: Span,
    pub(super) steps: Vec<Step>,
    /// No FROM made it: `COPY --from=image`.
    pub(super) external: bool,
    pub(super) triggers_done: bool,
}

/// All stages.
#[derive(Clone, Debug, Default)]
pub(super) struct Stages {
    pub(super) list: Vec<Stage>,
    by_name: HashMap<String, usize>,
    externals: HashMap<String, usize>,
}

impl Stages {
    /// Adds the stage of a FROM whose words are expanded.
    pub(super) fn add(&mut self, from: &From, base: &str, platform: Option<String>, span: Span) {
        let index = self.list.len();
        let base = match self.by_name.get(&base.to_lowercase()) {
            Some(stage) => Base::Stage(*stage),
            None if base == "scratch" => Base::Scratch,
            None => Base::Image(base.to_owned()),
        };
        self.list.push(Stage {
            base,
            name: from.name.clone(),
            title: from.name.clone().unwrap_or_else(|| format!("stage-{index}")),
            platform,
            span,
            steps: Vec::new(),
            external: false,
            triggers_done: false,
        });
        if let Some(name) = &from.name {
            self.by_name.insert(name.clone(), index);
        }
    }

    /// Gives every stage its instructions and finds what they take from others.
    pub(super) fn fill(&mut self, file: &Dockerfile) -> Result<(), Wrong> {
        let mut stage = None;
        for instruction in &file.instructions {
            if matches!(instruction.kind, Kind::From(_)) {
                stage = Some(stage.map_or(0, |index: usize| index + 1));
            } else if let Some(index) = stage {
                let step = self.step(Rc::new(instruction.clone()), false)?;
                self.list[index].steps.push(step);
            }
        }
        Ok(())
    }

    /// A lone stage is shown without name.
    pub(super) fn untitle_lone(&mut self) {
        if let [stage] = self.list.as_mut_slice() {
            stage.title.clear();
        }
    }

    /// An instruction with its sources.
    pub(super) fn step(
        &mut self,
        instruction: Rc<Instruction>,
        on_build: bool,
    ) -> Result<Step, Wrong> {
        let span = instruction.span;
        let sources = match &instruction.kind {
            Kind::Copy(copy) => match &copy.from {
                Some(from) => vec![Some(self.copy_source(from, span)?)],
                None => Vec::new(),
            },
            Kind::Run(run) => self.mount_sources(run, span),
            _ => Vec::new(),
        };
        Ok(Step { instruction, sources, on_build })
    }

    fn copy_source(&mut self, from: &str, span: Span) -> Result<usize, Wrong> {
        if from.contains('$') {
            let message = "variable expansion is not supported for --from, define a new stage \
                           with FROM using ARG from global scope as a workaround";
            return Err(Wrong::from((message.to_owned(), span)).about(from));
        }
        match from.parse::<i64>() {
            Ok(number) => match usize::try_from(number) {
                Ok(index) if self.list.get(index).is_some_and(|stage| !stage.external) => Ok(index),
                _ => {
                    let message = format!("invalid stage index {number}");
                    Err(Wrong::from((message, span)).about(from))
                }
            },
            Err(_) => Ok(self.source(from, span)),
        }
    }

    fn mount_sources(&mut self, run: &Run, span: Span) -> Vec<Option<usize>> {
        let from = |value: &String| MountFlag::source_stage(value).ok().flatten();
        let names: Vec<_> = run.mounts.iter().map(from).collect();
        let index = |name: Option<String>| name.filter(|name| !name.is_empty());
        names.into_iter().map(|name| index(name).map(|name| self.source(&name, span))).collect()
    }

    /// The stage of that name; a new external one when there is none.
    fn source(&mut self, name: &str, span: Span) -> usize {
        if let Some(index) = self.find(name).or_else(|| self.externals.get(name).copied()) {
            return index;
        }
        let index = self.list.len();
        let base = match name {
            "scratch" => Base::Scratch,
            name => Base::Image(name.to_owned()),
        };
        self.list.push(Stage {
            base,
            name: None,
            title: name.to_owned(),
            platform: None,
            span,
            steps: Vec::new(),
            external: true,
            triggers_done: true,
        });
        self.externals.insert(name.to_owned(), index);
        index
    }

    /// The stage of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// Names of stages, for suggestions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.list.iter().filter(|stage| !stage.external);
        named.map(|stage| stage.title.as_str()).filter(|title| !title.is_empty())
    }

    /// The stage to build: the last, or one by name or number.
    pub(super) fn target(&self, wanted: Option<&str>) -> Result<usize, String> {
        let stages = self.list.iter().filter(|stage| !stage.external).count();
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return Ok(stages.saturating_sub(1));
        };
        let by_number = || wanted.parse::<usize>().ok().filter(|index| *index < stages);
        self.find(wanted).or_else(by_number).ok_or_else(|| {
            let message = format!("target stage {} could not be found", quote(wanted));
            did_you_mean(message, wanted, self.names(), true)
        })
    }

    /// The stages that `index` needs directly, each with the place that says so.
    fn needs(&self, index: usize) -> impl Iterator<Item = (usize, Span)> {
        let stage = &self.list[index];
        let base = match stage.base {
            Base::Stage(base) => Some((base, stage.span)),
            _ => None,
        };
        let sources = stage.steps.iter().flat_map(|step| {
            let span = step.instruction.span;
            step.sources.iter().flatten().map(move |source| (*source, span))
        });
        base.into_iter().chain(sources)
    }

    /// Which stages `target` needs, itself included.
    pub(super) fn reachable(&self, target: usize) -> Vec<bool> {
        let mut seen = vec![false; self.list.len()];
        let mut rest = vec![target];
        while let Some(index) = rest.pop() {
            if !std::mem::replace(&mut seen[index], true) {
                rest.extend(self.needs(index).map(|(need, _)| need));
            }
        }
        seen
    }

    /// Fails when a stage needs itself. Without recursion: a file may have many stages.
    pub(super) fn verify_acyclic(&self) -> Result<(), Wrong> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.list.len()];
        for start in 0..self.list.len() {
            let mut stack = vec![(start, false, self.list[start].span)];
            while let Some((index, leave, span)) = stack.pop() {
                match (leave, marks[index]) {
                    (true, _) => marks[index] = Mark::Done,
                    (false, Mark::Done) => {}
                    (false, Mark::Open) => {
                        let title = &self.list[index].title;
                        let message = format!("circular dependency detected on stage: {title}");
                        return Err(Wrong::from((message, span)).about(title));
                    }
                    (false, Mark::New) => {
                        marks[index] = Mark::Open;
                        stack.push((index, true, span));
                        let needs = self.needs(index);
                        stack.extend(needs.map(|(need, span)| (need, false, span)));
                    }
                }
            }
        }
        Ok(())
    }
}
