//! Directories of clients that builds were sent: kept so that the next build is sent only what
//! changed. Knows no protocol.

use super::Builds;
use crate::Result;
use crate::node::blocking;
use store::mirror::Mirror;

impl Builds {
    /// The directory kept for a client under `key`; one for the moment when the key is empty or
    /// another build uses it.
    pub async fn mirror(&self, key: &str) -> Result<Mirror> {
        let (store, key) = (self.node.store.clone(), key.to_owned());
        blocking(move || Ok(store.mirror(&key)?)).await
    }
}
