//! What `WWW-Authenticate` asks for (RFC 9110, section 11.6.1; distribution token
//! specification). Pure; the texts come from anybody.

/// The most bytes of one header that are read.
const MAX_BYTES: usize = 8 << 10;
/// The most challenges and parameters that are read.
const MAX_PARTS: usize = 32;

/// One way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from elsewhere.
    Bearer {
        /// Where the token is had.
        realm: String,
        /// For whom it is.
        service: Option<String>,
        /// For what it is.
        scope: Option<String>,
    },
}

/// Reads a header's value. Schemes that are neither are left out; what is malformed ends the
/// reading.
pub(crate) fn parse(text: &str) -> Vec<Challenge> {
    let mut reader = Reader { rest: text.get(..text.len().min(MAX_BYTES)).unwrap_or("") };
    let mut found = Vec::new();
    let mut scheme = reader.token();
    while let Some(name) = scheme.take() {
        let mut parameters: Vec<(String, String)> = Vec::new();
        loop {
            reader.skip(&[' ', '\t', ',']);
            let Some(key) = reader.token() else { break };
            reader.skip(&[' ', '\t']);
            if !reader.eat('=') {
                // No parameter: the next scheme.
                scheme = Some(key);
                break;
            }
            reader.skip(&[' ', '\t']);
            let Some(value) = reader.value() else { break };
            parameters.push((key.to_ascii_lowercase(), value));
            if parameters.len() > MAX_PARTS {
                return found;
            }
        }
        found.extend(challenge(&name, parameters));
        if found.len() > MAX_PARTS {
            return found;
        }
    }
    found
}

fn challenge(name: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (key, value) in parameters {
        let slot = match key.as_str() {
            "realm" => &mut realm,
            "service" => &mut service,
            "scope" => &mut scope,
            _ => continue,
        };
        // The first wins: a second one is somebody else's.
        slot.get_or_insert(value);
    }
    match name.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: realm?, service, scope }),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self, chars: &[char]) {
        self.rest = self.rest.trim_start_matches(chars);
    }

    fn eat(&mut self, char: char) -> bool {
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn token(&mut self) -> Option<String> {
        self.skip(&[' ', '\t', ',']);
        let part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then(|| token.to_owned())
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token();
        }
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                char => value.push(char),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope) }
    }

    #[test]
    fn challenges_are_read() {
        for (text, want) in [
            ("Basic realm=\"x\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                vec![bearer("https://a/t", Some("s"), Some("repository:a/b:pull,push"))],
            ),
            (
                "Negotiate, Basic realm=\"a, b\", Bearer realm=\"https://\\\"x\"",
                vec![Challenge::Basic, bearer("https://\"x", None, None)],
            ),
            ("Bearer realm=a,realm=b", vec![bearer("a", None, None)]),
            ("Bearer service=\"s\"", vec![]),
            ("Bearer realm=\"unclosed", vec![]),
            ("", vec![]),
            ("====", vec![]),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    #[test]
    fn hostile_headers_end() {
        for text in ["a ".repeat(100_000), "Basic ".repeat(9000), "Bearer x=y,".repeat(9000)] {
            assert!(parse(&text).len() <= MAX_PARTS + 1);
        }
        for seed in 0..2000u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let text: String = (0..40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let alphabet = "Basic Bearer realm=\"\\,=é ";
                    alphabet.chars().nth(usize::try_from(state % 25).unwrap()).unwrap_or(' ')
                })
                .collect();
            parse(&text);
        }
    }
}
