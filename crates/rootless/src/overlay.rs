//! Whether this kernel mounts overlayfs for an ordinary user, on the file system of a directory.
//! Nothing stays behind.

use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Tries it in a mount namespace that nobody sees. To be called by a process without threads.
///
/// # Errors
/// [`Error::NoOverlay`] with the kernel's answer.
pub fn check(dir: &Path) -> Result<()> {
    let making = || format!("try an overlay in {}", dir.display());
    std::fs::create_dir_all(dir).map_err(Error::io(making()))?;
    let place = dir.join(format!(".overlay-{}", std::process::id()));
    let made = ["", "lower", "upper", "work", "merged"]
        .iter()
        .try_for_each(|name| std::fs::create_dir(place.join(name)).map_err(Error::io(making())));
    let tried = made.map(|()| attempt(&place));
    let removed = std::fs::remove_dir_all(&place).map_err(Error::io(making()));
    match tried? {
        0 => removed,
        errno => Err(Error::NoOverlay {
            dir: dir.to_owned(),
            source: std::io::Error::from_raw_os_error(errno),
        }),
    }
}

/// The errno of mounting; 0 when it worked.
fn attempt(place: &Path) -> i32 {
    let at = place.as_os_str().as_bytes();
    let options = [
        &b"lowerdir="[..],
        at,
        b"/lower,upperdir=",
        at,
        b"/upper,workdir=",
        at,
        b"/work,userxattr",
    ]
    .concat();
    let target = CString::new([at, b"/merged"].concat());
    let (Ok(options), Ok(target)) = (CString::new(options), target) else {
        return Errno::INVAL.raw_os_error();
    };
    let child = sys::clone::clone3(sys::clone::ns::MOUNT, || {
        let mounted = mount(c"overlay", &*target, c"overlay", MountFlags::empty(), &*options);
        mounted.map_or_else(Errno::raw_os_error, |()| 0)
    });
    match child {
        Ok(child) => match sys::Pidfd::from(child.pidfd).wait() {
            Ok(ended) => ended.code(),
            Err(_) => Errno::IO.raw_os_error(),
        },
        Err(errno) => errno.raw_os_error(),
    }
}
