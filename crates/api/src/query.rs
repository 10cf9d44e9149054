//! A request's query parameters, read as Docker reads them. Also the percent-decoding of paths.

use crate::failure::Failure;

/// How many parameters are read; no operation has more than 25.
const MAX_PARAMETERS: usize = 256;

/// Parameters in order, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(Failure::invalid("too many query parameters"));
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((decode(name, true)?, decode(value, true)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a parameter; empty is absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The first value of a parameter, or the empty text.
    pub(crate) fn text_or_empty(&self, name: &str) -> &str {
        self.raw(name).unwrap_or_default()
    }

    /// Every value of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Docker's truth: everything but absent, empty, `0`, `no`, `false` and `none`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// The same with another value when the parameter is absent.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        let Some(value) = self.raw(name) else { return default };
        let value = value.trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| {
            Failure::invalid(format!("invalid value {value:?} for {name}: want a number"))
        })
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Percent-decodes; `plus` makes `+` a space, as in forms.
pub(crate) fn decode(text: &str, plus: bool) -> Result<String, Failure> {
    let invalid = || Failure::invalid(format!("invalid URL escape in {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
                let (high, low) = (digit().ok_or_else(invalid)?, digit().ok_or_else(invalid)?);
                u8::try_from(high << 4 | low).map_err(|_| invalid())?
            }
            other => other,
        });
    }
    let decoded = String::from_utf8(bytes).map_err(|_| invalid())?;
    if decoded.contains('\0') {
        return Err(invalid());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_docker_does() {
        let query = Query::parse("a=1&b=&c=False&d=no&e=yes&f&h=x%2Fy+z&n=a&n=b&t=-5&=q").unwrap();
        let flags = ["a", "b", "c", "d", "e", "f", "missing"].map(|name| query.flag(name));
        assert_eq!(flags, [true, false, false, false, true, false, false]);
        assert!(query.flag_or("missing", true));
        assert_eq!(query.text("h"), Some("x/y z"));
        assert_eq!(query.text("b"), None);
        assert_eq!(query.all("n").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.number::<i64>("t").unwrap(), Some(-5));
        assert!(query.number::<u16>("t").is_err());
        assert!(query.number::<i64>("h").is_err());
    }

    #[test]
    fn refuses_garbage() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%00", "%=a"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        assert!(Query::parse(&"a=b&".repeat(1000)).is_err());
    }
}
