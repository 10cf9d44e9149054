//! Credentials and their check, as they travel between client and engine. Never stores them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::is_zero;

/// The body of `POST /auth` and, as base64url JSON, the header `X-Registry-Auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Account.
    #[serde(skip_serializing_if = "is_zero")]
    pub username: String,
    /// Password or access token.
    #[serde(skip_serializing_if = "is_zero")]
    pub password: String,
    /// Base64 of `username:password`.
    #[serde(skip_serializing_if = "is_zero")]
    pub auth: String,
    /// Host, without protocol.
    #[serde(skip_serializing_if = "is_zero")]
    pub serveraddress: String,
    /// Token that replaces the password.
    #[serde(skip_serializing_if = "is_zero")]
    pub identitytoken: String,
    /// Bearer token as it is.
    #[serde(skip_serializing_if = "is_zero")]
    pub registrytoken: String,
}

impl fmt::Debug for AuthConfig {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

/// The answer to `POST /auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AuthResponse {
    /// For a person.
    pub status: String,
    /// Token that replaces the password; a secret.
    #[serde(skip_serializing_if = "is_zero")]
    pub identity_token: String,
}

/// An element of `GET /images/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// Stars.
    pub star_count: i64,
    /// Official image.
    pub is_official: bool,
    /// Repository.
    pub name: String,
    /// Always false.
    pub is_automated: bool,
    /// One line.
    pub description: String,
}
