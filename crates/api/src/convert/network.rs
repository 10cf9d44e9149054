//! Networks as asked for and as they are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::network::{Cidr, DriverKind, NetworkDraft, NetworkView, Pool, PoolDraft};
use model::{Denied, ErrorKind};
use wire::docker::network::{
    ConfigReference, EndpointResource, Ipam, IpamConfig, Network, NetworkCreateBody,
};

use wire::docker::ApiVersion;

use super::{endpoint, null_if_empty, null_if_empty_map};
use crate::moment::rfc3339;

/// A network as asked for.
pub(crate) fn from_wire(
    body: NetworkCreateBody,
    version: ApiVersion,
) -> Result<NetworkDraft, Denied> {
    let pool = |config| pool(config, version);
    if body.name.trim().is_empty() {
        return Err(Denied::invalid("invalid network name: name is empty"));
    }
    check_scope(&body)?;
    let ipam = body.ipam.unwrap_or_default();
    Ok(NetworkDraft {
        name: body.name,
        driver: body.driver,
        check_duplicate: true,
        internal: body.internal,
        attachable: body.attachable,
        ingress: false,
        config_only: body.config_only,
        config_from: body.config_from.map(|from| from.network).unwrap_or_default(),
        enable_ipv4: body.enable_ipv4,
        enable_ipv6: body.enable_ipv6,
        ipam_driver: ipam.driver,
        ipam_options: ipam.options.unwrap_or_default(),
        pools: ipam.config.unwrap_or_default().into_iter().map(pool).collect::<Result<_, _>>()?,
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    })
}

/// Refuses what only a cluster has.
fn check_scope(body: &NetworkCreateBody) -> Result<(), Denied> {
    let denied = |kind, message: &str| Err(Denied { kind, message: message.to_owned() });
    match body.scope.as_str() {
        "" | "local" => {}
        "swarm" | "global" => {
            return denied(
                ErrorKind::Unavailable,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                 join\" to connect this node to swarm and try again.",
            );
        }
        other => {
            return Err(Denied::invalid(format!(
                "invalid network scope {other:?}: it is \"local\" or \"swarm\""
            )));
        }
    }
    if body.ingress && body.driver != "overlay" {
        return denied(ErrorKind::Forbidden, "Ingress network can only be global scope network");
    }
    Ok(())
}

fn pool(config: IpamConfig, version: ApiVersion) -> Result<PoolDraft, Denied> {
    // Engines of that age took an address of the subnet for the subnet, and clients rely on it.
    let block = |text: &str| {
        let block = Cidr::parse(text)?;
        Ok(if version.at_least(44) { block } else { block.network() })
    };
    let reserved = |(name, text): (String, String)| Ok((name, address(&text)?));
    Ok(PoolDraft {
        subnet: given(&config.subnet).map(block).transpose()?,
        range: given(&config.ip_range).map(block).transpose()?,
        gateway: given(&config.gateway).map(address).transpose()?,
        reserved: config
            .auxiliary_addresses
            .into_iter()
            .map(reserved)
            .collect::<Result<BTreeMap<_, _>, Denied>>()?,
    })
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// An address; a prefix length behind it is dropped, as old clients send it with a gateway.
fn address(text: &str) -> Result<IpAddr, Denied> {
    let bare = text.split('/').next().unwrap_or(text);
    bare.parse().map_err(|_| Denied::invalid(format!("invalid IP address: {text}")))
}

/// A network as it is. `containers` says whether to show who is on it.
pub(crate) fn to_wire(view: &NetworkView, containers: bool) -> Network {
    let spec = &view.spec;
    Network {
        name: spec.name.clone(),
        id: spec.id.to_string(),
        created: rfc3339(spec.created),
        scope: if spec.driver == DriverKind::Overlay { "swarm" } else { "local" }.to_owned(),
        driver: spec.driver.name().to_owned(),
        enable_ipv4: spec.enable_ipv4(),
        enable_ipv6: spec.enable_ipv6,
        ipam: Ipam {
            driver: match spec.ipam_driver.as_str() {
                "" => "default".to_owned(),
                driver => driver.to_owned(),
            },
            options: null_if_empty_map(spec.ipam_options.clone()),
            config: null_if_empty(spec.pools.iter().map(pool_config).collect()),
        },
        internal: spec.internal,
        attachable: spec.attachable,
        config_only: spec.config_only,
        config_from: ConfigReference { network: spec.config_from.clone() },
        containers: containers.then(|| view.endpoints.iter().map(resource).collect()),
        options: spec.options.clone(),
        labels: spec.labels.clone(),
        ..Network::default()
    }
}

fn pool_config(pool: &Pool) -> IpamConfig {
    let text = |(name, ip): (&String, &IpAddr)| (name.clone(), ip.to_string());
    IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: pool.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: pool.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        auxiliary_addresses: pool.reserved.iter().map(text).collect(),
    }
}

fn resource((name, attached): &(String, model::network::Endpoint)) -> (String, EndpointResource) {
    let block = |block: Option<Cidr>| block.map(|block| block.to_string()).unwrap_or_default();
    let shown = EndpointResource {
        name: name.clone(),
        endpoint_id: attached.id.clone(),
        mac_address: endpoint::mac_text(attached.mac),
        ipv4_address: block(attached.ipv4),
        ipv6_address: block(attached.ipv6),
    };
    (attached.container.to_string(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::json;

    fn parse(text: &str) -> Result<NetworkDraft, Denied> {
        from_wire(json::from_slice(text.as_bytes()).unwrap(), ApiVersion::MAX)
    }

    #[test]
    fn pools() {
        let draft = parse(
            r#"{"Name":"web","IPAM":{"Config":[{"Subnet":"172.30.0.0/16","Gateway":"172.30.0.9",
                "AuxiliaryAddresses":{"nas":"172.30.0.7"}}]}}"#,
        )
        .unwrap();
        let pool = &draft.pools[0];
        assert_eq!(pool.subnet.unwrap().to_string(), "172.30.0.0/16");
        assert_eq!(pool.gateway.unwrap().to_string(), "172.30.0.9");
        assert_eq!(pool.reserved["nas"].to_string(), "172.30.0.7");
        assert_eq!((draft.enable_ipv4, draft.enable_ipv6), (None, None));
    }

    #[test]
    fn refusals() {
        for (text, part) in [
            ("{}", "invalid network name"),
            (r#"{"Name":"a","Scope":"swarm"}"#, "not a swarm manager"),
            (r#"{"Name":"a","Scope":"galaxy"}"#, "invalid network scope"),
            (r#"{"Name":"a","Ingress":true}"#, "can only be global scope"),
            (r#"{"Name":"a","IPAM":{"Config":[{"Subnet":"x"}]}}"#, "invalid CIDR address: x"),
            (r#"{"Name":"a","IPAM":{"Config":[{"Gateway":"x"}]}}"#, "invalid IP address: x"),
        ] {
            let denied = parse(text).unwrap_err();
            assert!(denied.message.contains(part), "{text}: {denied}");
        }
    }
}
