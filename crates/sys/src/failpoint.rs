//! Places where a test can end a process, as a power cut or a kill -9 would.
//!
//! A program says [`hit`] between any two steps whose halves a crash may leave behind. In release
//! builds that is nothing. In debug builds a process that was started with [`DIR`] in its
//! environment looks into that directory at each hit:
//!
//! - a file `trace` gets the name of the place as a new line, so that a test learns which places an
//!   operation passes, and in which order;
//! - a file `arm` holds `<count> <prefix>`: every hit whose name begins with the prefix takes one
//!   off the count, and the one that finds it at zero removes the file and kills its own process,
//!   or the one whose id is in a file `victim` (a client); a file `fired` says before that which
//!   place it was, and which process.
//!
//! The count is kept in the file, under a lock, because daemon and monitors hit in turn. A test
//! that reads `trace` once and then arms 0, 1, 2, … has met every place there is; none is listed by
//! hand.

/// The variable that names the directory; without it, or in a release build, hits do nothing.
pub const DIR: &str = "ESTIBA_FAILPOINTS";

/// A place called `name`: `room.act.step`, as `store.volume.made`.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hit(_name: &'static str) {}

/// A place called `name`: `room.act.step`, as `store.volume.made`.
#[cfg(debug_assertions)]
pub fn hit(name: &'static str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    static PLACES: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(dir) = PLACES.get_or_init(|| std::env::var_os(DIR).map(PathBuf::from)) {
        armed::pass(dir, name);
    }
}

#[cfg(debug_assertions)]
mod armed {
    use rustix::fs::{FlockOperation, flock};
    use rustix::process::{Pid, Signal, getpid, kill_process};
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Seek, Write};
    use std::path::Path;

    /// Traces the hit, and dies of it if it is the one that was armed. What cannot be read or
    /// written is as if it were not there: the test that armed it sees that nothing died.
    pub(super) fn pass(dir: &Path, name: &str) {
        if let Ok(mut trace) = OpenOptions::new().append(true).open(dir.join("trace")) {
            let _ = trace.write_all(format!("{name}\n").as_bytes());
        }
        let path = dir.join("arm");
        let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&path) else { return };
        if flock(&file, FlockOperation::LockExclusive).is_ok() && counts_down(&mut file, name) {
            let pid = victim(dir).unwrap_or_else(getpid);
            let told = format!("{name} {}", pid.as_raw_nonzero());
            let _ = std::fs::write(dir.join("fired.new"), told);
            let _ = std::fs::rename(dir.join("fired.new"), dir.join("fired"));
            let _ = std::fs::remove_file(&path);
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Who dies instead of this process.
    fn victim(dir: &Path) -> Option<Pid> {
        let text = std::fs::read_to_string(dir.join("victim")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Takes one off the count if `name` is meant; whether it was zero.
    fn counts_down(file: &mut File, name: &str) -> bool {
        let mut text = String::new();
        if file.read_to_string(&mut text).is_err() {
            return false;
        }
        let (count, prefix) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
        let Ok(count) = count.parse::<u32>() else { return false };
        if !name.starts_with(prefix) {
            return false;
        }
        let Some(left) = count.checked_sub(1) else {
            // Others that have the file open already, and wait for the lock, find nothing.
            let _ = file.set_len(0);
            return true;
        };
        let _ = file.rewind();
        let _ = file.set_len(0);
        let _ = file.write_all(format!("{left} {prefix}").as_bytes());
        false
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_the_meant_places_count_and_zero_is_the_one() {
            let mut file = tempfile();
            file.write_all(b"1 store.").unwrap();
            let mut hit = |name| {
                file.rewind().unwrap();
                counts_down(&mut file, name)
            };
            assert!(!hit("net.link.made"));
            assert!(!hit("store.volume.made"));
            assert!(!hit("net.link.made"));
            assert!(hit("store.volume.named"));
        }

        fn tempfile() -> File {
            File::from(rustix::fs::memfd_create("arm", rustix::fs::MemfdFlags::CLOEXEC).unwrap())
        }
    }
}
