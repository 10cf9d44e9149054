//! Who a client's certificate says it is: common name, organizational units, alternative names
//! (RFC 5280, DER as in X.690). The chain was verified by TLS before; here is only read what the
//! verified document says. Every length is checked; what is not understood is left out.

use model::policy::Certificate;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// `[0]` and `[3]` of a certificate's body: its version, its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// id-at-commonName, id-at-organizationalUnitName, id-ce-subjectAltName.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const UNIT: &[u8] = &[0x55, 0x04, 0x0b];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The most names that are read.
const MAX_NAMES: usize = 64;

/// Reads a certificate. One that cannot be read names nobody.
pub(crate) fn read(der: &[u8]) -> Certificate {
    let mut out = Certificate::default();
    // What was understood before a fault is not used: half a name could be another's.
    match fill(der, &mut out) {
        Some(()) => out,
        None => Certificate::default(),
    }
}

fn fill(der: &[u8], out: &mut Certificate) -> Option<()> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut body, _) = expect(certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        body = item(body)?.2;
    }
    // Serial number, signature algorithm, issuer, validity; then the subject, then its key.
    for _ in 0..4 {
        body = item(body)?.2;
    }
    let (subject, mut rest) = expect(body, SEQUENCE)?;
    read_subject(subject, out)?;
    rest = item(rest)?.2;
    while !rest.is_empty() {
        let (tag, content, next) = item(rest)?;
        if tag == EXTENSIONS {
            read_extensions(expect(content, SEQUENCE)?.0, out)?;
        }
        rest = next;
    }
    Some(())
}

fn read_subject(mut names: &[u8], out: &mut Certificate) -> Option<()> {
    while !names.is_empty() {
        let (mut set, next) = expect(names, SET)?;
        while !set.is_empty() {
            let (pair, further) = expect(set, SEQUENCE)?;
            let (oid, value) = expect(pair, OID)?;
            let (tag, text, _) = item(value)?;
            match oid {
                // The most specific one is last (RFC 5280, 4.1.2.4 and RFC 6125).
                COMMON_NAME => out.common_name = string(tag, text)?,
                UNIT if out.units.len() < MAX_NAMES => out.units.push(string(tag, text)?),
                _ => {}
            }
            set = further;
        }
        names = next;
    }
    Some(())
}

fn read_extensions(mut all: &[u8], out: &mut Certificate) -> Option<()> {
    while !all.is_empty() {
        let (extension, next) = expect(all, SEQUENCE)?;
        let (oid, mut value) = expect(extension, OID)?;
        if oid == ALTERNATIVE_NAME {
            // Whether it is critical may stand before the value.
            if value.first() != Some(&OCTETS) {
                value = item(value)?.2;
            }
            let (octets, _) = expect(value, OCTETS)?;
            read_names(expect(octets, SEQUENCE)?.0, out)?;
        }
        all = next;
    }
    Some(())
}

fn read_names(mut names: &[u8], out: &mut Certificate) -> Option<()> {
    while !names.is_empty() {
        let (tag, content, next) = item(names)?;
        // rfc822Name, dNSName, uniformResourceIdentifier: ASCII.
        if matches!(tag, 0x81 | 0x82 | 0x86) && out.names.len() < MAX_NAMES {
            out.names.push(printable(std::str::from_utf8(content).ok()?)?);
        }
        names = next;
    }
    Some(())
}

/// UTF8String, PrintableString, IA5String; TeletexString as ASCII. Other kinds are not read.
fn string(tag: u8, content: &[u8]) -> Option<String> {
    let text = matches!(tag, 0x0c | 0x13 | 0x14 | 0x16).then_some(content)?;
    if tag != 0x0c && !text.is_ascii() {
        return None;
    }
    printable(std::str::from_utf8(text).ok()?)
}

/// A name with a NUL or a line's end in it is no name.
fn printable(text: &str) -> Option<String> {
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The content of an item with this tag, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = item(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what follows of the first item.
fn item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(names: &[(DnType, &str)], alternatives: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in names {
            params.distinguished_name.push(kind.clone(), *text);
        }
        for name in alternatives {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_read() {
        let der = made(
            &[(DnType::CommonName, "alice"), (DnType::OrganizationalUnitName, "dév")],
            &["alice.example", "b.example"],
        );
        let certificate = read(&der);
        assert_eq!(certificate.common_name, "alice");
        assert_eq!(certificate.units, ["dév"]);
        assert_eq!(certificate.names, ["alice.example", "b.example"]);
    }

    #[test]
    fn damaged_ones_name_nobody_and_never_panic() {
        let der = made(&[(DnType::CommonName, "alice")], &["a.example"]);
        for end in 0..der.len() {
            assert_eq!(read(&der[..end]), Certificate::default(), "cut at {end}");
        }
        for at in 0..der.len() {
            let mut bad = der.clone();
            bad[at] ^= 0xff;
            let _ = read(&bad);
        }
        assert_eq!(read(&made(&[(DnType::CommonName, "a\nb")], &[])), Certificate::default());
    }
}
