//! The texts of `/etc/hosts` and `/etc/hostname` as Docker writes them, and what is read from
//! `/etc/resolv.conf`.
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
    hosts_below(HEAD, own, extra)
}

/// The same below lines that are there already.
pub fn hosts_below(
    head: &str,
    own: &[(IpAddr, Vec<String>)],
    extra: &[(IpAddr, String)],
) -> String {
    let mut text = head.to_owned();
    let more = !own.is_empty() || !extra.is_empty();
    if more && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (addr, name) in extra {
        text.push_str(&format!("{addr}\t{name}\n"));
    }
    for (addr, names) in own {
        text.push_str(&format!("{addr}\t{}\n", names.join(" ")));
    }
    text
}

/// The servers a resolv.conf(5) names, without zones (`fe80::1%eth0` is the host's link).
pub fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_as_resolv_conf_5_says() {
        let text = "nameserver 10.0.0.1\n; nameserver 10.0.0.2\n nameserver\t10.0.0.3 # x\n\
                    nameserver bad\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver\n";
        let texts: Vec<String> = nameservers(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["10.0.0.1", "10.0.0.3", "2001:db8::1"]);
    }

    #[test]
    fn lines_that_are_there_stay_as_they_are() {
        let extra = [("10.0.0.9".parse().unwrap(), "db".to_owned())];
        assert_eq!(hosts_below("127.0.0.1 vm", &[], &[]), "127.0.0.1 vm");
        assert_eq!(hosts_below("127.0.0.1 vm", &[], &extra), "127.0.0.1 vm\n10.0.0.9\tdb\n");
    }

    #[test]
    fn hosts_names_the_container_last() {
        let addr = "172.17.0.2".parse().unwrap();
        let own = vec![(addr, vec!["web.example".to_owned(), "web".to_owned()])];
        let extra = vec![("10.0.0.9".parse().unwrap(), "db".to_owned())];
        let text = hosts(&own, &extra);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "));
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.2\tweb.example web\n"));
    }
}
