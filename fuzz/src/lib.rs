//! What fuzzers feed: the functions themselves live in the crates they test (`store::fuzz`, …),
//! where a normal test replays the kept corpora too.

/// Gives `data` to the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let all = [store::fuzz::TARGETS, registry::fuzz::TARGETS, build::fuzz::TARGETS];
    let mut targets = all.into_iter().flatten();
    #[cfg(feature = "api")]
    let mut targets = targets.by_ref().chain(api::fuzz::TARGETS);
    let (_, target) = targets.find(|(have, _)| *have == name).expect("a target of this name");
    target(data);
}
