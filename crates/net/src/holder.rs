//! Who holds a port of the host: for the message of a port that cannot be published. Reads /proc,
//! and is asked only after a failure.

use model::network::{PortSpec, Protocol};
use std::path::Path;

/// `nginx (process 123)`, if a process of the host can be found that holds the port.
pub(crate) fn of(port: PortSpec) -> Option<String> {
    let tables = match port.protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Sctp => return None,
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok())
        .flat_map(|text| sockets(&text, port))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let pid = pids.find(|pid| *pid != own && holds(*pid, &inodes))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (process {pid})", name.trim()))
}

/// Inodes of the sockets bound to a port: listening ones of TCP (state 0A), any of UDP.
fn sockets(text: &str, port: PortSpec) -> Vec<String> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, bound) = words.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(bound, 16).ok()? == port.port;
        let open = port.protocol == Protocol::Udp || *words.get(3)? == "0A";
        (here && open).then(|| words.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    text.lines().skip(1).filter_map(row).collect()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let dir = format!("/proc/{pid}/fd");
    let links = std::fs::read_dir(Path::new(&dir)).into_iter().flatten().flatten();
    links.filter_map(|it| std::fs::read_link(it.path()).ok()).any(|link| {
        let link = link.to_string_lossy();
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|it| it == inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                    uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 \
                    00:00000000 00000000     0        0 4711 1\n   1: 0100007F:1F90 0100007F:9999 \
                    01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        let port = PortSpec { port: 8080, protocol: Protocol::Tcp };
        assert_eq!(sockets(text, port), ["4711"]);
        assert!(sockets(text, PortSpec { port: 81, ..port }).is_empty());
        assert!(sockets("garbage\nmore", port).is_empty());
    }
}
