//! Addresses with users in them: `https://user:password@host/path`. The user goes to the server, and
//! into nothing that is kept or shown. Pure.

/// The address without its user, and the user, with its password, as it is written.
pub fn parted(address: &str) -> (String, Option<&str>) {
    let whole = || (address.to_owned(), None);
    let Some((scheme, rest)) = address.split_once("://") else { return whole() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) => (format!("{scheme}://{host}{}", &rest[end..]), Some(user)),
        None => whole(),
    }
}

/// The address as it may be shown.
pub fn shown(address: &str) -> String {
    parted(address).0
}

/// What a user stands for: `%41` is `A`.
pub(crate) fn decoded(user: &str) -> Vec<u8> {
    let bytes = user.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_parted_from_addresses() {
        for (address, without, user) in [
            ("http://me:a@b@h:1/x?y@z", "http://h:1/x?y@z", Some("me:a@b")),
            ("https://h/a@b", "https://h/a@b", None),
            ("ssh://git@h/x", "ssh://h/x", Some("git")),
            ("git@h:x", "git@h:x", None),
        ] {
            assert_eq!(parted(address), (without.to_owned(), user));
        }
        assert_eq!(decoded("me:%41%zz%4"), b"me:A%zz%4");
    }
}
