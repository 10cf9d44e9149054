//! Deciding about what runs like a container and comes from no image: steps of builds and plugins.
//! The same function decides as for containers; what is left out here is what an image would say.

use crate::Result;
use crate::node::Node;
use crate::selinux::{self, Held};
use model::image::ImageConfig;
use model::resolve::{Ask, Resolved, resolve};
use model::{ContainerId, Digest, Draft};

/// What `draft` comes to with the daemon's defaults, and the level that it has of SELinux, until
/// its actor holds it. `name` is what the program sees as its host's.
pub(crate) fn resolved(
    node: &Node,
    id: &ContainerId,
    name: &str,
    draft: &Draft,
) -> Result<(Resolved, Option<Held>)> {
    let (ground, held) = selinux::ground(node, draft)?.unzip();
    let resolved = resolve(&Ask {
        id,
        name,
        draft,
        image: Digest::sha256([0; 32]),
        config: &ImageConfig::default(),
        defaults: &node.live().defaults,
        facts: &node.facts,
        inherited: &[],
        selinux: ground.as_ref(),
    })?;
    Ok((resolved, held))
}
