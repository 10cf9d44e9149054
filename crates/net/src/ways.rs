//! Which of a container's networks lead out, for each family of addresses. Pure.

use std::cmp::Reverse;

/// What decides between the networks of one container.
#[derive(Clone, Copy, Debug)]
pub struct Lead<'a> {
    /// As asked for (`--gw-priority`): the highest comes first.
    pub priority: i32,
    /// For which families the network gives a default route: IPv4, IPv6. Internal ones for none.
    pub families: [bool; 2],
    /// The network's name.
    pub name: &'a str,
}

/// Positions of the networks that lead out over IPv4 and over IPv6: of the highest priority;
/// among equals those of both families before those of one, then by name, as with Docker.
pub fn ways_out(leads: &[Lead<'_>]) -> [Option<usize>; 2] {
    let mut order: Vec<usize> = (0..leads.len()).collect();
    order.sort_by_key(|at| {
        let lead = &leads[*at];
        let families = lead.families.iter().filter(|has| **has).count();
        (Reverse(lead.priority), Reverse(families), lead.name)
    });
    [0, 1].map(|family| order.iter().copied().find(|at| leads[*at].families[family]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name priority families`, of which the latter is any of `4` and `6`.
    fn chosen(networks: &[(&str, i32, &str)]) -> String {
        let leads: Vec<Lead<'_>> = networks
            .iter()
            .map(|(name, priority, families)| Lead {
                priority: *priority,
                families: [families.contains('4'), families.contains('6')],
                name,
            })
            .collect();
        ways_out(&leads).map(|at| at.map_or("-", |at| networks[at].0)).join(" ")
    }

    #[test]
    fn priority_then_both_families_then_the_name_decide() {
        assert_eq!(chosen(&[]), "- -");
        assert_eq!(chosen(&[("inside", 9, "")]), "- -");
        assert_eq!(chosen(&[("b", 0, "46"), ("a", 0, "46")]), "a a");
        assert_eq!(chosen(&[("a", 0, "46"), ("b", 1, "46"), ("c", -1, "46")]), "b b");
        assert_eq!(chosen(&[("four", 0, "4"), ("two", 0, "46")]), "two two");
        assert_eq!(chosen(&[("four", 0, "4"), ("six", 0, "6")]), "four six");
        assert_eq!(chosen(&[("four", 5, "4"), ("two", 0, "46")]), "four two");
        assert_eq!(chosen(&[("inside", 5, ""), ("a", 0, "4")]), "a -");
    }
}
