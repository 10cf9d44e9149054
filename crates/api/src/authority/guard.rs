//! One request under a rule: what its handler asks before it shows, changes or makes something.
//! Without rules every question is answered yes, and costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use build::request::{Entitlements, ImageReview};
use engine::{Engine, Review};
use model::exec::ExecDraft;
use model::policy::{Class, Policy, Refusal, Rule};
use model::resources::Resources;

use super::Authority;
use super::audit::{Decision, Line};
use crate::failure::Failure;

/// What the rules say of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard(Option<Arc<Active>>);

#[derive(Debug)]
struct Active {
    authority: Arc<Authority>,
    policy: Arc<Policy>,
    rule: Rule,
    line: Line,
}

impl Guard {
    pub(super) fn new(
        authority: Arc<Authority>,
        policy: Arc<Policy>,
        rule: Rule,
        line: Line,
    ) -> Self {
        Self(Some(Arc::new(Active { authority, policy, rule, line })))
    }

    /// Whether there are rules at all.
    pub(super) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Whether only some objects exist for the client.
    pub(crate) fn narrows(&self) -> bool {
        self.0.as_ref().is_some_and(|it| it.rule.own_objects)
    }

    /// Writes a decision down, and gives a refusal its form.
    pub(super) fn decide(
        &self,
        step: &'static str,
        object: &str,
        outcome: Result<(), Refusal>,
    ) -> Result<(), Failure> {
        match &self.0 {
            Some(active) => active.decide(step, object, outcome),
            None => Ok(()),
        }
    }

    /// Whether an object with these labels exists for the client.
    pub(crate) fn sees(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_none_or(|it| it.rule.may_see(&it.line.client, labels))
    }

    /// Whether the client may change or remove an object with these labels.
    pub(crate) fn changes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_none_or(|it| it.rule.may_change(&it.line.client, labels))
    }

    /// Labels a new object with its owner.
    pub(crate) fn label(&self, labels: &mut BTreeMap<String, String>) -> Result<(), Failure> {
        self.ask("labels", |it| it.rule.label(&it.line.client, labels))
    }

    /// Whether operations of another class are allowed too.
    pub(crate) fn permits(&self, class: Class) -> Result<(), Failure> {
        self.ask(class.name(), |it| it.rule.permits(class))
    }

    /// Judges a container that was decided; asked by the engine, before anything of it is made.
    pub(crate) fn review(&self, object: &str) -> Option<Review> {
        let active = Arc::clone(self.0.as_ref()?);
        let object = object.to_owned();
        Some(Arc::new(move |candidate| {
            let outcome = active.rule.review(&active.line.client, candidate);
            active.decide("content", &object, outcome).map_err(denied)
        }))
    }

    /// Judges a container as it was made, before it runs again or something more runs in it.
    pub(crate) fn review_known(&self, engine: &Engine, query: &str) -> Result<(), Failure> {
        match self.review(query) {
            Some(review) => Ok(engine.containers.review(query, &review)?),
            None => Ok(()),
        }
    }

    /// Judges a further process.
    pub(crate) fn exec(&self, container: &str, draft: &ExecDraft) -> Result<(), Failure> {
        self.ask(container, |it| it.rule.review_exec(draft))
    }

    /// Judges a change of limits.
    pub(crate) fn update(&self, container: &str, resources: &Resources) -> Result<(), Failure> {
        self.ask(container, |it| it.rule.review_update(resources))
    }

    /// Judges a volume that would be made.
    pub(crate) fn volume(
        &self,
        name: &str,
        driver: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        self.ask(name, |it| it.rule.review_volume(driver, options))
    }

    /// Judges a network that would be made.
    pub(crate) fn network(&self, name: &str, driver: &str) -> Result<(), Failure> {
        self.ask(name, |it| it.rule.review_network(driver))
    }

    /// Judges an image's name.
    pub(crate) fn image(&self, name: &str) -> Result<(), Failure> {
        self.ask(name, |it| it.rule.image([name]))
    }

    /// Judges the images that a build takes and sends, each when it is come to.
    pub(crate) fn images(&self) -> Option<ImageReview> {
        let active = Arc::clone(self.0.as_ref()?);
        Some(Arc::new(move |name| {
            let outcome = active.rule.image([name]);
            active.decide("content", name, outcome).map_err(denied)
        }))
    }

    /// Whether steps of builds may share the host's network without being asked for it.
    pub(crate) fn lends_host_network(&self) -> bool {
        self.0.as_ref().is_none_or(|it| it.rule.lends_host_network())
    }

    /// Judges what the steps of a build may do.
    pub(crate) fn build(&self, entitlements: Entitlements) -> Result<(), Failure> {
        // A device of the host is as much as the lack of confinement.
        let Entitlements { network_host, security_insecure, device } = entitlements;
        let insecure = security_insecure || device;
        self.ask("build", |it| it.rule.review_build(network_host, insecure))
    }

    /// The network that a build names for its steps.
    pub(crate) fn build_network(&self, engine: &Engine, name: &str) -> Result<(), Failure> {
        let Some(active) = &self.0 else { return Ok(()) };
        match name {
            "" | "default" | "bridge" | "none" => Ok(()),
            "host" => self.ask("build", |it| it.rule.review_build(true, false)),
            _ => {
                let labels = match name.strip_prefix("container:") {
                    Some(query) => engine.containers.view(query)?.spec.labels.clone(),
                    None => engine.networks.view(name)?.spec.labels.clone(),
                };
                match active.rule.may_see(&active.line.client, &labels) {
                    true => Ok(()),
                    false => Err(missing(name)),
                }
            }
        }
    }

    fn ask(
        &self,
        object: &str,
        question: impl FnOnce(&Active) -> Result<(), Refusal>,
    ) -> Result<(), Failure> {
        match &self.0 {
            Some(active) => active.decide("content", object, question(active)),
            None => Ok(()),
        }
    }

    /// An object that is not the client's: for it, it is not there; the record says that it is.
    pub(super) fn hide(&self, object: &str) -> Result<(), Failure> {
        self.ask_object(object, "it belongs to another client")
    }

    /// An object that the client may use and not change.
    pub(super) fn keep(&self, object: &str) -> Result<(), Failure> {
        self.ask_object(object, "it is shared: only who owns it may change it")
    }

    fn ask_object(&self, object: &str, why: &str) -> Result<(), Failure> {
        let Some(active) = &self.0 else { return Ok(()) };
        let remedy = "\"objects\": \"all\" lets its clients use what others made".to_owned();
        let (rule, why) = (active.rule.name.clone(), why.to_owned());
        active.decide("object", object, Err(Refusal { rule, why, remedy }))
    }
}

/// A refusal as the rooms below know it.
fn denied(failure: Failure) -> model::Denied {
    let kind = match failure.status {
        hyper::StatusCode::SERVICE_UNAVAILABLE => model::ErrorKind::Unavailable,
        _ => model::ErrorKind::Forbidden,
    };
    model::Denied { kind, message: failure.message }
}

/// The answer for what exists for others alone.
pub(super) fn missing(name: &str) -> Failure {
    Failure::new(hyper::StatusCode::NOT_FOUND, format!("{name} not found"))
}

impl Active {
    fn decide(
        &self,
        step: &'static str,
        object: &str,
        outcome: Result<(), Refusal>,
    ) -> Result<(), Failure> {
        let refusal = outcome.err();
        self.authority.record(&Decision {
            line: &self.line,
            step,
            object,
            rule: &self.rule.name,
            refusal: refusal.as_ref(),
        })?;
        match refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal.denied(&self.policy.source).into()),
        }
    }
}
