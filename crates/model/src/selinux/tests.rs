//! Labels by data.

use super::*;

const POLICY: &str = "\
# of containers
process = \"system_u:system_r:container_t:s0\"
content = \"system_u:object_r:virt_var_lib_t:s0\"
; old
file = system_u:object_r:container_file_t:s0
ro_file=\"system_u:object_r:container_ro_file_t:s0\"
";

fn ground(joined: &[&str]) -> Ground {
    Ground {
        contexts: Contexts::parse(POLICY).unwrap(),
        level: Level::of(9, 3).unwrap(),
        joined: joined.iter().map(|label| (*label).to_owned()).collect(),
    }
}

fn words(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

fn labels(options: &[&str]) -> (String, String) {
    let Labels { process, mount } = Labels::of(&ground(&[]), &words(options)).unwrap();
    (process, mount)
}

#[test]
fn a_label_is_taken_apart_and_put_together() {
    for text in ["a:b:c", "a:b:c:s0", "a:b:c:s0-s15:c0.c1023", "u_u:r_r:t-t.x:s0:c1,c2"] {
        assert_eq!(Context::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Context::parse("a:b:c:s0:c1,c2").unwrap().level(), "s0:c1,c2");
    for text in ["", "a", "a:b", "a::c", "a:b:", "a:b:c d", "a:b:c\"", "a:b:c:s0\n", "a:b:c:s0 x"] {
        assert_eq!(Context::parse(text), None, "{text:?}");
    }
}

#[test]
fn the_policy_says_both_or_there_is_nothing_for_containers() {
    let known = Contexts::parse(POLICY).unwrap();
    assert_eq!(known.process.to_string(), "system_u:system_r:container_t:s0");
    assert_eq!(known.file.to_string(), "system_u:object_r:container_file_t:s0");
    for missing in ["process", "file"] {
        let kept = |line: &&str| !line.starts_with(missing);
        let text: Vec<&str> = POLICY.lines().filter(kept).collect();
        assert_eq!(Contexts::parse(&text.join("\n")), None, "{missing}");
    }
    assert_eq!(Contexts::parse(""), None);
    assert_eq!(Contexts::parse("process = \"x\"\nfile = \"y\""), None);
}

#[test]
fn levels_are_two_different_categories_in_order() {
    assert_eq!(Level::of(9, 3).unwrap().to_string(), "s0:c3,c9");
    assert_eq!(Level::of(9, 3), Level::of(3, 9));
    assert_eq!(Level::of(0, 1023).unwrap().to_string(), "s0:c0,c1023");
    for (one, other) in [(3, 3), (0, 1024), (1022, 1023), (1023, 1022)] {
        assert_eq!(Level::of(one, other), None, "{one} {other}");
    }
}

#[test]
fn options_change_the_parts_that_they_name() {
    let process = "system_u:system_r:container_t:s0:c3,c9";
    let file = "system_u:object_r:container_file_t:s0:c3,c9";
    for (options, want_process, want_file) in [
        (&[][..], process, file),
        (&["type:other_t"], "system_u:system_r:other_t:s0:c3,c9", file),
        (&["role:r"], "system_u:r:container_t:s0:c3,c9", file),
        (&["user:u"], "u:system_r:container_t:s0:c3,c9", "u:object_r:container_file_t:s0:c3,c9"),
        (
            &["level:s0:c100,c200"],
            "system_u:system_r:container_t:s0:c100,c200",
            "system_u:object_r:container_file_t:s0:c100,c200",
        ),
        (&["filetype:f"], process, "system_u:object_r:f:s0:c3,c9"),
        (&["type:a", "type:b"], "system_u:system_r:b:s0:c3,c9", file),
    ] {
        let want = (want_process.to_owned(), want_file.to_owned());
        assert_eq!(labels(options), want, "{options:?}");
    }
    // Nothing confined may use the files of who is not.
    let free = (String::new(), "system_u:object_r:container_file_t:s0:c1022,c1023".to_owned());
    assert_eq!(labels(&["disable"]), free);
    assert_eq!(labels(&["type:a", "disable"]), free);
}

#[test]
fn a_policy_without_levels_has_labels_without() {
    let text = "process = \"u:r:t\"\nfile = \"u:o:f\"\n";
    let ground = Ground { contexts: Contexts::parse(text).unwrap(), ..ground(&[]) };
    let labels = Labels::of(&ground, &[]).unwrap();
    assert_eq!((labels.process.as_str(), labels.mount.as_str()), ("u:r:t", "u:o:f"));
    assert_eq!(labels.level(), "");
    assert_eq!(labels.files(Relabel::Shared).unwrap(), "u:o:f");
}

#[test]
fn what_is_no_option_is_refused_in_dockers_words() {
    for (option, want) in [
        ("nonsense", "Bad label option \"nonsense\", valid options 'disable' or"),
        ("kind:x", "Bad label option \"kind\", valid options 'disable, user, role, level"),
        ("type:", "Bad label option \"type:\""),
        ("type:a b", "Bad label option \"type:a b\""),
        ("level:s0\"", "Bad label option"),
    ] {
        let denied = Labels::of(&ground(&[]), &words(&[option])).unwrap_err();
        assert!(denied.message.starts_with(want), "{denied}");
    }
}

#[test]
fn who_joins_others_is_what_they_are() {
    let one = "u:r:t:s0:c1,c2";
    let same = words(&["user:u", "role:r", "type:t", "level:s0:c1,c2"]);
    assert_eq!(implied(false, None).unwrap(), words(&[]));
    assert_eq!(implied(false, Some(&ground(&[]))).unwrap(), words(&[]));
    assert_eq!(implied(false, Some(&ground(&[""]))).unwrap(), words(&[]));
    assert_eq!(implied(false, Some(&ground(&[one]))).unwrap(), same);
    assert_eq!(implied(false, Some(&ground(&[one, one]))).unwrap(), same);
    assert_eq!(implied(true, Some(&ground(&[one]))).unwrap(), words(&["disable"]));
    assert_eq!(implied(true, None).unwrap(), words(&["disable"]));
    let denied = implied(false, Some(&ground(&[one, "u:r:t:s0:c1,c3"]))).unwrap_err();
    assert_eq!(denied.message, "--ipc and --pid containers SELinux labels aren't the same");
    let labels = Labels::of(&ground(&[one]), &same).unwrap();
    assert_eq!((labels.process.as_str(), labels.level().as_str()), (one, "s0:c1,c2"));
}

#[test]
fn files_are_for_all_containers_or_for_one() {
    let labels = Labels::of(&ground(&[]), &[]).unwrap();
    let files = |whose| labels.files(whose).unwrap();
    assert_eq!(files(Relabel::Private), "system_u:object_r:container_file_t:s0:c3,c9");
    assert_eq!(files(Relabel::Shared), "system_u:object_r:container_file_t:s0");
    assert_eq!(Labels::default().files(Relabel::Private), None);
}

#[test]
fn the_systems_own_places_keep_their_labels() {
    for path in ["/", "//", "/etc", "/etc/", "/usr", "/home", "/var/lib", "/etc/shadow", "/me"] {
        assert!(!may_relabel(path, Some("/me/")), "{path}");
    }
    for path in ["/etc/app", "/srv/www", "/home/me", "/var/lib/app", "/me/data", "/usr/local"] {
        assert!(may_relabel(path, Some("/me")), "{path}");
    }
    assert!(may_relabel("/me", None));
}
