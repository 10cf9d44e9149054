//! The lines of a long operation's answer (pull, load, import, build): objects one after another.
//! A failure after the first line can only be told by a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::is_zero;

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgressLine {
    /// Text for the terminal as it is.
    #[serde(skip_serializing_if = "is_zero")]
    pub stream: String,
    /// State of the object `id`, or of the whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: String,
    /// How far; `{}` when not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub progress_detail: Option<ProgressDetail>,
    /// The same as a drawn bar.
    #[serde(skip_serializing_if = "is_zero")]
    pub progress: String,
    /// Layer or reference.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// The failure that ended the operation.
    #[serde(skip_serializing_if = "is_zero")]
    pub error_detail: Option<ErrorDetail>,
    /// The failure's message again.
    #[serde(skip_serializing_if = "is_zero")]
    pub error: String,
    /// Results for programs.
    #[serde(skip_serializing_if = "is_zero")]
    pub aux: Option<Value>,
}

/// How far an operation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes, unless `units` says otherwise.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: i64,
    /// 0 when not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// Empty is bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub units: String,
}

/// A failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// Exit status of a build step.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i64,
    /// For a person.
    pub message: String,
}
