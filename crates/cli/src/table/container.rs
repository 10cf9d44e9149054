//! table: the flags, arguments and texts of the `container` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::containers;
use crate::flags::{Flag, check};

/// The `container` group.
pub(crate) static GROUP: Command = Command {
    name: "container",
    tail: "COMMAND",
    short: "Manage containers",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &ATTACH,
        &COMMIT,
        &CP,
        &super::run::CREATE,
        &DIFF,
        &EXEC,
        &EXPORT,
        &INSPECT,
        &KILL,
        &LOGS,
        &LS,
        &PAUSE,
        &PORT,
        &PRUNE,
        &RENAME,
        &RESTART,
        &RM,
        &super::run::RUN,
        &START,
        &STATS,
        &STOP,
        &TOP,
        &UNPAUSE,
        &UPDATE,
        &WAIT,
    ]),
};

/// `container attach`
pub(crate) static ATTACH: Command = Command {
    name: "attach",
    tail: "[OPTIONS] CONTAINER",
    short: "Attach local standard input, output, and error streams to a running container",
    long: "",
    aliases: &["container attach", "attach"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("detach-keys", "Override the key sequence for detaching a container"),
        Flag::bool("no-stdin", "Do not attach STDIN"),
        Flag::bool("sig-proxy", "Proxy all received signals to the process (default true)"),
    ]],
    action: remote!(containers::attach),
};

/// `container commit`
pub(crate) static COMMIT: Command = Command {
    name: "commit",
    tail: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    short: "Create a new image from a container's changes",
    long: "",
    aliases: &["container commit", "commit"],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[&[
        Flag::string("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
            .short('a'),
        Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
        Flag::string("message", "Commit message").short('m'),
        Flag::bool("pause", "Pause container during commit (default true)").short('p'),
    ]],
    action: remote!(containers::commit),
};

/// `container cp`
pub(crate) static CP: Command = Command {
 name: "cp",
 tail: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n	docker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
 short: "Copy files/folders between a container and the local filesystem",
 long: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
 aliases: &["container cp", "cp"],
 args: Args::Exactly(2),
 interspersed: true,
 flags: &[&[
  Flag::bool("archive", "Archive mode (copy all uid/gid information)").short('a'),
  Flag::bool("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
  Flag::bool("quiet", "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached").short('q')]],
 action: remote!(containers::cp),
};

/// `container diff`
pub(crate) static DIFF: Command = Command {
    name: "diff",
    tail: "CONTAINER",
    short: "Inspect changes to files or directories on a container's filesystem",
    long: "",
    aliases: &["container diff", "diff"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[],
    action: remote!(containers::diff),
};

/// `container exec`
pub(crate) static EXEC: Command = Command {
    name: "exec",
    tail: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    short: "Execute a command in a running container",
    long: "",
    aliases: &["container exec", "exec"],
    args: Args::AtLeast(2),
    interspersed: false,
    flags: &[&[
        Flag::bool("detach", "Detached mode: run command in the background").short('d'),
        Flag::string("detach-keys", "Override the key sequence for detaching a container"),
        Flag::list("env", "Set environment variables").short('e').check(check::env),
        Flag::list("env-file", "Read in a file of environment variables"),
        Flag::bool("interactive", "Keep STDIN open even if not attached").short('i'),
        Flag::bool("privileged", "Give extended privileges to the command"),
        Flag::bool("tty", "Allocate a pseudo-TTY").short('t'),
        Flag::string("user", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
        Flag::string("workdir", "Working directory inside the container").short('w'),
    ]],
    action: remote!(containers::exec),
};

/// `container export`
pub(crate) static EXPORT: Command = Command {
    name: "export",
    tail: "[OPTIONS] CONTAINER",
    short: "Export a container's filesystem as a tar archive",
    long: "",
    aliases: &["container export", "export"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[Flag::string("output", "Write to a file, instead of STDOUT").short('o')]],
    action: remote!(containers::export),
};

/// `container inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Display detailed information on one or more containers",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::FORMAT).short('f'),
        Flag::bool("size", "Display total file sizes").short('s'),
    ]],
    action: remote!(containers::inspect),
};

/// `container kill`
pub(crate) static KILL: Command = Command {
    name: "kill",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Kill one or more running containers",
    long: "",
    aliases: &["container kill", "kill"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[Flag::string("signal", "Signal to send to the container").short('s')]],
    action: remote!(containers::kill),
};

/// `container logs`
pub(crate) static LOGS: Command = Command {
    name: "logs",
    tail: "[OPTIONS] CONTAINER",
    short: "Fetch the logs of a container",
    long: "",
    aliases: &["container logs", "logs"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("details", "Show extra details provided to logs"),
        Flag::bool("follow", "Follow log output").short('f'),
        Flag::string(
            "since",
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
        Flag::string("tail", "Number of lines to show from the end of the logs (default \"all\")")
            .short('n'),
        Flag::bool("timestamps", "Show timestamps").short('t'),
        Flag::string(
            "until",
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
    ]],
    action: remote!(containers::logs),
};

/// `container ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List containers",
    long: "",
    aliases: &["container ls", "container list", "container ps", "ps"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Show all containers (default shows just running)").short('a'),
        Flag::filter("filter", "Filter output based on conditions provided").short('f'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::int("last", "Show n last created containers (includes all states) (default -1)")
            .short('n'),
        Flag::bool("latest", "Show the latest created container (includes all states)").short('l'),
        Flag::bool("no-trunc", "Don't truncate output"),
        Flag::bool("quiet", "Only display container IDs").short('q'),
        Flag::bool("size", "Display total file sizes").short('s'),
    ]],
    action: remote!(containers::list),
};

/// `container pause`
pub(crate) static PAUSE: Command = Command {
    name: "pause",
    tail: "CONTAINER [CONTAINER...]",
    short: "Pause all processes within one or more containers",
    long: "",
    aliases: &["container pause", "pause"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
    action: remote!(containers::pause),
};

/// `container port`
pub(crate) static PORT: Command = Command {
    name: "port",
    tail: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    short: "List port mappings or a specific mapping for the container",
    long: "",
    aliases: &["container port", "port"],
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[],
    action: remote!(containers::port),
};

/// `container prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "[OPTIONS]",
    short: "Remove all stopped containers",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
    ]],
    action: remote!(containers::prune),
};

/// `container rename`
pub(crate) static RENAME: Command = Command {
    name: "rename",
    tail: "CONTAINER NEW_NAME",
    short: "Rename a container",
    long: "",
    aliases: &["container rename", "rename"],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: remote!(containers::rename),
};

/// `container restart`
pub(crate) static RESTART: Command = Command {
    name: "restart",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Restart one or more containers",
    long: "",
    aliases: &["container restart", "restart"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("signal", "Signal to send to the container").short('s'),
        Flag::int("timeout", "Seconds to wait before killing the container").short('t'),
        Flag::int("time", "Seconds to wait before killing the container")
            .deprecated("use --timeout instead"),
    ]],
    action: remote!(containers::restart),
};

/// `container rm`
pub(crate) static RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Remove one or more containers",
    long: "",
    aliases: &["container rm", "container remove", "rm"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
        Flag::bool("link", "Remove the specified link").short('l').check(check::link),
        Flag::bool("volumes", "Remove anonymous volumes associated with the container").short('v'),
    ]],
    action: remote!(containers::remove),
};

/// `container start`
pub(crate) static START: Command = Command {
    name: "start",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Start one or more stopped containers",
    long: "",
    aliases: &["container start", "start"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
        Flag::string("detach-keys", "Override the key sequence for detaching a container"),
        Flag::bool("interactive", "Attach container's STDIN").short('i'),
        Flag::string("checkpoint", "Restore from this checkpoint").hidden(),
        Flag::string("checkpoint-dir", "Use a custom checkpoint storage directory").hidden(),
    ]],
    action: remote!(containers::start),
};

/// `container stats`
pub(crate) static STATS: Command = Command {
    name: "stats",
    tail: "[OPTIONS] [CONTAINER...]",
    short: "Display a live stream of container(s) resource usage statistics",
    long: "",
    aliases: &["container stats", "stats"],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Show all containers (default shows just running)").short('a'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("no-stream", "Disable streaming stats and only pull the first result"),
        Flag::bool("no-trunc", "Do not truncate output"),
    ]],
    action: remote!(containers::stats),
};

/// `container stop`
pub(crate) static STOP: Command = Command {
    name: "stop",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Stop one or more running containers",
    long: "",
    aliases: &["container stop", "stop"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("signal", "Signal to send to the container").short('s'),
        Flag::int("timeout", "Seconds to wait before killing the container").short('t'),
        Flag::int("time", "Seconds to wait before killing the container")
            .deprecated("use --timeout instead"),
    ]],
    action: remote!(containers::stop),
};

/// `container top`
pub(crate) static TOP: Command = Command {
    name: "top",
    tail: "CONTAINER [ps OPTIONS]",
    short: "Display the running processes of a container",
    long: "",
    aliases: &["container top", "top"],
    args: Args::AtLeast(1),
    interspersed: false,
    flags: &[],
    action: remote!(containers::top),
};

/// `container unpause`
pub(crate) static UNPAUSE: Command = Command {
    name: "unpause",
    tail: "CONTAINER [CONTAINER...]",
    short: "Unpause all processes within one or more containers",
    long: "",
    aliases: &["container unpause", "unpause"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
    action: remote!(containers::unpause),
};

/// `container update`
pub(crate) static UPDATE: Command = Command {
    name: "update",
    tail: "[OPTIONS] CONTAINER [CONTAINER...]",
    short: "Update configuration of one or more containers",
    long: "",
    aliases: &["container update", "update"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::uint16(
            "blkio-weight",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        ),
        Flag::int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
        Flag::int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        Flag::int("cpu-rt-period", "Limit the CPU real-time period in microseconds"),
        Flag::int("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds"),
        Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
        Flag::decimal("cpus", "Number of CPUs"),
        Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
        Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
        Flag::bytes("memory", "Memory limit").short('m'),
        Flag::bytes("memory-reservation", "Memory soft limit"),
        Flag::swap_bytes(
            "memory-swap",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        Flag::int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
        Flag::list("publish-add", "Publish further port(s), at once if the container runs").own(),
        Flag::list("publish-rm", "Take published port(s) back, named by the host's side").own(),
        Flag::string("restart", "Restart policy to apply when a container exits"),
    ]],
    action: remote!(containers::update),
};

/// `container wait`
pub(crate) static WAIT: Command = Command {
    name: "wait",
    tail: "CONTAINER [CONTAINER...]",
    short: "Block until one or more containers stop, then print their exit codes",
    long: "",
    aliases: &["container wait", "wait"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
    action: remote!(containers::wait),
};
