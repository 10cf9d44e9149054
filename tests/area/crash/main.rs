//! The crash matrix: the daemon, or a monitor, dies at every place that an operation passes. After
//! the daemon's next start what the operation was about is as before or as after, what runs goes
//! on untouched, nothing is left behind, and the same operation succeeds.
//!
//! ```text
//! trace:  prepare ─▶ act ─▶ clean                    which places there are, and how many
//! place:  prepare ─▶ arm k ─▶ act ✝ ─▶ start ─▶ done? else act ─▶ done ─▶ clean ─▶ footprint
//! ```
//! None of the places is listed here: see `sys::failpoint`. What takes minutes is for `make crash`;
//! with `CRASH_TELL` in the environment each place is said before it is tried.

mod containers;
mod images;
mod matrix;
mod networks;
mod volumes;

use matrix::Matrix;

/// A few places of many operations, others with another `CRASH_SEED`; `make crash` has them all.
#[test]
fn a_sample_of_places_is_survived() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let mut random: u64 = seed.unwrap_or(6);
    // Knuth's multiplier; the low bits of such a row are poor.
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut matrix = Matrix::new();
    let met: usize = [
        ("create", &containers::CREATING, 3),
        ("start", &containers::STARTING, 5),
        ("exec", &containers::EXECUTING, 2),
        ("stop", &containers::STOPPING, 2),
        ("rm -f", &containers::REMOVING_RUNNING, 3),
        ("commit", &images::COMMITTING, 3),
        ("network connect", &networks::CONNECTING, 2),
        ("volume rm", &volumes::REMOVING_VOLUME, 2),
    ]
    .into_iter()
    .map(|(name, operation, wanted)| {
        let choose = |count| (0..wanted).map(|_| draw(count)).collect();
        matrix.some(name, operation, choose)
    })
    .sum();
    // A place may be passed in another order than the first time.
    assert!(met >= 15, "only {met} places");
    matrix.finish();
}
