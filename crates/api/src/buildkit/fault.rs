//! Errors of builds as gRPC statuses and back. Knows no service.

use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use build::Error;
use build::span::{Location, Position, Span};
use model::ErrorKind;
use model::error::HasKind;
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use crate::base64;

/// The longest message of a client's that is passed on.
const MAX_MESSAGE_CHARS: usize = 2048;
/// BuildKit's name for the detail that says where an error is.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";

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
    let message = error.to_string();
    match error.location() {
        None => Status::new(code, message),
        Some(location) => {
            let details = rpc::Status {
                code: code.into(),
                message: message.clone(),
                details: vec![source(location)],
            };
            Status::with_details(code, message, details.encode_to_vec().into())
        }
    }
}

/// Where in a file an error is, from which clients print the lines.
fn source(location: &Location) -> Any {
    let position = |at: Position| json!({"line": at.line, "character": at.column});
    let range = |span: &Span| json!({"start": position(span.start), "end": position(span.end)});
    let ranges: Vec<_> = location.spans.iter().map(range).collect();
    let info = json!({
        "filename": location.source.name,
        "data": base64::encode(location.source.text.as_bytes()),
        "language": "Dockerfile",
    });
    let document = json!({"info": info, "ranges": ranges});
    Any { type_url: SOURCE.to_owned(), value: document.to_string().into_bytes() }
}

/// What a client is told when the engine refuses something.
pub(super) fn refused(error: &engine::EngineError) -> Status {
    Status::unknown(crate::failure::describe(error))
}
