//! The Dockerfile instructions that `commit --change` and `import --change` accept, applied to a
//! configuration. Source: Docker's `docker commit` reference (CMD, ENTRYPOINT, ENV, EXPOSE,
//! HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR). Pure.

use crate::error::Result;
use model::Denied;
use std::collections::BTreeMap;
use wire::oci::image::{Empty, Healthcheck, RunConfig};

/// The shell of shell-form commands when the image names none.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies instructions, one each, in order.
pub fn apply(config: &mut RunConfig, changes: &[String]) -> Result<()> {
    changes.iter().try_for_each(|change| one(config, change.trim()))
}

fn one(config: &mut RunConfig, change: &str) -> Result<()> {
    let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
    let fail = |why: &str| -> Result<()> {
        Err(Denied::invalid(format!("invalid change {change:?}: {why}")).into())
    };
    if rest.is_empty() {
        return fail("no argument");
    }
    let known = config.env.clone().unwrap_or_default();
    let known = Variables(&known);
    match word.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(config, rest));
            config.cmd = None;
        }
        "ENV" => {
            let Some(pairs) = pairs(rest, known) else { return fail("want NAME=value") };
            let env = config.env.get_or_insert_default();
            for (name, value) in pairs {
                let prefix = format!("{name}=");
                env.retain(|known| !known.starts_with(&prefix));
                env.push(prefix + &value);
            }
        }
        "LABEL" => {
            let Some(pairs) = pairs(rest, known) else { return fail("want NAME=value") };
            config.labels.get_or_insert_default().extend(pairs);
        }
        "EXPOSE" => {
            for port in words(rest, known) {
                let Some(port) = port_spec(&port) else { return fail("want PORT[/PROTOCOL]") };
                config.exposed_ports.get_or_insert_default().insert(port, Empty {});
            }
        }
        "VOLUME" => {
            for path in json_list(rest).unwrap_or_else(|| words(rest, known)) {
                if path.trim().is_empty() {
                    return fail("empty path");
                }
                config.volumes.get_or_insert_default().insert(path, Empty {});
            }
        }
        "USER" => config.user = words(rest, known).join(" "),
        "WORKDIR" => {
            let path = words(rest, known).join(" ");
            config.working_dir = join_dir(&config.working_dir, &path);
        }
        "STOPSIGNAL" => {
            model::signal::Signal::parse(rest)?;
            config.stop_signal = Some(rest.to_owned());
        }
        "ONBUILD" => config.on_build.get_or_insert_default().push(rest.to_owned()),
        "HEALTHCHECK" => match healthcheck(rest) {
            Ok(check) => config.healthcheck = Some(check),
            Err(why) => return fail(&why),
        },
        _ => return fail("not an instruction that changes a configuration"),
    }
    Ok(())
}

/// Exec form is a JSON list; anything else goes to the shell.
fn command(config: &RunConfig, rest: &str) -> Vec<String> {
    json_list(rest).unwrap_or_else(|| {
        let shell = match &config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => DEFAULT_SHELL.map(str::to_owned).to_vec(),
        };
        shell.into_iter().chain([rest.to_owned()]).collect()
    })
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `a=b c="d e"`, or the old form `a b c` meaning a = "b c".
fn pairs(text: &str, known: Variables<'_>) -> Option<BTreeMap<String, String>> {
    let words = words(text, known);
    if !words.first()?.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace)?;
        let value = known.expand(value.trim());
        return Some(BTreeMap::from([(name.to_owned(), value)]));
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=')?;
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The environment as it was before the instruction.
#[derive(Clone, Copy)]
struct Variables<'e>(&'e [String]);

impl Variables<'_> {
    fn value(&self, name: &str) -> &str {
        let pairs = self.0.iter().rev().filter_map(|entry| entry.split_once('='));
        pairs.into_iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// What stands for the variable that a `$` before these characters means, or the `$` itself.
    fn read(&self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
        let braces = chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if !braces {
            return if name.is_empty() { "$".to_owned() } else { self.value(&name).to_owned() };
        }
        let rest: String = chars.by_ref().take_while(|c| *c != '}').collect();
        let value = self.value(&name);
        match (rest.strip_prefix(":-"), rest.strip_prefix(":+")) {
            (Some(otherwise), _) if value.is_empty() => otherwise.to_owned(),
            (_, Some(instead)) if !value.is_empty() => instead.to_owned(),
            (_, Some(_)) => String::new(),
            _ => value.to_owned(),
        }
    }

    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '$' => out.push_str(&self.read(&mut chars)),
                '\\' if chars.next_if_eq(&'$').is_some() => out.push('$'),
                c => out.push(c),
            }
        }
        out
    }
}

/// Words with shell-like quotes and backslashes; variables stand for what is known of them, and
/// make no words of their own.
fn words(text: &str, known: Variables<'_>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().extend(chars.next());
            }
            (None | Some('"'), '$') => {
                word.get_or_insert_default().push_str(&known.read(&mut chars));
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn port_spec(text: &str) -> Option<String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let in_range = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let valid = match ports.split_once('-') {
        Some((low, high)) => in_range(low) && in_range(high),
        None => in_range(ports),
    };
    (valid && matches!(protocol.as_str(), "tcp" | "udp" | "sctp"))
        .then(|| format!("{ports}/{protocol}"))
}

fn join_dir(current: &str, next: &str) -> String {
    if next.starts_with('/') {
        return next.to_owned();
    }
    format!("{}/{next}", current.trim_end_matches('/'))
}

fn healthcheck(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').ok_or("want --NAME=VALUE")?;
        let time = || duration(value).ok_or(format!("bad duration {value:?}"));
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => check.retries = value.parse().map_err(|_| "bad retries")?,
            _ => return Err(format!("unknown flag --{name}")),
        }
        rest = after.trim_start();
    }
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = Some(match word.to_ascii_uppercase().as_str() {
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if !command.is_empty() => match json_list(command) {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err("want NONE or CMD".into()),
    });
    Ok(check)
}

/// Go's durations: `1h2m3.5s`, in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "ns" => 1e0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    // Beyond a century nobody waits; below, the conversion is exact enough and in range.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the comparison")]
    (!text.is_empty() && total <= 3.2e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str]) -> RunConfig {
        let mut config = RunConfig::default();
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        apply(&mut config, &changes).unwrap();
        config
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = after(&[
            "CMD [\"a\", \"b c\"]",
            "env A=1 B=\"two words\"",
            "ENV A 3 4",
            "LABEL x=y",
            "EXPOSE 80 53/UDP",
            "VOLUME [\"/data\"]",
            "VOLUME /a /b",
            "USER 1:2",
            "WORKDIR /w",
            "WORKDIR sub",
            "STOPSIGNAL SIGTERM",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
        ]);
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.env.unwrap(), ["B=two words", "A=3 4"]);
        assert_eq!(config.labels.unwrap()["x"], "y");
        let ports: Vec<_> = config.exposed_ports.unwrap().into_keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes.unwrap().into_keys().collect::<Vec<_>>(), ["/a", "/b", "/data"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("1:2", "/w/sub"));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
        assert_eq!(check.test.unwrap(), ["CMD-SHELL", "curl x"]);
    }

    #[test]
    fn variables_are_those_that_were_there() {
        let config = after(&[
            "ENV PATH=/bin A=1",
            "ENV PATH=/usr/bin:$PATH B='$A' C=\"${A}x\" D=${NO:-none} E=${A:+set} F=\\$A A=2",
            "ENV G a $A b",
            "USER u$A",
            "LABEL l=$G",
            "CMD echo $A",
        ]);
        let env = config.env.unwrap();
        for entry in
            ["PATH=/usr/bin:/bin", "A=2", "B=$A", "C=1x", "D=none", "E=set", "F=$A", "G=a 2 b"]
        {
            assert!(env.iter().any(|known| known == entry), "{entry} in {env:?}");
        }
        assert_eq!(config.user, "u2");
        assert_eq!(config.labels.unwrap()["l"], "a 2 b");
        assert_eq!(config.cmd.unwrap()[2], "echo $A");
    }

    #[test]
    fn shell_form_goes_to_the_shell_and_an_entrypoint_resets_the_command() {
        let config = after(&["CMD echo hi", "ENTRYPOINT top -b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "top -b"]);
        assert_eq!(config.cmd, None);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "RUN x",
            "FROM a",
            "CMD",
            "",
            "EXPOSE x",
            "EXPOSE 0",
            "ENV A",
            "STOPSIGNAL NO",
            "HEALTHCHECK x",
            "HEALTHCHECK --interval=5 CMD x",
        ] {
            let mut config = RunConfig::default();
            assert!(apply(&mut config, &[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
