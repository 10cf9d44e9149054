//! The texts of `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` as Docker writes them.
//! Pure: reads and writes no file.

use std::net::IpAddr;

/// Where the embedded resolver listens in a container.
pub const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 11));

/// The text of `/etc/hostname`.
pub fn hostname(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// The text of `/etc/hosts`: the loopback lines, then `own` (each address with the container's
/// names), then `extra` (`--add-host`), in order.
pub fn hosts(own: &[(IpAddr, Vec<String>)], extra: &[(IpAddr, String)]) -> String {
    const HEAD: &str = "127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::\tip6-localnet\n\
        ff00::\tip6-mcastprefix\n\
        ff02::1\tip6-allnodes\n\
        ff02::2\tip6-allrouters\n";
    let mut text = HEAD.to_owned();
    for (addr, names) in own {
        text.push_str(&format!("{addr}\t{}\n", names.join(" ")));
    }
    for (addr, name) in extra {
        text.push_str(&format!("{addr}\t{name}\n"));
    }
    text
}
