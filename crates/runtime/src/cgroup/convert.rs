//! v1's units in v2's: pure arithmetic, nothing else.
//!
//! Source: the OCI runtime specification (`config-linux.md`), `cgroup-v2.rst`; the weight curve is
//! the one that runc 1.3.2 and crun 1.23 document.

/// `cpu.weight` (1 to 10,000) of v1's shares (2 to 262,144): a curve through the ends and through
/// the defaults, 1024 shares being weight 100.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // The exponent lies between 0 and 4.
            let weight = 10f64.powf(exponent).ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// `cpu.max`: quota and period in microseconds; no quota is `max`, the period defaults to 100,000.
pub(super) fn cpu_max(quota: Option<i64>, period: Option<u64>) -> String {
    let period = period.unwrap_or(100_000);
    match quota {
        Some(quota) if quota > 0 => format!("{quota} {period}"),
        _ => format!("max {period}"),
    }
}

/// `io.weight` (1 to 10,000) of v1's block IO weight (10 to 1000), linearly.
pub(super) fn io_weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// `memory.swap.max` of v1's memory and memory+swap limits (-1: none); `None`: nothing to set.
pub(super) fn swap_alone(
    memory: Option<i64>,
    memory_and_swap: Option<i64>,
) -> Result<Option<String>, String> {
    match (memory, memory_and_swap) {
        (_, None) => Ok(None),
        (_, Some(both)) if both < 0 => Ok(Some("max".to_owned())),
        (Some(memory), Some(both)) if memory >= 0 && both >= memory => {
            Ok(Some((both - memory).to_string()))
        }
        (_, Some(both)) => Err(format!("{both} needs a memory limit that is not larger")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_weights_meet_at_the_documented_points() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        let weights: Vec<u64> = (2..=262_144).step_by(97).map(weight_of_shares).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn quotas() {
        assert_eq!(cpu_max(Some(50_000), None), "50000 100000");
        assert_eq!(cpu_max(Some(-1), Some(20_000)), "max 20000");
        assert_eq!(cpu_max(None, Some(20_000)), "max 20000");
    }

    #[test]
    fn block_io_weights() {
        for (blkio, io) in [(10, 1), (1000, 10_000), (0, 1)] {
            assert_eq!(io_weight_of_blkio(blkio), io);
        }
    }

    #[test]
    fn swap_without_memory() {
        assert_eq!(swap_alone(Some(100), Some(250)), Ok(Some("150".into())));
        assert_eq!(swap_alone(Some(100), Some(100)), Ok(Some("0".into())));
        assert_eq!(swap_alone(Some(100), Some(-1)), Ok(Some("max".into())));
        assert_eq!(swap_alone(None, Some(-1)), Ok(Some("max".into())));
        assert_eq!(swap_alone(Some(100), None), Ok(None));
        assert!(swap_alone(None, Some(100)).is_err());
        assert!(swap_alone(Some(-1), Some(100)).is_err());
        assert!(swap_alone(Some(200), Some(100)).is_err());
    }
}
