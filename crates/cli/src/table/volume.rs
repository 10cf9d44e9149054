//! table: the flags, arguments and texts of the `volume` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::volumes;
use crate::flags::Flag;

/// The `volume` group.
pub(crate) static GROUP: Command = Command {
    name: "volume",
    tail: "COMMAND",
    short: "Manage volumes",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &CREATE, &INSPECT, &LS, &PRUNE, &RM, &UPDATE, &COPY, &EXPORT, &IMPORT, &RENAME, &SNAPSHOT,
    ]),
};

/// Of cluster volumes, which only a swarm has: scripts may say them, and Docker's engine passes
/// over them outside of one.
const CLUSTER: &[Flag] = &[
    AVAILABILITY,
    Flag::string("group", "Cluster Volume group (cluster volumes)").hidden(),
    Flag::bytes("limit-bytes", "Minimum size of the Cluster Volume in bytes").hidden(),
    Flag::bytes("required-bytes", "Maximum size of the Cluster Volume in bytes").hidden(),
    Flag::string("scope", "Cluster Volume access scope (\"single\", \"multi\")").hidden(),
    Flag::map("secret", "Cluster Volume secrets").hidden(),
    Flag::string("sharing", "Cluster Volume access sharing").hidden(),
    Flag::list("topology-preferred", "A topology that the Cluster Volume would prefer").hidden(),
    Flag::list("topology-required", "A topology that the Cluster Volume must have").hidden(),
    Flag::string("type", "Cluster Volume access type (\"mount\", \"block\")").hidden(),
];

const AVAILABILITY: Flag =
    Flag::string("availability", "Cluster Volume availability (\"active\", \"pause\", \"drain\")")
        .hidden();

/// `volume update`
pub(crate) static UPDATE: Command = Command {
    name: "update",
    tail: "[OPTIONS] [VOLUME]",
    short: "Update a volume (cluster volumes only)",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[AVAILABILITY]],
    action: remote!(volumes::update),
};

/// `volume create`
pub(crate) static CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] [VOLUME]",
    short: "Create a volume",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[
        &[
            Flag::string("driver", "Specify volume driver name (default \"local\")").short('d'),
            Flag::list("label", "Set metadata for a volume"),
            Flag::map("opt", "Set driver specific options (default map[])").short('o'),
            Flag::string("name", "Specify volume name").hidden(),
        ],
        CLUSTER,
    ],
    action: remote!(volumes::create),
};

/// `volume inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] VOLUME [VOLUME...]",
    short: "Display detailed information on one or more volumes",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::string("format", text::FORMAT).short('f')]],
    action: remote!(volumes::inspect),
};

/// `volume ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List volumes",
    long: "",
    aliases: &["volume ls", "volume list"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("cluster", "Display only cluster volumes").hidden(),
        Flag::filter("filter", "Provide filter values (e.g. \"dangling=true\")").short('f'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("quiet", "Only display volume names").short('q'),
    ]],
    action: remote!(volumes::list),
};

/// `volume prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "[OPTIONS]",
    short: "Remove unused local volumes",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Remove all unused volumes, not just anonymous ones").short('a'),
        Flag::filter("filter", "Provide filter values (e.g. \"label=<label>\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
    ]],
    action: remote!(volumes::prune),
};

/// `volume rm`
pub(crate) static RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] VOLUME [VOLUME...]",
    short: "Remove one or more volumes",
    long: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    aliases: &["volume rm", "volume remove"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Force the removal of one or more volumes").short('f')]],
    action: remote!(volumes::remove),
};

/// `volume cp`
pub(crate) static COPY: Command = Command {
    name: "cp",
    tail: "VOLUME NEW_VOLUME",
    short: "Copy a volume to a new one",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: remote!(volumes::copy),
};

/// `volume snapshot`
pub(crate) static SNAPSHOT: Command = Command {
    name: "snapshot",
    tail: "VOLUME NEW_VOLUME",
    short: "Keep what a volume has now in a new one",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: remote!(volumes::copy),
};

/// `volume export`
pub(crate) static EXPORT: Command = Command {
    name: "export",
    tail: "[OPTIONS] VOLUME",
    short: "Export a volume's content as a tar archive",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[Flag::string("output", "Write to a file, instead of STDOUT").short('o')]],
    action: remote!(volumes::export),
};

/// `volume import`
pub(crate) static IMPORT: Command = Command {
    name: "import",
    tail: "VOLUME [FILE|-]",
    short: "Create a volume from a tar archive",
    long: "",
    aliases: &[],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[],
    action: remote!(volumes::import),
};

/// `volume rename`
pub(crate) static RENAME: Command = Command {
    name: "rename",
    tail: "VOLUME NEW_NAME",
    short: "Rename a volume that no container uses",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: remote!(volumes::rename),
};
