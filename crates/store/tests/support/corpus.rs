//! Hostile archives, generated: what they are called and try, and whether they must be refused.
//! Whatever becomes of one, a sentinel beside the place it is unpacked in must not change.

use super::*;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

/// One attack: what it is called, its archive, and whether it must be refused as a layer.
pub struct Attack {
    pub name: String,
    pub tar: Vec<u8>,
    /// Whether it must be refused as a layer; else it may be taken in as long as it is contained.
    pub refused: bool,
}

fn attack(name: impl Into<String>, refused: bool, entries: &[Raw]) -> Attack {
    Attack { name: name.into(), tar: tar(entries), refused }
}

/// Ways to spell a path to the sentinel that stays or leads outside.
fn escapes(outside: &Path) -> Vec<String> {
    let absolute = outside.to_str().unwrap();
    let climb = "../".repeat(12);
    vec![
        absolute.to_owned(),
        format!("{climb}{}", &absolute[1..]),
        format!("x/../../../../../../../../../../../..{absolute}"),
        format!("./{climb}{}", &absolute[1..]),
        format!("/..{absolute}"),
        format!("//{absolute}"),
    ]
}

fn by_name(outside: &Path) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for path in escapes(outside) {
        let refused = TreeOf(&path).climbs();
        for (what, flag) in [("file", b'0'), ("dir", b'5'), ("fifo", b'6'), ("symlink", b'2')] {
            let target = format!("{path}/made-by-{what}");
            let entry = Raw { link: b"x".to_vec(), ..raw("short", flag) };
            let entry = entry.pax("path", target.as_bytes());
            attacks.push(attack(format!("{what} named {path}"), refused, &[entry]));
        }
        let victim = format!("{path}/victim");
        attacks.push(attack(
            format!("overwrite {path}"),
            refused,
            &[file("short", b"owned").pax("path", victim.as_bytes())],
        ));
        let mark = format!("{path}/.wh.victim");
        attacks.push(attack(
            format!("whiteout {path}"),
            refused,
            &[file("short", b"").pax("path", mark.as_bytes())],
        ));
        let gnu = Raw { data: [victim.as_bytes(), b"\0"].concat(), ..raw("././@LongLink", b'L') };
        attacks.push(attack(format!("GNU name {path}"), refused, &[gnu, file("short", b"owned")]));
        attacks.push(attack(
            format!("sparse name {path}"),
            refused,
            &[file("short", b"12")
                .pax("GNU.sparse.name", victim.as_bytes())
                .pax("GNU.sparse.size", b"2")
                .pax("GNU.sparse.map", b"0,2")],
        ));
    }
    attacks
}

/// Whether a name climbs out of its tree by words alone.
struct TreeOf<'a>(&'a str);

impl TreeOf<'_> {
    fn climbs(&self) -> bool {
        !self.0.starts_with('/')
    }
}

fn through_links(outside: &Path) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for target in escapes(outside) {
        let link = symlink("l", "x").pax("linkpath", target.as_bytes());
        let hard = hardlink("h", "x").pax("linkpath", format!("{target}/victim").as_bytes());
        let through: [(&str, Vec<Raw>); 10] = [
            ("file", vec![file("l/victim", b"owned")]),
            ("new file", vec![file("l/new", b"owned")]),
            ("dir", vec![dir("l/new/")]),
            ("deep", vec![file("l/a/b/c", b"owned")]),
            ("whiteout", vec![file("l/.wh.victim", b"")]),
            ("opaque", vec![file("l/.wh..wh..opq", b"")]),
            ("hard link", vec![hardlink("h", "l/victim"), file("h", b"owned")]),
            ("device", vec![device("l/dev", b'3', 1, 3)]),
            ("chain", vec![symlink("m", "l"), file("m/new", b"owned")]),
            ("dots", vec![dir("d/"), symlink("d/up", "../l"), file("d/up/new", b"owned")]),
        ];
        for (what, entries) in through {
            let all = [vec![link.clone()], entries].concat();
            attacks.push(attack(format!("{what} through a link to {target}"), true, &all));
        }
        // Replacing the link itself is fine, and touches only the link.
        for (what, entry) in [
            ("file over", file("l", b"mine").mode(0o777)),
            ("dir over", dir("l/").mode(0o777).owner(5, 5)),
            ("mode of", symlink("l", "y").mode(0o777).owner(5, 5)),
        ] {
            let all = [link.clone(), entry];
            attacks.push(attack(format!("{what} a link to {target}"), false, &all));
        }
        let all = [hard, file("h", b"owned").mode(0o777)];
        attacks.push(attack(format!("hard link to {target}"), true, &all));
    }
    attacks
}

fn by_whiteout() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh..", ".wh.a/b", "x/.wh.y/z"] {
        attacks.push(attack(format!("whiteout {name}"), true, &[dir("a/"), file(name, b"")]));
    }
    let evil = file("x", b"").pax("path", b"a/.wh.b\0/../../c");
    attacks.push(attack("whiteout with NUL", true, &[evil]));
    attacks.push(attack("opaque root", false, &[file(".wh..wh..opq", b"")]));
    attacks.push(attack("link to a mark", true, &[file(".wh.a", b""), hardlink("b", "a")]));
    attacks
}

fn by_header() -> Vec<Attack> {
    let huge = u64::MAX.to_string();
    let mut attacks = vec![
        attack("size of all", true, &[file("a", b"x").pax("size", huge.as_bytes())]),
        attack("size in octal", true, &[file("a", b"x").size(0o77_777_777_777)]),
        attack("owner -1", true, &[file("a", b"x").pax("uid", b"4294967295")]),
        attack("owner beyond", true, &[file("a", b"x").pax("gid", b"4294967296")]),
        attack("negative owner", true, &[file("a", b"x").pax("uid", b"-1")]),
        attack("NUL in name", true, &[file("a", b"x").pax("path", b"a\0b")]),
        attack("NUL in target", true, &[symlink("a", "b").pax("linkpath", b"a\0b")]),
        attack("long component", true, &[file("a", b"").pax("path", &[b'n'; 256])]),
        attack("long name", true, &[file("a", b"").pax("path", &b"n/".repeat(3000))]),
        attack("deep name", true, &[file("a", b"").pax("path", &b"n/".repeat(600))]),
        attack("huge PAX", true, &[file("a", b"").pax("comment", &vec![b'c'; 2 << 20])]),
        attack("huge GNU name", true, &[Raw { data: vec![b'n'; 2 << 20], ..raw("x", b'L') }]),
        attack(
            "empty GNU name",
            true,
            &[Raw { data: vec![0; 8], ..raw("x", b'L') }, file("a", b"")],
        ),
        attack("unknown type", true, &[raw("a", b'V')]),
        attack("file as root", true, &[file(".", b"x")]),
        attack("link as root", true, &[symlink("./", "/etc")]),
        attack("file named nothing", true, &[file("", b"x")]),
        attack("whiteout of all", true, &[file("a/../.wh.", b"")]),
        attack("sparse overlap", true, &[sparse("0,2,1,2", "10", 4)]),
        attack("sparse beyond", true, &[sparse("100,2", "10", 2)]),
        attack("sparse overflow", true, &[sparse("18446744073709551615,2", "10", 2)]),
        attack("sparse giant", true, &[sparse("0,2", "9223372036854775807", 2)]),
        attack("link to itself", true, &[hardlink("a", "a")]),
        attack("link to a directory", true, &[dir("d/"), hardlink("a", "d")]),
        attack("link to the root", true, &[hardlink("a", ".")]),
        attack(
            "links in a circle",
            true,
            &[symlink("a", "b"), symlink("b", "a"), file("a/c", b"")],
        ),
        attack("file below a file", true, &[file("a", b""), file("a/b", b"")]),
        attack("dir below a device", true, &[device("a", b'3', 1, 3), dir("a/b/")]),
        attack(
            "two long names",
            true,
            &[
                Raw { data: b"gnu\0".to_vec(), ..raw("x", b'L') },
                file("a", b"").pax("path", b"pax"),
            ],
        ),
    ];
    for name in [
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "security.selinux",
    ] {
        let entry = dir("d/").pax(&format!("SCHILY.xattr.{name}"), b"/etc");
        attacks.push(attack(format!("attribute {name}"), false, &[entry]));
    }
    for name in ["é", "\u{202e}gpj", "a\nb", "-rf", "~", "*", " ", "\u{7f}", "CON", "a\\b", "C:"] {
        attacks.push(attack(format!("name {name:?}"), false, &[file(name, b"x")]));
    }
    attacks
}

fn sparse(map: &str, size: &str, len: usize) -> Raw {
    file("a", &vec![1; len])
        .pax("GNU.sparse.size", size.as_bytes())
        .pax("GNU.sparse.map", map.as_bytes())
}

/// Every attack; `outside` is a directory that they aim at.
pub fn corpus(outside: &Path) -> Vec<Attack> {
    let mut attacks = by_name(outside);
    attacks.extend(through_links(outside));
    attacks.extend(by_whiteout());
    attacks.extend(by_header());
    attacks.extend(by_spelling());
    attacks.extend(by_replacing());
    attacks.extend(by_number());
    attacks.extend(by_cutting());
    attacks
}

/// Names that climb, in every way a name can be written, for every type.
fn by_spelling() -> Vec<Attack> {
    let types = [('0', "file"), ('1', "hard link"), ('2', "link"), ('3', "device"), ('5', "dir")];
    let mut attacks = Vec::new();
    for name in ["../v", "a/../../v", "./../v", "a/b/../../../v", "..//v", "/../../../../v"] {
        for (flag, what) in types {
            let refused = !name.starts_with('/');
            let flag = u8::try_from(flag).unwrap();
            let entry = |name: &str| Raw { link: b"t".to_vec(), ..raw(name, flag) };
            let gnu = Raw { data: [name.as_bytes(), b"\0"].concat(), ..raw("././@LongLink", b'L') };
            let spelt = [
                ("plain", vec![entry(name)]),
                ("PAX", vec![entry("x").pax("path", name.as_bytes())]),
                ("GNU", vec![gnu, entry("x")]),
            ];
            for (how, entries) in spelt {
                let all = [vec![file("t", b"x")], entries].concat();
                attacks.push(attack(format!("{what} {name} by {how}"), refused, &all));
            }
        }
    }
    for target in ["../v", "../../../../etc/passwd", "a/../../v", "./../v"] {
        let gnu = Raw { data: [target.as_bytes(), b"\0"].concat(), ..raw("k", b'K') };
        let spelt = [
            ("plain", vec![hardlink("h", target)]),
            ("PAX", vec![hardlink("h", "x").pax("linkpath", target.as_bytes())]),
            ("GNU", vec![gnu, hardlink("h", "x")]),
        ];
        for (how, entries) in spelt {
            let all = [entries, vec![file("h", b"owned")]].concat();
            attacks.push(attack(format!("hard link to {target} by {how}"), true, &all));
        }
    }
    attacks
}

/// Every type in place of every other, and something below what came last.
fn by_replacing() -> Vec<Attack> {
    let kinds = |name: &str| {
        [
            ("file", file(name, b"content")),
            ("dir", dir(name)),
            ("link", symlink(name, "/etc")),
            ("hard link", hardlink(name, "t")),
            ("fifo", raw(name, b'6')),
            ("device", device(name, b'3', 1, 3)),
            ("mark", device(name, b'3', 0, 0)),
        ]
    };
    let mut attacks = Vec::new();
    for (first, before) in kinds("a") {
        for (second, after) in kinds("a") {
            let all = [file("t", b"target"), before.clone(), after];
            attacks.push(attack(format!("{first}, then {second}"), false, &all));
        }
        let refused = !matches!(first, "dir" | "mark");
        let all = [file("t", b"target"), before, file("a/b/c", b"below")];
        attacks.push(attack(format!("below {first}"), refused, &all));
    }
    attacks
}

/// Numbers at the ends of what a field can say.
fn by_number() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (what, range) in [("size", 124..136), ("mode", 100..108), ("uid", 108..116)] {
        for (how, first, rest) in [("negative", 0xff, 0xff), ("huge", 0x80, 0xff)] {
            let mut tar = tar(&[file("a", b"x")]);
            tar[range.clone()].fill(rest);
            tar[range.start] = first;
            seal(&mut tar[..512]);
            // Bits of the mode beyond the permissions say nothing.
            let refused = what != "mode" || how == "negative";
            attacks.push(Attack { name: format!("{how} {what}"), tar, refused });
        }
        for text in ["-1\0", "99999999", "0x1\0", "1 1\0", "\u{b9}\0"] {
            let mut tar = tar(&[file("a", b"x")]);
            let field = &mut tar[range.clone()];
            field.fill(b' ');
            field[..text.len()].copy_from_slice(text.as_bytes());
            seal(&mut tar[..512]);
            attacks.push(Attack { name: format!("{what} {text:?}"), tar, refused: true });
        }
    }
    for size in ["-1", "1e3", "0x10", "99999999999999999999", "+1", " 1", "1\0"] {
        let entry = file("a", b"x").pax("size", size.as_bytes());
        attacks.push(attack(format!("PAX size {size:?}"), true, &[entry]));
    }
    for record in [
        &b"5 a=b\n"[..],
        b"7 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"99999999999 a=b\n",
        b"a=b\n",
        b"6 a=bx",
        b"5 ab\n",
        b"4 =\n",
    ] {
        let entries = [Raw { data: record.to_vec(), ..raw("p", b'x') }, file("a", b"x")];
        let shown = String::from_utf8_lossy(record).into_owned();
        attacks.push(attack(format!("PAX record {shown:?}"), true, &entries));
    }
    attacks
}

/// Archives that end too early, or go on after their end.
fn by_cutting() -> Vec<Attack> {
    let whole = tar(&[dir("d/"), file("d/f", &[7; 3000]).pax("comment", b"c"), file("e", b"x")]);
    let ends = [1, 511, 513, 700, 1024, 1025, 1600, 2048, 2500, 4000, 5119];
    let cut = |end: usize| Attack {
        name: format!("cut at {end}"),
        tar: whole[..end].to_vec(),
        refused: true,
    };
    let mut attacks: Vec<Attack> = ends.into_iter().map(cut).collect();
    for garbage in [&b"x"[..], &[0xff; 512]] {
        let mut tar = whole[..whole.len() - 512].to_vec();
        tar.extend_from_slice(garbage);
        attacks.push(Attack {
            name: format!("{} after half an end", garbage.len()),
            tar,
            refused: true,
        });
    }
    attacks
}

/// Compressed forms of an archive, damaged; what is not refused must give the archive itself.
pub fn streams(plain: &[u8]) -> Vec<Attack> {
    let mut xz = Vec::new();
    liblzma::bufread::XzEncoder::new(plain, 6).read_to_end(&mut xz).unwrap();
    let mut bz = Vec::new();
    let best = bzip2::Compression::best();
    bzip2::bufread::BzEncoder::new(plain, best).read_to_end(&mut bz).unwrap();
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(plain).unwrap();
    let forms =
        [("gzip", gzip(plain)), ("zstd", zstd.finish().unwrap()), ("xz", xz), ("bzip2", bz)];
    let mut streams = Vec::new();
    for (form, whole) in forms {
        let mut add = |what: String, tar: Vec<u8>, refused| {
            streams.push(Attack { name: format!("{form} {what}"), tar, refused });
        };
        for part in 0..12 {
            let end = 7 + (whole.len() - 8) * part / 11;
            add(format!("cut at {end}"), whole[..end].to_vec(), true);
        }
        for part in 0..12 {
            let at = 6 + (whole.len() - 7) * part / 11;
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (part % 8);
            // A bit of the header may mean nothing.
            add(format!("flipped at {at}"), flipped, false);
        }
        add("with garbage".into(), [&whole[..], b"garbage behind it"].concat(), true);
        add("in the middle of itself".into(), [&whole[..whole.len() / 2], &whole].concat(), true);
    }
    streams
}

/// A directory that must not change in any way.
pub struct Sentinel {
    pub dir: PathBuf,
    before: BTreeMap<String, String>,
    around: Vec<String>,
}

impl Sentinel {
    pub fn new(home: &Home) -> Self {
        let dir = home.dir.path().join("outside");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        for name in ["victim", "sub/victim"] {
            std::fs::write(dir.join(name), "untouched").unwrap();
        }
        let around = names(home.dir.path());
        Self { before: picture(&dir), dir, around }
    }

    pub fn check(&self, home: &Home, name: &str) {
        assert_eq!(picture(&self.dir), self.before, "{name}");
        assert_eq!(names(home.dir.path()), self.around, "{name}");
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            let mut list = [0u8; 64];
            let len = rustix::fs::llistxattr(&path, &mut list[..]).unwrap();
            assert_eq!(len, 0, "{name}: {}", path.display());
        }
    }
}

/// No attribute that overlayfs obeys, except what a mark of the archive made.
pub fn no_overlay_steering(files: &Path, name: &str) {
    for path in picture(files).keys() {
        let mut list = [0u8; 256];
        let Ok(len) = rustix::fs::llistxattr(files.join(path), &mut list[..]) else { continue };
        let text = String::from_utf8_lossy(&list[..len]).into_owned();
        let steering = text.contains("overlay.redirect")
            || text.contains("overlay.metacopy")
            || text.contains("user.overlay");
        assert!(!steering, "{name}: {path}: {text}");
        let opaque = name == "attribute trusted.overlay.opaque" && text.contains("overlay.opaque");
        assert!(!opaque, "{name}: {path}: {text}");
    }
}
