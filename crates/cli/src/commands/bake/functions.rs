//! The functions that every bake file may call. Pure, but for the clock, the host's random source
//! and the user's home directory.

use base64::Engine as _;
use regex_lite::Regex;
use serde_json::{Map, Value};
use sha2::Digest;

use super::eval::{Evaluated, MAX_ELEMENTS, equal, float, rational, text, truth};

/// Calls a function; `None` if there is none of that name.
pub(super) fn call(name: &str, args: &[Value]) -> Option<Evaluated> {
    let args = Args { name, list: args };
    let families: [fn(&Args<'_>) -> Option<Evaluated>; 7] =
        [texts, parts_of_texts, numbers, lists, lists_from_lists, maps, encodings];
    families.iter().find_map(|family| family(&args))
}

struct Args<'a> {
    name: &'a str,
    list: &'a [Value],
}

impl Args<'_> {
    fn wrong(&self, why: impl std::fmt::Display) -> String {
        format!("Error in function call; {}: {why}", self.name)
    }

    fn get(&self, at: usize) -> Evaluated<&Value> {
        self.list.get(at).ok_or_else(|| self.wrong(format!("argument {} is missing", at + 1)))
    }

    fn text(&self, at: usize) -> Evaluated<String> {
        text(self.get(at)?).map_err(|why| self.wrong(why))
    }

    fn float(&self, at: usize) -> Evaluated<f64> {
        float(self.get(at)?).map_err(|why| self.wrong(why))
    }

    fn truth(&self, at: usize) -> Evaluated<bool> {
        truth(self.get(at)?).map_err(|why| self.wrong(why))
    }

    fn list(&self, at: usize) -> Evaluated<&Vec<Value>> {
        let list = self.get(at)?.as_array();
        list.ok_or_else(|| self.wrong(format!("argument {} must be a list", at + 1)))
    }

    fn map(&self, at: usize) -> Evaluated<&Map<String, Value>> {
        let map = self.get(at)?.as_object();
        map.ok_or_else(|| self.wrong(format!("argument {} must be a map", at + 1)))
    }

    /// A whole number that is not negative.
    fn index(&self, at: usize) -> Evaluated<usize> {
        let number = self.float(at)?;
        let whole = number.fract() == 0.0 && (0.0..1e9).contains(&number);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        whole.then_some(number as usize).ok_or_else(|| self.wrong("not a whole number"))
    }

    fn regex(&self, at: usize) -> Evaluated<Regex> {
        Regex::new(&self.text(at)?).map_err(|error| self.wrong(error))
    }

    fn texts_of(&self, at: usize) -> Evaluated<Vec<String>> {
        self.list(at)?.iter().map(|it| text(it).map_err(|why| self.wrong(why))).collect()
    }
}

fn string(text: impl Into<String>) -> Evaluated {
    Ok(Value::String(text.into()))
}

fn texts(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| match args.name {
        "upper" => string(args.text(0)?.to_uppercase()),
        "lower" => string(args.text(0)?.to_lowercase()),
        "title" => string(title(&args.text(0)?)),
        "trimspace" => string(args.text(0)?.trim()),
        "chomp" => string(args.text(0)?.trim_end_matches(['\n', '\r'])),
        "trim" => {
            let set: Vec<char> = args.text(1)?.chars().collect();
            string(args.text(0)?.trim_matches(&set[..]))
        }
        "trimprefix" => {
            let whole = args.text(0)?;
            string(whole.strip_prefix(&args.text(1)?).unwrap_or(&whole))
        }
        "trimsuffix" => {
            let whole = args.text(0)?;
            string(whole.strip_suffix(&args.text(1)?).unwrap_or(&whole))
        }
        "replace" => {
            let (whole, from, to) = (args.text(0)?, args.text(1)?, args.text(2)?);
            string(whole.replace(&from, &to))
        }
        "regex_replace" => {
            let (whole, to) = (args.text(0)?, args.text(2)?);
            string(args.regex(1)?.replace_all(&whole, to.as_str()))
        }
        "regex" => {
            let whole = args.text(1)?;
            let regex = args.regex(0)?;
            let found = regex.captures(&whole).ok_or_else(|| args.wrong("nothing matches"))?;
            Ok(captured(&regex, &found))
        }
        "regexall" => {
            let (regex, whole) = (args.regex(0)?, args.text(1)?);
            Ok(Value::Array(regex.captures_iter(&whole).map(|it| captured(&regex, &it)).collect()))
        }
        "split" => {
            let (by, whole) = (args.text(0)?, args.text(1)?);
            let parts = match by.is_empty() {
                true => whole.chars().map(String::from).collect::<Vec<_>>(),
                false => whole.split(&by).map(str::to_owned).collect(),
            };
            Ok(parts.into())
        }
        "join" => {
            let by = args.text(0)?;
            let mut all = Vec::new();
            for at in 1..args.list.len().max(2) {
                all.extend(args.texts_of(at)?);
            }
            string(all.join(&by))
        }
        _ => Err(String::new()),
    })();
    known(value)
}

fn parts_of_texts(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| match args.name {
        "substr" => {
            let chars: Vec<char> = args.text(0)?.chars().collect();
            let from = args.float(1)?;
            let from =
                if from < 0.0 { chars.len().saturating_sub(places(-from)) } else { places(from) };
            let rest = chars.get(from..).unwrap_or_default();
            let length = args.float(2)?;
            let length = if length < 0.0 { rest.len() } else { places(length) };
            string(rest.iter().take(length).collect::<String>())
        }
        "strlen" => Ok(args.text(0)?.chars().count().into()),
        "strrev" => string(args.text(0)?.chars().rev().collect::<String>()),
        "indent" => {
            let pad = " ".repeat(args.index(0)?.min(MAX_ELEMENTS));
            string(args.text(1)?.replace('\n', &format!("\n{pad}")))
        }
        "format" => format(args),
        "sanitize" => {
            let plain =
                |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
            string(args.text(0)?.chars().map(plain).collect::<String>())
        }
        "basename" => {
            let path = args.text(0)?;
            string(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
        }
        "dirname" => {
            let path = args.text(0)?;
            let dir = std::path::Path::new(&path).parent().map(std::path::Path::to_string_lossy);
            string(match dir.as_deref() {
                None | Some("") => ".",
                Some(dir) => dir,
            })
        }
        "homedir" => string(std::env::var("HOME").unwrap_or_default()),
        "startswith" => Ok(args.text(0)?.starts_with(&args.text(1)?).into()),
        "endswith" => Ok(args.text(0)?.ends_with(&args.text(1)?).into()),
        _ => Err(String::new()),
    })();
    known(value)
}

/// An empty error is a name that is not known.
fn known(value: Evaluated) -> Option<Evaluated> {
    match value {
        Err(why) if why.is_empty() => None,
        value => Some(value),
    }
}

fn places(number: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    let places = number.clamp(0.0, 1e9) as usize;
    places
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let each = text.chars().map(|c| {
        let first = !before.is_alphanumeric();
        before = c;
        if first { c.to_uppercase().next().unwrap_or(c) } else { c }
    });
    each.collect()
}

/// What a pattern caught: by name, by number, or the whole.
fn captured(regex: &Regex, found: &regex_lite::Captures<'_>) -> Value {
    let part = |at: usize| found.get(at).map_or(Value::Null, |it| it.as_str().into());
    let names: Vec<_> = regex.capture_names().collect();
    if names.iter().any(Option::is_some) {
        let named = names.iter().enumerate();
        let named = named.filter_map(|(at, name)| Some((name.as_ref()?.to_string(), part(at))));
        return Value::Object(named.collect());
    }
    match names.len() {
        0 | 1 => part(0),
        count => Value::Array((1..count).map(part).collect()),
    }
}

/// `%s`, `%q`, `%d`, `%v`, `%f`, `%%`, with a width and a precision.
fn format(args: &Args<'_>) -> Evaluated {
    let template = args.text(0)?;
    let mut out = String::new();
    let mut rest = template.chars().peekable();
    let mut next = 1;
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = rest.next_if(|c| c.is_ascii_digit() || "-+.# ".contains(*c)) {
            spec.push(c);
        }
        let verb = rest.next().ok_or_else(|| args.wrong("the format ends too early"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = args.get(next)?;
        next += 1;
        let (width, precision) = spec.split_once('.').unwrap_or((&spec, ""));
        let shown = match verb {
            's' => text(value)?,
            'v' => text(value).unwrap_or_else(|_| value.to_string()),
            'q' => Value::String(text(value)?).to_string(),
            'd' => format!("{:.0}", float(value)?.trunc()),
            'f' => format!("{:.*}", precision.parse().unwrap_or(6).min(30), float(value)?),
            't' => truth(value)?.to_string(),
            other => return Err(args.wrong(format!("unknown verb %{other}"))),
        };
        let columns = width.trim_start_matches(['-', '+', '#', ' ']);
        let size = columns.parse::<usize>().unwrap_or(0).min(MAX_ELEMENTS);
        let missing = size.saturating_sub(shown.chars().count());
        match (width.starts_with('-'), columns.starts_with('0')) {
            (true, _) => out.push_str(&format!("{shown}{}", " ".repeat(missing))),
            (false, true) => out.push_str(&format!("{}{shown}", "0".repeat(missing))),
            (false, false) => out.push_str(&format!("{}{shown}", " ".repeat(missing))),
        }
    }
    string(out)
}

fn numbers(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| {
        let two = || Ok::<_, String>((args.float(0)?, args.float(1)?));
        let many = || -> Evaluated<Vec<f64>> { args.list.iter().map(float).collect() };
        Ok(match args.name {
            "add" => two().map(|(a, b)| rational(a + b))?,
            "subtract" => two().map(|(a, b)| rational(a - b))?,
            "multiply" => two().map(|(a, b)| rational(a * b))?,
            "divide" | "modulo" => {
                let (a, b) = two()?;
                if b == 0.0 {
                    return Err(args.wrong("division by zero"));
                }
                rational(if args.name == "divide" { a / b } else { a % b })
            }
            "pow" => two().map(|(a, b)| rational(a.powf(b)))?,
            "log" => two().map(|(a, b)| rational(a.log(b)))?,
            "abs" | "absolute" => rational(args.float(0)?.abs()),
            "negate" => rational(-args.float(0)?),
            "ceil" => rational(args.float(0)?.ceil()),
            "floor" => rational(args.float(0)?.floor()),
            "int" => rational(args.float(0)?.trunc()),
            "signum" => {
                let number = args.float(0)?;
                rational(if number == 0.0 { 0.0 } else { number.signum() })
            }
            "max" => rational(many()?.into_iter().fold(f64::NEG_INFINITY, f64::max)),
            "min" => rational(many()?.into_iter().fold(f64::INFINITY, f64::min)),
            "greaterthan" => two().map(|(a, b)| (a > b).into())?,
            "greaterthanorequalto" => two().map(|(a, b)| (a >= b).into())?,
            "lessthan" => two().map(|(a, b)| (a < b).into())?,
            "lessthanorequalto" => two().map(|(a, b)| (a <= b).into())?,
            "equal" => equal(args.get(0)?, args.get(1)?).into(),
            "notequal" => (!equal(args.get(0)?, args.get(1)?)).into(),
            "and" => (args.truth(0)? && args.truth(1)?).into(),
            "or" => (args.truth(0)? || args.truth(1)?).into(),
            "not" => (!args.truth(0)?).into(),
            "parseint" => {
                let base = u32::try_from(args.index(1)?).unwrap_or(0);
                if !(2..=36).contains(&base) {
                    return Err(args.wrong("the base must be between 2 and 36"));
                }
                let number = i64::from_str_radix(&args.text(0)?, base);
                number.map_err(|error| args.wrong(error))?.into()
            }
            _ => return Err(String::new()),
        })
    })();
    known(value)
}

fn lists(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| match args.name {
        "length" => Ok(match args.get(0)? {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            other => text(other)?.chars().count(),
        }
        .into()),
        "concat" => {
            let each = (0..args.list.len()).map(|at| args.list(at).cloned());
            Ok(Value::Array(each.collect::<Evaluated<Vec<_>>>()?.concat()))
        }
        "contains" => {
            let wanted = args.get(1)?;
            Ok(args.list(0)?.iter().any(|it| equal(it, wanted)).into())
        }
        "distinct" => {
            let mut seen: Vec<Value> = Vec::new();
            for item in args.list(0)? {
                if !seen.iter().any(|it| equal(it, item)) {
                    seen.push(item.clone());
                }
            }
            Ok(Value::Array(seen))
        }
        "compact" => {
            let full = args.list(0)?.iter().filter(|it| !it.is_null() && *it != "");
            Ok(Value::Array(full.cloned().collect()))
        }
        "coalesce" => {
            let found = args.list.iter().find(|it| !it.is_null());
            found.cloned().ok_or_else(|| args.wrong("all arguments are null"))
        }
        "coalescelist" => {
            let full = |it: &&Value| it.as_array().is_some_and(|list| !list.is_empty());
            let found = args.list.iter().find(full);
            found.cloned().ok_or_else(|| args.wrong("all lists are empty"))
        }
        "element" => {
            let list = args.list(0)?;
            let at = args.index(1)?;
            match list.len() {
                0 => Err(args.wrong("the list is empty")),
                count => Ok(list[at % count].clone()),
            }
        }
        "index" => match args.get(0)? {
            Value::Object(map) => {
                let key = args.text(1)?;
                map.get(&key).cloned().ok_or_else(|| args.wrong(format!("no key {key:?}")))
            }
            _ => {
                let found = args.list(0)?.get(args.index(1)?);
                found.cloned().ok_or_else(|| args.wrong("no such element"))
            }
        },
        "hasindex" => Ok(match (args.get(0)?, args.get(1)?) {
            (Value::Object(map), Value::String(key)) => map.contains_key(key),
            (Value::Array(list), _) => args.index(1).is_ok_and(|at| at < list.len()),
            _ => false,
        }
        .into()),
        _ => Err(String::new()),
    })();
    known(value)
}

fn lists_from_lists(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| match args.name {
        "flatten" => {
            let mut flat = Vec::new();
            flatten(args.list(0)?, &mut flat);
            Ok(Value::Array(flat))
        }
        "reverse" if args.get(0)?.is_string() => {
            string(args.text(0)?.chars().rev().collect::<String>())
        }
        "reverse" | "reverselist" => {
            Ok(Value::Array(args.list(0)?.iter().rev().cloned().collect()))
        }
        "sort" => {
            let mut all = args.texts_of(0)?;
            all.sort_unstable();
            Ok(all.into())
        }
        "slice" => {
            let list = args.list(0)?;
            let part = list.get(args.index(1)?..args.index(2)?);
            part.map(|part| Value::Array(part.to_vec())).ok_or_else(|| args.wrong("out of range"))
        }
        "chunklist" => {
            let size = args.index(1)?.max(1);
            let chunks = args.list(0)?.chunks(size);
            Ok(Value::Array(chunks.map(|chunk| Value::Array(chunk.to_vec())).collect()))
        }
        "range" => range(args),
        "setproduct" => product(args),
        "formatlist" => {
            let count = args.list.iter().filter_map(Value::as_array).map(Vec::len).max();
            let row = |at: usize| {
                let pick = |it: &Value| match it {
                    Value::Array(list) => list.get(at).cloned().unwrap_or(Value::Null),
                    other => other.clone(),
                };
                let list: Vec<Value> = args.list.iter().map(pick).collect();
                format(&Args { name: args.name, list: &list })
            };
            (0..count.unwrap_or(1)).map(row).collect::<Evaluated<_>>().map(Value::Array)
        }
        "setunion" => {
            let each = (0..args.list.len()).map(|at| args.list(at).cloned());
            let all = Value::Array(each.collect::<Evaluated<Vec<_>>>()?.concat());
            lists(&Args { name: "distinct", list: &[all] }).unwrap_or(Ok(Value::Null))
        }
        "setintersection" | "setsubtract" => {
            let (left, right) = (args.list(0)?, args.list(1)?);
            let keep = args.name == "setintersection";
            let fits = |it: &&Value| right.iter().any(|other| equal(it, other)) == keep;
            Ok(Value::Array(left.iter().filter(fits).cloned().collect()))
        }
        _ => Err(String::new()),
    })();
    known(value)
}

fn flatten(list: &[Value], into: &mut Vec<Value>) {
    for item in list {
        match item {
            Value::Array(inner) => flatten(inner, into),
            other => into.push(other.clone()),
        }
    }
}

fn range(args: &Args<'_>) -> Evaluated {
    let (from, to, step) = match args.list.len() {
        1 => (0.0, args.float(0)?, 1.0),
        2 => (args.float(0)?, args.float(1)?, 1.0),
        _ => (args.float(0)?, args.float(1)?, args.float(2)?),
    };
    if step == 0.0 {
        return Err(args.wrong("the step must not be 0"));
    }
    let mut list = Vec::new();
    let mut at = from;
    while (step > 0.0 && at < to) || (step < 0.0 && at > to) {
        if list.len() >= MAX_ELEMENTS {
            return Err(args.wrong("too many elements"));
        }
        list.push(rational(at));
        at += step;
    }
    Ok(Value::Array(list))
}

fn product(args: &Args<'_>) -> Evaluated {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..args.list.len() {
        let list = args.list(at)?;
        if rows.len().saturating_mul(list.len()) > MAX_ELEMENTS {
            return Err(args.wrong("too many elements"));
        }
        let extend = |row: &Vec<Value>| {
            let row = row.clone();
            list.iter().map(move |it| row.iter().cloned().chain([it.clone()]).collect())
        };
        rows = rows.iter().flat_map(extend).collect();
    }
    Ok(Value::Array(rows.into_iter().map(Value::Array).collect()))
}

fn maps(args: &Args<'_>) -> Option<Evaluated> {
    let value = (|| match args.name {
        "keys" => {
            let mut keys: Vec<String> = args.map(0)?.keys().cloned().collect();
            keys.sort_unstable();
            Ok(keys.into())
        }
        "values" => {
            let mut pairs: Vec<_> = args.map(0)?.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            Ok(Value::Array(pairs.into_iter().map(|(_, value)| value.clone()).collect()))
        }
        "merge" => {
            let mut all = Map::new();
            for at in 0..args.list.len() {
                if !args.get(at)?.is_null() {
                    all.extend(args.map(at)?.clone());
                }
            }
            Ok(Value::Object(all))
        }
        "lookup" => {
            let found = args.map(0)?.get(&args.text(1)?).cloned();
            found.map_or_else(|| args.get(2).cloned(), Ok)
        }
        "zipmap" => {
            let keys = args.texts_of(0)?;
            Ok(Value::Object(keys.into_iter().zip(args.list(1)?.iter().cloned()).collect()))
        }
        _ => Err(String::new()),
    })();
    known(value)
}

fn encodings(args: &Args<'_>) -> Option<Evaluated> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let value = (|| match args.name {
        "base64encode" => string(base64.encode(args.text(0)?)),
        "base64decode" => {
            let bytes = base64.decode(args.text(0)?).map_err(|error| args.wrong(error))?;
            string(String::from_utf8(bytes).map_err(|error| args.wrong(error))?)
        }
        "jsonencode" => string(args.get(0)?.to_string()),
        "jsondecode" => serde_json::from_str(&args.text(0)?).map_err(|error| args.wrong(error)),
        "csvdecode" => csv(args),
        "urlencode" => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            let one = |byte: u8| match byte {
                b' ' => "+".to_owned(),
                byte if plain(byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            string(args.text(0)?.bytes().map(one).collect::<String>())
        }
        "sha256" => string(hex(&sha2::Sha256::digest(args.text(0)?))),
        "sha512" => string(hex(&sha2::Sha512::digest(args.text(0)?))),
        "timestamp" => string(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        "formatdate" => {
            let at: jiff::Timestamp = args.text(1)?.parse().map_err(|error| args.wrong(error))?;
            string(date(&args.text(0)?, at))
        }
        "timeadd" => {
            let at: jiff::Timestamp = args.text(0)?.parse().map_err(|error| args.wrong(error))?;
            let by = crate::units::parse_duration(&args.text(1)?).map_err(|why| args.wrong(why))?;
            let by = jiff::SignedDuration::from_nanos(by);
            let sum = at.checked_add(by).map_err(|error| args.wrong(error))?;
            string(sum.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        "uuidv4" => string(uuid().map_err(|why| args.wrong(why))?),
        "md5" | "sha1" | "bcrypt" | "rsadecrypt" | "uuidv5" => {
            Err(args.wrong("is not supported; use sha256"))
        }
        _ => Err(String::new()),
    })();
    known(value)
}

fn csv(args: &Args<'_>) -> Evaluated {
    let whole = args.text(0)?;
    let mut lines = whole.lines().filter(|line| !line.is_empty());
    let row = |line: &str| crate::csv::split(line).map_err(|why| args.wrong(why));
    let head = row(lines.next().unwrap_or_default())?;
    let each = lines.map(|line| {
        let cells = row(line)?.into_iter().map(Value::String);
        Ok(Value::Object(head.iter().cloned().zip(cells).collect()))
    });
    each.collect::<Evaluated<_>>().map(Value::Array)
}

/// `YYYY-MM-DD'T'hh:mm:ssZ`, as Terraform and bake have it.
fn date(format: &str, at: jiff::Timestamp) -> String {
    const WORDS: [(&str, &str); 12] = [
        ("YYYY", "%Y"),
        ("YY", "%y"),
        ("MMMM", "%B"),
        ("MMM", "%b"),
        ("MM", "%m"),
        ("DD", "%d"),
        ("EEEE", "%A"),
        ("EEE", "%a"),
        ("hh", "%H"),
        ("mm", "%M"),
        ("ss", "%S"),
        ("Z", "Z"),
    ];
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let end = rest[1..].find('\'').map_or(rest.len(), |end| end + 1);
            out.push_str(&rest[1..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
        } else if let Some((word, code)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
            out.push_str(&at.strftime(code).to_string());
            rest = &rest[word.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// A random one, RFC 9562.
fn uuid() -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("read /dev/urandom: {error}"))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn functions() {
        for (name, args, want) in [
            ("upper", json!(["a"]), json!("A")),
            ("title", json!(["a bc"]), json!("A Bc")),
            ("replace", json!(["a.b.c", ".", "-"]), json!("a-b-c")),
            ("regex_replace", json!(["v1.2", "[0-9]+", "n"]), json!("vn.n")),
            ("regex", json!(["([a-z])([0-9])", "xa1"]), json!(["a", "1"])),
            ("split", json!([",", "a,b"]), json!(["a", "b"])),
            ("join", json!(["-", ["a", "b"]]), json!("a-b")),
            ("substr", json!(["hello", 1, 3]), json!("ell")),
            ("substr", json!(["hello", -2, -1]), json!("lo")),
            ("format", json!(["%s-%03d %q%%", "a", 7, "b"]), json!("a-007 \"b\"%")),
            ("sanitize", json!(["a/b:c"]), json!("a_b_c")),
            ("basename", json!(["/a/b"]), json!("b")),
            ("dirname", json!(["/a/b"]), json!("/a")),
            ("add", json!([1, 2.5]), json!(3.5)),
            ("max", json!([1, 5, 3]), json!(5)),
            ("equal", json!([1, 1.0]), json!(true)),
            ("length", json!([["a", "b"]]), json!(2)),
            ("concat", json!([["a"], ["b"]]), json!(["a", "b"])),
            ("distinct", json!([["a", "a"]]), json!(["a"])),
            ("flatten", json!([["a", ["b", ["c"]]]]), json!(["a", "b", "c"])),
            ("element", json!([["a", "b"], 3]), json!("b")),
            ("slice", json!([["a", "b", "c"], 1, 3]), json!(["b", "c"])),
            ("range", json!([3]), json!([0, 1, 2])),
            ("setproduct", json!([["a"], ["x", "y"]]), json!([["a", "x"], ["a", "y"]])),
            ("keys", json!([{"b": 1, "a": 2}]), json!(["a", "b"])),
            ("values", json!([{"b": 1, "a": 2}]), json!([2, 1])),
            ("merge", json!([{"a": 1}, {"a": 2}]), json!({"a": 2})),
            ("lookup", json!([{"a": 1}, "b", "d"]), json!("d")),
            ("zipmap", json!([["a"], [1]]), json!({"a": 1})),
            ("base64encode", json!(["foo"]), json!("Zm9v")),
            ("jsondecode", json!(["[1]"]), json!([1])),
            ("csvdecode", json!(["a,b\n1,2\n"]), json!([{"a": "1", "b": "2"}])),
            ("urlencode", json!(["a b/"]), json!("a+b%2F")),
            (
                "formatdate",
                json!(["YYYY-MM-DD'T'hh", "2024-03-04T05:06:07Z"]),
                json!("2024-03-04T05"),
            ),
            ("timeadd", json!(["2024-01-01T00:00:00Z", "1h"]), json!("2024-01-01T01:00:00Z")),
            ("coalesce", json!([null, "x"]), json!("x")),
            ("formatlist", json!(["%s!", ["a", "b"]]), json!(["a!", "b!"])),
            ("parseint", json!(["ff", 16]), json!(255)),
        ] {
            let got = call(name, args.as_array().unwrap());
            assert_eq!(got, Some(Ok(want)), "{name}{args}");
        }
        assert!(call("nonsense", &[]).is_none());
        assert!(call("upper", &[]).unwrap().is_err());
        assert!(call("range", &[json!(1), json!(2), json!(0)]).unwrap().is_err());
    }
}
