//! Anonymous files that nobody can change any more: programs are executed from them.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::path::Path;

/// Everything about the file is fixed.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// A sealed, executable memfd with the contents of `source`, from its beginning.
///
/// # Errors
/// As memfd_create(2), sendfile(2) and fcntl(2).
pub fn sealed_copy(name: &CStr, source: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let memfd = create(name)?;
    let mut offset = 0;
    loop {
        match rustix::fs::sendfile(&memfd, source, Some(&mut offset), 1 << 30) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    seal(memfd)
}

/// The program at `path`, copied and sealed, behind a descriptor that cannot write: only such a
/// file can be executed.
///
/// # Errors
/// As open(2) and [`sealed_copy`].
pub fn sealed_program(name: &CStr, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let program = rustix::fs::open(path, flags, Mode::empty())?;
    let memfd = sealed_copy(name, program.as_fd())?;
    let again = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    rustix::fs::open(again, flags, Mode::empty())
}

/// A sealed, executable memfd with the given contents.
///
/// # Errors
/// As memfd_create(2), write(2) and fcntl(2).
pub fn sealed_bytes(name: &CStr, bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let memfd = create(name)?;
    fill(&memfd, bytes)?;
    seal(memfd)
}

/// A sealed memfd with the given contents, with exactly the seals that systemd's journal asks for.
///
/// # Errors
/// As [`sealed_bytes`].
pub fn sealed_data(name: &CStr, bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let memfd = create_with(name, MemfdFlags::empty())?;
    fill(&memfd, bytes)?;
    add_seals(&memfd, SEALS)?;
    Ok(memfd)
}

/// The running program, if it is executed from a sealed memfd.
///
/// # Errors
/// As open(2) on `/proc/self/exe`.
pub fn own_sealed_program() -> rustix::io::Result<Option<OwnedFd>> {
    let exe = own_program()?;
    match rustix::fs::fcntl_get_seals(&exe) {
        Ok(seals) if seals.contains(SEALS) => Ok(Some(exe)),
        // EINVAL: not a file that can have seals.
        Ok(_) | Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The running program as a sealed memfd: itself, or a copy.
///
/// # Errors
/// As open(2) on `/proc/self/exe` and [`sealed_copy`].
pub fn sealed_own_program(name: &CStr) -> rustix::io::Result<OwnedFd> {
    match own_sealed_program()? {
        Some(exe) => Ok(exe),
        None => sealed_copy(name, own_program()?.as_fd()),
    }
}

fn own_program() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn fill(memfd: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(memfd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn create(name: &CStr) -> rustix::io::Result<OwnedFd> {
    create_with(name, MemfdFlags::EXEC)
}

fn create_with(name: &CStr, kind: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels from 6.3 want to be told whether a memfd may be executed; older ones refuse to
    // know the flag.
    match rustix::fs::memfd_create(name, flags | kind) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
}

fn seal(memfd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    // F_SEAL_EXEC (fixing the execute bits) is from Linux 6.3; without it the file cannot be
    // changed either.
    let exec = SealFlags::from_bits_retain(0x20);
    match add_seals(&memfd, SEALS | exec) {
        Err(Errno::INVAL) => add_seals(&memfd, SEALS)?,
        result => result?,
    }
    Ok(memfd)
}

/// `EBUSY` says that the kernel itself still holds a page of the file for a moment, as it may on a
/// busy machine after copying (`memfd_wait_for_pins`).
fn add_seals(memfd: &OwnedFd, seals: SealFlags) -> rustix::io::Result<()> {
    const ATTEMPTS: u32 = 50;
    for _ in 0..ATTEMPTS {
        match rustix::fs::fcntl_add_seals(memfd, seals) {
            Err(Errno::BUSY) => std::thread::sleep(std::time::Duration::from_millis(20)),
            done => return done,
        }
    }
    rustix::fs::fcntl_add_seals(memfd, seals)
}
