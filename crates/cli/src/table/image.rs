//! table: the flags, arguments and texts of the `image` commands; it never knows what a command does.

use super::text;
use crate::command::{Action, Args, Command, remote};
use crate::commands::images;
use crate::flags::Flag;

/// The `image` group.
pub(crate) static GROUP: Command = Command {
    name: "image",
    tail: "COMMAND",
    short: "Manage images",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[],
    action: Action::Group(&[
        &super::build::BUILD,
        &HISTORY,
        &IMPORT,
        &INSPECT,
        &LOAD,
        &LS,
        &PRUNE,
        &PULL,
        &PUSH,
        &super::artifact::REFERRERS,
        &RM,
        &SAVE,
        &TAG,
    ]),
};

/// `image history`
pub(crate) static HISTORY: Command = Command {
    name: "history",
    tail: "[OPTIONS] IMAGE",
    short: "Show the history of an image",
    long: "",
    aliases: &["image history", "history"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("human", "Print sizes and dates in human readable format (default true)")
            .short('H'),
        Flag::bool("no-trunc", "Don't truncate output"),
        Flag::string(
            "platform",
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        Flag::bool("quiet", "Only show image IDs").short('q'),
    ]],
    action: remote!(images::history),
};

/// `image import`
pub(crate) static IMPORT: Command = Command {
    name: "import",
    tail: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    short: "Import the contents from a tarball to create a filesystem image",
    long: "",
    aliases: &["image import", "import"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
        Flag::string("message", "Set commit message for imported image").short('m'),
        Flag::string("platform", "Set platform if server is multi-platform capable"),
    ]],
    action: remote!(images::import),
};

/// `image inspect`
pub(crate) static INSPECT: Command = Command {
    name: "inspect",
    tail: "[OPTIONS] IMAGE [IMAGE...]",
    short: "Display detailed information on one or more images",
    long: "",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("format", text::FORMAT).short('f'),
        Flag::string(
            "platform",
            "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
    ]],
    action: remote!(images::inspect),
};

/// `image load`
pub(crate) static LOAD: Command = Command {
    name: "load",
    tail: "[OPTIONS]",
    short: "Load an image from a tar archive or STDIN",
    long: "",
    aliases: &["image load", "load"],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::string("input", "Read from tar archive file, instead of STDIN").short('i'),
        Flag::string(
            "platform",
            "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        Flag::bool("quiet", "Suppress the load output").short('q'),
    ]],
    action: remote!(images::load),
};

/// `image ls`
pub(crate) static LS: Command = Command {
    name: "ls",
    tail: "[OPTIONS] [REPOSITORY[:TAG]]",
    short: "List images",
    long: "",
    aliases: &["image ls", "image list", "images"],
    args: Args::Between(0, 1),
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Show all images (default hides intermediate images)").short('a'),
        Flag::bool("digests", "Show digests"),
        Flag::filter("filter", "Filter output based on conditions provided").short('f'),
        Flag::string("format", text::TABLE_FORMAT),
        Flag::bool("no-trunc", "Don't truncate output"),
        Flag::bool("quiet", "Only show image IDs").short('q'),
        Flag::bool("tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
    ]],
    action: remote!(images::list),
};

/// `image prune`
pub(crate) static PRUNE: Command = Command {
    name: "prune",
    tail: "[OPTIONS]",
    short: "Remove unused images",
    long: "",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    flags: &[&[
        Flag::bool("all", "Remove all unused images, not just dangling ones").short('a'),
        Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        Flag::bool("force", "Do not prompt for confirmation").short('f'),
    ]],
    action: remote!(images::prune),
};

/// `image pull`
pub(crate) static PULL: Command = Command {
    name: "pull",
    tail: "[OPTIONS] NAME[:TAG|@DIGEST]",
    short: "Download an image from a registry",
    long: "",
    aliases: &["image pull", "pull"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("all-tags", "Download all tagged images in the repository").short('a'),
        Flag::bool("disable-content-trust", "Skip image verification (default true)"),
        Flag::string("platform", "Set platform if server is multi-platform capable"),
        Flag::bool("quiet", "Suppress verbose output").short('q'),
    ]],
    action: remote!(images::pull),
};

/// `image push`
pub(crate) static PUSH: Command = Command {
    name: "push",
    tail: "[OPTIONS] NAME[:TAG]",
    short: "Upload an image to a registry",
    long: "",
    aliases: &["image push", "push"],
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("all-tags", "Push all tags of an image to the repository").short('a'),
        Flag::bool("disable-content-trust", "Skip image signing (default true)"),
        Flag::string(
            "platform",
            "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
        Flag::bool("quiet", "Suppress verbose output").short('q'),
    ]],
    action: remote!(images::push),
};

/// `image rm`
pub(crate) static RM: Command = Command {
    name: "rm",
    tail: "[OPTIONS] IMAGE [IMAGE...]",
    short: "Remove one or more images",
    long: "",
    aliases: &["image rm", "image remove", "rmi"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::bool("force", "Force removal of the image").short('f'),
        Flag::bool("no-prune", "Do not delete untagged parents"),
        Flag::strings(
            "platform",
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ]],
    action: remote!(images::remove),
};

/// `image save`
pub(crate) static SAVE: Command = Command {
    name: "save",
    tail: "[OPTIONS] IMAGE [IMAGE...]",
    short: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    long: "",
    aliases: &["image save", "save"],
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        Flag::string("output", "Write to a file, instead of STDOUT").short('o'),
        Flag::string(
            "platform",
            "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        Flag::list("since", "Leave out the layers of this image, which the other side has").own(),
    ]],
    action: remote!(images::save),
};

/// `image tag`
pub(crate) static TAG: Command = Command {
    name: "tag",
    tail: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    long: "",
    aliases: &["image tag", "tag"],
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
    action: remote!(images::tag),
};
