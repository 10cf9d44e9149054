//! What is said about a result beside it: how it came to be (SLSA provenance) and what is in it
//! (SBOM). Only what was asked for; this module knows the questions, `export::attest` the answers.

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    /// How the result came to be.
    pub provenance: Option<Provenance>,
    /// What is in it.
    pub sbom: Option<Sbom>,
}

impl Attestations {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        self.provenance.is_some() || self.sbom.is_some()
    }
}

/// How provenance is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Everything that was asked and done (`mode=max`): build arguments, steps, the Dockerfile.
    pub all: bool,
    /// SLSA's form 1 instead of 0.2.
    pub v1: bool,
    /// Whom it names as builder; may be empty.
    pub builder_id: String,
    /// The caller vouches that the build is reproducible.
    pub reproducible: bool,
}

/// How an SBOM comes to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sbom {
    /// The image of a scanner that speaks BuildKit's protocol; `None` is what is built in.
    pub generator: Option<String>,
}
