//! Lists of ports as they are written: those that follow one upon another are one entry. A range
//! of ten thousand would otherwise be written, journalled and read port by port.

use super::stored::Stored;
use model::Denied;
use model::network::{PortBinding, PortSpec};
use serde::{Deserialize, Serialize};

/// The stored form of a list. One that was written before there were runs has runs of one.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Runs<S>(Vec<Run<S>>);

/// One, and how many more follow it.
#[derive(Serialize, Deserialize)]
struct Run<S> {
    #[serde(flatten)]
    first: S,
    #[serde(default, skip_serializing_if = "is_zero")]
    more: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it by reference")]
fn is_zero(more: &u16) -> bool {
    *more == 0
}

/// What can be counted on from.
trait Counted: Sized {
    /// What comes `n` after it; `None` beyond the last port.
    fn after(&self, n: u16) -> Option<Self>;
}

impl Counted for PortSpec {
    fn after(&self, n: u16) -> Option<Self> {
        Some(Self { port: self.port.checked_add(n)?, ..*self })
    }
}

impl Counted for PortBinding {
    fn after(&self, n: u16) -> Option<Self> {
        let host_ports = match self.host_ports {
            Some((first, last)) => Some((first.checked_add(n)?, last.checked_add(n)?)),
            None => None,
        };
        Some(Self { container: self.container.after(n)?, host_ports, ..self.clone() })
    }
}

impl<S: Stored<M>, M: Counted + PartialEq> Stored<Vec<M>> for Runs<S> {
    fn store(values: &Vec<M>) -> Self {
        let mut runs: Vec<(&M, u16)> = Vec::new();
        for value in values {
            match runs.last_mut() {
                Some((first, more)) if *more < u16::MAX => match first.after(*more + 1) {
                    Some(next) if next == *value => *more += 1,
                    _ => runs.push((value, 0)),
                },
                _ => runs.push((value, 0)),
            }
        }
        Self(runs.into_iter().map(|(first, more)| Run { first: S::store(first), more }).collect())
    }

    fn load(self) -> Result<Vec<M>, Denied> {
        let mut values = Vec::new();
        for run in self.0 {
            let first = run.first.load()?;
            for n in 0..=run.more {
                let beyond = || Denied::invalid("a list of ports goes beyond the last port");
                values.push(first.after(n).ok_or_else(beyond)?);
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::v1;
    use super::*;
    use model::network::Protocol;

    fn port(container: u16, host_ports: Option<(u16, u16)>) -> PortBinding {
        let container = PortSpec { port: container, protocol: Protocol::Tcp };
        PortBinding { container, host_ip: None, host_ports }
    }

    fn there_and_back(ports: &Vec<PortBinding>) -> (String, Vec<PortBinding>) {
        let text = serde_json::to_string(&Runs::<v1::PortBinding>::store(ports)).unwrap();
        let read: Runs<v1::PortBinding> = serde_json::from_str(&text).unwrap();
        (text, read.load().unwrap())
    }

    #[test]
    fn what_is_written_is_read_again_however_it_follows() {
        let one = |n| Some((n, n));
        let mut ports: Vec<_> = (20_000..30_000).map(|n| port(n, one(n))).collect();
        let (text, read) = there_and_back(&ports);
        assert_eq!(read, ports);
        assert!(text.len() < 200, "{text}");
        ports.extend([port(80, None), port(81, None), port(80, one(8080)), port(81, one(8082))]);
        ports.extend([port(65_534, one(1)), port(65_535, one(2)), port(1, one(3))]);
        ports.extend([port(5, Some((100, 200))), port(6, Some((101, 201))), port(7, None)]);
        ports.extend([port(7, None), port(7, None)]);
        assert_eq!(there_and_back(&ports).1, ports);
        assert_eq!(there_and_back(&Vec::new()), ("[]".to_owned(), Vec::new()));
    }

    #[test]
    fn lists_of_before_are_read_and_lists_beyond_the_last_port_refused() {
        let text =
            r#"[{"container":{"port":80,"protocol":"tcp"},"host_ip":null,"host_ports":[1,1]}]"#;
        let read: Runs<v1::PortBinding> = serde_json::from_str(text).unwrap();
        assert_eq!(read.load().unwrap(), [port(80, Some((1, 1)))]);
        let text = r#"[{"port":65535,"protocol":"tcp","more":1}]"#;
        let read: Runs<v1::PortSpec> = serde_json::from_str(text).unwrap();
        assert!(read.load().is_err());
    }
}
