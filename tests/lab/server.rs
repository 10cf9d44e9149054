//! Servers beside the daemon, which end with the test.

use crate::context::text;
use crate::daemon::Lab;
use crate::program::Session;
use crate::{binaries, eventually};
use rustix::process::Signal;

/// A single process in the lab's network; killed when dropped.
pub struct Server(Option<Session>);

impl Server {
    /// Where [`Server::registry`] is.
    pub const REGISTRY: &str = "127.0.0.1:5000";

    /// Starts it, and waits until the probe succeeds.
    pub fn start(lab: &Lab, words: &[&str], probe: &[&str]) -> Self {
        let session = lab.start_in_network(words);
        eventually("the server answers", || lab.in_network(probe).status == 0);
        Self(Some(session))
    }

    /// This product's registry, with the lab's directory `registry` for its content.
    pub fn registry(lab: &Lab) -> Self {
        let (program, root) = (binaries().join("estiba"), lab.dir().join("registry"));
        let words = ["registry", "serve", "--listen", Self::REGISTRY, "--root", text(&root)];
        let health = format!("http://{}/healthz", Self::REGISTRY);
        let probe = ["curl", "-s", "-o", "/dev/null", &health];
        Self::start(lab, &[&[text(&program)], &words[..]].concat(), &probe)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.signal(Signal::KILL);
            session.finish();
        }
    }
}
