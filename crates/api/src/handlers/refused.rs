//! Operations that this version does not have. Each refusal says why, in Docker's words where
//! Docker has them, so that clients show something that helps.

use hyper::StatusCode;

use crate::call::Call;
use crate::failure::Failure;
use crate::reply::Reply;

/// What only a swarm manager answers.
pub(crate) async fn swarm(_call: Call) -> Reply {
    Err(Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
         connect this node to swarm and try again.",
    ))
}

/// What only a member of a swarm can do.
pub(crate) async fn swarm_absent(_call: Call) -> Reply {
    Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm"))
}

/// Making or joining a swarm.
pub(crate) async fn swarm_setup(_call: Call) -> Reply {
    Err(Failure::unsupported("swarm mode is not supported by this version"))
}

/// Freezing a container to disk, and what was frozen.
pub(crate) async fn checkpoint(_call: Call) -> Reply {
    Err(Failure::unsupported(
        "checkpoints are not supported by this version: containers outlive the daemon without \
         them, and pause freezes one where it is",
    ))
}
