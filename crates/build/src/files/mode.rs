//! Mode bits as `--chmod` gives them: octal, or the words of chmod(1).

use crate::error::{Error, Result};
use crate::graph::Mode;

/// The mode of what has mode `old`; `X` means `x` for directories and for what somebody may
/// execute already.
pub(super) fn of(mode: &Mode, old: u32, is_dir: bool) -> Result<u32> {
    match mode {
        Mode::Bits(bits) => Ok(bits & 0o7777),
        Mode::Symbolic(text) => {
            text.split(',').try_fold(old & 0o7777, |mode, clause| clause_of(clause, mode, is_dir))
        }
    }
}

fn clause_of(clause: &str, old: u32, is_dir: bool) -> Result<u32> {
    let wrong = || Error::invalid(format!("invalid chmod: {clause:?}"));
    let start = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
    let (who, mut rest) = clause.split_at(start);
    // One digit of the mode per class: read, write, execute.
    let mut classes = 0u32;
    for letter in who.chars() {
        classes |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return Err(wrong()),
        };
    }
    if classes == 0 {
        classes = 0o777;
    }
    let mut mode = old;
    while let Some(operator) = rest.chars().next() {
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let (letters, after) = rest.split_at(end);
        rest = after;
        let bits = bits_of(letters, classes, mode, is_dir).ok_or_else(wrong)?;
        mode = match operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            '=' => mode & !(classes | special(classes)) | bits,
            _ => return Err(wrong()),
        };
    }
    Ok(mode)
}

/// Bits that `=` clears beside the classes' own.
fn special(classes: u32) -> u32 {
    let user = if classes & 0o700 != 0 { 0o4000 } else { 0 };
    let group = if classes & 0o070 != 0 { 0o2000 } else { 0 };
    let others = if classes == 0o777 { 0o1000 } else { 0 };
    user | group | others
}

fn bits_of(letters: &str, classes: u32, old: u32, is_dir: bool) -> Option<u32> {
    let mut bits = 0;
    for letter in letters.chars() {
        bits |= match letter {
            'r' => 0o444 & classes,
            'w' => 0o222 & classes,
            'x' => 0o111 & classes,
            'X' if is_dir || old & 0o111 != 0 => 0o111 & classes,
            'X' => 0,
            's' => special(classes) & 0o6000,
            't' => 0o1000,
            'u' => copied(old >> 6, classes),
            'g' => copied(old >> 3, classes),
            'o' => copied(old, classes),
            _ => return None,
        };
    }
    Some(bits)
}

fn copied(digit: u32, classes: u32) -> u32 {
    ((digit & 7) * 0o111) & classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_are_chmod_s() {
        for (text, old, is_dir, want) in [
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g=u", 0o640, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
            ("o=", 0o777, false, 0o770),
            ("u=rw,g+w-r", 0o545, false, 0o625),
            ("+t", 0o777, true, 0o1777),
        ] {
            let mode = Mode::Symbolic(text.to_owned());
            assert_eq!(of(&mode, old, is_dir).unwrap(), want, "{text} {old:o}");
        }
        assert_eq!(of(&Mode::Bits(0o4755), 0, false).unwrap(), 0o4755);
        for text in ["", "x", "u", "z=r", "u=q", "u=rw,"] {
            of(&Mode::Symbolic(text.to_owned()), 0, false).unwrap_err();
        }
    }
}
