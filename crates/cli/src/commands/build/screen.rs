//! One screen for several builds that run at the same time. Knows which build's news it shows by
//! the name it was given.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use wire::build::SolveStatus;

use super::display::{self, Display};
use crate::failure::Failure;

/// A screen as one build sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Screen {
    display: Rc<RefCell<Display>>,
    /// Put before the names of steps; empty for the only build.
    name: String,
}

impl Screen {
    /// A screen for one build.
    pub(super) fn new(display: Display) -> Self {
        Self { display: Rc::new(RefCell::new(display)), name: String::new() }
    }

    /// The same screen for one of several builds.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { display: Rc::clone(&self.display), name: name.to_owned() }
    }

    /// Takes news.
    pub(super) fn take(&self, status: &SolveStatus) -> Result<(), Failure> {
        match self.name.is_empty() {
            true => self.display.borrow_mut().take(status),
            false => self.display.borrow_mut().take(&self.renamed(status)),
        }
    }

    /// Takes what was told before.
    pub(crate) fn show(&self, status: &SolveStatus) -> Result<(), Failure> {
        self.take(status)
    }

    /// Redraws a terminal for ever; never returns on other screens.
    pub(super) async fn redrawing(&self) {
        let live = self.display.borrow().is_live();
        if !live {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(display::REDRAW);
        loop {
            tick.tick().await;
            self.display.borrow_mut().redraw();
        }
    }

    /// Draws the last state.
    pub(crate) fn finish(&self) {
        self.display.borrow_mut().finish();
    }

    /// Tells what was odd.
    pub(crate) fn warn(&self) {
        self.display.borrow().warn();
    }

    /// The display itself.
    pub(super) fn display(&self) -> Ref<'_, Display> {
        self.display.borrow()
    }

    /// The name of the step that failed; empty if none did.
    pub(super) fn failed_step(&self) -> String {
        self.display.borrow().failed_step(&self.name)
    }

    /// News of one of several builds: two may have the same steps, each its own.
    fn renamed(&self, status: &SolveStatus) -> SolveStatus {
        let mut status = status.clone();
        let digest = |digest: &mut String| digest.push_str(&format!("@{}", self.name));
        for vertex in &mut status.vertexes {
            digest(&mut vertex.digest);
            vertex.inputs.iter_mut().for_each(digest);
            vertex.name = match vertex.name.strip_prefix('[') {
                Some(rest) => format!("[{} {rest}", self.name),
                None => format!("[{}] {}", self.name, vertex.name),
            };
        }
        status.statuses.iter_mut().for_each(|part| digest(&mut part.vertex));
        status.logs.iter_mut().for_each(|log| digest(&mut log.vertex));
        status
    }
}
