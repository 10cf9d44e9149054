//! The registry's configuration: a JSON file, and what the command line says. Unknown keys are
//! refused: a misspelt rule must not be an open door.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use super::access::Rule;

/// Everything that can be set. `estiba registry serve --help` shows the most used ones as flags.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Where content is kept.
    pub root: Option<PathBuf>,
    /// Encryption; without it only loopback is listened on, unless `insecure` says otherwise.
    pub tls: Option<Tls>,
    /// Listen beyond loopback without encryption.
    pub insecure: bool,
    /// Accounts and tokens.
    pub auth: Auth,
    /// Who may do what; without rules every account may do everything.
    pub access: Vec<Rule>,
    /// Nothing may be pushed or deleted.
    pub read_only: bool,
    /// Whether manifests, tags and blobs may be deleted by clients.
    pub delete: Option<bool>,
    /// Another registry whose content is fetched and kept when it is asked for.
    pub upstream: Option<Upstream>,
    /// What keeps the disk from filling.
    pub limits: Limits,
    /// Which tags are let go of.
    pub retention: Vec<Retention>,
    /// Who is told of pushes and deletions.
    pub notify: Vec<Notify>,
}

/// A certificate and its key, read again when the files change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// PEM file of the certificate and those that vouch for it.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// Accounts: an `htpasswd -B` file.
    pub htpasswd: Option<PathBuf>,
    /// Bearer tokens.
    pub token: Option<Token>,
}

/// Bearer tokens, ours or another's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// Where clients get them; our own `/token` when absent, which needs accounts.
    #[serde(default)]
    pub realm: Option<String>,
    /// Whom they are for.
    #[serde(default = "service")]
    pub service: String,
    /// Who signs them.
    #[serde(default = "service")]
    pub issuer: String,
    /// The signer's public keys: a JSON Web Key Set file.
    #[serde(default)]
    pub jwks: Option<PathBuf>,
}

fn service() -> String {
    "estiba-registry".to_owned()
}

/// Another registry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Upstream {
    /// Its address, `https://registry-1.docker.io`.
    pub url: String,
    /// The account to use there. It never leaves this process but for there.
    #[serde(default)]
    pub username: Option<String>,
    /// File with its password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Seconds for which a tag is believed without asking again.
    #[serde(default)]
    pub tag_seconds: u64,
}

/// Bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of the largest blob.
    pub blob_bytes: u64,
    /// Bytes of all content; 0 is no bound.
    pub total_bytes: u64,
    /// Bytes of one repository; 0 is no bound.
    pub repository_bytes: u64,
    /// Connections at once.
    pub connections: usize,
    /// Hours after which an unfinished upload is forgotten.
    pub upload_hours: u64,
    /// Hours for which a blob may wait for the manifest that names it.
    pub blob_hours: u64,
    /// Minutes between two collections of what nothing names.
    pub collect_minutes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blob_bytes: 64 << 30,
            total_bytes: 0,
            repository_bytes: 0,
            connections: 4096,
            upload_hours: 24,
            blob_hours: 24,
            collect_minutes: 60,
        }
    }
}

/// Tags that are let go of. A tag stays if any of both says so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retention {
    /// Repositories; `*` stands for any characters.
    pub repositories: Vec<String>,
    /// Only tags like one of these; all when empty.
    #[serde(default)]
    pub tags: Vec<String>,
    /// This many of the newest stay.
    #[serde(default)]
    pub keep: Option<usize>,
    /// Younger ones stay.
    #[serde(default)]
    pub keep_days: Option<u64>,
    /// Also manifests that no tag names and no index holds.
    #[serde(default)]
    pub untagged: bool,
}

/// Somebody who is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Notify {
    /// Where events are posted.
    pub url: String,
    /// A header to send along, `Authorization: Bearer …`.
    #[serde(default)]
    pub header: Option<String>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is not JSON, or has a key that does not exist.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Where to listen: loopback, unless somebody chose otherwise.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let address = self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5000)));
        if self.tls.is_none() && !self.insecure && !address.ip().is_loopback() {
            return Err(format!(
                "refusing to listen on {address} without encryption: give a certificate and its \
                 key, listen on loopback, or say --insecure"
            ));
        }
        Ok(address)
    }

    pub(crate) fn collect_every(&self) -> Duration {
        Duration::from_secs(self.limits.collect_minutes.max(1) * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_refused() {
        let read = |text| serde_json::from_str::<Config>(text);
        assert!(read(r#"{"read-only":true,"limits":{"blob-bytes":1}}"#).unwrap().read_only);
        assert!(read(r#"{"readonly":true}"#).is_err());
        assert!(read(r#"{"access":[{"users":["a"],"repositories":["b"],"action":[]}]}"#).is_err());
    }

    /// `docs/registry.md`, which is the reference of this file.
    fn docs() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/registry.md");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_examples_of_the_documentation_are_valid() {
        let docs = docs();
        let examples: Vec<&str> = docs.split("```json\n").skip(1).collect();
        assert!(examples.len() >= 4, "{}", examples.len());
        for example in examples {
            let example = example.split("```").next().unwrap();
            let read = serde_json::from_str::<Config>(example);
            assert!(read.is_ok(), "{}\n{example}", read.unwrap_err());
            assert!(read.unwrap().address().is_ok(), "{example}");
        }
    }

    /// The keys of a part: serde lists them when it is given one that is none.
    fn keys<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let Err(error) = serde_json::from_str::<T>(r#"{"?": 0}"#) else { return Vec::new() };
        let said = error.to_string();
        let listed = said.split("expected").nth(1).unwrap_or_else(|| unreachable!("{said}"));
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_is_documented() {
        let docs = docs();
        for (part, keys) in [
            ("", keys::<Config>()),
            ("auth.", keys::<Auth>()),
            ("auth.token.", keys::<Token>()),
            ("access[].", keys::<Rule>()),
            ("upstream.", keys::<Upstream>()),
            ("limits.", keys::<Limits>()),
            ("retention[].", keys::<Retention>()),
            ("notify[].", keys::<Notify>()),
        ] {
            assert!(keys.len() > 1, "{part} {keys:?}");
            for key in keys {
                assert!(docs.contains(&format!("`{part}{key}`")), "{part}{key}");
            }
        }
    }

    #[test]
    fn what_is_not_encrypted_stays_at_home() {
        let open = Config { listen: "0.0.0.0:5000".parse().ok(), ..Config::default() };
        assert!(open.address().unwrap_err().contains("--insecure"));
        assert!(Config { insecure: true, ..open }.address().is_ok());
        assert!(Config::default().address().unwrap().ip().is_loopback());
    }
}
