//! Further processes as asked for and as they are.

use model::Denied;
use model::exec::{ExecDraft, ExecState, ExecView};
use wire::docker::exec::{ExecCreateBody, ExecInspect, ProcessConfig};

use super::console_size;

/// A further process as asked for.
pub(crate) fn from_wire(body: ExecCreateBody) -> Result<ExecDraft, Denied> {
    let command = body.cmd.unwrap_or_default();
    if command.first().is_none_or(String::is_empty) {
        return Err(Denied::invalid("No exec command specified"));
    }
    Ok(ExecDraft {
        command,
        env: body.env.unwrap_or_default(),
        workdir: body.working_dir,
        user: body.user,
        tty: body.tty,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        privileged: body.privileged,
        detach_keys: body.detach_keys,
        console_size: body.console_size.and_then(console_size),
    })
}

/// A further process as it is.
pub(crate) fn to_wire(view: &ExecView) -> ExecInspect {
    let (running, exit_code, pid) = match view.state {
        ExecState::Created => (false, None, 0),
        ExecState::Running { pid } => (true, None, pid),
        ExecState::Exited { pid, code } => (false, Some(i64::from(code)), pid),
    };
    let draft = &view.draft;
    let mut words = draft.command.iter().cloned();
    ExecInspect {
        id: view.id.to_string(),
        running,
        exit_code,
        process_config: ProcessConfig {
            tty: draft.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(draft.privileged),
            user: draft.user.clone(),
        },
        open_stdin: draft.attach_stdin,
        open_stderr: draft.attach_stderr,
        open_stdout: draft.attach_stdout,
        can_remove: exit_code.is_some(),
        container_id: view.container.to_string(),
        detach_keys: crate::base64::encode(draft.detach_keys.as_bytes()),
        pid: i64::from(pid),
    }
}
