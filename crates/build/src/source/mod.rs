//! Content from outside: directories of clients, git trees, files over HTTP. What comes is not
//! trusted; what a checksum promises is verified before anybody sees it.

mod git;
mod http;
mod layout;

pub(crate) use git::git;
pub(crate) use http::http;
pub(crate) use layout::{layout_image, oci_layout};

use crate::client::LocalAsk;
use crate::error::Result;
use crate::graph::Local;
use crate::solve::Build;
use crate::tree::{DirTree, Tree};
use crate::walk::Filter;
use std::sync::Arc;

/// A directory of the client's.
pub(crate) async fn local(build: &Arc<Build>, local: &Local) -> Result<Tree> {
    let ask = LocalAsk {
        name: local.name.clone(),
        include: local.include.clone(),
        exclude: local.exclude.clone(),
        follow: local.follow.clone(),
    };
    let found = build.client.local(&ask).await?;
    let filter = Filter::new(&local.include, &local.exclude)?;
    Ok(Tree::Dir(Arc::new(DirTree::new(found.dir, filter, found.lasting, found.keep))))
}
