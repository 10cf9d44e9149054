//! Every operation of the Engine API, 1.56, and what serves it. `ledger.tsv` says the same for
//! people; a test compares the two.

use hyper::Method;

use crate::buildkit;
use crate::handlers::{
    archive, artifact, attestation, build, container, events, exec, image, network, plugin,
    refused, registry, stats, stream,
};
use crate::handlers::{system, volume, websocket, witness};
use crate::router::Coverage::{Done, Refused};
use crate::router::Route;

macro_rules! table {
    ($($coverage:ident $method:ident $path:literal $module:ident::$handler:ident;)*) => {
        [$(Route {
            method: Method::$method,
            path: $path,
            coverage: $coverage,
            handler: |call| Box::pin($module::$handler(call)),
        }),*]
    };
}

/// Fixed paths stand before patterns that match them too.
pub(crate) static TABLE: [Route; 127] = table! {
    Done GET "/_ping" system::ping;
    Done HEAD "/_ping" system::ping;
    Done GET "/version" system::version;
    Done GET "/info" system::info;
    Done POST "/auth" registry::auth;
    Done GET "/events" events::events;
    Done GET "/system/df" system::disk_usage;

    Done GET "/containers/json" container::list;
    Done POST "/containers/create" container::create;
    Done POST "/containers/prune" container::prune;
    Done GET "/containers/{id}/json" container::inspect;
    Done GET "/containers/{id}/top" container::top;
    Done GET "/containers/{id}/logs" stream::logs;
    Done POST "/estiba/containers/{id}/watch" witness::watch;
    Done GET "/estiba/containers/{id}/profile" witness::profile;
    Done GET "/estiba/containers/{id}/denials" witness::denials;
    Done GET "/containers/{id}/changes" container::changes;
    Done GET "/containers/{id}/export" archive::export;
    Done GET "/containers/{id}/stats" stats::stats;
    Done POST "/containers/{id}/resize" container::resize;
    Done POST "/containers/{id}/start" container::start;
    Done POST "/containers/{id}/stop" container::stop;
    Done POST "/containers/{id}/restart" container::restart;
    Done POST "/containers/{id}/kill" container::kill;
    Done POST "/containers/{id}/update" container::update;
    Done POST "/containers/{id}/rename" container::rename;
    Done POST "/containers/{id}/pause" container::pause;
    Done POST "/containers/{id}/unpause" container::unpause;
    Done POST "/containers/{id}/attach" stream::attach;
    Done GET "/containers/{id}/attach/ws" websocket::attach;
    Done POST "/containers/{id}/wait" stream::wait;
    Done HEAD "/containers/{id}/archive" archive::stat;
    Done GET "/containers/{id}/archive" archive::download;
    Done PUT "/containers/{id}/archive" archive::upload;
    Done POST "/containers/{id}/exec" exec::create;
    Refused GET "/containers/{id}/checkpoints" refused::checkpoint;
    Refused POST "/containers/{id}/checkpoints" refused::checkpoint;
    Done DELETE "/containers/{id}" container::remove;
    Done DELETE "/containers/{link}" container::remove_link;

    Done POST "/exec/{id}/start" exec::start;
    Done POST "/exec/{id}/resize" exec::resize;
    Done GET "/exec/{id}/json" exec::inspect;

    Done GET "/images/json" image::list;
    Done POST "/images/create" image::create;
    Done POST "/images/load" image::load;
    Done GET "/images/get" image::save;
    Done GET "/images/search" registry::search;
    Done POST "/images/prune" image::prune;
    Done GET "/images/{name}/get" image::save;
    Done GET "/images/{name}/json" image::inspect;
    Done GET "/images/{name}/history" image::history;
    Done GET "/images/{name}/attestations" attestation::list;
    Done POST "/images/{name}/push" registry::push;
    Done POST "/images/{name}/tag" image::tag;
    Done DELETE "/images/{name}" image::remove;
    Done POST "/commit" image::commit;
    Done POST "/build" build::build;
    Done POST "/build/prune" build::prune;
    Done POST "/build/cancel" build::cancel;
    Done POST "/session" buildkit::session;
    Done POST "/grpc" buildkit::grpc;
    Done POST "/estiba/build" buildkit::own_build;
    Done GET "/distribution/{name}/json" registry::distribution;
    Done GET "/distribution/{name}/manifest" registry::manifest;
    Done PUT "/distribution/{name}/manifest" registry::publish;
    Done GET "/distribution/{name}/referrers" artifact::referrers;
    Done POST "/distribution/{name}/blobs" artifact::send;
    Done GET "/distribution/{name}/blobs" artifact::take;

    Done GET "/networks" network::list;
    Done GET "/estiba/ports" network::ports;
    Done POST "/networks/create" network::create;
    Done POST "/networks/prune" network::prune;
    Done GET "/networks/{id}" network::inspect;
    Done DELETE "/networks/{id}" network::remove;
    Done POST "/networks/{id}/connect" network::connect;
    Done POST "/networks/{id}/disconnect" network::disconnect;

    Done GET "/volumes" volume::list;
    Done POST "/volumes/create" volume::create;
    Done POST "/volumes/prune" volume::prune;
    Done GET "/estiba/volumes/{name}/export" volume::export;
    Done POST "/estiba/volumes/{name}/import" volume::import;
    Done POST "/estiba/volumes/{name}/copy" volume::copy;
    Done POST "/estiba/volumes/{name}/rename" volume::rename;
    Done GET "/volumes/{name}" volume::inspect;
    Refused PUT "/volumes/{name}" refused::swarm;
    Done DELETE "/volumes/{name}" volume::remove;

    Done GET "/plugins" plugin::list;
    Done GET "/plugins/privileges" plugin::privileges;
    Done POST "/plugins/pull" plugin::pull;
    Done POST "/plugins/create" plugin::create;
    Done GET "/plugins/{name}/json" plugin::inspect;
    Done POST "/plugins/{name}/enable" plugin::enable;
    Done POST "/plugins/{name}/disable" plugin::disable;
    Done POST "/plugins/{name}/upgrade" plugin::upgrade;
    Done POST "/plugins/{name}/push" plugin::push;
    Done POST "/plugins/{name}/set" plugin::set;
    Done DELETE "/plugins/{name}" plugin::remove;

    Refused GET "/swarm" refused::swarm;
    Refused POST "/swarm/init" refused::swarm_setup;
    Refused POST "/swarm/join" refused::swarm_setup;
    Refused POST "/swarm/leave" refused::swarm_absent;
    Refused POST "/swarm/update" refused::swarm;
    Refused GET "/swarm/unlockkey" refused::swarm;
    Refused POST "/swarm/unlock" refused::swarm_absent;
    Refused GET "/nodes" refused::swarm;
    Refused GET "/nodes/{id}" refused::swarm;
    Refused DELETE "/nodes/{id}" refused::swarm;
    Refused POST "/nodes/{id}/update" refused::swarm;
    Refused GET "/services" refused::swarm;
    Refused POST "/services/create" refused::swarm;
    Refused GET "/services/{id}" refused::swarm;
    Refused DELETE "/services/{id}" refused::swarm;
    Refused POST "/services/{id}/update" refused::swarm;
    Refused GET "/services/{id}/logs" refused::swarm;
    Refused GET "/tasks" refused::swarm;
    Refused GET "/tasks/{id}" refused::swarm;
    Refused GET "/tasks/{id}/logs" refused::swarm;
    Refused GET "/secrets" refused::swarm;
    Refused POST "/secrets/create" refused::swarm;
    Refused GET "/secrets/{id}" refused::swarm;
    Refused DELETE "/secrets/{id}" refused::swarm;
    Refused POST "/secrets/{id}/update" refused::swarm;
    Refused GET "/configs" refused::swarm;
    Refused POST "/configs/create" refused::swarm;
    Refused GET "/configs/{id}" refused::swarm;
    Refused DELETE "/configs/{id}" refused::swarm;
    Refused POST "/configs/{id}/update" refused::swarm;
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every operation of the specification, with what this version does with it.
    const LEDGER: &str = include_str!("../ledger.tsv");

    #[test]
    fn the_ledger_says_what_the_table_does() {
        let mut ledger = BTreeMap::new();
        for line in LEDGER.lines().skip(1) {
            let fields: Vec<_> = line.split('\t').collect();
            let [method, path, _operation, coverage, ..] = fields[..] else {
                panic!("{line:?} has not four fields")
            };
            if coverage != "absent" {
                ledger.insert((method.to_owned(), path.to_owned()), coverage.to_owned());
            }
        }
        let coverage = |route: &Route| format!("{:?}", route.coverage).to_lowercase();
        let key = |route: &Route| (route.method.to_string(), route.path.to_owned());
        let table: BTreeMap<_, _> = TABLE.iter().map(|r| (key(r), coverage(r))).collect();
        assert_eq!(ledger, table);
        assert_eq!(table.len(), TABLE.len(), "an operation is in the table twice");
    }

    /// A pattern must not hide an operation that stands after it.
    #[test]
    fn every_operation_is_reached() {
        for route in &TABLE {
            let path = route.path.replace("{id}", "a1").replace("{name}", "b/c:d");
            let path = path.replace("{link}", "a1/b2");
            let (found, _) = crate::router::find(&TABLE, &route.method, &path).unwrap();
            assert_eq!(found.path, route.path);
        }
    }
}
