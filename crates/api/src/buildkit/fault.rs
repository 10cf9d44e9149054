//! Errors of builds as gRPC statuses and back. Knows no service.

use build::Error;
use model::ErrorKind;
use model::error::HasKind;
use tonic::{Code, Status};

/// The longest message of a client's that is passed on.
const MAX_MESSAGE_CHARS: usize = 2048;

/// What a call to a client came to.
pub(super) fn failed(act: String, status: &Status) -> Error {
    let kind = match status.code() {
        Code::NotFound => ErrorKind::NotFound,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Forbidden,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Cancelled => return Error::Cancelled,
        Code::Unavailable => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    let message: String = status.message().chars().take(MAX_MESSAGE_CHARS).collect();
    Error::Failed { kind, message: format!("{act}: {message}") }
}

/// What a client is told of a failed build.
pub(super) fn status(error: &Error) -> Status {
    let code = match (error.root(), error.kind()) {
        (Error::Cancelled, _) => Code::Cancelled,
        (_, ErrorKind::Invalid) => Code::InvalidArgument,
        (_, ErrorKind::NotFound) => Code::NotFound,
        (_, ErrorKind::Forbidden) => Code::PermissionDenied,
        (_, ErrorKind::Conflict) => Code::AlreadyExists,
        (_, ErrorKind::Unsupported) => Code::Unimplemented,
        (_, ErrorKind::Unavailable) => Code::Unavailable,
        (_, ErrorKind::Exhausted) => Code::ResourceExhausted,
        _ => Code::Unknown,
    };
    Status::new(code, error.to_string())
}

/// What a client is told when the engine refuses something.
pub(super) fn refused(error: &engine::EngineError) -> Status {
    Status::unknown(crate::failure::describe(error))
}
