//! What can go wrong between a client and an engine, in the words users of Docker know.

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens at the endpoint.
    #[error("Cannot connect to the Docker daemon at {0}. Is the docker daemon running?")]
    Unreachable(String),
    /// The socket exists but this user may not use it.
    #[error("permission denied while trying to connect to the Docker daemon socket at {0}")]
    Forbidden(String),
    /// The connection broke, or what came over it was not HTTP.
    #[error("error during connect: {0}")]
    Transport(String),
    /// The engine answered with an error.
    #[error("Error response from daemon: {message}")]
    Api {
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("read answer of {path}: {why}")]
    Answer {
        /// The request's path.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The endpoint cannot be used.
    #[error("{0}")]
    Endpoint(String),
}

impl Error {
    /// Whether the engine said that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Api { status: 404, .. })
    }

    /// The engine's own words, without what this client puts before them.
    pub fn message(&self) -> String {
        match self {
            Error::Api { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}
