//! Users and groups of this host, as its files name them when the rules are read. Directories
//! elsewhere (LDAP and the like) are not asked: rules that name their users use ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::AuthorityError;

/// Names and ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<String, u32>,
    by_uid: BTreeMap<u32, String>,
    groups: BTreeMap<String, u32>,
}

impl Names {
    /// Those of this host (passwd(5), group(5)).
    pub(super) fn of_host() -> Result<Self, AuthorityError> {
        let read = |path: &str| {
            std::fs::read_to_string(path)
                .map_err(|source| AuthorityError::Read { path: PathBuf::from(path), source })
        };
        // A host without groups has none to name.
        let group = Path::new("/etc/group").exists().then(|| read("/etc/group")).transpose()?;
        Ok(Self::parse(&read("/etc/passwd")?, &group.unwrap_or_default()))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let entries = |text: &str| -> Vec<(String, u32)> {
            let entry = |line: &str| {
                let mut fields = line.split(':');
                let name = fields.next()?.to_owned();
                Some((name, fields.nth(1)?.parse().ok()?))
            };
            text.lines().filter_map(entry).collect()
        };
        let users = entries(passwd);
        let mut by_uid = BTreeMap::new();
        for (name, uid) in &users {
            by_uid.entry(*uid).or_insert_with(|| name.clone());
        }
        Self {
            by_uid,
            users: users.into_iter().collect(),
            groups: entries(group).into_iter().collect(),
        }
    }

    /// The first name of a user.
    pub(super) fn user(&self, uid: u32) -> Option<&str> {
        self.by_uid.get(&uid).map(String::as_str)
    }

    /// The id that a rule means by a user.
    pub(super) fn uid(&self, text: &str) -> Result<u32, String> {
        id(&self.users, text).ok_or_else(|| format!("this host has no user {text:?}"))
    }

    /// The id that a rule means by a group.
    pub(super) fn gid(&self, text: &str) -> Result<u32, String> {
        id(&self.groups, text).ok_or_else(|| format!("this host has no group {text:?}"))
    }
}

/// A number is a number: names that are numbers would be somebody else.
fn id(names: &BTreeMap<String, u32>, text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| names.get(text).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_ids() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nalice:x:1001:100::/:\nbad\n";
        let names = Names::parse(passwd, "wheel:x:10:alice\n");
        assert_eq!(names.uid("alice"), Ok(1001));
        assert_eq!(names.uid("77"), Ok(77));
        assert_eq!(names.gid("wheel"), Ok(10));
        assert_eq!(names.user(0), Some("root"));
        assert!(names.uid("bob").unwrap_err().contains("no user \"bob\""));
        assert!(names.gid("-1").is_err());
    }
}
