//! The operations: what each does to the storage and what it answers. A request that came here is
//! authorised.

pub(crate) mod blob;
pub(crate) mod list;
pub(crate) mod manifest;
pub(crate) mod upload;

use super::refusal::Refusal;

/// Parameters of a query, percent-decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes `%41` and `+`; what is malformed stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs what blocks away from the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Refusal::internal(format!("a task broke down: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn queries() {
        let query = Query::parse("digest=sha256%3Aab&a=1&a=2+3&flag&bad=%zz");
        assert_eq!(query.value("digest"), Some("sha256:ab"));
        assert_eq!(query.values("a").collect::<Vec<_>>(), ["1", "2 3"]);
        assert_eq!(query.value("flag"), Some(""));
        assert_eq!(query.value("bad"), Some("%zz"));
        assert_eq!(query.value("none"), None);
    }
}
