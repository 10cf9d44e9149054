//! Identity of the calling thread: ids, capability sets, secure bits.
//!
//! Every function acts on the calling thread alone, unlike the C library's.

use crate::error::check;

/// Capability sets as bit masks, capabilities(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSets {
    /// Effective set.
    pub effective: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
}

/// `SECBIT_NO_SETUID_FIXUP`: changing ids leaves the capability sets alone.
pub const NO_SETUID_FIXUP: u32 = 1 << 2;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

/// Sets the three sets, capset(2).
///
/// # Errors
/// As capset(2).
pub fn set_capabilities(sets: CapSets) -> rustix::io::Result<()> {
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: low(sets.effective >> shift),
        permitted: low(sets.permitted >> shift),
        inheritable: low(sets.inheritable >> shift),
    };
    let data = [half(0), half(32)];
    // SAFETY: header and both data structures of version 3 live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) };
    check(result).map(drop)
}

/// Reads the three sets, capget(2).
///
/// # Errors
/// As capget(2).
pub fn capabilities() -> rustix::io::Result<CapSets> {
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: the kernel writes two data structures of version 3.
    let result = unsafe {
        libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr())
    };
    check(result)?;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(CapSets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Removes a capability from the bounding set. `EINVAL`: the kernel does not know it.
///
/// # Errors
/// As prctl(2).
pub fn drop_bounding(capability: u32) -> rustix::io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0)
}

/// Empties the ambient set.
///
/// # Errors
/// As prctl(2).
pub fn clear_ambient() -> rustix::io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, 4, 0)
}

/// Adds a capability to the ambient set; it must be permitted and inheritable.
///
/// # Errors
/// As prctl(2).
pub fn raise_ambient(capability: u32) -> rustix::io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, 2, capability.into())
}

/// Whether permitted capabilities survive leaving user id 0.
///
/// # Errors
/// As prctl(2).
pub fn keep_capabilities(keep: bool) -> rustix::io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0)
}

/// The secure bits.
///
/// # Errors
/// As prctl(2).
pub fn secure_bits() -> rustix::io::Result<u32> {
    // SAFETY: takes no further argument.
    let result = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    check(result.into()).map(|bits| u32::try_from(bits).unwrap_or(0))
}

/// Sets the secure bits.
///
/// # Errors
/// As prctl(2).
pub fn set_secure_bits(bits: u32) -> rustix::io::Result<()> {
    prctl(libc::PR_SET_SECUREBITS, bits.into(), 0)
}

/// No program executed from now on gains privileges.
///
/// # Errors
/// As prctl(2).
pub fn set_no_new_privileges() -> rustix::io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> rustix::io::Result<()> {
    // SAFETY: every option used here takes integers only.
    let result = unsafe { libc::prctl(option, a, b, 0, 0) };
    check(result.into()).map(drop)
}

/// Sets all three user ids.
///
/// # Errors
/// `EINVAL` when the id is not mapped in the user namespace.
pub fn set_uid(uid: u32) -> rustix::io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Sets all three group ids.
///
/// # Errors
/// `EINVAL` when the id is not mapped in the user namespace.
pub fn set_gid(gid: u32) -> rustix::io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets the supplementary groups.
///
/// # Errors
/// As setgroups(2).
pub fn set_groups(groups: &[u32]) -> rustix::io::Result<()> {
    // SAFETY: the pointer is to as many ids as the length says.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Runs `act` with the thread's file system ids set to `uid` and `gid` and every capability
/// kept: what it makes belongs to them, and overlayfs mounted by it acts as them.
///
/// # Errors
/// As prctl(2) for the secure bits; `EPERM` when the ids did not take.
pub fn with_fs_ids<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> rustix::io::Result<T> {
    let bits = secure_bits()?;
    if bits & NO_SETUID_FIXUP == 0 {
        set_secure_bits(bits | NO_SETUID_FIXUP)?;
    }
    let restore = Restore { bits, uid: set_fs_uid(uid), gid: set_fs_gid(gid) };
    // The calls report the id before and never fail; asking again tells whether they took.
    if set_fs_uid(uid) != uid || set_fs_gid(gid) != gid {
        return Err(rustix::io::Errno::PERM);
    }
    let result = act();
    drop(restore);
    Ok(result)
}

struct Restore {
    bits: u32,
    uid: u32,
    gid: u32,
}

impl Drop for Restore {
    fn drop(&mut self) {
        set_fs_uid(self.uid);
        set_fs_gid(self.gid);
        if self.bits & NO_SETUID_FIXUP == 0 {
            // Giving the bit back cannot fail for who was allowed to set it a moment ago.
            let _ = set_secure_bits(self.bits);
        }
    }
}

fn set_fs_uid(uid: u32) -> u32 {
    // SAFETY: takes one integer and always returns the id before.
    let before = unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
    low(before.cast_unsigned())
}

fn set_fs_gid(gid: u32) -> u32 {
    // SAFETY: takes one integer and always returns the id before.
    let before = unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
    low(before.cast_unsigned())
}
