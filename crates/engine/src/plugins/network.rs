//! Docker's remote network and address management drivers (moby's "libnetwork remote driver" API):
//! the questions that [`net::Remote`] stands for, as the protocol's methods and documents.
//!
//! ```text
//!  create_network ─▶ NetworkDriver.CreateNetwork      request_pool ─▶ IpamDriver.RequestPool
//!  attach         ─▶ …CreateEndpoint, …Join           an address   ─▶ …RequestAddress
//!  detach         ─▶ …Leave, …DeleteEndpoint          given back   ─▶ …ReleaseAddress
//!  delete_network ─▶ …DeleteNetwork                                ─▶ …ReleasePool
//! ```

use super::{Plugin, Plugins};
use model::Denied;
use model::error::HasKind;
use model::network::{Cidr, Endpoint, NetworkSpec, Pool};
use net::{AddressAsk, Joined, PoolAsk};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Handle;

const NETWORK: &str = "NetworkDriver";
const IPAM: &str = "IpamDriver";
/// Under which key a network's own options go to its driver.
const GENERIC: &str = "com.docker.network.generic";
const IPV6: &str = "com.docker.network.enable_ipv6";
const INTERNAL: &str = "com.docker.network.internal";

/// Network drivers that are plugins.
#[derive(Debug)]
pub struct RemoteDrivers {
    plugins: Arc<Plugins>,
    runtime: Handle,
}

impl RemoteDrivers {
    /// Drivers among `plugins`; questions are carried by `runtime`, and asked from other threads.
    pub fn new(plugins: Arc<Plugins>, runtime: Handle) -> Self {
        Self { plugins, runtime }
    }

    fn plugin(&self, name: &str, capability: &str) -> Result<Arc<Plugin>, Denied> {
        self.plugins.find_blocking(&self.runtime, name, capability).map_err(denied)
    }

    fn ask<A: DeserializeOwned>(
        &self,
        (name, capability): (&str, &str),
        method: &str,
        question: &Value,
    ) -> Result<A, Denied> {
        let plugin = self.plugin(name, capability)?;
        plugin
            .call_blocking(&self.runtime, &format!("{capability}.{method}"), question)
            .map_err(denied)
    }

    fn tell(&self, to: (&str, &str), method: &str, question: &Value) -> Result<(), Denied> {
        self.ask::<Value>(to, method, question).map(drop)
    }

    /// The space that local networks take their blocks from.
    fn address_space(&self, driver: &str) -> Result<String, Denied> {
        let spaces: AddressSpaces =
            self.ask((driver, IPAM), "GetDefaultAddressSpaces", &json!({}))?;
        Ok(spaces.local)
    }
}

fn denied(error: super::PluginError) -> Denied {
    Denied { kind: error.kind(), message: error.to_string() }
}

fn nonsense(driver: &str, what: &str, text: &str) -> Denied {
    Denied::invalid(format!("plugin {driver:?} gave {what} {text:?}, which is none"))
}

/// An address with its prefix, or nothing for an empty text.
fn block(driver: &str, text: &str) -> Result<Option<Cidr>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    Cidr::parse(text).map(Some).map_err(|_| nonsense(driver, "address", text))
}

fn address(driver: &str, text: &str) -> Result<Option<IpAddr>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| nonsense(driver, "address", text))
}

fn mac_text(mac: Option<[u8; 6]>) -> String {
    mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")).unwrap_or_default()
}

fn mac(driver: &str, text: &str) -> Result<Option<[u8; 6]>, Denied> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    let six = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    six.map(Some).ok_or_else(|| nonsense(driver, "hardware address", text))
}

#[derive(Deserialize)]
struct AddressSpaces {
    #[serde(rename = "LocalDefaultAddressSpace", default)]
    local: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolGiven {
    #[serde(rename = "PoolID")]
    id: String,
    pool: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddressGiven {
    #[serde(default)]
    address: String,
}

/// An endpoint's addresses, both ways.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    address: String,
    #[serde(rename = "AddressIPv6")]
    address6: String,
    mac_address: String,
}

#[derive(Deserialize)]
struct EndpointGiven {
    #[serde(rename = "Interface", default)]
    interface: Option<Interface>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct JoinGiven {
    interface_name: Option<InterfaceName>,
    gateway: String,
    #[serde(rename = "GatewayIPv6")]
    gateway6: String,
    static_routes: Option<Vec<StaticRoute>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InterfaceName {
    src_name: String,
    dst_prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StaticRoute {
    destination: String,
    #[serde(default)]
    next_hop: String,
}

/// One block of a network as its driver sees it.
fn pool_data(pool: &Pool) -> Value {
    let gateway = pool.gateway.map(|addr| Cidr { addr, prefix: pool.subnet.prefix }.to_string());
    let reserved: Map<String, Value> = pool
        .reserved
        .iter()
        .map(|(name, addr)| {
            let cidr = Cidr { addr: *addr, prefix: pool.subnet.prefix };
            (name.clone(), cidr.to_string().into())
        })
        .collect();
    json!({
        "AddressSpace": "LocalDefault",
        "Pool": pool.subnet.to_string(),
        "Gateway": gateway.unwrap_or_default(),
        "AuxAddresses": reserved,
    })
}

/// Which endpoint of which network.
fn whose(endpoint: &Endpoint) -> Value {
    json!({ "NetworkID": endpoint.network.to_string(), "EndpointID": endpoint.id })
}

impl net::Remote for RemoteDrivers {
    fn find_driver(&self, driver: &str) -> Result<(), Denied> {
        self.plugin(driver, NETWORK).map(drop)
    }

    fn find_ipam(&self, driver: &str) -> Result<(), Denied> {
        self.plugin(driver, IPAM).map(drop)
    }

    fn create_network(&self, driver: &str, network: &NetworkSpec) -> Result<(), Denied> {
        let of = |v4: bool| -> Vec<Value> {
            let pools = network.pools.iter().filter(|it| it.subnet.addr.is_ipv4() == v4);
            pools.map(pool_data).collect()
        };
        let question = json!({
            "NetworkID": network.id.to_string(),
            "Options": {
                GENERIC: network.options,
                IPV6: network.enable_ipv6,
                INTERNAL: network.internal,
            },
            "IPv4Data": of(true),
            "IPv6Data": of(false),
        });
        self.tell((driver, NETWORK), "CreateNetwork", &question)
    }

    fn delete_network(&self, driver: &str, network: &NetworkSpec) -> Result<(), Denied> {
        let question = json!({ "NetworkID": network.id.to_string() });
        self.tell((driver, NETWORK), "DeleteNetwork", &question)
    }

    fn create_endpoint(
        &self,
        driver: &str,
        network: &NetworkSpec,
        endpoint: &mut Endpoint,
    ) -> Result<(), Denied> {
        let text = |cidr: Option<Cidr>| cidr.map(|it| it.to_string()).unwrap_or_default();
        let interface = Interface {
            address: text(endpoint.ipv4),
            address6: text(endpoint.ipv6),
            mac_address: mac_text(endpoint.mac),
        };
        let question = json!({
            "NetworkID": network.id.to_string(),
            "EndpointID": endpoint.id,
            "Interface": interface,
            "Options": endpoint.draft.options,
        });
        let given: EndpointGiven = self.ask((driver, NETWORK), "CreateEndpoint", &question)?;
        let Some(given) = given.interface else { return Ok(()) };
        // A driver fills in what is missing; it never changes what is decided.
        endpoint.ipv4 = endpoint.ipv4.or(block(driver, &given.address)?);
        endpoint.ipv6 = endpoint.ipv6.or(block(driver, &given.address6)?);
        endpoint.mac = mac(driver, &given.mac_address)?.or(endpoint.mac);
        Ok(())
    }

    fn delete_endpoint(&self, driver: &str, endpoint: &Endpoint) -> Result<(), Denied> {
        self.tell((driver, NETWORK), "DeleteEndpoint", &whose(endpoint))
    }

    fn join(&self, driver: &str, endpoint: &Endpoint, sandbox: &str) -> Result<Joined, Denied> {
        let question = json!({
            "NetworkID": endpoint.network.to_string(),
            "EndpointID": endpoint.id,
            "SandboxKey": sandbox,
            "Options": endpoint.draft.options,
        });
        let given: JoinGiven = self.ask((driver, NETWORK), "Join", &question)?;
        let name = given.interface_name.unwrap_or_default();
        let gateways = [address(driver, &given.gateway)?, address(driver, &given.gateway6)?];
        let mut routes = Vec::new();
        for route in given.static_routes.unwrap_or_default() {
            if let Some(to) = block(driver, &route.destination)? {
                routes.push((to, address(driver, &route.next_hop)?));
            }
        }
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !name.dst_prefix.bytes().all(fine) || name.dst_prefix.len() > 12 {
            return Err(nonsense(driver, "interface prefix", &name.dst_prefix));
        }
        Ok(Joined {
            link: Some(name.src_name).filter(|name| !name.is_empty()),
            prefix: name.dst_prefix,
            gateways: gateways.into_iter().flatten().collect(),
            routes,
        })
    }

    fn leave(&self, driver: &str, endpoint: &Endpoint) -> Result<(), Denied> {
        self.tell((driver, NETWORK), "Leave", &whose(endpoint))
    }

    fn request_pool(&self, ask: &PoolAsk<'_>) -> Result<(String, Cidr), Denied> {
        let text = |cidr: Option<Cidr>| cidr.map(|it| it.to_string()).unwrap_or_default();
        let question = json!({
            "AddressSpace": self.address_space(ask.driver)?,
            "Pool": text(ask.pool.subnet),
            "SubPool": text(ask.pool.range),
            "Options": ask.options,
            "V6": ask.v6,
        });
        let given: PoolGiven = self.ask((ask.driver, IPAM), "RequestPool", &question)?;
        let pool = block(ask.driver, &given.pool)?;
        let pool = pool.ok_or_else(|| nonsense(ask.driver, "pool", &given.pool))?;
        Ok((given.id, pool))
    }

    fn release_pool(&self, driver: &str, pool: &str) -> Result<(), Denied> {
        self.tell((driver, IPAM), "ReleasePool", &json!({ "PoolID": pool }))
    }

    fn request_address(&self, ask: &AddressAsk<'_>) -> Result<Cidr, Denied> {
        let mut options = Map::new();
        if ask.gateway {
            options.insert("RequestAddressType".into(), "com.docker.network.gateway".into());
        }
        if ask.mac.is_some() {
            let name = "com.docker.network.endpoint.macaddress";
            options.insert(name.into(), mac_text(ask.mac).into());
        }
        let question = json!({
            "PoolID": ask.pool,
            "Address": ask.addr.map(|addr| addr.to_string()).unwrap_or_default(),
            "Options": options,
        });
        let given: AddressGiven = self.ask((ask.driver, IPAM), "RequestAddress", &question)?;
        let addr = block(ask.driver, &given.address)?;
        addr.ok_or_else(|| nonsense(ask.driver, "address", &given.address))
    }

    fn release_address(&self, driver: &str, pool: &str, addr: IpAddr) -> Result<(), Denied> {
        let question = json!({ "PoolID": pool, "Address": addr.to_string() });
        self.tell((driver, IPAM), "ReleaseAddress", &question)
    }
}
