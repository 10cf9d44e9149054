//! BuildKit's document of a cache (`application/vnd.buildkit.cacheconfig.v0`): steps by their keys,
//! and the layers that are their results, each with its parent. Pure. Keys are each builder's own:
//! what another builder wrote can be read and finds nothing, and the other way round.

use model::Digest;
use registry::WantedLayer;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashMap;
use store::image::LayerBlob;

/// Media type of the document.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Member of an image's configuration that holds the records of an inline cache.
pub(crate) const INLINE: &str = "moby.buildkit.cache.v0";
/// The most records and layers that are read.
const MAX_ENTRIES: usize = 100_000;
/// The most layers of one result.
const MAX_CHAIN: usize = 500;

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheConfig {
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<Layer>,
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub(crate) records: Vec<Record>,
}

/// A layer upon its parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Digest as it travels.
    #[serde(default)]
    pub(crate) blob: String,
    /// Place of the layer below; -1 for none.
    #[serde(default)]
    pub(crate) parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Annotations>,
}

/// What a layer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Annotations {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(rename = "diffID", skip_serializing_if = "String::is_empty")]
    pub(crate) diff_id: String,
    pub(crate) size: u64,
}

/// A step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its key.
    #[serde(default)]
    pub(crate) digest: String,
    /// Its results, each the top of a chain of layers.
    #[serde(
        rename = "layers",
        default,
        deserialize_with = "null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) results: Vec<CacheResult>,
    /// Its results, each layer said.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub(crate) chains: Vec<Chain>,
    /// What leads to it, in BuildKit's keys; ours need nothing else.
    #[serde(default, deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<serde_json::Value>,
}

/// A result by its top layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheResult {
    #[serde(default)]
    pub(crate) layer: usize,
}

/// A result by all its layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chain {
    #[serde(default, deserialize_with = "null")]
    pub(crate) layers: Vec<usize>,
}

/// Go writes empty slices as `null`.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A step and its result, as the document has it.
pub(crate) type Step = (Vec<Digest>, Vec<Digest>);

/// Writes the document of steps whose layers travel as `forms` say.
pub(crate) fn write(steps: &[Step], forms: &HashMap<Digest, LayerBlob>) -> CacheConfig {
    let mut config = CacheConfig::default();
    let mut places: HashMap<(i64, Digest), i64> = HashMap::new();
    for (keys, layers) in steps {
        let mut top = -1;
        for diff_id in layers {
            let next = i64::try_from(config.layers.len()).unwrap_or(i64::MAX);
            let place = *places.entry((top, *diff_id)).or_insert(next);
            if place == next {
                let form = forms.get(diff_id);
                config.layers.push(Layer {
                    blob: form.map(|form| form.digest.to_string()).unwrap_or_default(),
                    parent: top,
                    annotations: form.map(|form| Annotations {
                        media_type: form.media_type.clone(),
                        diff_id: diff_id.to_string(),
                        size: form.size,
                    }),
                });
            }
            top = place;
        }
        let Ok(layer) = usize::try_from(top) else { continue };
        for key in keys {
            let digest = key.to_string();
            if config.records.iter().any(|known| known.digest == digest) {
                continue;
            }
            let results = vec![CacheResult { layer }];
            config.records.push(Record { digest, results, ..Record::default() });
        }
    }
    config
}

/// Reads a document: results by key. What is malformed is left out.
pub(crate) fn read(config: &CacheConfig) -> HashMap<Digest, Vec<WantedLayer>> {
    let mut found = HashMap::new();
    if config.layers.len() > MAX_ENTRIES || config.records.len() > MAX_ENTRIES {
        return found;
    }
    for record in &config.records {
        let Ok(key) = Digest::parse(&record.digest) else { continue };
        let by_top = record.results.iter().find_map(|result| below(config, result.layer));
        let by_chain = || {
            record.chains.iter().find_map(|chain| {
                chain.layers.iter().map(|at| layer(config.layers.get(*at)?)).collect()
            })
        };
        if let Some(layers) = by_top.or_else(by_chain) {
            found.insert(key, layers);
        }
    }
    found
}

/// The layers from the lowest up to this one.
fn below(config: &CacheConfig, top: usize) -> Option<Vec<WantedLayer>> {
    let mut layers = Vec::new();
    let mut at = Some(top);
    while let Some(place) = at {
        let own = config.layers.get(place)?;
        layers.push(layer(own)?);
        if layers.len() > MAX_CHAIN {
            return None;
        }
        at = usize::try_from(own.parent).ok();
    }
    layers.reverse();
    Some(layers)
}

fn layer(layer: &Layer) -> Option<WantedLayer> {
    let annotations = layer.annotations.as_ref()?;
    Some(WantedLayer {
        blob: LayerBlob {
            digest: Digest::parse(&layer.blob).ok()?,
            media_type: annotations.media_type.clone(),
            size: annotations.size,
        },
        diff_id: Digest::parse(&annotations.diff_id).ok()?,
    })
}

/// The records of an inline cache: results are places in the image's own layers.
pub(crate) fn write_inline(steps: &[Step], image: &[Digest]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for (keys, layers) in steps {
        // Every step of the image stands on the ones below it.
        if layers.is_empty() || !image.starts_with(layers) {
            continue;
        }
        for key in keys {
            let digest = key.to_string();
            if records.iter().any(|known| known.digest == digest) {
                continue;
            }
            let results = vec![CacheResult { layer: layers.len() - 1 }];
            records.push(Record { digest, results, ..Record::default() });
        }
    }
    records
}

/// Reads an inline cache of an image with these layers.
pub(crate) fn read_inline(
    records: Vec<Record>,
    image: &[WantedLayer],
) -> HashMap<Digest, Vec<WantedLayer>> {
    let parent = |at: usize| i64::try_from(at).map_or(-1, |at| at - 1);
    let place = |(at, layer): (usize, &WantedLayer)| Layer {
        blob: layer.blob.digest.to_string(),
        parent: parent(at),
        annotations: Some(Annotations {
            media_type: layer.blob.media_type.clone(),
            diff_id: layer.diff_id.to_string(),
            size: layer.blob.size,
        }),
    };
    read(&CacheConfig { layers: image.iter().enumerate().map(place).collect(), records })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::sha256([number; 32])
    }

    fn form(number: u8) -> (Digest, LayerBlob) {
        let blob =
            LayerBlob { digest: digest(number + 100), media_type: "m".into(), size: number.into() };
        (digest(number), blob)
    }

    #[test]
    fn steps_come_back_with_their_layers() {
        let forms: HashMap<_, _> = [form(1), form(2), form(3)].into();
        let steps = [
            (vec![digest(11), digest(12)], vec![digest(1), digest(2)]),
            (vec![digest(13)], vec![digest(1), digest(3)]),
            (vec![digest(14)], vec![]),
        ];
        let config = write(&steps, &forms);
        assert_eq!((config.layers.len(), config.records.len()), (3, 3));
        assert_eq!(config.layers[2].parent, 0);
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""diffID":"sha256:"#) && text.contains(r#""parent":-1"#));
        let found = read(&serde_json::from_str(&text).unwrap());
        let ids = |key: u8| -> Vec<Digest> {
            found[&digest(key)].iter().map(|layer| layer.diff_id).collect()
        };
        assert_eq!((ids(11), ids(13)), (vec![digest(1), digest(2)], vec![digest(1), digest(3)]));
        assert_eq!(found[&digest(12)][1].blob, form(2).1);
        assert!(!found.contains_key(&digest(14)));
    }

    #[test]
    fn an_inline_cache_points_into_its_image() {
        let image = [digest(1), digest(2), digest(3)];
        let steps =
            [(vec![digest(11)], vec![digest(1), digest(2)]), (vec![digest(12)], vec![digest(9)])];
        let records = write_inline(&steps, &image);
        assert_eq!(records.len(), 1);
        let wanted = |number: u8| {
            let (diff_id, blob) = form(number);
            WantedLayer { blob, diff_id }
        };
        let found = read_inline(records, &[wanted(1), wanted(2), wanted(3)]);
        assert_eq!(found[&digest(11)], [wanted(1), wanted(2)]);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        for text in [
            r#"{"records":[{"digest":"x","layers":[{"layer":0}]}]}"#,
            r#"{"records":[{"digest":"sha256:00","layers":[{"layer":7}]}]}"#,
            r#"{"layers":null,"records":null}"#,
            // A chain that never ends.
            &format!(
                r#"{{"layers":[{{"blob":"{0}","parent":0,"annotations":{{"diffID":"{0}",
                "mediaType":"m","size":1}}}}],
                "records":[{{"digest":"{0}","layers":[{{"layer":0}}]}}]}}"#,
                digest(1)
            ),
        ] {
            assert!(read(&serde_json::from_str(text).unwrap()).is_empty(), "{text}");
        }
        // What BuildKit writes with its own keys is read.
        let own = format!(
            r#"{{"layers":[{{"blob":"{0}","parent":-1,
            "annotations":{{"mediaType":"m","diffID":"{0}","size":5,
            "createdAt":"2024-01-01T00:00:00Z"}}}}],
            "records":[{{"layers":[{{"layer":0,
            "createdAt":"2024-01-01T00:00:00Z"}}],"digest":"{0}","inputs":[[{{"link":1}}]]}}]}}"#,
            digest(1)
        );
        assert_eq!(read(&serde_json::from_str(&own).unwrap()).len(), 1);
    }
}
