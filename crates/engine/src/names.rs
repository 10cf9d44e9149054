//! Names for containers that nobody named: a mood and somebody who found something out.

use crate::{Result, random};
use model::ContainerName;

const MOODS: [&str; 64] = [
    "able", "airy", "amber", "ample", "apt", "avid", "bold", "brave", "bright", "brisk", "calm",
    "candid", "clear", "clever", "cosy", "crisp", "deft", "eager", "early", "earnest", "fair",
    "fine", "firm", "fond", "frank", "free", "fresh", "gentle", "glad", "golden", "grand", "hale",
    "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid",
    "merry", "mild", "neat", "nimble", "noble", "open", "patient", "plain", "polite", "proud",
    "quick", "quiet", "ready", "sharp", "silent", "smart", "spry", "steady", "sunny", "tidy",
    "warm", "wise",
];

const FINDERS: [&str; 64] = [
    "abel",
    "agnesi",
    "alhazen",
    "ampere",
    "archimedes",
    "banach",
    "bernoulli",
    "boole",
    "brahe",
    "cantor",
    "cauchy",
    "celsius",
    "chandra",
    "cori",
    "coulomb",
    "crick",
    "curie",
    "dalton",
    "darwin",
    "dirac",
    "dijkstra",
    "einstein",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "fourier",
    "franklin",
    "galilei",
    "galois",
    "gauss",
    "germain",
    "godel",
    "hamilton",
    "hertz",
    "hilbert",
    "hopper",
    "hubble",
    "huygens",
    "hypatia",
    "joule",
    "kepler",
    "kovalevskaya",
    "lamarr",
    "lagrange",
    "leibniz",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "newton",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "planck",
    "ritchie",
    "shannon",
    "tesla",
    "turing",
    "volta",
    "watt",
    "yalow",
];

/// A random name; further attempts get a number so that they end.
pub(crate) fn random(attempt: u32) -> Result<ContainerName> {
    let mood = MOODS[random::below(MOODS.len())?];
    let finder = FINDERS[random::below(FINDERS.len())?];
    let text = match attempt {
        0..=3 => format!("{mood}_{finder}"),
        _ => format!("{mood}_{finder}{}", random::below(100_000)?),
    };
    Ok(ContainerName::parse(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_makes_a_name_and_none_is_there_twice() {
        for (mood, finder) in MOODS.iter().zip(FINDERS) {
            assert!(ContainerName::parse(&format!("{mood}_{finder}")).is_ok());
        }
        for list in [MOODS, FINDERS] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
        assert!(random(9).unwrap().as_str().ends_with(|c: char| c.is_ascii_digit()));
    }
}
