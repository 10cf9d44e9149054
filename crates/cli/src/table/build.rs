//! table: `build`, `builder` and `buildx`. The flags of `build` are those of Docker's classic build,
//! as its help page lists them, and those that BuildKit's clients have.

use crate::command::{Action, Args, Command, remote};
use crate::commands::{bake, build, builder, builders, history, imagetools};
use crate::flags::{Flag, check};

// What several commands have; where a command shows it otherwise, that is said there.
const TIMEOUT: Flag =
    Flag::duration("timeout", "Override the default timeout loading builder status");
const VERBOSE: Flag = Flag::bool("verbose", "Provide a more verbose output");
const FILTER: Flag = Flag::filter("filter", "Provide filter values");
const FORMAT: Flag = Flag::string("format", "Format the output");
const NO_TRUNC: Flag = Flag::bool("no-trunc", "Don't truncate output");
const METADATA: Flag = Flag::string("metadata-file", "Write build result metadata to a file");
const CHECK: Flag = Flag::bool("check", "Shorthand for \"--call=check\"");
const NO_CACHE: Flag = Flag::bool("no-cache", "Do not use cache when building the image");
const ON_BUILDER: Flag = Flag::string("builder", "Override the configured builder instance");
const DEBUG: Flag = Flag::bool("debug", "Enable debug logging").short('D');
const ANNOTATION: Flag = Flag::list("annotation", "Add annotation to the image");
const CALL: Flag =
    Flag::string("call", "Set method for evaluating build (\"check\", \"outline\", \"targets\")");
const PROGRESS: Flag = Flag::string(
    "progress",
    "Set type of progress output (\"auto\", \"none\", \"plain\", \"quiet\", \"rawjson\", \"tty\")",
);

/// The flags of `build`.
pub(crate) static BUILD_FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping (\"host:ip\")"),
    Flag::list(
        "allow",
        "Allow extra privileged entitlement (\"network.host\", \"security.insecure\")",
    )
    .own(),
    ANNOTATION.own(),
    Flag::list("attest", "Attestation parameters (format: \"type=sbom,generator=image\")")
        .own()
        .hidden(),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::list("build-context", "Additional build contexts (e.g., name=path)").own(),
    ON_BUILDER.own().hidden(),
    Flag::typed("cache-from", "strings", "Images to consider as cache sources"),
    Flag::list(
        "cache-to",
        "Cache export destinations (e.g., \"user/app:cache\", \"type=local,dest=path/to/dir\")",
    )
    .own(),
    CALL.own(),
    Flag::string(
        "cgroup-parent",
        "Set the parent cgroup for the \"RUN\" instructions during build",
    ),
    CHECK.own(),
    Flag::bool("compress", "Compress the build context using gzip"),
    Flag::int("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    DEBUG.own().hidden(),
    Flag::bool("disable-content-trust", "Skip image verification (default true)"),
    Flag::string("file", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")").short('f'),
    Flag::bool("force-rm", "Always remove intermediate containers"),
    Flag::string("iidfile", "Write the image ID to the file"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::list("label", "Set metadata for an image"),
    Flag::bool("load", "Keep the image (the default)").own(),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::swap_bytes(
        "memory-swap",
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    METADATA.own(),
    Flag::string(
        "network",
        "Set the networking mode for the RUN instructions during build (default \"default\")",
    ),
    NO_CACHE,
    Flag::list("no-cache-filter", "Do not cache specified stages").own(),
    Flag::list("output", "Output destination (format: \"type=local,dest=path\")").short('o').own(),
    Flag::typed("platform", "string", "Set platform if server is multi-platform capable"),
    Flag::list("policy", "Policy configuration (format: \"filename=path\")").own().hidden(),
    PROGRESS.own(),
    Flag::string("provenance", "Shorthand for \"--attest=type=provenance\"").own().hidden(),
    Flag::bool("pull", "Always attempt to pull a newer version of the image"),
    Flag::bool("push", "Push the image to its registry").own(),
    Flag::bool("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::list("resource", "Limits of the build's steps (format: \"cpu=2\")").own().hidden(),
    Flag::bool("rm", "Remove intermediate containers after a successful build (default true)"),
    Flag::string("sbom", "Shorthand for \"--attest=type=sbom\"").own().hidden(),
    Flag::list(
        "secret",
        "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")",
    )
    .own(),
    Flag::strings("security-opt", "Security options"),
    Flag::bytes("shm-size", "Size of \"/dev/shm\""),
    Flag::bool("squash", "Squash newly built layers into a single new layer").hidden(),
    Flag::list(
        "ssh",
        "SSH agent socket to expose to the build (format: \"default|<id>[=<socket>]\")",
    )
    .own(),
    Flag::list("tag", "Name and optionally a tag in the \"name:tag\" format").short('t'),
    Flag::string("target", "Set the target build stage to build."),
    Flag::typed("ulimit", "ulimit", "Ulimit options (default [])").check(check::ulimit),
];

/// `build`, `image build`, `builder build`, `buildx build`
pub(crate) static BUILD: Command = Command {
    name: "build",
    tail: "[OPTIONS] PATH | URL | -",
    short: "Build an image from a Dockerfile",
    long: "",
    aliases: &["image build", "build", "builder build"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[BUILD_FLAGS],
    action: remote!(build::build),
};

/// `builder prune`, `buildx prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "",
    short: "Remove build cache",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Remove all unused build cache, not just dangling ones").short('a'),
        Flag::filter("filter", "Provide filter values (e.g. \"until=24h\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
        Flag::bytes("keep-storage", "Amount of disk space to keep for cache"),
        Flag::bytes("max-used-space", "Maximum amount of disk space allowed to keep for cache")
            .own(),
        Flag::bytes("min-free-space", "Target amount of free disk space after pruning").own(),
        Flag::bytes("reserved-space", "Amount of disk space always allowed to keep for cache")
            .own(),
        ON_BUILDER.own().hidden(),
        DEBUG.own().hidden(),
        TIMEOUT.own().hidden(),
        VERBOSE.own().hidden(),
    ]],
    action: remote!(builder::prune),
};

/// `builder`
pub(crate) static BUILDER: Command = Command {
    name: "builder",
    tail: "COMMAND",
    short: "Manage builds",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&BUILD, &DU, &PRUNE]),
};

/// `buildx du`, and with it `builder du`
pub(crate) static DU: Command = Command {
    name: "du",
    tail: "",
    short: "Disk usage",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[COMMON, &[FILTER, FORMAT, TIMEOUT, VERBOSE]],
    action: remote!(builder::disk_usage),
};

/// What every command of `buildx` has.
static COMMON: &[Flag] = &[ON_BUILDER, DEBUG];

/// `buildx ls`
static LS: Command = Command {
    name: "ls",
    tail: "",
    short: "List builder instances",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[COMMON, &[FORMAT, NO_TRUNC, TIMEOUT]],
    action: remote!(builder::list),
};

/// `buildx inspect`
static INSPECT: Command = Command {
    name: "inspect",
    tail: "[NAME]",
    short: "Inspect current builder instance",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[
        COMMON,
        &[Flag::bool("bootstrap", "Ensure builder has booted before inspecting"), TIMEOUT],
    ],
    action: remote!(builder::inspect),
};

/// `buildx version`
static VERSION: Command = Command {
    name: "version",
    tail: "",
    short: "Show buildx version information",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[COMMON],
    action: Action::Local(builder::version),
};

/// `buildx create`
static CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] [CONTEXT|ENDPOINT]",
    short: "Create a new builder instance",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::bool("append", "Append a node to builder instead of changing it"),
            Flag::bool("bootstrap", "Boot builder after creation"),
            Flag::string("buildkitd-config", "BuildKit daemon config file"),
            Flag::string("buildkitd-flags", "BuildKit daemon flags"),
            Flag::string("driver", "Driver to use (available: \"docker\")"),
            Flag::list("driver-opt", "Options for the driver"),
            Flag::bool("leave", "Remove a node from builder instead of changing it"),
            Flag::string("name", "Builder instance name"),
            Flag::string("node", "Create/modify node with given name"),
            Flag::list("platform", "Fixed platforms for current node"),
            TIMEOUT,
            Flag::bool("use", "Set the current builder instance"),
        ],
    ],
    action: remote!(builders::create),
};

/// `buildx use`
static USE: Command = Command {
    name: "use",
    tail: "[OPTIONS] NAME",
    short: "Set the current builder instance",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::bool("default", "Set builder as default for current context"),
            Flag::bool("global", "Builder persists context changes"),
        ],
    ],
    action: Action::Local(builders::select),
};

/// `buildx rm`
static RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] [NAME] [NAME...]",
    short: "Remove one or more builder instances",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::bool("all-inactive", "Remove all inactive builders"),
            Flag::bool("force", "Do not prompt for confirmation").short('f'),
            Flag::bool("keep-daemon", "Keep the BuildKit daemon running"),
            Flag::bool("keep-state", "Keep BuildKit state"),
            TIMEOUT,
        ],
    ],
    action: Action::Local(builders::remove),
};

/// `buildx stop`
static STOP: Command = Command {
    name: "stop",
    tail: "[NAME]",
    short: "Stop builder instance",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[COMMON],
    action: Action::Local(builders::stop),
};

/// `buildx dial-stdio`
static DIAL: Command = Command {
    name: "dial-stdio",
    tail: "",
    short: "Proxy current stdio streams to builder instance",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::string("platform", "Target platform: this is used for node selection"),
            Flag::string("progress", "Set type of progress output"),
        ],
    ],
    action: remote!(history::dial_stdio),
};

/// `buildx bake`
static BAKE: Command = Command {
    name: "bake",
    tail: "[OPTIONS] [TARGET...]",
    short: "Build from a file",
    long: "",
    aliases: &["buildx f"],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::list("allow", "Allow build to access specified resources"),
            CALL,
            CHECK,
            Flag::list("file", "Build definition file").short('f'),
            Flag::string("list", "List targets or variables"),
            Flag::bool("load", "Shorthand for \"--set=*.output=type=docker\""),
            METADATA,
            NO_CACHE,
            Flag::list("policy", "Policy configuration"),
            Flag::bool("print", "Print the options without building"),
            PROGRESS,
            Flag::string("provenance", "Shorthand for \"--set=*.attest=type=provenance\""),
            Flag::bool("pull", "Always attempt to pull all referenced images"),
            Flag::bool("push", "Shorthand for \"--set=*.output=type=registry\""),
            Flag::string("sbom", "Shorthand for \"--set=*.attest=type=sbom\""),
            Flag::list("set", "Override target value (e.g., \"targetpattern.key=value\")"),
            Flag::list("var", "Set a variable value (e.g., \"name=value\")"),
        ],
    ],
    action: remote!(bake::bake),
};

/// `buildx imagetools inspect`
static IT_INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] NAME",
    short: "Show details of an image in the registry",
    long: "",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::string("format", "Format the output using the given Go template"),
            Flag::bool("raw", "Show original, unformatted JSON manifest"),
        ],
    ],
    action: remote!(imagetools::inspect),
};

/// `buildx imagetools create`
static IT_CREATE: Command = Command {
    name: "create",
    tail: "[OPTIONS] [SOURCE...]",
    short: "Create a new image based on source images",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            ANNOTATION,
            Flag::bool("append", "Append to existing manifest"),
            Flag::bool("dry-run", "Show final image instead of pushing"),
            Flag::list("file", "Read source descriptor from file").short('f'),
            Flag::string("metadata-file", "Write create result metadata to a file"),
            Flag::list("platform", "Filter specified platforms of target image").short('p'),
            Flag::bool(
                "prefer-index",
                "When only a single source is specified, prefer outputting an image index",
            ),
            Flag::string("progress", "Set type of progress output"),
            Flag::list("tag", "Set reference for new image").short('t'),
        ],
    ],
    action: remote!(imagetools::create),
};

/// `buildx imagetools`
static IMAGETOOLS: Command = Command {
    name: "imagetools",
    tail: "COMMAND",
    short: "Commands to work on images in registry",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[&IT_CREATE, &IT_INSPECT]),
};

/// `buildx history ls`
static H_LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS]",
    short: "List build records",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[
        COMMON,
        &[
            FILTER,
            FORMAT,
            Flag::bool("local", "List records for current repository only"),
            NO_TRUNC,
        ],
    ],
    action: remote!(history::list),
};

/// `buildx history inspect`
static H_INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] [REF]",
    short: "Inspect a build record",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[COMMON, &[FORMAT]],
    action: remote!(history::inspect),
};

/// `buildx history logs`
static H_LOGS: Command = Command {
    name: "logs",
    tail: "[OPTIONS] [REF]",
    short: "Print the logs of a build record",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[
        COMMON,
        &[Flag::string("progress", "Set type of progress output (plain, rawjson, tty)")],
    ],
    action: remote!(history::logs),
};

/// `buildx history rm`
static H_RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] [REF...]",
    short: "Remove build records",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[COMMON, &[Flag::bool("all", "Remove all build records")]],
    action: remote!(history::remove),
};

/// `buildx history open`
static H_OPEN: Command = Command {
    name: "open",
    tail: "[OPTIONS] [REF]",
    short: "Open a build record in Docker Desktop",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[COMMON],
    action: Action::Local(history::elsewhere),
};

/// `buildx history export`
static H_EXPORT: Command = Command {
    name: "export",
    tail: "[OPTIONS] [REF]",
    short: "Export build records into Docker Desktop bundle",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::bool("all", "Export all build records"),
            Flag::bool("finalize", "Ensure build records are finalized before exporting"),
            Flag::string("output", "Output file path").short('o'),
        ],
    ],
    action: Action::Local(history::elsewhere),
};

/// `buildx history import`
static H_IMPORT: Command = Command {
    name: "import",
    tail: "[OPTIONS] [REF]",
    short: "Import build records into Docker Desktop",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[COMMON, &[Flag::list("file", "Import from a file path").short('f')]],
    action: Action::Local(history::elsewhere),
};

/// `buildx history trace`
static H_TRACE: Command = Command {
    name: "trace",
    tail: "[OPTIONS] [REF]",
    short: "Show the OpenTelemetry trace of a build record",
    long: "",
    aliases: &[],
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[
        COMMON,
        &[
            Flag::string("addr", "Address to bind the UI server"),
            Flag::string("compare", "Compare with another build record"),
        ],
    ],
    action: Action::Local(history::elsewhere),
};

/// `buildx history`
static HISTORY: Command = Command {
    name: "history",
    tail: "COMMAND",
    short: "Commands to work on build records",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &H_EXPORT, &H_IMPORT, &H_INSPECT, &H_LOGS, &H_LS, &H_OPEN, &H_RM, &H_TRACE,
    ]),
};

/// `buildx`
pub(crate) static BUILDX: Command = Command {
    name: "buildx",
    tail: "COMMAND",
    short: "Build images, as BuildKit's clients call it",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &BAKE,
        &BUILD,
        &CREATE,
        &DIAL,
        &DU,
        &HISTORY,
        &IMAGETOOLS,
        &INSPECT,
        &LS,
        &PRUNE,
        &RM,
        &STOP,
        &USE,
        &VERSION,
    ]),
};
