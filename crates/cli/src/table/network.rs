//! table: the flags, arguments and texts of the `network` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::networks;
use crate::flags::{Flag, check};

/// The `network` group.
pub(crate) static GROUP: Command = Command {
    name: "network",
    tail: "COMMAND",
    short: "Manage networks",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&CONNECT, &CREATE, &DISCONNECT, &INSPECT, &LS, &PRUNE, &RM]),
};

/// `network connect`
pub(crate) static CONNECT: Command = Command {
    name: "connect",
    tail: "[OPTIONS] NETWORK CONTAINER",
    short: "Connect a container to a network",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[
        Flag::strings("alias", "Add network-scoped alias for the container"),
        Flag::strings("driver-opt", "driver options for the network"),
        Flag::int(
            "gw-priority",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        Flag::string("ip", "IPv4 address (e.g., \"172.30.100.104\")"),
        Flag::string("ip6", "IPv6 address (e.g., \"2001:db8::33\")"),
        Flag::list("link", "Add link to another container").check(check::link),
        Flag::strings("link-local-ip", "Add a link-local address for the container"),
    ]],
    action: remote!(networks::connect),
};

/// `network create`
pub(crate) static CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] NETWORK",
    short: "Create a network",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("attachable", "Enable manual container attachment"),
        Flag::map(
            "aux-address",
            "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])",
        ),
        Flag::string("config-from", "The network from which to copy the configuration"),
        Flag::bool("config-only", "Create a configuration only network"),
        Flag::string("driver", "Driver to manage the Network (default \"bridge\")").short('d'),
        Flag::strings("gateway", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag::bool("ingress", "Create swarm routing-mesh network"),
        Flag::bool("internal", "Restrict external access to the network"),
        Flag::strings("ip-range", "Allocate container ip from a sub-range"),
        Flag::string("ipam-driver", "IP Address Management Driver (default \"default\")"),
        Flag::map("ipam-opt", "Set IPAM driver specific options (default map[])"),
        Flag::bool("ipv4", "Enable or disable IPv4 address assignment (default true)"),
        Flag::bool("ipv6", "Enable or disable IPv6 address assignment"),
        Flag::list("label", "Set metadata on a network"),
        Flag::map("opt", "Set driver specific options (default map[])").short('o'),
        Flag::string("scope", "Control the network's scope"),
        Flag::strings("subnet", "Subnet in CIDR format that represents a network segment"),
    ]],
    action: remote!(networks::create),
};

/// `network disconnect`
pub(crate) static DISCONNECT: Command = Command {
    name: "disconnect",
    tail: "[OPTIONS] NETWORK CONTAINER",
    short: "Disconnect a container from a network",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Force the container to disconnect from a network").short('f')]],
    action: remote!(networks::disconnect),
};

/// `network inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] NETWORK [NETWORK...]",
    short: "Display detailed information on one or more networks",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::FORMAT).short('f'),
        Flag::bool("verbose", "Verbose output for diagnostics").short('v'),
    ]],
    action: remote!(networks::inspect),
};

/// `ports`
pub(crate) static PORTS: Command = Command {
    name: "ports",
    tail: "[OPTIONS]",
    short: "List published ports of every container",
    long: "List published ports of every container.\nWith --exposure: who can reach each, and by \
           which rule.",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("exposure", "Show who can reach each port, and by which rule"),
        Flag::string("format", text::TABLE_FORMAT),
    ]],
    action: remote!(networks::ports),
};

/// `network ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List networks",
    long: "",
    aliases: &["network ls", "network list"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Provide filter values (e.g. \"driver=bridge\")").short('f'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("no-trunc", "Do not truncate the output"),
        Flag::bool("quiet", "Only display network IDs").short('q'),
    ]],
    action: remote!(networks::list),
};

/// `network prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "[OPTIONS]",
    short: "Remove all unused networks",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
    ]],
    action: remote!(networks::prune),
};

/// `network rm`
pub(crate) static RM: Command = Command {
    name: "rm",
    tail: "NETWORK [NETWORK...]",
    short: "Remove one or more networks",
    long: "",
    aliases: &["network rm", "network remove"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Do not error if the network does not exist").short('f')]],
    action: remote!(networks::remove),
};
