//! Networks.

use hyper::StatusCode;
use model::network::NetworkView;
use wire::docker::network::{
    Exposure, NetworkConnectBody, NetworkCreateBody, NetworkCreateResponse, NetworkDisconnectBody,
    NetworksPruneReport,
};

use super::until;
use crate::call::Call;
use crate::convert::{endpoint, network, null_if_empty, port};
use crate::failure::Failure;
use crate::filters::Filters;
use crate::reply::{self, Reply};

/// Networks that the engine makes itself.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// `GET /networks`.
pub(crate) async fn list(call: Call) -> Reply {
    const FILTERS: [&str; 8] =
        ["driver", "id", "label", "label!", "name", "scope", "type", "dangling"];
    let filters = Filters::parse(&call.query, &FILTERS)?;
    if let Some(kind) = filters.values("type").iter().find(|t| *t != "custom" && *t != "builtin") {
        return Err(Failure::invalid(format!("invalid filter: 'type'='{kind}'")));
    }
    let dangling = filters.flag("dangling")?;
    let wants = |view: &&NetworkView| {
        let spec = &view.spec;
        let kind = if PREDEFINED.contains(&spec.name.as_str()) { "builtin" } else { "custom" };
        let unused = view.endpoints.is_empty() && kind == "custom";
        filters.any("driver", |driver| driver == spec.driver.name())
            && filters.any("id", |id| spec.id.to_string().starts_with(id))
            && filters.any("name", |name| spec.name.contains(name))
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |wanted| wanted == kind)
            && filters.labels(&spec.labels)
            && (kind == "builtin" || call.guard.sees(&spec.labels))
            && dangling.is_none_or(|dangling| dangling == unused)
    };
    let networks = call.engine.networks.list();
    let containers = !call.version.at_least(52);
    let line = |view: &NetworkView| {
        let mut shown = network::to_wire(view, containers);
        // Clients find the field in the list, empty, as it is not for the oldest of them.
        if call.version.at_least(28) {
            shown.containers.iter_mut().for_each(std::collections::BTreeMap::clear);
        }
        shown
    };
    reply::json(&networks.iter().filter(wants).map(line).collect::<Vec<_>>())
}

/// `POST /networks/create`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let mut body: NetworkCreateBody = call.json().await?;
    if !call.version.at_least(47) {
        // Networks without IPv4 came with that version.
        body.enable_ipv4 = None;
    }
    let mut draft = network::from_wire(body, call.version)?;
    call.guard.label(&mut draft.labels)?;
    call.guard.network(&draft.name, &draft.driver)?;
    let (id, warning) = call.engine.networks.create(draft).await?;
    let id = id.to_string();
    reply::json_status(StatusCode::CREATED, &NetworkCreateResponse { id, warning })
}

/// `GET /networks/{id}`.
pub(crate) async fn inspect(call: Call) -> Reply {
    if call.query.text("scope").is_some_and(|scope| scope != "local") {
        let message = format!("network {} not found", call.target);
        return Err(Failure::new(StatusCode::NOT_FOUND, message));
    }
    reply::json(&network::to_wire(&call.engine.networks.view(&call.target)?, true))
}

/// `GET /estiba/ports`: who reaches which port, and by which rule. This engine's own.
pub(crate) async fn ports(call: Call) -> Reply {
    let sees = |container: &str| match call.engine.containers.view(container) {
        Ok(view) => call.guard.sees(&view.spec.labels),
        Err(_) => !call.guard.narrows(),
    };
    let ways = call.engine.networks.exposure().into_iter().filter(|way| sees(&way.0));
    let shown = ways.map(|(container, network, way)| Exposure {
        container,
        network,
        port: way.port.map(port::spec_text).unwrap_or_default(),
        at: way.at,
        who: way.who,
        rule: way.rule,
    });
    reply::json(&shown.collect::<Vec<_>>())
}

/// `DELETE /networks/{id}`.
pub(crate) async fn remove(call: Call) -> Reply {
    call.engine.networks.remove(&call.target).await?;
    reply::no_content()
}

/// `POST /networks/{id}/connect`.
pub(crate) async fn connect(mut call: Call) -> Reply {
    let body: NetworkConnectBody = call.json().await?;
    let draft = endpoint::from_wire(body.endpoint_config.unwrap_or_default())?;
    let container = own(&call, body.container)?;
    call.engine.networks.connect(&call.target, &container, draft).await?;
    reply::empty(StatusCode::OK)
}

/// `POST /networks/{id}/disconnect`.
pub(crate) async fn disconnect(mut call: Call) -> Reply {
    let body: NetworkDisconnectBody = call.json().await?;
    // `Force` is about nodes that are gone; here an endpoint always knows its container.
    let container = own(&call, body.container)?;
    call.engine.networks.disconnect(&call.target, &container).await?;
    reply::empty(StatusCode::OK)
}

/// A container that a body names, if the client may change it.
fn own(call: &Call, query: String) -> Result<String, Failure> {
    if !call.guard.narrows() {
        return Ok(query);
    }
    let view = call.engine.containers.view(&query)?;
    match call.guard.changes(&view.spec.labels) {
        true => Ok(view.id.to_string()),
        false => Err(engine::EngineError::NoSuchContainer(query).into()),
    }
}

/// `POST /networks/prune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = Filters::parse(&call.query, &["until", "label", "label!"])?;
    let until = until(&filters)?;
    let keep = |view: &NetworkView| {
        until.is_some_and(|until| view.spec.created >= until)
            || !filters.labels(&view.spec.labels)
            || !call.guard.changes(&view.spec.labels)
    };
    let names = call.engine.networks.prune(&keep).await?;
    reply::json(&NetworksPruneReport { networks_deleted: null_if_empty(names) })
}
