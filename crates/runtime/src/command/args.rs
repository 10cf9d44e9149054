//! Words of a command line: options with their values, then the rest. Pure.

/// The words make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Usage {
    /// No such option.
    #[error("unknown option {0}")]
    UnknownOption(String),
    /// The option needs a value.
    #[error("option {0} needs a value")]
    NoValue(String),
    /// The option takes none.
    #[error("option {0} takes no value")]
    HasValue(String),
    /// A word is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A word too many.
    #[error("unexpected argument {0:?}")]
    Extra(String),
    /// The value is not understood.
    #[error("value {value:?} of option {option} is not understood")]
    BadValue {
        /// Which option.
        option: String,
        /// Its value.
        value: String,
    },
}

/// The words that were not read yet.
#[derive(Debug)]
pub(crate) struct Args {
    words: std::collections::VecDeque<String>,
    /// Value of the last option, given with `=`.
    attached: Option<String>,
}

impl Args {
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words: words.into(), attached: None }
    }

    /// The next option, in the form `--name` or `-n`; nothing if a word is next.
    pub(crate) fn option(&mut self) -> Option<String> {
        let next = self.words.front()?;
        if next == "--" {
            self.words.pop_front();
            return None;
        }
        if next.len() < 2 || !next.starts_with('-') {
            return None;
        }
        let option = self.words.pop_front()?;
        match option.split_once('=') {
            Some((name, value)) => {
                self.attached = Some(value.to_owned());
                Some(long(name))
            }
            None => Some(long(&option)),
        }
    }

    /// The value of the option that was read last.
    pub(crate) fn value(&mut self, option: &str) -> Result<String, Usage> {
        let attached = self.attached.take();
        attached.or_else(|| self.words.pop_front()).ok_or_else(|| Usage::NoValue(option.to_owned()))
    }

    /// The value of the option that was read last, parsed.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self, option: &str) -> Result<T, Usage> {
        let value = self.value(option)?;
        value.parse().map_err(|_| Usage::BadValue { option: option.to_owned(), value })
    }

    /// Whether the option that was read last, which needs no value, is on.
    pub(crate) fn switch(&mut self, option: &str) -> Result<bool, Usage> {
        match self.attached.take().as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Usage::HasValue(option.to_owned())),
        }
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// The next word, which must be there.
    pub(crate) fn required(&mut self, what: &'static str) -> Result<String, Usage> {
        self.word().ok_or(Usage::Missing(what))
    }

    /// All words that are left.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words.into()
    }

    /// No word may be left.
    pub(crate) fn end(&mut self) -> Result<(), Usage> {
        self.word().map_or(Ok(()), |word| Err(Usage::Extra(word)))
    }

    /// Options without any meaning for the command, then its only word: the container's id.
    pub(crate) fn only_id(&mut self) -> Result<String, Usage> {
        if let Some(option) = self.option() {
            return Err(Usage::UnknownOption(option));
        }
        let id = self.required("the container's id")?;
        self.end()?;
        Ok(id)
    }
}

/// Long options may be written with one dash, as Go programs take them.
fn long(option: &str) -> String {
    match option.strip_prefix('-') {
        Some(name) if name.len() > 1 && !name.starts_with('-') => format!("--{name}"),
        _ => option.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_values_and_words() {
        let mut args = args("--bundle /b -d --pid-file=/p -root /r id sh -c x");
        assert_eq!(args.option().as_deref(), Some("--bundle"));
        assert_eq!(args.value("--bundle").as_deref(), Ok("/b"));
        assert_eq!(args.option().as_deref(), Some("-d"));
        assert_eq!(args.switch("-d"), Ok(true));
        assert_eq!(args.option().as_deref(), Some("--pid-file"));
        assert_eq!(args.value("--pid-file").as_deref(), Ok("/p"));
        assert_eq!(args.option().as_deref(), Some("--root"));
        assert_eq!(args.value("--root").as_deref(), Ok("/r"));
        assert_eq!(args.option(), None);
        assert_eq!(args.word().as_deref(), Some("id"));
        assert_eq!(args.rest(), ["sh", "-c", "x"]);
    }

    #[test]
    fn two_dashes_end_the_options() {
        let mut args = args("-- -x");
        assert_eq!(args.option(), None);
        assert_eq!(args.word().as_deref(), Some("-x"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        assert_eq!(args("--bundle").only_id(), Err(Usage::UnknownOption("--bundle".into())));
        assert_eq!(args("").only_id(), Err(Usage::Missing("the container's id")));
        assert_eq!(args("a b").only_id(), Err(Usage::Extra("b".into())));
        let mut missing = args("--root");
        let option = missing.option().expect("option");
        assert_eq!(missing.value(&option), Err(Usage::NoValue("--root".into())));
    }
}
