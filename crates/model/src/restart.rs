//! When a container that exited starts again, and after how long. Pure: times come in as values.

use crate::time::Timestamp;

/// The first pause before a restart, ns (Docker: 100 ms, doubled each time).
pub const FIRST_DELAY_NS: u64 = 100_000_000;
/// The longest pause, ns (Docker: one minute).
pub const MAX_DELAY_NS: u64 = 60_000_000_000;
/// A run that lasted this long resets the pause, ns (Docker: ten seconds).
pub const RESET_AFTER_NS: u64 = 10_000_000_000;

/// When to start again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After every exit, and with the daemon even when stopped by hand before.
    Always,
    /// After every exit that was not asked for.
    UnlessStopped,
    /// After a failure, at most this often (0: without limit).
    OnFailure(u32),
}

impl RestartPolicy {
    /// The name used by Docker.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure(_) => "on-failure",
        }
    }

    /// Whether a container that exited with `code` starts again, having restarted `count` times
    /// since it was last started by hand. `asked` says that a user stopped it.
    pub fn wants_restart(self, code: i32, count: u32, asked: bool) -> bool {
        match self {
            _ if asked => false,
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(limit) => code != 0 && (limit == 0 || count < limit),
        }
    }

    /// Whether a container that is not running is started when the daemon starts.
    pub fn starts_with_daemon(self, stopped_by_user: bool) -> bool {
        match self {
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_user,
            Self::No | Self::OnFailure(_) => false,
        }
    }
}

/// The pause before the next restart, given the last one and how long the run lasted.
pub fn next_delay_ns(last_delay_ns: u64, started: Timestamp, exited: Timestamp) -> u64 {
    if last_delay_ns == 0 || exited.since(started) >= RESET_AFTER_NS {
        return FIRST_DELAY_NS;
    }
    last_delay_ns.saturating_mul(2).min(MAX_DELAY_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_as_documented() {
        use RestartPolicy as P;
        for (policy, code, count, asked, want) in [
            (P::No, 1, 0, false, false),
            (P::Always, 0, 9, false, true),
            (P::Always, 0, 9, true, false),
            (P::UnlessStopped, 1, 0, false, true),
            (P::OnFailure(0), 0, 0, false, false),
            (P::OnFailure(0), 1, 1000, false, true),
            (P::OnFailure(3), 1, 2, false, true),
            (P::OnFailure(3), 1, 3, false, false),
        ] {
            assert_eq!(policy.wants_restart(code, count, asked), want, "{policy:?}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_resets_after_a_good_run() {
        let at = |s: i64| Timestamp(s * 1_000_000_000);
        let mut delay = 0;
        let mut seen = Vec::new();
        for _ in 0..12 {
            delay = next_delay_ns(delay, at(0), at(1));
            seen.push(delay / 1_000_000);
        }
        assert_eq!(seen, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(next_delay_ns(delay, at(0), at(10)), FIRST_DELAY_NS);
    }
}
