//! The JSON documents of the registry protocol: errors, tag lists, catalogues. Source: OCI
//! distribution-spec v1.1. This module never talks to a registry.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of a failed request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// The failures; the specification wants at least one.
    #[serde(default)]
    pub errors: Vec<ErrorInfo>,
}

/// One failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// One of the specification's codes, e.g. `MANIFEST_UNKNOWN`.
    pub code: String,
    /// Words for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Anything the registry adds.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// The body of `GET /v2/<name>/tags/list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagList {
    /// The repository.
    pub name: String,
    /// Its tags; registries send `null` for none.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

/// The body of `GET /v2/_catalog`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The repositories.
    #[serde(default)]
    pub repositories: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_detail_are_read_and_written() {
        let text = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let body: ErrorResponse = serde_json::from_str(text).unwrap();
        assert_eq!(body.errors[0].code, "DENIED");
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
    }
}
