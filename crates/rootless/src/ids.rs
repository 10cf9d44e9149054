//! The ids that a user may give to containers: /etc/subuid and /etc/subgid, and what newuidmap is
//! told. Pure.
//!
//! Source: subuid(5), newuidmap(1).

use super::needs::User;

/// One line of a map as newuidmap takes it: inside, outside, count.
pub(crate) type Line = (u32, u32, u32);

/// The most lines that the kernel takes, user_namespaces(7).
const LINES_MAX: usize = 340;

/// The map of a user's namespace: root inside is the user, and the subordinate ids of `text` follow
/// from 1 on.
pub(crate) fn map(text: &str, user: &User, own: u32) -> Vec<Line> {
    let number = user.uid.to_string();
    let mut lines = vec![(0, own, 1)];
    let mut next = 1u32;
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let whose = fields.next().unwrap_or_default();
        if whose != user.name && whose != number {
            continue;
        }
        let mut number = || fields.next()?.trim().parse::<u32>().ok();
        let (Some(first), Some(count)) = (number(), number()) else { continue };
        let fits = first.checked_add(count).is_some() && next.checked_add(count).is_some();
        // An own id among the subordinate ones cannot be mapped twice.
        let apart = !(first..first.saturating_add(count)).contains(&own);
        if count > 0 && fits && apart && lines.len() < LINES_MAX {
            lines.push((next, first, count));
            next += count;
        }
    }
    lines
}

/// How many subordinate ids a map has.
pub(crate) fn subordinate(map: &[Line]) -> u32 {
    map.iter().skip(1).fold(0, |sum: u32, line| sum.saturating_add(line.2))
}

/// The numbers of a map as arguments.
pub(crate) fn arguments(map: &[Line]) -> Vec<String> {
    map.iter().flat_map(|line| [line.0, line.1, line.2]).map(|number| number.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ranges_are_found_by_name_and_number() {
        let user = User { name: "ada".into(), uid: 1000, gid: 1000 };
        let text = "bob:100000:65536\nada:200000:65536\n1000:300000:10\nada:nonsense\nada:5:0\n";
        let found = map(text, &user, 1000);
        assert_eq!(found, [(0, 1000, 1), (1, 200_000, 65_536), (65_537, 300_000, 10)]);
        assert_eq!(subordinate(&found), 65_546);
        assert_eq!(arguments(&found[..2]), ["0", "1000", "1", "1", "200000", "65536"]);
        assert_eq!(subordinate(&map("bob:1:2\n", &user, 1000)), 0);
    }

    #[test]
    fn hostile_ranges_are_left_out() {
        let user = User { name: "ada".into(), uid: 1000, gid: 1000 };
        for text in ["ada:4294967295:2", "ada:900:200", "ada:-1:5", "ada:1", "ada", ":1:2"] {
            assert_eq!(map(text, &user, 1000).len(), 1, "{text}");
        }
    }
}
