//! Flags as data: what a command accepts, with the texts that help prints. It never knows which
//! command a flag belongs to or what its value means there.

pub mod check;
mod matches;
mod parse;

pub use matches::Matches;
pub use parse::{Parsed, parse};

/// What is wrong with a value, or nothing.
pub type Check = fn(&str) -> Result<(), String>;

/// One flag of a command.
#[derive(Clone, Copy)]
pub struct Flag {
    /// The name after `--`.
    pub long: &'static str,
    /// The letter after `-`, if it has one.
    pub short: Option<char>,
    /// How its value is read.
    pub kind: Kind,
    /// The name of the value's type on the help page; empty for switches.
    pub ty: &'static str,
    /// The text of the help page, unwrapped, with the default value where it is worth telling.
    pub help: &'static str,
    /// Accepted, but not listed.
    pub hidden: bool,
    /// The stock client does not have it: not listed under its name.
    pub own: bool,
    /// Said when it is used: what to use instead.
    pub(crate) deprecated: Option<&'static str>,
    /// A further test of the value.
    pub check: Option<Check>,
}

/// How a flag's value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A switch: needs no value.
    Bool,
    /// Any text; the last one wins.
    Text,
    /// A signed 64-bit number.
    Int,
    /// An unsigned 64-bit number.
    Uint,
    /// An unsigned 16-bit number.
    Uint16,
    /// A span of time (`1m30s`).
    Duration,
    /// A size (`512m`).
    Bytes,
    /// A size, or -1.
    SwapBytes,
    /// A number of CPUs with at most nine decimals.
    Decimal,
    /// May be given many times.
    List,
    /// May be given many times, each value a list separated by commas.
    Strings,
    /// `name=value`, many times.
    Filter,
}

impl Flag {
    const fn new(long: &'static str, ty: &'static str, kind: Kind, help: &'static str) -> Self {
        let (short, hidden, own, deprecated, check) = (None, false, false, None, None);
        Self { long, short, kind, ty, help, hidden, own, deprecated, check }
    }

    /// A switch.
    pub const fn bool(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "", Kind::Bool, help)
    }

    /// A text.
    pub const fn string(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "string", Kind::Text, help)
    }

    /// A signed number.
    pub const fn int(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "int", Kind::Int, help)
    }

    /// An unsigned number.
    pub const fn uint(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "uint", Kind::Uint, help)
    }

    /// An unsigned 16-bit number.
    pub const fn uint16(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "uint16", Kind::Uint16, help)
    }

    /// A span of time.
    pub const fn duration(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "duration", Kind::Duration, help)
    }

    /// A size.
    pub const fn bytes(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "bytes", Kind::Bytes, help)
    }

    /// A size, or -1.
    pub const fn swap_bytes(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "bytes", Kind::SwapBytes, help)
    }

    /// A number of CPUs.
    pub const fn decimal(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "decimal", Kind::Decimal, help)
    }

    /// A text that may be given many times.
    pub const fn list(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "list", Kind::List, help)
    }

    /// Texts separated by commas, many times.
    pub const fn strings(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "strings", Kind::Strings, help)
    }

    /// `name=value`, many times.
    pub const fn map(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "map", Kind::List, help)
    }

    /// A filter, many times.
    pub const fn filter(long: &'static str, help: &'static str) -> Self {
        Self::new(long, "filter", Kind::Filter, help)
    }

    /// A repeatable flag whose type has a name of its own on the help page.
    pub const fn typed(long: &'static str, ty: &'static str, help: &'static str) -> Self {
        Self::new(long, ty, Kind::List, help)
    }

    /// With a letter of its own.
    pub const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// With a further test.
    pub const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Not listed on the help page, and a hint when it is used.
    pub(crate) const fn deprecated(mut self, hint: &'static str) -> Self {
        self.hidden = true;
        self.deprecated = Some(hint);
        self
    }

    /// Not listed on the help page.
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// A flag that the stock client does not have.
    pub const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// How errors call it: `-m, --memory`.
    pub fn label(&self) -> String {
        match self.short {
            Some(letter) => format!("-{letter}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}
