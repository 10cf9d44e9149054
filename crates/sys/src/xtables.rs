//! Reading the tables of the older iptables, linux/netfilter_ipv4/ip_tables.h. Never changes one.

use crate::error::{SysError, last};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::net::IpAddr;

/// `IPT_SO_GET_INFO`, and the same for IPv6.
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, and the same for IPv6.
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME_LEN: usize = 32;
/// Rules that somebody adds between the two questions make the answer longer: ask again.
const ATTEMPTS: usize = 5;

/// Bytes of `struct ipt_getinfo`: name, hooks, five entries, five underflows, number, size.
const INFO_LEN: usize = NAME_LEN + 13 * 4;

/// A table as the kernel has it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its entries, one after the other (`struct ipt_entry` or `struct ip6t_entry`).
    pub bytes: Vec<u8>,
    /// Offset of the first entry of each hook, by `enum nf_inet_hooks`.
    pub hook_entries: [usize; 5],
    /// Offset of each hook's policy.
    pub underflows: [usize; 5],
}

/// The entries of `table` in the calling thread's network namespace, of the family that `any` is
/// an address of. Makes the table if it is not in use yet.
///
/// # Errors
/// As socket(2) for raw sockets; `ENOENT` where the kernel has no such table.
pub fn entries(any: IpAddr, table: &str) -> Result<Table, SysError> {
    let failed = |errno| SysError::new("getsockopt", format!("iptables {table}"), errno);
    let (family, level) = match any {
        IpAddr::V4(_) => (AddressFamily::INET, libc::IPPROTO_IP),
        IpAddr::V6(_) => (AddressFamily::INET6, libc::IPPROTO_IPV6),
    };
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        .map_err(failed)?;
    let mut name = [0; NAME_LEN];
    let fits = name.get_mut(..table.len()).filter(|_| table.len() < NAME_LEN);
    fits.ok_or_else(|| failed(Errno::NAMETOOLONG))?.copy_from_slice(table.as_bytes());
    for _ in 0..ATTEMPTS {
        match read(&socket, level, name) {
            Err(Errno::AGAIN) => {}
            outcome => return outcome.map_err(failed),
        }
    }
    Err(failed(Errno::AGAIN))
}

fn read(socket: &OwnedFd, level: libc::c_int, name: [u8; NAME_LEN]) -> rustix::io::Result<Table> {
    let mut asked = vec![0; INFO_LEN];
    asked[..NAME_LEN].copy_from_slice(&name);
    get(socket, (level, GET_INFO), &mut asked)?;
    let word = |n: usize| {
        let at = NAME_LEN + n * 4;
        let bytes = asked.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes) as usize
    };
    let size = word(12);
    // struct ipt_get_entries: name, size, padding to eight bytes, entries.
    let head = NAME_LEN + 8;
    let mut block = vec![0; head + size];
    block[..NAME_LEN].copy_from_slice(&name);
    block[NAME_LEN..NAME_LEN + 4].copy_from_slice(&asked[NAME_LEN + 48..NAME_LEN + 52]);
    get(socket, (level, GET_ENTRIES), &mut block)?;
    Ok(Table {
        bytes: block.split_off(head),
        hook_entries: std::array::from_fn(|n| word(1 + n)),
        underflows: std::array::from_fn(|n| word(6 + n)),
    })
}

/// getsockopt(2) that reads its question from the buffer that it answers into.
fn get(
    socket: &OwnedFd,
    (level, option): (libc::c_int, libc::c_int),
    buffer: &mut [u8],
) -> rustix::io::Result<()> {
    let mut len = libc::socklen_t::try_from(buffer.len()).map_err(|_| Errno::MSGSIZE)?;
    // SAFETY: the buffer is valid for reads and writes of `len` bytes for the whole call, and the
    // kernel writes at most `len`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result < 0 { Err(last()) } else { Ok(()) }
}
