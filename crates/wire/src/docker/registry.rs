//! Credentials and their check, as they travel between client and engine. Never stores them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::image::{Descriptor, Platform};
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

/// The answer to `GET /distribution/{name}/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DistributionInspect {
    /// Manifest or index.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platforms: Vec<Platform>,
}

/// The answer to `GET /distribution/{name}/manifest`, which is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ManifestDocument {
    /// Manifest or index.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platforms: Vec<Platform>,
    /// The document byte for byte.
    pub document: String,
}

/// The body of `PUT /distribution/{name}/manifest`, which is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ManifestToPublish {
    /// Media type of the document.
    pub media_type: String,
    /// The document byte for byte.
    pub document: String,
    /// Repositories of the same registry with the manifests it names.
    pub from: Vec<String>,
}

/// The answer to `PUT /distribution/{name}/manifest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ManifestPublished {
    /// Its digest.
    pub digest: String,
}

/// The answer to `POST /distribution/{name}/blobs`, which is ours: what was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BlobTaken {
    /// Digest of the bytes that were sent.
    pub digest: String,
    /// How many they were.
    pub size: u64,
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
