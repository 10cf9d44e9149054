//! Networks. Never allocates an address.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::endpoint::EndpointSettings;
use super::{StringMap, Strings, is_zero};

/// A network, as list and inspect show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// Name.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339.
    pub created: String,
    /// `local` or `swarm`.
    pub scope: String,
    /// `bridge`, `host`, `null`, …
    pub driver: String,
    /// Has IPv4.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Has IPv6.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Address pools.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Without a way out.
    pub internal: bool,
    /// Standalone containers may join a swarm network.
    pub attachable: bool,
    /// The swarm's ingress network.
    pub ingress: bool,
    /// Network that the configuration comes from.
    pub config_from: ConfigReference,
    /// Only a source of configuration.
    pub config_only: bool,
    /// Attached containers by id; absent from the list since API 1.52.
    #[serde(skip_serializing_if = "is_zero")]
    pub containers: Option<BTreeMap<String, EndpointResource>>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One way in to a container, as `GET /estiba/ports` shows it (this engine's own).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Exposure {
    /// The container's name.
    pub container: String,
    /// The network's name.
    pub network: String,
    /// `80/tcp`, or empty for every port.
    pub port: String,
    /// Where those outside address it.
    pub at: String,
    /// Who reaches it.
    pub who: String,
    /// What lets them.
    pub rule: String,
}

/// Address management of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// `default`.
    pub driver: String,
    /// Driver options.
    pub options: StringMap,
    /// Pools.
    pub config: Option<Vec<IpamConfig>>,
}

/// One address pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// CIDR.
    #[serde(skip_serializing_if = "is_zero")]
    pub subnet: String,
    /// CIDR inside the subnet that addresses are taken from.
    #[serde(rename = "IPRange", skip_serializing_if = "is_zero")]
    pub ip_range: String,
    /// Gateway address.
    #[serde(skip_serializing_if = "is_zero")]
    pub gateway: String,
    /// Reserved addresses by name.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "is_zero")]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// A reference to a network by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigReference {
    /// Network name.
    pub network: String,
}

/// An attached container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointResource {
    /// Container name.
    pub name: String,
    /// Endpoint id.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Hardware address.
    pub mac_address: String,
    /// With prefix length.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// With prefix length.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// The body of `POST /networks/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreateBody {
    /// Name.
    pub name: String,
    /// Empty is `bridge`.
    pub driver: String,
    /// `local`, `swarm` or empty.
    pub scope: String,
    /// `null` is the default, true.
    #[serde(rename = "EnableIPv4", skip_serializing_if = "is_zero")]
    pub enable_ipv4: Option<bool>,
    /// `null` is the default, false.
    #[serde(rename = "EnableIPv6", skip_serializing_if = "is_zero")]
    pub enable_ipv6: Option<bool>,
    /// Address pools.
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    /// Without a way out.
    pub internal: bool,
    /// Standalone containers may join a swarm network.
    pub attachable: bool,
    /// The swarm's ingress network.
    pub ingress: bool,
    /// Only a source of configuration.
    pub config_only: bool,
    /// Network that the configuration comes from.
    pub config_from: Option<ConfigReference>,
    /// Driver options.
    pub options: StringMap,
    /// Labels.
    pub labels: StringMap,
}

/// The answer to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreateResponse {
    /// 64 hexadecimal digits.
    pub id: String,
    /// For the user.
    pub warning: String,
}

/// The body of `POST /networks/{id}/connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkConnectBody {
    /// Container id or name.
    pub container: String,
    /// What is asked of the attachment.
    #[serde(skip_serializing_if = "is_zero")]
    pub endpoint_config: Option<EndpointSettings>,
}

/// The body of `POST /networks/{id}/disconnect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkDisconnectBody {
    /// Container id or name.
    pub container: String,
    /// Also if the container is gone.
    pub force: bool,
}

/// The answer to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworksPruneReport {
    /// Names.
    pub networks_deleted: Strings,
}
