//! What surrounds the command line: completion in shells, manual pages, and commands that other
//! programs add.

use lab::{Lab, Output, Setup, binaries};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn shell(lab: &Lab, words: &[&str]) -> Output {
    let mut command = lab.client(std::path::Path::new(words[0]));
    let path = format!("{}:/usr/bin:/bin", binaries().display());
    command.args(&words[1..]).env("PATH", path);
    Output::of(command)
}

#[test]
fn shells_complete_commands_flags_and_names() {
    let lab = Lab::new();
    lab.estiba(&["create", "--name", "completed", "busybox", "true"]).ok();
    for name in ["bash", "zsh", "fish"] {
        let script = lab.estiba(&["completion", name]);
        let file = lab.dir().join(name);
        std::fs::write(&file, script.ok()).unwrap();
    }
    let script = lab.dir().join("bash").to_string_lossy().into_owned();
    let ask = |words: &str, last: &str| {
        let try_it = format!(
            ". {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             COMP_LINE='{words}'; COMP_POINT=${{#COMP_LINE}}; \
             f=$(complete -p estiba | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); $f estiba {last} x; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        shell(&lab, &["bash", "-c", &try_it]).ok().to_owned()
    };
    let has = |told: String, want: &str| {
        assert!(told.lines().any(|line| line.split_whitespace().next() == Some(want)), "{told}");
    };
    has(ask("estiba netw", "netw"), "network");
    has(ask("estiba run --pri", "--pri"), "--privileged");
    has(ask("estiba rm compl", "compl"), "completed");
}

#[test]
fn every_command_has_a_manual_page() {
    let lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let dir = lab.dir().join("man");
    std::fs::create_dir(&dir).unwrap();
    lab.estiba(&["__man", &dir.to_string_lossy()]).ok();
    for name in ["estiba", "estiba-run", "estiba-volume-create", "estiba-container-ls"] {
        let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
        assert!(page.starts_with(".TH") || page.contains("\n.TH"), "{name}: {page}");
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
}

/// The program of a plugin: says what it is, or what it was called with.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"Tests","Version":"v1.2","ShortDescription":"Says hello"}'
  exit
fi
echo "hello from $DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND: $* ($DOCKER_HOST)"
read -r line && echo "read $line"
exit 7
"#;

#[test]
fn other_programs_add_commands() {
    let lab = Lab::with(Setup { empty: true, ..Setup::default() });
    let dir = lab.dir().join(".docker/cli-plugins");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in [
        ("docker-hello", PROGRAM),
        ("docker-broken", "#!/bin/sh\nexit 1\n"),
        // What is there already stays what it is.
        ("docker-ps", PROGRAM),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let said = lab.estiba_with(&["--debug", "hello", "there", "--flag"], b"input\n");
    let host = format!("unix://{}", lab.socket().display());
    assert_eq!(said.status, 7);
    let program = binaries().join("estiba");
    let want = format!("hello from {}: --debug hello there --flag ({host})", program.display());
    assert_eq!(said.stdout.lines().collect::<Vec<_>>(), [&*want, "read input"]);
    assert!(lab.estiba(&["broken"]).stderr.contains("unknown command"));
    assert_eq!(lab.estiba(&["ps", "-q"]).ok(), "");
    let help = lab.estiba(&["--help"]).ok().to_owned();
    assert!(help.lines().any(|line| line.starts_with("  hello*      Says hello")), "{help}");
    assert!(!help.contains("broken*") && !help.contains("ps*"), "{help}");
    let told =
        lab.estiba(&["info", "-f", "{{range .ClientInfo.Plugins}}{{.Name}} {{.Version}}{{end}}"]);
    assert_eq!(told.ok(), "hello v1.2");
    // Without anything said it looks for the engine where we do.
    let mut command = Command::new(&program);
    command.env_clear().env("HOME", lab.dir()).env("PATH", "/usr/bin:/bin").arg("hello");
    let said = Output::of(command);
    assert!(said.stdout.contains("(unix:///run/estiba/estiba.sock)"), "{said:?}");
}
