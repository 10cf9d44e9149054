//! table: help texts that many flags share; it never knows which.

/// `--format` of commands that print tables.
pub(super) const TABLE_FORMAT: &str = "Format output using a custom template:\n\
    'table':            Print output in table format with column headers (default)\n\
    'table TEMPLATE':   Print output in table format using the given Go template\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting \
    output with templates";

/// `--format` of commands that print documents.
pub(super) const FORMAT: &str = "Format output using a custom template:\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting \
    output with templates";

/// `--cgroupns`.
pub(super) const CGROUPNS: &str = "Cgroup namespace to use (host|private)\n\
    'host':    Run the container in the Docker host's cgroup namespace\n\
    'private': Run the container in its own private cgroup namespace\n\
    '':        Use the cgroup namespace as configured by the\n           \
    default-cgroupns-mode option on the daemon (default)";
