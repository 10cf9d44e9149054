//! The part of DNS messages that a resolver on the way needs: one question in, addresses or names
//! out (RFC 1035 4, RFC 6891 6.1). Everything else passes through unparsed. Pure; any input is an
//! answer or `None`, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a header.
const HEADER_LEN: usize = 12;
/// Largest UDP answer without EDNS, bytes.
const PLAIN_MAX: usize = 512;
/// Largest name in text form, bytes.
const NAME_MAX: usize = 253;
/// What we announce and never exceed over UDP, bytes (the DNS flag day of 2020).
pub(super) const EDNS_MAX: u16 = 1232;
/// Longest answer that is taken from a server over UDP, bytes; no server is told more.
pub(super) const ANSWER_MAX: u16 = 4096;
/// Seconds that local answers may be kept, as Docker's.
const TTL: u32 = 600;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;

/// Response codes (RFC 1035 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The name exists.
    NoError = 0,
    /// The query makes no sense.
    FormErr = 1,
    /// We could not find out.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// Not a query.
    NotImp = 4,
}

/// What a query asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Addresses of a name, in lower case without final dot.
    Addresses { name: String, v4: bool, v6: bool },
    /// The name of an address.
    Name { addr: IpAddr },
    /// Another type of a name, in lower case without final dot.
    Other { name: String },
}

/// A query, understood as far as needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    bytes: &'a [u8],
    question_end: usize,
    /// What is asked.
    pub ask: Ask,
    /// The largest UDP answer the client takes, if it speaks EDNS.
    edns: Option<u16>,
}

/// What one record of an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `A` or `AAAA`.
    Address(IpAddr),
    /// `PTR`.
    Name(String),
}

/// Understands a query, or gives the answer that refuses it (`None` for what is not a query).
pub(super) fn parse(bytes: &[u8]) -> Result<Query<'_>, Option<Vec<u8>>> {
    let flags = *bytes.get(2).filter(|_| bytes.len() >= HEADER_LEN).ok_or(None)?;
    if flags & 0x80 != 0 {
        return Err(None);
    }
    if flags & 0x78 != 0 {
        return Err(Some(refusal(bytes, Code::NotImp)));
    }
    let understood = || {
        let count = |at| u16_at(bytes, at);
        (count(4)? == 1 && count(6)? == 0 && count(8)? == 0).then_some(())?;
        let (name, end) = read_name(bytes, HEADER_LEN)?;
        let (kind, class) = (u16_at(bytes, end)?, u16_at(bytes, end + 2)?);
        let question_end = end + 4;
        let edns = (count(10)? > 0).then(|| edns_size(bytes, question_end)).flatten();
        Some(Query { bytes, question_end, ask: ask(name, kind, class), edns })
    };
    understood().ok_or_else(|| Some(refusal(bytes, Code::FormErr)))
}

fn ask(name: String, kind: u16, class: u16) -> Ask {
    let other = |name| Ask::Other { name };
    match (class, kind) {
        (CLASS_IN, TYPE_A) => Ask::Addresses { name, v4: true, v6: false },
        (CLASS_IN, TYPE_AAAA) => Ask::Addresses { name, v4: false, v6: true },
        (CLASS_IN, TYPE_ANY) => Ask::Addresses { name, v4: true, v6: true },
        (CLASS_IN, TYPE_PTR) => {
            reverse_address(&name).map_or_else(|| other(name), |addr| Ask::Name { addr })
        }
        _ => other(name),
    }
}

impl Query<'_> {
    /// The answer with these records. Over UDP, what does not fit is left out and said so.
    pub(super) fn answer(&self, code: Code, records: &[Record], udp: bool) -> Vec<u8> {
        let limit = match (udp, self.edns) {
            (false, _) => usize::from(u16::MAX),
            (true, None) => PLAIN_MAX,
            (true, Some(size)) => usize::from(size.clamp(512, EDNS_MAX)),
        };
        let opt: &[u8] = if self.edns.is_some() { &OPT } else { &[] };
        let mut out = self.head(code);
        let mut count: u16 = 0;
        for record in records {
            let before = out.len();
            write_record(&mut out, record);
            if out.len() + opt.len() > limit {
                out.truncate(before);
                out[2] |= 0x02;
                break;
            }
            count += 1;
        }
        out[6..8].copy_from_slice(&count.to_be_bytes());
        out.extend_from_slice(opt);
        out[10..12].copy_from_slice(&u16::from(self.edns.is_some()).to_be_bytes());
        out
    }

    /// Header and question of an answer.
    fn head(&self, code: Code) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.bytes[..self.question_end]);
        answer_flags(&mut out, code);
        out[6..12].fill(0);
        out
    }

    /// The query as it is sent on: it asks for no more than we can take.
    pub(super) fn sent_on(&self) -> SentOn {
        let mut bytes = self.bytes.to_vec();
        if self.edns.is_some_and(|size| size > ANSWER_MAX) {
            let size = self.question_end + OPT_SIZE;
            bytes[size..size + 2].copy_from_slice(&ANSWER_MAX.to_be_bytes());
        }
        SentOn(bytes)
    }

    /// Whether `answer` is one to this query sent under `id`: same question, and a response.
    pub(super) fn is_answered_by(&self, answer: &[u8], id: u16) -> bool {
        let question = &self.bytes[HEADER_LEN..self.question_end];
        u16_at(answer, 0) == Some(id)
            && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
            && u16_at(answer, 4) == Some(1)
            && answer
                .get(HEADER_LEN..self.question_end)
                .is_some_and(|bytes| bytes.eq_ignore_ascii_case(question))
    }

    /// An upstream's answer under the id that the client chose.
    pub(super) fn with_own_id(&self, mut answer: Vec<u8>) -> Vec<u8> {
        if let (Some(slot), Some(id)) = (answer.get_mut(..2), self.bytes.get(..2)) {
            slot.copy_from_slice(id);
        }
        answer
    }
}

/// A query on its way to servers, to each under an id of its own.
#[derive(Clone, Debug)]
pub(super) struct SentOn(Vec<u8>);

impl SentOn {
    /// Its bytes under an id.
    pub(super) fn under(&self, id: u16) -> Vec<u8> {
        let mut out = self.0.clone();
        out[..2].copy_from_slice(&id.to_be_bytes());
        out
    }
}

/// Whether an upstream's answer settles the matter (rather than "ask somebody else").
pub(super) fn is_final(answer: &[u8]) -> bool {
    let code = answer.get(3).map(|flags| flags & 0x0f);
    code == Some(Code::NoError as u8) || code == Some(Code::NxDomain as u8)
}

/// An empty OPT record announcing [`EDNS_MAX`].
const OPT: [u8; 11] = {
    let [high, low] = EDNS_MAX.to_be_bytes();
    [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]
};

fn write_record(out: &mut Vec<u8>, record: &Record) {
    let (kind, data) = match record {
        Record::Address(IpAddr::V4(v4)) => (TYPE_A, v4.octets().to_vec()),
        Record::Address(IpAddr::V6(v6)) => (TYPE_AAAA, v6.octets().to_vec()),
        Record::Name(name) => (TYPE_PTR, encode_name(name)),
    };
    // The owner is the question's name: a pointer to offset 12.
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&TTL.to_be_bytes());
    // Names are at most 255 bytes, addresses 16.
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&data);
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label);
    }
    out.truncate(NAME_MAX + 1);
    out.push(0);
    out
}

/// A response without records to a message whose question was not understood.
fn refusal(bytes: &[u8], code: Code) -> Vec<u8> {
    let mut out = bytes.get(..HEADER_LEN).unwrap_or_default().to_vec();
    answer_flags(&mut out, code);
    if let Some(counts) = out.get_mut(4..) {
        counts.fill(0);
    }
    out
}

/// Response, recursion available, opcode and "recursion desired" kept.
fn answer_flags(out: &mut [u8], code: Code) {
    if let Some([high, low]) = out.get_mut(2..4) {
        *high = 0x80 | (*high & 0x79);
        *low = 0x80 | code as u8;
    }
}

/// A name in lower case without final dot, and the offset after it. Questions are never compressed.
fn read_name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1;
        match len {
            0 => return Some((name, at)),
            1..=63 => {
                let label = bytes.get(at..at + len)?;
                if !name.is_empty() {
                    name.push('.');
                }
                match std::str::from_utf8(label) {
                    Ok(label) => name.push_str(&label.to_lowercase()),
                    // Nobody has such a name; it is passed on as it came.
                    Err(_) => name.extend(label.iter().copied().map(char::from)),
                }
                at += len;
            }
            _ => return None,
        }
        if name.len() > 2 * NAME_MAX {
            return None;
        }
    }
}

/// Where an OPT record has the size: after the empty name and the type.
const OPT_SIZE: usize = 3;

/// The client's UDP size from an OPT record right after the question.
fn edns_size(bytes: &[u8], at: usize) -> Option<u16> {
    (bytes.get(at) == Some(&0) && u16_at(bytes, at + 1)? == TYPE_OPT)
        .then(|| u16_at(bytes, at + OPT_SIZE))
        .flatten()
}

/// The address that `4.3.2.1.in-addr.arpa` or its IPv6 form names.
fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0u8; 4];
        let mut parts = digits.split('.');
        for slot in octets.iter_mut().rev() {
            *slot = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let mut nibbles = name.strip_suffix(".ip6.arpa")?.split('.');
    let mut number: u128 = 0;
    for n in 0..32 {
        let digit = nibbles.next().filter(|d| d.len() == 1)?;
        number |= u128::from(u8::from_str_radix(digit, 16).ok()?) << (4 * n);
    }
    nibbles.next().is_none().then(|| IpAddr::V6(Ipv6Addr::from(number)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
        bytes.extend(encode_name(name));
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(size) = edns {
            bytes.extend([0, 0, 41]);
            bytes.extend(size.to_be_bytes());
            bytes.extend([0; 6]);
        }
        bytes
    }

    #[test]
    fn questions_are_understood() {
        let check =
            |name: &str, kind, ask| assert_eq!(parse(&query(name, kind, None)).unwrap().ask, ask);
        let addresses = |v4, v6| Ask::Addresses { name: "web.example".into(), v4, v6 };
        check("Web.Example", TYPE_A, addresses(true, false));
        check("web.example", TYPE_AAAA, addresses(false, true));
        check("web.example", TYPE_ANY, addresses(true, true));
        check("web", 15, Ask::Other { name: "web".into() });
        let addr = "172.17.0.2".parse().unwrap();
        check("2.0.17.172.in-addr.arpa", TYPE_PTR, Ask::Name { addr });
        let zeros = "0.".repeat(31);
        let addr = "::1".parse().unwrap();
        check(&format!("1.{zeros}ip6.arpa"), TYPE_PTR, Ask::Name { addr });
        let odd = "2.0.17.in-addr.arpa";
        check(odd, TYPE_PTR, Ask::Other { name: odd.into() });
    }

    #[test]
    fn what_is_no_query_is_refused_or_ignored() {
        assert_eq!(parse(&[]), Err(None));
        let mut response = query("a", TYPE_A, None);
        response[2] |= 0x80;
        assert_eq!(parse(&response), Err(None));
        let mut update = query("a", TYPE_A, None);
        update[2] |= 0x28;
        assert_eq!(parse(&update).unwrap_err().unwrap()[3] & 15, Code::NotImp as u8);
        let mut two = query("a", TYPE_A, None);
        two[5] = 2;
        assert_eq!(parse(&two).unwrap_err().unwrap()[3] & 15, Code::FormErr as u8);
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_is_harmless() {
        let whole = query("some.long-name.example", TYPE_A, Some(4096));
        for len in 0..whole.len() {
            let _ = parse(&whole[..len]);
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(query) = parse(&bytes) {
                    let answer = query.answer(Code::NoError, &[], true);
                    assert!(
                        query.is_answered_by(&answer, u16::from_be_bytes([bytes[0], bytes[1]]))
                    );
                }
            }
        }
    }

    #[test]
    fn no_server_is_told_more_than_is_taken() {
        for (asked, told) in [(None, None), (Some(1232), Some(1232)), (Some(65_494), Some(4096))] {
            let bytes = query("web.example", TYPE_A, asked);
            let sent = parse(&bytes).unwrap().sent_on().under(0x0102);
            assert_eq!(sent[..2], [1, 2]);
            assert_eq!(parse(&sent).unwrap().edns, told);
            assert_eq!(sent.len(), bytes.len());
        }
    }

    #[test]
    fn who_speaks_edns_is_answered_so() {
        let records = [Record::Address("172.17.0.2".parse().unwrap())];
        let answer = |edns| {
            let bytes = query("web", TYPE_A, edns);
            let answer = parse(&bytes).unwrap().answer(Code::NoError, &records, true);
            (answer[11], answer[bytes.len() - if edns.is_some() { 11 } else { 0 } + 16..].to_vec())
        };
        assert_eq!(answer(None), (0, Vec::new()));
        assert_eq!(answer(Some(512)), (1, OPT.to_vec()), "of version 0, our size, no options");
    }

    #[test]
    fn long_answers_are_cut_as_the_client_can_take() {
        let record = Record::Address("172.17.0.2".parse().unwrap());
        let records = vec![record; 100];
        let cut = |edns, udp| {
            let bytes = query("web", TYPE_A, edns);
            let answer = parse(&bytes).unwrap().answer(Code::NoError, &records, udp);
            (answer.len(), answer[2] & 2 != 0, u16::from_be_bytes([answer[6], answer[7]]))
        };
        let (len, truncated, count) = cut(None, true);
        assert!(len <= 512 && truncated && count > 20, "{len} {count}");
        let (len, truncated, count) = cut(Some(4096), true);
        assert!(len <= 1232 && truncated && count > 60, "{len} {count}");
        assert!(!cut(None, false).1);
        assert_eq!(cut(None, false).2, 100);
    }
}
