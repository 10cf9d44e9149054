//! Who may do what, to whose objects: the rules an administrator wrote, as values, and the
//! decisions that follow from them. The first rule that names a client is that client's rule, and
//! nothing adds up: one reads a policy from the top and stops at the first match.
//!
//! ```text
//! Client ──▶ Policy::rule ──▶ Rule::permits(Class) ──▶ Rule::may_see(owner)
//!                               └─▶ Rule::review(Candidate): the container that will run,
//!                                   resolved with its image's configuration and the defaults
//! ```
//!
//! Pure: it reads no file, no clock and no request. What is judged is the typed value that is
//! executed afterwards, never the text it came from.

mod class;
mod limits;
#[cfg(test)]
mod tests;

pub use class::Class;
pub use limits::{Baseline, Candidate, HostMount, HostNamespace, Limits, Reference};

use crate::error::{Denied, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};

/// The label that says whose an object is: what [`Client::owner`] gives, or [`SHARED`].
pub const OWNER_LABEL: &str = "estiba.owner";

/// The owner of what everybody may see and use.
pub const SHARED: &str = "*";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The process at the other end of a unix socket, as the kernel vouches for it.
    pub peer: Option<UnixPeer>,
    /// The certificate that a TLS client proved to own.
    pub certificate: Option<Certificate>,
}

/// A process of this host (unix(7), `SO_PEERCRED` and `SO_PEERGROUPS`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixPeer {
    /// User id.
    pub uid: u32,
    /// The group id, and the supplementary ones.
    pub gids: Vec<u32>,
    /// Process id, for the record only: it may be another's by now.
    pub pid: Option<i32>,
    /// The user's name, if the host has one for the id.
    pub user: Option<String>,
}

/// What a verified certificate says of its owner (RFC 5280).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of the subject.
    pub common_name: String,
    /// Organizational units of the subject.
    pub units: Vec<String>,
    /// Alternative names: DNS names, mail addresses, URIs.
    pub names: Vec<String>,
}

impl Client {
    /// What the objects of this client are labelled with: `uid:1000`, `cn:alice`, or `tcp` for
    /// whoever came without any proof.
    pub fn owner(&self) -> String {
        match (&self.peer, &self.certificate) {
            (Some(peer), _) => format!("uid:{}", peer.uid),
            (None, Some(certificate)) => format!("cn:{}", certificate.common_name),
            (None, None) => "tcp".to_owned(),
        }
    }

    /// The name that paths of a policy may hold as `{user}`: one that cannot lead elsewhere.
    fn path_name(&self) -> Option<&str> {
        let name = match (&self.peer, &self.certificate) {
            (Some(peer), _) => peer.user.as_deref()?,
            (None, Some(certificate)) => certificate.common_name.as_str(),
            (None, None) => return None,
        };
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let plain = !name.is_empty() && !name.starts_with('.') && name.bytes().all(fine);
        plain.then_some(name)
    }
}

/// Every rule, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where the rules were read, for messages.
    pub source: String,
    /// The first that names a client counts.
    pub rules: Vec<Rule>,
}

/// What some clients may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name, shown in refusals and in the audit log.
    pub name: String,
    /// Whose rule it is.
    pub clients: Clients,
    /// Operations.
    pub allow: BTreeSet<Class>,
    /// Only objects that the client made, and shared ones, exist for it.
    pub own_objects: bool,
    /// What containers and builds may be; `None`: anything.
    pub limits: Option<Limits>,
    /// Patterns of names that may be pulled, run, built from and pushed; `None`: any.
    pub images: Option<Vec<String>>,
}

/// Which clients a rule names: those that any of these fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Everybody.
    pub anyone: bool,
    /// User ids.
    pub uids: BTreeSet<u32>,
    /// Group ids, primary or supplementary.
    pub gids: BTreeSet<u32>,
    /// Patterns of common names.
    pub common_names: Vec<String>,
    /// Patterns of organizational units.
    pub units: Vec<String>,
    /// Patterns of alternative names.
    pub names: Vec<String>,
}

/// A refusal: which rule, why, and what in it would have to say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's name; empty if no rule names the client.
    pub rule: String,
    /// What is not allowed.
    pub why: String,
    /// How the administrator would allow it.
    pub remedy: String,
}

impl Refusal {
    /// As an error, with the place of the rules.
    pub fn denied(&self, source: &str) -> Denied {
        let rule = match self.rule.as_str() {
            "" => "no rule".to_owned(),
            rule => format!("rule {rule:?}"),
        };
        Denied {
            kind: ErrorKind::Forbidden,
            message: format!(
                "authorization denied by {rule} of {source}: {} ({})",
                self.why, self.remedy
            ),
        }
    }
}

impl Clients {
    fn include(&self, client: &Client) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|it| fits(it, text));
        let peer = client.peer.as_ref().is_some_and(|peer| {
            self.uids.contains(&peer.uid) || peer.gids.iter().any(|gid| self.gids.contains(gid))
        });
        let certificate = client.certificate.as_ref().is_some_and(|it| {
            any(&self.common_names, &it.common_name)
                || it.units.iter().any(|unit| any(&self.units, unit))
                || it.names.iter().any(|name| any(&self.names, name))
        });
        self.anyone || peer || certificate
    }
}

impl Policy {
    /// The rule of a client.
    pub fn rule(&self, client: &Client) -> Result<&Rule, Refusal> {
        self.rules.iter().find(|rule| rule.clients.include(client)).ok_or_else(|| Refusal {
            rule: String::new(),
            why: format!("no rule names the client {}", client.owner()),
            remedy: "name it in \"clients\" of a rule".to_owned(),
        })
    }

    /// The rule of a client, if it permits operations of this class.
    pub fn permits(&self, client: &Client, class: Class) -> Result<&Rule, Refusal> {
        let rule = self.rule(client)?;
        rule.permits(class).map(|()| rule)
    }
}

impl Rule {
    /// Whether operations of this class are allowed.
    pub fn permits(&self, class: Class) -> Result<(), Refusal> {
        if class == Class::Ping || self.allow.contains(&class) {
            return Ok(());
        }
        let name = class.name();
        Err(self.refuse(
            format!("operations of class {name} are not allowed"),
            format!("add {name:?} to its \"allow\""),
        ))
    }

    /// Whether an object with these labels exists for the client.
    pub fn may_see(&self, client: &Client, labels: &BTreeMap<String, String>) -> bool {
        let owner = labels.get(OWNER_LABEL).map(String::as_str);
        !self.own_objects || owner == Some(SHARED) || owner == Some(client.owner().as_str())
    }

    /// Whether the client may change or remove such an object; what is shared it may only use.
    pub fn may_change(&self, client: &Client, labels: &BTreeMap<String, String>) -> bool {
        let owner = labels.get(OWNER_LABEL).map(String::as_str);
        !self.own_objects || owner == Some(client.owner().as_str())
    }

    /// The labels of a new object: whose it is. Who sees only its own objects cannot say so itself;
    /// who sees all may give one to another, or to everybody.
    pub fn label(
        &self,
        client: &Client,
        labels: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let owner = client.owner();
        let asked = labels.get(OWNER_LABEL).is_some_and(|asked| *asked != owner);
        if asked && self.own_objects {
            return Err(self.refuse(
                format!("label {OWNER_LABEL} is reserved"),
                "\"objects\": \"all\" lets its clients give objects to others".to_owned(),
            ));
        }
        labels.entry(OWNER_LABEL.to_owned()).or_insert(owner);
        Ok(())
    }

    /// Whether one of an image's names is allowed; an image without a name is not, where names
    /// are listed.
    pub fn image<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<(), Refusal> {
        let Some(patterns) = &self.images else { return Ok(()) };
        let mut shown = Vec::new();
        for name in names {
            let whole = whole_name(name);
            if patterns.iter().any(|pattern| fits(pattern, &whole)) {
                return Ok(());
            }
            shown.push(whole);
        }
        let what = match shown.first() {
            Some(name) => format!("image {name} is not allowed"),
            None => "an image without a name is not allowed".to_owned(),
        };
        Err(self.refuse(what, "add a pattern for it to its \"images\"".to_owned()))
    }

    fn refuse(&self, why: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        Refusal { rule: self.name.clone(), why: why.into(), remedy: remedy.into() }
    }
}

/// A reference with registry and tag: patterns are compared with one form. A digest alone is kept.
fn whole_name(name: &str) -> String {
    match crate::ImageRef::parse(name) {
        Ok(reference) => reference.to_string(),
        Err(_) => name.to_owned(),
    }
}

/// Whether a text fits a pattern, in which `*` stands for any characters, also none.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}
