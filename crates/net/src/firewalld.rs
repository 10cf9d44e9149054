//! firewalld, where a host has one: it rejects what it was not told of, and containers' bridges
//! are nobody's zone. As Docker does, they go into the zone `docker`, which accepts, and the policy
//! `docker-forwarding` lets others reach them; who may, say our own rules, which come first.
//! Published ports need nothing: firewalld accepts what is translated.
//!
//! Asks the running firewalld over the system's bus; without one nothing happens.

use crate::error::{Error, Result};
use bus::{Answer, Bus, Method, Value, texts};
use std::path::{Path, PathBuf};

const SERVICE: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const CONFIG_PATH: &str = "/org/fedoraproject/FirewallD1/config";
/// Docker's names for both.
const ZONE: &str = "docker";
const POLICY: &str = "docker-forwarding";
/// What firewalld answers to what is already so.
const ALREADY: [&str; 2] = ["ZONE_ALREADY_SET", "ALREADY_ENABLED"];

/// Where the system's bus is.
pub(crate) fn system_bus() -> PathBuf {
    PathBuf::from("/run/dbus/system_bus_socket")
}

/// Puts interfaces into the zone; whether there is a firewalld that was asked.
pub(crate) fn admit(bus: &Path, interfaces: &[String]) -> Result<bool> {
    let Some(mut firewalld) = Firewalld::find(bus)? else { return Ok(false) };
    firewalld.prepare()?;
    for interface in interfaces {
        let arguments = [Value::Text(ZONE), Value::Text(interface)];
        firewalld.ask(PATH, "zone", "changeZoneOfInterface", &arguments)?;
    }
    Ok(true)
}

/// Takes an interface out of the zone.
pub(crate) fn dismiss(bus: &Path, interface: &str) -> Result<()> {
    let Some(mut firewalld) = Firewalld::find(bus)? else { return Ok(()) };
    let arguments = [Value::Text(ZONE), Value::Text(interface)];
    // It may never have been there.
    firewalld.call(PATH, "zone", "removeInterface", &arguments).map(drop)
}

struct Firewalld(Bus);

impl Firewalld {
    fn find(socket: &Path) -> Result<Option<Self>> {
        if !socket.exists() {
            return Ok(None);
        }
        let failed = Error::io("ask the system's bus for firewalld");
        let found = Bus::connect(socket).and_then(|mut bus| Ok((bus.has(SERVICE)?, bus)));
        let (there, bus) = found.map_err(failed)?;
        Ok(there.then_some(Self(bus)))
    }

    /// Makes zone and policy unless they are there. They are permanent, and known after a reload.
    fn prepare(&mut self) -> Result<()> {
        let zones = self.list("zone", "getZones")?;
        let policies = self.list("policy", "getPolicies")?;
        let (has_zone, has_policy) =
            (zones.iter().any(|it| it == ZONE), policies.iter().any(|it| it == POLICY));
        if !has_zone {
            let settings = [
                ("version", Value::Text("1.0")),
                ("short", Value::Text(ZONE)),
                ("description", Value::Text("zone for container bridge network interfaces")),
                ("target", Value::Text("ACCEPT")),
            ];
            let arguments = [Value::Text(ZONE), Value::Map(&settings)];
            self.ask_config("addZone2", &arguments)?;
        }
        if !has_policy {
            let settings = [
                ("version", Value::Text("1.0")),
                ("short", Value::Text(POLICY)),
                ("description", Value::Text("allow forwarding to the docker zone")),
                ("ingress_zones", Value::Texts(&["ANY"])),
                ("egress_zones", Value::Texts(&[ZONE])),
                ("target", Value::Text("ACCEPT")),
                ("priority", Value::Number(-1)),
            ];
            let arguments = [Value::Text(POLICY), Value::Map(&settings)];
            self.ask_config("addPolicy", &arguments)?;
        }
        if !has_zone || !has_policy {
            tracing::info!("firewalld gets the zone {ZONE} and the policy {POLICY}");
            self.ask(PATH, "", "reload", &[])?;
        }
        Ok(())
    }

    fn list(&mut self, interface: &str, name: &str) -> Result<Vec<String>> {
        match self.call(PATH, interface, name, &[])? {
            Answer::Body(body) => Ok(texts(&body)),
            Answer::Refused(why) => Err(refused(name, why)),
        }
    }

    fn ask_config(&mut self, name: &str, arguments: &[Value<'_>]) -> Result<()> {
        match self.call(CONFIG_PATH, "config", name, arguments)? {
            Answer::Body(_) => Ok(()),
            // Known to its files, and not yet to itself.
            Answer::Refused(why) if why.contains("NAME_CONFLICT") => Ok(()),
            Answer::Refused(why) => Err(refused(name, why)),
        }
    }

    fn ask(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
        arguments: &[Value<'_>],
    ) -> Result<()> {
        match self.call(path, interface, name, arguments)? {
            Answer::Body(_) => Ok(()),
            Answer::Refused(why) if ALREADY.iter().any(|word| why.contains(word)) => Ok(()),
            Answer::Refused(why) => Err(refused(name, why)),
        }
    }

    fn call(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
        arguments: &[Value<'_>],
    ) -> Result<Answer> {
        let interface = match interface {
            "" => SERVICE.to_owned(),
            part => format!("{SERVICE}.{part}"),
        };
        let method = Method { service: SERVICE, path, interface: &interface, name };
        let answer = self.0.call(method, arguments);
        answer.map_err(Error::io(format!("ask firewalld for {name}")))
    }
}

fn refused(name: &str, why: String) -> Error {
    Error::io(format!("ask firewalld for {name}"))(std::io::Error::other(why))
}
