//! table: the flags, arguments and texts of the `context` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command};
use crate::commands::contexts;
use crate::flags::Flag;

/// The `context` group.
pub(crate) static GROUP: Command = Command {
    name: "context",
    tail: "COMMAND",
    short: "Manage contexts",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&CREATE, &EXPORT, &IMPORT, &INSPECT, &LS, &RM, &SHOW, &UPDATE, &USE]),
};

/// `context create`
pub(crate) static CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] CONTEXT",
    short: "Create a context",
    long: "Create a context\n\nDocker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context create my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("description", "Description of the context"),
        Flag::typed("docker", "stringToString", "set the docker endpoint (default [])")
            .check(contexts::check_pairs),
        Flag::string("from", "create context from a named context"),
    ]],
    action: Action::Local(contexts::create),
};

/// `context export`
pub(crate) static EXPORT: Command = Command {
    name: "export",
    tail: "[OPTIONS] CONTEXT [FILE|-]",
    short: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    long: "",
    aliases: &[],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[],
    action: Action::Local(contexts::export),
};

/// `context import`
pub(crate) static IMPORT: Command = Command {
    name: "import",
    tail: "CONTEXT FILE|-",
    short: "Import a context from a tar or zip file",
    long: "",
    aliases: &[],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: Action::Local(contexts::import),
};

/// `context inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    short: "Display detailed information on one or more contexts",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[&[Flag::string("format", text::FORMAT).short('f')]],
    action: Action::Local(contexts::inspect),
};

/// `context ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List contexts",
    long: "",
    aliases: &["context ls", "context list"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("quiet", "Only show context names").short('q'),
    ]],
    action: Action::Local(contexts::list),
};

/// `context rm`
pub(crate) static RM: Command = Command {
    name: "rm",
    tail: "CONTEXT [CONTEXT...]",
    short: "Remove one or more contexts",
    long: "",
    aliases: &["context rm", "context remove"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::bool("force", "Force the removal of a context in use").short('f')]],
    action: Action::Local(contexts::remove),
};

/// `context show`
pub(crate) static SHOW: Command = Command {
    name: "show",
    tail: "",
    short: "Print the name of the current context",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Local(contexts::show),
};

/// `context update`
pub(crate) static UPDATE: Command = Command {
    name: "update",
    tail: "[OPTIONS] CONTEXT",
    short: "Update a context",
    long: "Update a context\n\nDocker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context update my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("description", "Description of the context"),
        Flag::typed("docker", "stringToString", "set the docker endpoint (default [])")
            .check(contexts::check_pairs),
    ]],
    action: Action::Local(contexts::update),
};

/// `context use`
pub(crate) static USE: Command = Command {
    name: "use",
    tail: "CONTEXT",
    short: "Set the current docker context",
    long: "",
    aliases: &[],
    args: Args::Counted(1),
    interspersed: true,
    flags: &[],
    action: Action::Local(contexts::use_),
};
