//! Command lines with the rules of Go's pflag: `--flag=v`, `--flag v`, `-it`, `-p80`, `--rm=false`,
//! `--`. It never prints; what is wrong comes back as the sentence to print.

use super::{Flag, Kind, Matches};
use crate::{number, units};

/// What a command line turned out to be.
pub enum Parsed {
    /// Values and positional arguments.
    Run(Matches),
    /// The help page was asked for; true when by the old short `-h`.
    Help(bool),
}

/// Reads `args` against `flags`. Without `interspersed`, the first positional argument ends flags.
pub fn parse(
    flags: Vec<&'static Flag>,
    interspersed: bool,
    args: &[String],
) -> Result<Parsed, String> {
    let mut reader = Reader { flags, values: Vec::new(), rest: args, help: None };
    let mut positional = Vec::new();
    while let Some((word, rest)) = reader.rest.split_first() {
        reader.rest = rest;
        if word == "--" {
            positional.extend_from_slice(rest);
            break;
        }
        if let Some(name) = word.strip_prefix("--") {
            reader.long(word, name)?;
        } else if word.len() > 1 && word.starts_with('-') {
            reader.cluster(&word[1..])?;
        } else {
            positional.push(word.clone());
            if !interspersed {
                positional.extend_from_slice(rest);
                break;
            }
        }
    }
    if let Some(short) = reader.help {
        return Ok(Parsed::Help(short));
    }
    Ok(Parsed::Run(Matches::new(reader.flags, reader.values, positional)))
}

struct Reader<'a> {
    flags: Vec<&'static Flag>,
    values: Vec<(&'static Flag, String)>,
    rest: &'a [String],
    help: Option<bool>,
}

impl Reader<'_> {
    fn long(&mut self, word: &str, body: &str) -> Result<(), String> {
        if body.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = self.flags.iter().copied().find(|flag| flag.long == name) else {
            if name == "help" {
                self.help = Some(false);
                return Ok(());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => self.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        self.set(flag, value)
    }

    fn cluster(&mut self, mut letters: &str) -> Result<(), String> {
        while let Some(letter) = letters.chars().next() {
            let rest = &letters[letter.len_utf8()..];
            let known = self.flags.iter().copied().find(|flag| flag.short == Some(letter));
            let Some(flag) = known else {
                if letter == 'h' {
                    self.help = Some(true);
                    letters = rest;
                    continue;
                }
                return Err(format!("unknown shorthand flag: '{letter}' in -{letters}"));
            };
            if let Some(value) = rest.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(flag, value.to_owned());
            }
            if flag.kind == Kind::Bool {
                self.set(flag, "true".to_owned())?;
                letters = rest;
                continue;
            }
            let value = if rest.is_empty() {
                let missing = || format!("flag needs an argument: '{letter}' in -{letters}");
                self.next().ok_or_else(missing)?
            } else {
                rest.to_owned()
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<String> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(word.clone())
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), String> {
        let checked = match flag.check {
            Some(check) => read(flag.kind, &value).and_then(|()| check(&value)),
            None => read(flag.kind, &value),
        };
        checked.map_err(|why| {
            format!(
                "invalid argument {} for \"{}\" flag: {why}",
                number::quote(&value),
                flag.label()
            )
        })?;
        self.values.push((flag, value));
        Ok(())
    }
}

/// Whether a value can be read as its kind.
fn read(kind: Kind, value: &str) -> Result<(), String> {
    match kind {
        Kind::Bool => number::parse_bool(value).map(drop),
        Kind::Int => number::parse_int(value).map(drop),
        Kind::Uint => number::parse_uint(value, u64::MAX).map(drop),
        Kind::Uint16 => number::parse_uint(value, u64::from(u16::MAX)).map(drop),
        Kind::Duration => units::parse_duration(value).map(drop),
        Kind::Bytes => units::parse_bytes(value).map(drop),
        Kind::SwapBytes if value == "-1" => Ok(()),
        Kind::SwapBytes => units::parse_bytes(value).map(drop),
        Kind::Decimal => units::parse_nano(value).map(drop),
        Kind::Filter if value.is_empty() || value.contains('=') => Ok(()),
        Kind::Filter => Err("bad format of filter (expected name=value)".to_owned()),
        Kind::Text | Kind::List | Kind::Strings => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: &[Flag] = &[
        Flag::bool("interactive", "").short('i'),
        Flag::bool("tty", "").short('t'),
        Flag::bool("rm", ""),
        Flag::list("publish", "").short('p'),
        Flag::string("name", ""),
        Flag::bytes("memory", "").short('m'),
        Flag::strings("alias", ""),
    ];

    fn outcome(line: &str, interspersed: bool) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(FLAGS.iter().collect(), interspersed, &words) {
            Err(why) => format!("error: {why}"),
            Ok(Parsed::Help(short)) => format!("help {short}"),
            Ok(Parsed::Run(m)) => format!("{} | {}", m.described(), m.args().join(" ")),
        }
    }

    #[test]
    fn every_way_to_write_a_flag() {
        for (line, expected) in [
            ("-it img sh", "interactive=true tty=true | img sh"),
            ("-itp80:80 img", "interactive=true tty=true publish=80:80 | img"),
            ("-p=80 img", "publish=80 | img"),
            ("-p 1 -p 2 img", "publish=1 publish=2 | img"),
            ("--rm=false --name=x img", "rm=false name=x | img"),
            ("--name x img", "name=x | img"),
            ("img --rm", "rm=true | img"),
            ("-- --rm img", " | --rm img"),
            ("-t=false img", "tty=false | img"),
            ("- img", " | - img"),
            ("--help --rm", "help false"),
            ("-h", "help true"),
            ("--bad", "error: unknown flag: --bad"),
            ("--bad=1", "error: unknown flag: --bad"),
            ("-zit", "error: unknown shorthand flag: 'z' in -zit"),
            ("-itz", "error: unknown shorthand flag: 'z' in -z"),
            ("--name", "error: flag needs an argument: --name"),
            ("-m", "error: flag needs an argument: 'm' in -m"),
            ("--=x", "error: bad flag syntax: --=x"),
            ("---x", "error: bad flag syntax: ---x"),
            ("-m x", "error: invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
            (
                "--rm=maybe",
                "error: invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \
                 \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(outcome(line, true), expected, "{line}");
        }
    }

    #[test]
    fn the_first_argument_ends_flags_when_not_interspersed() {
        assert_eq!(outcome("--rm img -it --bad", false), "rm=true | img -it --bad");
    }
}
