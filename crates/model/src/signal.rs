//! Signal names and numbers of Linux (signal(7)), as users write them: `SIGTERM`, `term`, `15`,
//! `RTMIN+3`.

use crate::error::Denied;

/// A Linux signal number, 1..=64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(u8);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, u8); 5] =
    [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31), ("INFO", 30)];
const RT_MIN: u8 = 34;
const RT_MAX: u8 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// Parses a name (with or without `SIG`, any case), `RTMIN+n`/`RTMAX-n`, or a number 1..=64.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        let invalid = || Denied::invalid(format!("invalid signal: {text}"));
        if text.bytes().all(|c| c.is_ascii_digit()) {
            return match text.parse::<u8>() {
                Ok(number @ 1..=RT_MAX) => Ok(Self(number)),
                _ => Err(invalid()),
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_name = (1u8..).zip(NAMES).find(|(_, known)| *known == name).map(|(n, _)| n);
        by_name
            .or_else(|| ALIASES.iter().find(|(known, _)| *known == name).map(|(_, n)| *n))
            .or_else(|| real_time(name))
            .map(Self)
            .ok_or_else(invalid)
    }

    /// The number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

fn real_time(name: &str) -> Option<u8> {
    let (base, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (RT_MIN, rest),
        (_, Some(rest)) => (RT_MAX, rest),
        _ => return None,
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i16>().ok()? };
    let number = i16::from(base).checked_add(offset)?;
    u8::try_from(number).ok().filter(|n| (RT_MIN..=RT_MAX).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_users_write() {
        for (text, want) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("term", 15),
            ("15", 15),
            ("kill", 9),
            ("HUP", 1),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("RTMIN", 34),
            ("SIGWINCH", 28),
            ("64", 64),
        ] {
            assert_eq!(Signal::parse(text).unwrap().number(), want, "{text}");
        }
        for bad in ["", "0", "65", "SIG", "FOO", "-9", "RTMIN+31", "RTMAX+1", "999999"] {
            assert!(Signal::parse(bad).is_err(), "{bad:?}");
        }
    }
}
