//! What a scanner is shown beside the result: stages and the context, where a Dockerfile or a build
//! argument asks for it by `BUILDKIT_SBOM_SCAN_STAGE` and `BUILDKIT_SBOM_SCAN_CONTEXT` (`true`, or
//! the names of stages with commas between). Knows no scanner.

use super::plan::Planner;
use super::stages::Base;
use super::wrong::Wrong;
use crate::expand::Variables as _;
use crate::graph::Edge;
use crate::text::parse_bool;

const STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";
const CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";

/// A file system to be scanned beside a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The stage's name, or `context`.
    pub name: String,
    /// `None` is the empty one.
    pub tree: Option<Edge>,
}

/// Whether an ARG only steers what is scanned, and is no variable of steps.
pub(super) fn is_argument(name: &str) -> bool {
    matches!(name, STAGE | CONTEXT)
}

impl Planner<'_> {
    /// What is to be scanned beside `target`: only what is built anyway, and the context.
    pub(super) fn scans(&mut self, target: usize, reachable: &[bool]) -> Result<Vec<Scan>, Wrong> {
        if !self.shared.options.scans {
            return Ok(Vec::new());
        }
        let mut scans = Vec::new();
        let mut context = None;
        for index in (0..reachable.len()).filter(|index| reachable[*index]) {
            let stage = &self.stages.list[index];
            if stage.external {
                continue;
            }
            if self.scan_is_asked(index, CONTEXT) {
                context = Some(stage.span);
            }
            if index != target && self.scan_is_asked(index, STAGE) {
                let name = stage.name.clone().unwrap_or_else(|| format!("stage-{index}"));
                let tree = self.states[index].as_ref().and_then(|state| state.root);
                scans.push(Scan { name, tree });
            }
        }
        if let Some(span) = context {
            self.use_context("/");
            scans.push(Scan { name: "context".to_owned(), tree: Some(self.context(span)?) });
        }
        Ok(scans)
    }

    /// The build's word counts most, then the stage's own (not its base's), then the whole file's.
    fn scan_is_asked(&self, index: usize, argument: &str) -> bool {
        let stage = &self.stages.list[index];
        let args = |index: usize| self.states[index].as_ref().map(|state| state.args.as_slice());
        let inherited = match stage.base {
            Base::Stage(base) => args(base).map_or(0, <[_]>::len),
            Base::Scratch | Base::Image(_) => 0,
        };
        let own = args(index).and_then(|args| args.get(inherited..)).unwrap_or_default();
        let own = own.iter().rfind(|(name, _)| name == argument);
        let given = self.shared.options.build_args.get(argument).map(String::as_str);
        let value = given
            .or_else(|| own.and_then(|(_, value)| value.as_deref()))
            .or_else(|| self.globals.env.value(argument))
            .unwrap_or_default();
        let is_this = |name: &str| stage.name.as_deref() == Some(name);
        parse_bool(value).unwrap_or_else(|| value.split(',').any(is_this))
    }
}
