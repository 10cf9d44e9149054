//! A failed build, as it is shown: the step's last words, the lines of the Dockerfile, the reason.

use wire::build::BuildFailed;

use super::display::Display;
use crate::failure::Failure;

/// What helps with a step whose process failed.
const LOOK_AROUND: &str = "\n\nTo look around in what the step left: build again with --build-arg \
    ESTIBA_KEEP_FAILED=NAME, then run -it --rm NAME sh";

/// The failure with everything that helps.
pub(super) fn failure(display: &Display, failed: &BuildFailed) -> Failure {
    let mut text = String::new();
    if !failed.step.is_empty() {
        let rule = "------\n";
        text.push_str(rule);
        text.push_str(&format!(" > {}:\n", failed.step));
        for line in display.last_words(&failed.step) {
            text.push_str(&line);
            text.push('\n');
        }
        text.push_str(rule);
    }
    text.push_str(&failed.excerpt);
    text.push_str(&format!("ERROR: {}", failed.message));
    if failed.code.is_some() {
        text.push_str(LOOK_AROUND);
    }
    Failure::new(text)
}
