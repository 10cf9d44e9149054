//! table: `build`, `builder` and `buildx`. The flags of `build` are those of Docker's classic build,
//! as its help page lists them, and those that BuildKit's clients have.

use crate::command::{Action, Args, Command, remote};
use crate::commands::{build, builder};
use crate::flags::Flag;

/// The flags of `build`.
static BUILD_FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping (\"host:ip\")"),
    Flag::list("allow", "Allow extra privileged entitlement (\"network.host\", \"security.insecure\")").own(),
    Flag::list("annotation", "Add annotation to the image").own(),
    Flag::list("attest", "Attestation parameters (format: \"type=sbom,generator=image\")").own().hidden(),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::list("build-context", "Additional build contexts (e.g., name=path)").own(),
    Flag::string("builder", "Override the configured builder instance").own().hidden(),
    Flag::list("cache-from", "Images to consider as cache sources"),
    Flag::list("cache-to", "Cache export destinations (e.g., \"user/app:cache\", \"type=local,dest=path/to/dir\")").own(),
    Flag::string("call", "Set method for evaluating build (\"check\", \"outline\", \"targets\")").own(),
    Flag::string("cgroup-parent", "Set the parent cgroup for the \"RUN\" instructions during build"),
    Flag::bool("check", "Shorthand for \"--call=check\"").own(),
    Flag::bool("compress", "Compress the build context using gzip"),
    Flag::int("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::bool("debug", "Enable debug logging").short('D').own().hidden(),
    Flag::bool("disable-content-trust", "Skip image verification (default true)"),
    Flag::string("file", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")").short('f'),
    Flag::bool("force-rm", "Always remove intermediate containers"),
    Flag::string("iidfile", "Write the image ID to the file"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::list("label", "Set metadata for an image"),
    Flag::bool("load", "Keep the image (the default)").own(),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::swap_bytes("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    Flag::string("metadata-file", "Write build result metadata to a file").own(),
    Flag::string("network", "Set the networking mode for the RUN instructions during build (default \"default\")"),
    Flag::bool("no-cache", "Do not use cache when building the image"),
    Flag::list("no-cache-filter", "Do not cache specified stages").own(),
    Flag::list("output", "Output destination (format: \"type=local,dest=path\")").short('o').own(),
    Flag::typed("platform", "string", "Set platform if server is multi-platform capable"),
    Flag::list("policy", "Policy configuration (format: \"filename=path\")").own().hidden(),
    Flag::string("progress", "Set type of progress output (\"auto\", \"none\", \"plain\", \"quiet\", \"rawjson\", \"tty\")").own(),
    Flag::string("provenance", "Shorthand for \"--attest=type=provenance\"").own().hidden(),
    Flag::bool("pull", "Always attempt to pull a newer version of the image"),
    Flag::bool("push", "Push the image to its registry").own(),
    Flag::bool("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::list("resource", "Limits of the build's steps (format: \"cpu=2\")").own().hidden(),
    Flag::bool("rm", "Remove intermediate containers after a successful build (default true)"),
    Flag::string("sbom", "Shorthand for \"--attest=type=sbom\"").own().hidden(),
    Flag::list("secret", "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")").own(),
    Flag::strings("security-opt", "Security options"),
    Flag::bytes("shm-size", "Size of \"/dev/shm\""),
    Flag::bool("squash", "Squash newly built layers into a single new layer"),
    Flag::list("ssh", "SSH agent socket to expose to the build (format: \"default|<id>[=<socket>]\")").own(),
    Flag::list("tag", "Name and optionally a tag in the \"name:tag\" format").short('t'),
    Flag::string("target", "Set the target build stage to build."),
    Flag::typed("ulimit", "ulimit", "Ulimit options (default [])"),
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
    action: Action::Group(&[&BUILD, &PRUNE]),
};

/// `buildx du`
pub(crate) static DU: Command = Command {
    name: "du",
    tail: "",
    short: "Disk usage",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[Flag::bool("verbose", "Provide a more verbose output")]],
    action: remote!(builder::disk_usage),
};

/// `buildx ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "",
    short: "List builder instances",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: remote!(builder::list),
};

/// `buildx inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[NAME]",
    short: "Inspect current builder instance",
    long: "",
    aliases: &[],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[&[Flag::bool("bootstrap", "Ensure builder has booted before inspecting")]],
    action: remote!(builder::inspect),
};

/// `buildx version`
pub(crate) static VERSION: Command = Command {
    name: "version",
    tail: "",
    short: "Show buildx version information",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Local(builder::version),
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
    action: Action::Group(&[&BUILD, &DU, &INSPECT, &LS, &PRUNE, &VERSION]),
};
