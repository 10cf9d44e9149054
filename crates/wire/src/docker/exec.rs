//! Further processes in a container. Never starts one.

use serde::{Deserialize, Serialize};

use super::{Strings, is_zero, json};

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecCreateBody {
    /// `user[:group]`; empty is the container's.
    pub user: String,
    /// Lift the isolation.
    pub privileged: bool,
    /// Give the process a terminal.
    pub tty: bool,
    /// Height and width of the terminal at start.
    #[serde(skip_serializing_if = "is_zero")]
    pub console_size: Option<[u32; 2]>,
    /// Connect stdin.
    pub attach_stdin: bool,
    /// Connect stderr.
    pub attach_stderr: bool,
    /// Connect stdout.
    pub attach_stdout: bool,
    /// Run in the background (an old field; start decides).
    pub detach: bool,
    /// Keys that detach; empty is the daemon's.
    pub detach_keys: String,
    /// `NAME=value`, after the container's.
    pub env: Strings,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// Program and arguments.
    #[serde(deserialize_with = "json::strings_or_one")]
    pub cmd: Strings,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecStartBody {
    /// Answer at once and leave it in the background.
    pub detach: bool,
    /// Whether the client thinks that there is a terminal.
    pub tty: bool,
    /// Height and width of the terminal at start.
    #[serde(skip_serializing_if = "is_zero")]
    pub console_size: Option<[u32; 2]>,
}

/// The answer to `GET /exec/{id}/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecInspect {
    /// 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
    /// Has a process.
    pub running: bool,
    /// `null` while it has not exited.
    pub exit_code: Option<i64>,
    /// What runs.
    pub process_config: ProcessConfig,
    /// Stdin is connected.
    pub open_stdin: bool,
    /// Stderr is connected.
    pub open_stderr: bool,
    /// Stdout is connected.
    pub open_stdout: bool,
    /// May be forgotten.
    pub can_remove: bool,
    /// The container.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// Base64 of the detach keys' bytes.
    pub detach_keys: String,
    /// In the engine's pid namespace; 0 before start.
    pub pid: i64,
}

/// What an exec runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// Has a terminal.
    pub tty: bool,
    /// Program.
    pub entrypoint: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Isolation is lifted.
    #[serde(skip_serializing_if = "is_zero")]
    pub privileged: Option<bool>,
    /// `user[:group]`.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
}
