//! What all `prune` commands share: the question, the filters, the report.

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::units;

/// Whether to go on: `--force`, or a yes to the warning. A no is no failure.
pub(super) fn agreed(invocation: &Invocation, warning: &str) -> Result<bool, Failure> {
    if invocation.matches.bool("force") {
        return Ok(true);
    }
    super::confirm(&format!("WARNING! {warning}\nAre you sure you want to continue?"))
}

/// The filters of the flags and of the configuration's `pruneFilters`.
pub(super) fn filters(invocation: &Invocation) -> Vec<(String, String)> {
    let mut all = invocation.matches.filters("filter");
    let configured = invocation.config().value("pruneFilters").and_then(|value| value.as_array());
    for text in configured.into_iter().flatten().filter_map(|value| value.as_str()) {
        if let Some((name, value)) = text.split_once('=') {
            all.push((name.to_owned(), value.to_owned()));
        }
    }
    all
}

/// A heading with what was removed under it; nothing when that is empty.
pub(super) fn section(heading: &str, removed: &[String]) -> String {
    match removed.is_empty() {
        true => String::new(),
        false => format!("{heading}\n{}\n\n", removed.join("\n")),
    }
}

/// The space that is free again.
pub(super) fn total(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let size = units::human_size(bytes as f64, 4);
    format!("Total reclaimed space: {size}\n")
}
