//! `RestartPolicy`.

use model::Denied;
use model::restart::RestartPolicy;
use wire::docker::host_config as wire_host;

/// The policy; an empty name is `no`.
pub(crate) fn from_wire(policy: &wire_host::RestartPolicy) -> Result<RestartPolicy, Denied> {
    let refuse = |why: &str| Err(Denied::invalid(format!("invalid restart policy: {why}")));
    let count = policy.maximum_retry_count;
    if policy.name == "on-failure" {
        return match u32::try_from(count) {
            Ok(count) => Ok(RestartPolicy::OnFailure(count)),
            Err(_) if count < 0 => refuse("maximum retry count cannot be negative"),
            Err(_) => refuse("maximum retry count is too large"),
        };
    }
    let known = match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        name => {
            return refuse(&format!(
                "unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            ));
        }
    };
    match count {
        0 => Ok(known),
        ..0 => {
            refuse("maximum retry count can only be used with 'on-failure' and cannot be negative")
        }
        _ => refuse("maximum retry count can only be used with 'on-failure'"),
    }
}

/// The policy in Docker's words.
pub(crate) fn to_wire(policy: RestartPolicy) -> wire_host::RestartPolicy {
    let count = match policy {
        RestartPolicy::OnFailure(count) => i64::from(count),
        _ => 0,
    };
    wire_host::RestartPolicy { name: policy.name().to_owned(), maximum_retry_count: count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, maximum_retry_count: i64) -> Result<RestartPolicy, Denied> {
        from_wire(&wire_host::RestartPolicy { name: name.to_owned(), maximum_retry_count })
    }

    #[test]
    fn policies() {
        for (name, count) in [("no", 0), ("always", 0), ("unless-stopped", 0), ("on-failure", 3)] {
            let shown = to_wire(parse(name, count).unwrap());
            assert_eq!((shown.name.as_str(), shown.maximum_retry_count), (name, count));
        }
        for (name, count, part) in [
            ("sometimes", 0, "unknown policy 'sometimes'"),
            ("always", 1, "can only be used with 'on-failure'"),
            ("on-failure", -1, "cannot be negative"),
            ("on-failure", i64::MAX, "too large"),
        ] {
            let denied = parse(name, count).unwrap_err();
            assert!(denied.message.contains(part), "{denied}");
        }
    }
}
