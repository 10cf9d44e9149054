//! Bearer tokens: JSON Web Tokens that open repositories. They are signed by keys that the
//! configuration names, or by our own; a key that a token brings along is not looked at (law D7).
//! Sources: RFC 7515, 7517, 7519; Docker's token authentication specification.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Grant;
use crate::server::index::Seconds;

/// How long a token of ours opens anything.
const LIFE: Seconds = 300;
/// Clocks differ by this much.
const LEEWAY: Seconds = 30;
/// The longest token that is looked at.
const MAX_BYTES: usize = 64 << 10;

/// Keys that others sign with, as a JSON Web Key Set.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    kind: Kind,
}

enum Kind {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(hmac::Key),
}

/// Who signs tokens, and for whom.
pub(crate) struct Issuer {
    pub(crate) issuer: String,
    pub(crate) service: String,
    pub(crate) keys: Keys,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: Value,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    access: Vec<Grant>,
}

impl Keys {
    /// Reads a JSON Web Key Set: RSA, P-256 and Ed25519 public keys.
    pub(crate) fn from_jwks(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        let set: Set = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let keys: Result<Vec<Key>, String> = set.keys.iter().map(Jwk::read).collect();
        match keys? {
            keys if keys.is_empty() => Err("the key set is empty".into()),
            keys => Ok(Self(keys)),
        }
    }

    /// Our own secret.
    pub(crate) fn own(secret: &[u8]) -> Self {
        let kind = Kind::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self(vec![Key { id: None, kind }])
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl Jwk {
    fn read(&self) -> Result<Key, String> {
        let part = |text: &str, name: &str| {
            decode(text).filter(|it| !it.is_empty()).ok_or_else(|| format!("bad `{name}` in a key"))
        };
        let kind = match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => Kind::Rsa { n: part(&self.n, "n")?, e: part(&self.e, "e")? },
            ("EC", "P-256") => {
                let (x, y) = (part(&self.x, "x")?, part(&self.y, "y")?);
                if x.len() != 32 || y.len() != 32 {
                    return Err("a P-256 key has two coordinates of 32 bytes".into());
                }
                // The uncompressed point, SEC 1 section 2.3.3.
                Kind::P256([&[4u8][..], &x, &y].concat())
            }
            ("OKP", "Ed25519") => Kind::Ed25519(part(&self.x, "x")?),
            (kind, curve) => return Err(format!("keys of type {kind} {curve} are not supported")),
        };
        Ok(Key { id: self.kid.clone(), kind })
    }
}

impl Key {
    /// The algorithm belongs to the key; the token's word for it must agree.
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match (&self.kind, algorithm) {
            (Kind::Rsa { n, e }, "RS256") => {
                let key = signature::RsaPublicKeyComponents { n, e };
                let scheme = &signature::RSA_PKCS1_2048_8192_SHA256;
                key.verify(scheme, message, signature).is_ok()
            }
            (Kind::P256(point), "ES256") => {
                let scheme = &signature::ECDSA_P256_SHA256_FIXED;
                let key = signature::UnparsedPublicKey::new(scheme, point);
                key.verify(message, signature).is_ok()
            }
            (Kind::Ed25519(key), "EdDSA") => {
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
                key.verify(message, signature).is_ok()
            }
            (Kind::Secret(key), "HS256") => hmac::verify(key, message, signature).is_ok(),
            _ => false,
        }
    }
}

impl Issuer {
    /// What a token opens, or why it opens nothing.
    pub(crate) fn read(&self, token: &str, now: Seconds) -> Result<Vec<Grant>, &'static str> {
        if token.len() > MAX_BYTES {
            return Err("the token is too long");
        }
        let (message, signature) = token.rsplit_once('.').ok_or("the token is malformed")?;
        let (header, claims) = message.split_once('.').ok_or("the token is malformed")?;
        let header: Header = json(header).ok_or("the token's header is malformed")?;
        let signature = decode(signature).ok_or("the token's signature is malformed")?;
        let fits = |key: &&Key| key.id.is_none() || header.kid.is_none() || key.id == header.kid;
        let mut keys = self.keys.0.iter().filter(fits);
        if !keys.any(|key| key.verifies(&header.alg, message.as_bytes(), &signature)) {
            return Err("the token is signed by nobody we trust");
        }
        let claims: Claims = json(claims).ok_or("the token's claims are malformed")?;
        if claims.iss != self.issuer {
            return Err("the token is another issuer's");
        }
        let ours = match &claims.aud {
            Value::String(audience) => *audience == self.service,
            Value::Array(list) => list.iter().any(|it| it.as_str() == Some(&self.service)),
            _ => false,
        };
        if !ours {
            return Err("the token is for another service");
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit exactly")]
        let (late, early) = ((now + LEEWAY) as f64, now.saturating_sub(LEEWAY) as f64);
        if claims.exp.is_none_or(|end| end <= early) {
            return Err("the token has expired");
        }
        if claims.nbf.is_some_and(|begin| begin > late) {
            return Err("the token is not valid yet");
        }
        Ok(claims.access)
    }

    /// A token of ours that opens `access`, and for how many seconds. Nothing when others sign.
    pub(crate) fn issue(
        &self,
        subject: &str,
        access: &[Grant],
        now: Seconds,
    ) -> Option<(String, Seconds)> {
        #[derive(Serialize)]
        struct Issued<'a> {
            iss: &'a str,
            sub: &'a str,
            aud: &'a str,
            exp: Seconds,
            nbf: Seconds,
            iat: Seconds,
            access: &'a [Grant],
        }
        let Some(Key { kind: Kind::Secret(key), .. }) = self.keys.0.first() else { return None };
        let claims = Issued {
            iss: &self.issuer,
            sub: subject,
            aud: &self.service,
            exp: now + LIFE,
            nbf: now,
            iat: now,
            access,
        };
        let header = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let message = format!("{header}.{}", encode(&serde_json::to_vec(&claims).ok()?));
        let signature = hmac::sign(key, message.as_bytes());
        Some((format!("{message}.{}", encode(signature.as_ref())), LIFE))
    }
}

/// The scopes a client asks for: `repository:<name>:<action>,<action>`, divided by blanks.
pub(crate) fn scopes(text: &str) -> Vec<Grant> {
    let scope = |text: &str| {
        // A name may hold a colon: only its host's port could, which ours never have.
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions = actions.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Some(Grant { kind: kind.to_owned(), name: name.to_owned(), actions })
    };
    text.split(' ').filter_map(scope).collect()
}

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&decode(part)?).ok()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::KeyPair;

    fn issuer(keys: Keys) -> Issuer {
        Issuer { issuer: "us".into(), service: "registry".into(), keys }
    }

    fn grant() -> Grant {
        scopes("repository:a/b:pull,push").remove(0)
    }

    #[test]
    fn our_own_tokens() {
        let issuer = issuer(Keys::own(b"secret"));
        let (token, life) = issuer.issue("alice", &[grant()], 1000).unwrap();
        assert_eq!(issuer.read(&token, 1000), Ok(vec![grant()]));
        assert!(issuer.read(&token, 1000 + life + LEEWAY).is_err(), "too late");
        assert!(issuer.read(&token, 1000 - LEEWAY - 1).is_err(), "too early");
        let other = super::tests::issuer(Keys::own(b"other"));
        assert!(other.read(&token, 1000).is_err(), "another key");
        let mut changed = token.clone();
        changed.insert(token.find('.').unwrap() + 3, 'A');
        assert!(issuer.read(&changed, 1000).is_err(), "changed");
        let elsewhere =
            Issuer { service: "x".into(), ..super::tests::issuer(Keys::own(b"secret")) };
        assert!(elsewhere.read(&token, 1000).is_err(), "another service");
    }

    fn signed(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[test]
    fn only_keys_of_the_configuration_count() {
        let random = SystemRandom::new();
        let pair = || {
            let document = signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            signature::Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
        };
        let (good, bad) = (pair(), pair());
        let x = |pair: &signature::Ed25519KeyPair| encode(pair.public_key().as_ref());
        let jwk = |pair| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{}"}}"#, x(pair));
        let keys = Keys::from_jwks(&format!(r#"{{"keys":[{}]}}"#, jwk(&good))).unwrap();
        let issuer = issuer(keys);
        let claims = r#"{"iss":"us","aud":["x","registry"],"exp":2000,
            "access":[{"type":"repository","name":"a/b","actions":["pull","push"]}]}"#;
        let header = r#"{"alg":"EdDSA","kid":"1"}"#;
        let token = signed(header, claims, |it| good.sign(it).as_ref().to_vec());
        assert_eq!(issuer.read(&token, 1000), Ok(vec![grant()]));
        let brought = format!(r#"{{"alg":"EdDSA","jwk":{}}}"#, jwk(&bad));
        let token = signed(&brought, claims, |it| bad.sign(it).as_ref().to_vec());
        assert!(issuer.read(&token, 1000).is_err(), "it brings its own key");
        for alg in ["none", "HS256", "ES256", "RS256"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            let key = hmac::Key::new(hmac::HMAC_SHA256, good.public_key().as_ref());
            let token = signed(&header, claims, |it| hmac::sign(&key, it).as_ref().to_vec());
            assert!(issuer.read(&token, 1000).is_err(), "{alg}");
        }
        let endless = r#"{"iss":"us","aud":"registry","access":[]}"#;
        let token = signed(header, endless, |it| good.sign(it).as_ref().to_vec());
        assert!(issuer.read(&token, 1000).is_err(), "no end");
    }

    #[test]
    fn scopes_of_a_request() {
        assert_eq!(scopes("repository:a:pull repository:b/c:push,delete x").len(), 2);
    }
}
