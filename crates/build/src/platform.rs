//! Platforms as images name them (`linux/arm64/v8`), normalised as containerd does. Never knows
//! what the machine it runs on is: the caller says.

use model::error::Denied;
use std::fmt;

/// What an operation or an image runs on, normalised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// Operating system in Go's words.
    pub os: String,
    /// CPU architecture in Go's words.
    pub architecture: String,
    /// CPU variant (`v7`), empty for none or for the architecture's usual one.
    pub variant: String,
}

impl Platform {
    /// A platform of its parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = normalise(architecture, variant);
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        Self { os, architecture, variant }
    }

    /// The platform of the machine this program was compiled for.
    pub fn of_this_build() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// Parses `os/arch[/variant]`, `os` or `arch`; what is not said comes from `host`.
    pub fn parse(text: &str, host: &Self) -> Result<Self, Denied> {
        let fail = || {
            Denied::invalid(format!(
                "{text:?} is an invalid platform: want os/architecture[/variant]"
            ))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let clean = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if !parts.iter().all(clean) {
            return Err(fail());
        }
        match parts.as_slice() {
            [os, arch] => Ok(Self::new(os, arch, "")),
            [os, arch, variant] => Ok(Self::new(os, arch, variant)),
            [word] if is_os(word) => Ok(Self { os: Self::new(word, "", "").os, ..host.clone() }),
            [word] if is_architecture(word) => Ok(Self::new(&host.os, word, "")),
            [word] => Err(Denied::invalid(format!(
                "{word:?}: unknown operating system or architecture: invalid argument"
            ))),
            _ => Err(fail()),
        }
    }

    /// Whether an image for `self` can be taken where `wanted` is asked for.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (self.variant == wanted.variant
                || self.variant.is_empty()
                || wanted.variant.is_empty())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_str() {
            "" => Ok(()),
            variant => write!(f, "/{variant}"),
        }
    }
}

/// containerd's aliases: `x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is `arm/v7`.
fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let pair = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i686" | "x86" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64", variant) => ("ppc64", variant),
        ("powerpc64le" | "ppc64el", variant) => ("ppc64le", variant),
        (architecture, variant) => (architecture, variant),
    };
    (pair.0.to_owned(), pair.1.to_owned())
}

fn is_os(word: &str) -> bool {
    const KNOWN: &[&str] = &[
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "macos",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
        "zos",
    ];
    KNOWN.contains(&word.to_ascii_lowercase().as_str())
}

fn is_architecture(word: &str) -> bool {
    const KNOWN: &[&str] = &[
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm",
    ];
    KNOWN.contains(&normalise(word, "").0.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_normalise() {
        let host = Platform::new("linux", "x86_64", "");
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
            ("linux", "linux/amd64"),
            ("LINUX/AMD64", "linux/amd64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(text, &host).unwrap().to_string(), want, "{text}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "bla", "linux/am d64", "lin ux"] {
            assert!(Platform::parse(bad, &host).is_err(), "{bad}");
        }
    }
}
