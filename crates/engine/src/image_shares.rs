//! What images share: layers that more than one of them has are on the disk once. Pure; it never
//! asks where a layer is.

use model::Digest;
use model::image::ImageLine;
use std::collections::{BTreeSet, HashMap};

/// Notes in each line the bytes of the layers that other images have too.
pub(crate) fn note<E>(
    lines: &mut [ImageLine],
    mut size_of: impl FnMut(Digest) -> Result<u64, E>,
) -> Result<(), E> {
    let mut holders: HashMap<Digest, u32> = HashMap::new();
    for layer in lines.iter().flat_map(|line| distinct(&line.layers)) {
        *holders.entry(layer).or_insert(0) += 1;
    }
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    for (layer, _) in holders.into_iter().filter(|(_, holders)| *holders > 1) {
        sizes.insert(layer, size_of(layer)?);
    }
    for line in lines {
        line.shared_bytes = distinct(&line.layers).iter().filter_map(|it| sizes.get(it)).sum();
    }
    Ok(())
}

/// An image may have the same layer twice.
fn distinct(layers: &[Digest]) -> BTreeSet<Digest> {
    layers.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u8, layers: &[u8]) -> ImageLine {
        let digest = |byte: u8| Digest::sha256([byte; 32]);
        ImageLine {
            id: digest(id),
            tags: Vec::new(),
            digests: Vec::new(),
            parent: None,
            created: None,
            labels: Default::default(),
            size_bytes: 0,
            shared_bytes: 7,
            layers: layers.iter().copied().map(digest).collect(),
            containers: 0,
            held: false,
            target: None,
        }
    }

    #[test]
    fn layers_of_several_images_are_shared() {
        let mut lines = [line(1, &[1, 2, 2]), line(2, &[1, 3]), line(3, &[4, 4])];
        let size = |layer: Digest| Ok::<_, ()>(u64::from(layer.as_bytes()[0]) * 100);
        note(&mut lines, size).unwrap();
        assert_eq!(lines.map(|line| line.shared_bytes), [100, 100, 0]);
    }
}
