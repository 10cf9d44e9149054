//! Who may do what. Every operation asks [`Rules::allow`], `HEAD` and deletion of tags included
//! (law D7). Pure but for the key derivation in [`htpasswd`].

pub(crate) mod htpasswd;
pub(crate) mod token;

use serde::Deserialize;

use super::name::Name;
use super::route::Action;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// Somebody who gave a good password.
    User(String),
    /// The bearer of a token, which says what it opens.
    Bearer(Vec<Grant>),
}

/// What a token opens. Source: Docker's token specification, "access" claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

/// One rule of the configuration: these users may do this to these repositories.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names of users; `*` is everybody with a password, `anonymous` everybody without.
    pub users: Vec<String>,
    /// Repositories; `*` stands for any characters.
    pub repositories: Vec<String>,
    /// `pull`, `push`, `delete` or `*`.
    pub actions: Vec<String>,
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Without accounts nobody can be told from anybody: all is open, as with Docker's registry.
    pub(crate) accounts: bool,
    /// Without rules, whoever has an account may do everything.
    pub(crate) rules: Vec<Rule>,
}

impl Rules {
    /// Whether `who` may do `action` to `name`.
    pub(crate) fn allow(&self, who: &Identity, name: &Name, action: Action) -> bool {
        if !self.accounts {
            return true;
        }
        let action = action.as_str();
        if let Identity::Bearer(grants) = who {
            return grants.iter().any(|grant| {
                grant.kind == "repository"
                    && grant.name == name.as_str()
                    && grant.actions.iter().any(|it| it == action || it == "*")
            });
        }
        if self.rules.is_empty() {
            return matches!(who, Identity::User(_));
        }
        self.rules.iter().any(|rule| {
            let user = rule.users.iter().any(|user| match who {
                Identity::User(name) => user == name || user == "*",
                _ => user == "anonymous",
            });
            user && rule.repositories.iter().any(|pattern| matches(pattern, name.as_str()))
                && rule.actions.iter().any(|it| it == action || it == "*")
        })
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(users: &[&str], repositories: &[&str], actions: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        Rule { users: owned(users), repositories: owned(repositories), actions: owned(actions) }
    }

    #[test]
    fn every_method_repository_and_identity() {
        let rules = Rules {
            accounts: true,
            rules: vec![
                rule(&["anonymous", "*"], &["public/*"], &["pull"]),
                rule(&["alice"], &["team/*", "public/*"], &["pull", "push"]),
                rule(&["root"], &["*"], &["*"]),
            ],
        };
        let user = |name: &str| Identity::User(name.into());
        let grant = Grant {
            kind: "repository".into(),
            name: "team/a".into(),
            actions: vec!["pull".into()],
        };
        let identities = [
            Identity::Anonymous,
            user("alice"),
            user("bob"),
            user("root"),
            Identity::Bearer(vec![grant]),
        ];
        // A letter for each identity that may.
        for (repository, action, want) in [
            ("public/x", Action::Pull, "AABR-"),
            ("public/x", Action::Push, "-A-R-"),
            ("public/x", Action::Delete, "---R-"),
            ("team/a", Action::Pull, "-A-RT"),
            ("team/a", Action::Push, "-A-R-"),
            ("team/b", Action::Pull, "-A-R-"),
            ("team/b", Action::Delete, "---R-"),
            ("publicx", Action::Pull, "---R-"),
        ] {
            let name = Name::parse(repository).unwrap();
            for (identity, letter) in identities.iter().zip(want.chars()) {
                let allowed = rules.allow(identity, &name, action);
                assert_eq!(allowed, letter != '-', "{identity:?} {action:?} {repository}");
            }
        }
    }

    #[test]
    fn without_rules_an_account_is_enough_and_without_accounts_nothing_is_needed() {
        let name = Name::parse("a").unwrap();
        let closed = Rules { accounts: true, rules: Vec::new() };
        assert!(!closed.allow(&Identity::Anonymous, &name, Action::Pull));
        assert!(closed.allow(&Identity::User("x".into()), &name, Action::Delete));
        assert!(Rules::default().allow(&Identity::Anonymous, &name, Action::Push));
    }

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("*", "a/b", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a/*", "a/b/c", true),
            ("a/*", "ab/c", false),
            ("*-dev", "x-dev", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
