//! Lists of processors and memory nodes, and v1's habit of giving a new cpuset neither.
//!
//! Source: cpuset(7) "List format"; `Documentation/admin-guide/cgroup-v1/cpusets.rst`.

use std::collections::BTreeSet;

use super::error::CgroupError;
use super::file::Dir;

/// The highest processor or node number that is accepted: kernels stop at 8,192.
const MAX_NUMBER: u32 = 8191;

/// The longest list that is accepted, in bytes.
const MAX_LIST_BYTES: usize = 64 * 1024;

/// Parses `0-3,7`: bounded, so that `0-4294967295` is refused instead of expanded (law B7).
///
/// # Errors
/// Says what is wrong with the list.
pub(super) fn parse_list(list: &str) -> Result<BTreeSet<u32>, String> {
    if list.len() > MAX_LIST_BYTES {
        return Err(format!("the list is longer than {MAX_LIST_BYTES} bytes"));
    }
    let mut numbers = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_number(first)?, parse_number(last)?);
        if first > last {
            return Err(format!("{part:?} counts down"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

fn parse_number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse::<u32>().ok() } else { None };
    match number {
        Some(number) if number <= MAX_NUMBER => Ok(number),
        _ => Err(format!("{text:?} is not a number from 0 to {MAX_NUMBER}")),
    }
}

/// Readies a parent that was just made on v1: filled from its own parent, and passing that on to
/// what is made below it, which saves each container the copying.
pub(super) fn prepare(parent: &Dir) -> Result<(), CgroupError> {
    inherit(parent, 1)?;
    parent.write("cgroup.clone_children", "1")
}

/// Fills the empty `cpus` and `mems` of a v1 directory from its parent, after doing the same for
/// the parent while it is empty too; `depth` bounds the way up.
pub(super) fn inherit(dir: &Dir, depth: usize) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !dir.read(file)?.trim().is_empty() {
            continue;
        }
        let Some(above) = dir.path().parent() else { return Ok(()) };
        let above = Dir::new(above.to_owned());
        if depth > 1 && above.read(file)?.trim().is_empty() {
            inherit(&above, depth - 1)?;
        }
        dir.write(file, above.read(file)?.trim())?;
    }
    Ok(())
}

/// [`inherit`] for the directories above this one; v2 needs nothing, empty means inherited there.
pub(super) fn fill_ancestors(dir: &Dir, depth: usize) -> Result<(), CgroupError> {
    match dir.path().parent() {
        Some(above) if depth > 1 && !dir.has("cpuset.cpus.effective") => {
            inherit(&Dir::new(above.to_owned()), depth - 1)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed() {
        assert_eq!(parse_list("0-3,7").unwrap(), BTreeSet::from([0, 1, 2, 3, 7]));
        assert_eq!(parse_list("5").unwrap(), BTreeSet::from([5]));
        assert_eq!(parse_list("0-8191\n").unwrap().len(), 8192);
    }

    #[test]
    fn hostile_lists_are_refused() {
        let long = "0,".repeat(40_000);
        for list in [
            "",
            ",",
            "0-4294967295",
            "0-8192",
            "-1",
            "3-1",
            "0-",
            "a",
            "0-3:1/2",
            "+1",
            "99999999999999999999",
            &long,
        ] {
            assert!(parse_list(list).is_err(), "{list:.20}");
        }
    }
}
