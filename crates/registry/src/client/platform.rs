//! Platforms: what an image runs on, and which manifest of an index fits. Pure. Source: OCI
//! image-spec, "image index"; the words are Go's.

use model::Denied;
use wire::oci::image::{Descriptor, Platform as Wire};

/// Operating systems that a word alone may mean; Go's `GOOS`.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
/// Architectures that a word alone may mean; Go's `GOARCH`.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "sparc64", "wasm",
];

/// What an image is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, …; empty where there is none.
    pub variant: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Parses `os[/architecture[/variant]]`, or an architecture alone.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        let bad = || Denied::invalid(format!("{text:?} is an invalid component of a platform"));
        let fits = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 || !parts.iter().all(|part| fits(part)) {
            return Err(bad());
        }
        let host = Self::host();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let (os, rest) = match lower.as_slice() {
            [os] if SYSTEMS.contains(&os.as_str()) => return Ok(Self { os: os.clone(), ..host }),
            [word] if !ARCHITECTURES.contains(&normal(word, "").0.as_str()) => {
                let message = format!("{text:?}: unknown operating system or architecture");
                return Err(Denied::invalid(message));
            }
            [_] => ("linux".to_owned(), lower.as_slice()),
            [os, rest @ ..] => (os.clone(), rest),
            [] => return Err(bad()),
        };
        let (architecture, variant) = (rest[0].as_str(), rest.get(1).map_or("", |v| v));
        let (architecture, variant) = normal(architecture, variant);
        Ok(Self { os, architecture, variant })
    }

    /// How well a platform serves this one: lower is better; nothing when it does not.
    fn distance(&self, offered: &Wire) -> Option<u32> {
        let (architecture, variant) =
            normal(&offered.architecture, offered.variant.as_deref().unwrap_or(""));
        if offered.os != self.os || architecture != self.architecture {
            return None;
        }
        let number = |text: &str| text.strip_prefix('v').and_then(|n| n.parse::<u32>().ok());
        match (self.variant.as_str(), variant.as_str()) {
            (wanted, variant) if wanted == variant => Some(0),
            // The plain architecture runs everywhere, variants build on each other.
            (_, "") => Some(100),
            (wanted, variant) => {
                let (wanted, variant) = (number(wanted).unwrap_or(1), number(variant)?);
                wanted.checked_sub(variant)
            }
        }
    }

    /// Whether an image for these serves this platform; empty words say nothing.
    pub fn serves(&self, os: &str, architecture: &str, variant: &str) -> bool {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let offered = Wire {
            os: known(os).unwrap_or_else(|| self.os.clone()),
            architecture: known(architecture).unwrap_or_else(|| self.architecture.clone()),
            variant: known(variant),
            ..Wire::default()
        };
        self.accepts(&offered)
    }

    /// Whether an image for `offered` serves this.
    pub(crate) fn accepts(&self, offered: &Wire) -> bool {
        self.distance(offered).is_some()
    }

    /// The entry of an index that serves this best. An entry that says no platform is taken when
    /// it is the only one.
    pub(crate) fn choose<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let known = manifests.iter().enumerate().filter_map(|(at, descriptor)| {
            let distance = self.distance(descriptor.platform.as_ref()?)?;
            Some((distance, at, descriptor))
        });
        let best = known.min_by_key(|(distance, at, _)| (*distance, *at)).map(|(_, _, d)| d);
        best.or_else(|| match manifests {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        })
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The usual words for an architecture.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i686", _) => ("386", ""),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", "v8"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_system_or_an_architecture() {
        for (word, os, architecture) in [
            ("windows", "windows", "amd64"),
            ("s390x", "linux", "s390x"),
            ("arm64", "linux", "arm64"),
        ] {
            let platform = Platform::parse(word).unwrap();
            assert_eq!(platform.os, os);
            assert!(word == os || platform.architecture == architecture, "{platform:?}");
        }
        let refused = Platform::parse("foobar").unwrap_err().message;
        assert_eq!(refused, "\"foobar\": unknown operating system or architecture");
        assert!(Platform::parse("linux/foobar").is_ok(), "others may know it");
    }

    fn offer(text: &str) -> Descriptor {
        let mut parts = text.split('/').map(str::to_owned);
        let os = parts.next().unwrap();
        let platform = Wire {
            os,
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next(),
            ..Wire::default()
        };
        Descriptor { digest: text.into(), platform: Some(platform), ..Descriptor::default() }
    }

    #[test]
    fn the_best_entry_is_chosen() {
        for (wanted, offers, best) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some("linux/amd64")),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some("linux/arm64/v8")),
            ("linux/arm64/v8", &["linux/arm64"], Some("linux/arm64")),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/amd64/v3", &["linux/amd64/v2", "linux/amd64"], Some("linux/amd64/v2")),
            ("amd64", &["unknown/unknown", "windows/amd64"], None),
            ("aarch64", &["linux/arm64"], Some("linux/arm64")),
        ] {
            let offers: Vec<_> = offers.iter().map(|text| offer(text)).collect();
            let platform = Platform::parse(wanted).unwrap();
            let chosen = platform.choose(&offers).map(|d| d.digest.as_str());
            assert_eq!(chosen, best, "{wanted}");
        }
        let silent = [Descriptor::default()];
        assert!(Platform::host().choose(&silent).is_some());
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d"] {
            assert!(Platform::parse(bad).is_err(), "{bad:?}");
        }
    }
}
