//! Who needs a plugin to run: volumes that it made, networks whose driver it is, containers that
//! log to it. Read from what is recorded, never counted.

use crate::Result;
use crate::node::Node;
use crate::plugins::full_name;
use model::log::SinkKind;

/// Whether something of this node needs the plugin called `name`. Blocking.
pub(super) fn any(node: &Node, name: &str, capabilities: &[String]) -> Result<bool> {
    let serves = |capability: &str| capabilities.iter().any(|it| it == capability);
    let meant = |driver: &str| full_name(driver).as_deref() == Some(name);
    if serves("volumedriver") && crate::volume_plugins::made_by(node, &meant)? {
        return Ok(true);
    }
    let networks = node.networks.all();
    if serves("networkdriver") && networks.iter().any(|it| meant(it.driver.name())) {
        return Ok(true);
    }
    if serves("ipamdriver") && networks.iter().any(|it| meant(&it.ipam_driver)) {
        return Ok(true);
    }
    let logs_to_it = |sink: &SinkKind| match sink {
        SinkKind::Plugin { name, .. } => meant(name),
        _ => false,
    };
    let logging = node.registry.all().into_iter().map(|handle| handle.view()).any(|view| {
        let runs = view.phase.run().is_some();
        runs && view.spec.log.sinks().iter().any(|sink| logs_to_it(&sink.kind))
    });
    Ok(serves("logdriver") && logging)
}
