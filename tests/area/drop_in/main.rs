//! The stock command line 28 and ours under the name `docker`, command by command on the same
//! daemon: the same words on both streams, the same status. Each test says so and passes where
//! the stock one cannot be had.
//!
//! ```text
//! tests/data/cli/network.txt …  scripts; each line is a command for sh, run by both in turn
//! tests/data/cli/commands.txt  every command, for its help page and for mistakes
//! tests/data/cli/flags.tsv     every flag of theirs: command, short, long, kind of value
//! ```
//! The lines of a script build on each other: the stock command line goes through all of them,
//! everything is removed, and ours does the same. What has to differ (ids, times, paths of the
//! test) is made equal before it is compared, and nothing else.

mod same;

use lab::{Lab, Output};
use same::{Names, told};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a command line is found under the name `docker`.
struct Side {
    home: PathBuf,
    path: String,
}

impl Side {
    fn new(lab: &Lab, name: &str, program: &Path) -> Self {
        let home = lab.dir().join(name);
        let bin = home.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(program, bin.join("docker")).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        std::fs::create_dir(home.join("work")).unwrap();
        Self { home, path }
    }

    fn pair(lab: &Lab) -> Option<[Self; 2]> {
        let stock = ["/usr/local/bin/docker", "/usr/bin/docker"].map(Path::new);
        let stock = stock.into_iter().find(|path| path.exists());
        let version = |path: &&Path| {
            let said = Command::new(path).arg("--version").output().expect("it starts");
            String::from_utf8_lossy(&said.stdout).starts_with("Docker version 28.")
        };
        let Some(stock) = stock.filter(version) else {
            eprintln!("skipped: no docker command line 28 here");
            return None;
        };
        let ours = lab::binaries().join("estiba");
        Some([Self::new(lab, "side1", stock), Self::new(lab, "side2", &ours)])
    }

    /// A command that finds this `docker` and talks to the lab's daemon.
    fn command(&self, lab: &Lab, program: &str) -> Command {
        let mut command = lab.client(Path::new(program));
        command.env("PATH", &self.path).env("HOME", &self.home);
        command.current_dir(self.home.join("work"));
        command
    }

    /// `docker WORDS…`.
    fn docker(&self, lab: &Lab, words: &[&str]) -> Output {
        let mut command = self.command(lab, self.home.join("bin/docker").to_str().unwrap());
        outcome(command.args(words))
    }
}

fn outcome(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Removes what a script made, so that the next finds what the first did.
fn reset(lab: &Lab) {
    let ids = lab.estiba(&["ps", "-aq"]).stdout;
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if !ids.is_empty() {
        lab.estiba(&[&["rm", "-fv"], &*ids].concat()).ok();
    }
    lab.estiba(&["volume", "prune", "-af"]).ok();
    lab.estiba(&["network", "prune", "-f"]).ok();
    let images = lab.estiba(&["images", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]).stdout;
    for line in images.lines() {
        let (id, name) = line.split_once(' ').unwrap();
        if name != "busybox:latest" {
            lab.estiba(&["rmi", "-f", if name.contains("<none>") { id } else { name }]).ok();
        }
    }
    lab.estiba(&["builder", "prune", "-af"]).ok();
}

/// Runs the lines of a script by both command lines and compares.
fn script(lines: &str) {
    let lab = Lab::new();
    let Some(sides) = Side::pair(&lab) else { return };
    let lines: Vec<&str> =
        lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut pages: Vec<Vec<Output>> = Vec::new();
    for side in &sides {
        let began = Command::new("date").arg("+%s.%N").output().unwrap();
        let began = String::from_utf8(began.stdout).unwrap();
        let mut names = Names::new(&lab, &side.home);
        let mut page = Vec::new();
        for line in &lines {
            let mut command = side.command(&lab, "/bin/sh");
            let output = outcome(command.args(["-c", line]).env("BEGAN", began.trim()));
            page.push(names.alike(&output));
        }
        pages.push(page);
        reset(&lab);
    }
    let [stock, ours] = &pages[..] else { unreachable!("two sides") };
    let differences: Vec<String> =
        (0..lines.len()).filter_map(|n| told(lines[n], &stock[n], &ours[n])).collect();
    let count = differences.len();
    assert_eq!(count, 0, "{count} of {} lines:\n{}", lines.len(), differences.join("\n"));
}

const SCRIPTS: [&str; 7] = [
    include_str!("../../data/cli/container.txt"),
    include_str!("../../data/cli/options.txt"),
    include_str!("../../data/cli/image.txt"),
    include_str!("../../data/cli/network.txt"),
    include_str!("../../data/cli/system.txt"),
    include_str!("../../data/cli/mistakes.txt"),
    include_str!("../../data/cli/remaining.txt"),
];

#[test]
#[ignore = "takes minutes: make drop-in"]
fn containers() {
    script(SCRIPTS[0]);
}

#[test]
#[ignore = "takes minutes: make drop-in"]
fn options_of_containers() {
    script(SCRIPTS[1]);
}

#[test]
#[ignore = "takes minutes: make drop-in"]
fn images() {
    script(SCRIPTS[2]);
}

#[test]
#[ignore = "takes minutes: make drop-in"]
fn networks_and_volumes() {
    script(SCRIPTS[3]);
}

#[test]
#[ignore = "takes minutes: make drop-in"]
fn the_system_contexts_and_registries() {
    script(SCRIPTS[4]);
}

#[test]
#[ignore = "takes minutes: make drop-in"]
fn flags_that_are_left() {
    script(SCRIPTS[6]);
}

#[test]
fn mistakes() {
    script(SCRIPTS[5]);
}

const FLAGS: &str = include_str!("../../data/cli/flags.tsv");

/// Every command there is, without the program's name.
fn commands() -> impl Iterator<Item = Vec<&'static str>> {
    let names = include_str!("../../data/cli/commands.txt").lines();
    names.map(|name| name.split(' ').skip(1).collect())
}

/// Runs each of `asked` by both, two at a time, and compares.
fn each(asked: &[Vec<&str>]) {
    let lab = Lab::new();
    let Some([stock, ours]) = Side::pair(&lab) else { return };
    let compare = |words: &Vec<&str>| {
        let alike = |side: &Side| Names::new(&lab, &side.home).alike(&side.docker(&lab, words));
        told(&words.join(" "), &alike(&stock), &alike(&ours))
    };
    let half = asked.len().div_ceil(2);
    let differences: Vec<String> = std::thread::scope(|scope| {
        let parts = asked.chunks(half);
        let parts = parts.map(|part| scope.spawn(move || part.iter().filter_map(compare)));
        let parts: Vec<_> = parts.map(|part| part.join().unwrap().collect::<Vec<_>>()).collect();
        parts.concat()
    });
    let count = differences.len();
    assert_eq!(count, 0, "{count} of {}:\n{}", asked.len(), differences.join("\n"));
}

#[test]
fn help_of_every_command() {
    let asked: Vec<_> = commands().map(|words| [&words[..], &["--help"]].concat()).collect();
    each(&asked);
}

/// Flags that nobody has.
#[test]
fn unknown_flags_of_every_command() {
    let mut asked = Vec::new();
    for words in commands() {
        for wrong in [&["--no-such-flag"][..], &["-%"]] {
            asked.push([&words[..], wrong].concat());
        }
    }
    each(&asked);
}

/// A flag without its value, and with one that it cannot have.
#[test]
#[ignore = "takes minutes: make drop-in"]
fn wrong_values_of_every_flag() {
    let owned: Vec<Vec<String>> = FLAGS
        .lines()
        .flat_map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [command, short, long, kind] = columns[..] else { panic!("{line}") };
            let words: Vec<String> = command.split(' ').skip(1).map(str::to_owned).collect();
            let tried = match (kind, short) {
                ("", "") => vec![format!("--{long}=@")],
                ("", short) => vec![format!("-{short}=@")],
                (_, "") => vec![format!("--{long}=@"), format!("--{long}")],
                (_, short) => vec![format!("--{long}=@"), format!("-{short}")],
            };
            let tried = tried.into_iter().filter(|flag| is_mistake(kind, flag));
            tried.map(|flag| [&words[..], &[flag]].concat()).collect::<Vec<_>>()
        })
        .collect();
    let asked: Vec<Vec<&str>> =
        owned.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    each(&asked);
}

/// Whether `flag` is refused before anything is done: any text is a text.
fn is_mistake(kind: &str, flag: &str) -> bool {
    const TEXTS: [&str; 4] = ["string", "list", "strings", "stringToString"];
    !flag.ends_with("=@") || !TEXTS.contains(&kind)
}

/// Flags that are not compared: those of builds, which have tests of their own (`buildkit`), what
/// needs an answer of Docker Hub's, and what is coloured on terminals only.
const NOT_IN_SCRIPTS: [(&str, &[&str]); 3] = [
    ("docker build", &[]),
    ("docker search", &["format", "no-trunc"]),
    ("docker images", &["tree"]),
];

/// Every flag is used by a line of a script; those of `run` and `create` are the same.
#[test]
fn every_flag_is_in_a_script() {
    let lines: Vec<&str> = SCRIPTS.iter().flat_map(|text| text.lines()).collect();
    let mut missing = Vec::new();
    for line in FLAGS.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [command, short, long, _] = columns[..] else { panic!("{line}") };
        let alike = match command {
            "docker run" => vec![command, "docker create"],
            "docker create" => vec![command, "docker run"],
            command => vec![command],
        };
        let used = lines.iter().any(|line| alike.iter().any(|it| uses(line, it, short, long)));
        let left_out = |(of, flags): &(&str, &[&str])| {
            *of == command && (flags.is_empty() || flags.contains(&long))
        };
        if !used && !NOT_IN_SCRIPTS.iter().any(left_out) {
            missing.push(format!("{command} --{long}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whether a line of a script calls a command with a flag.
fn uses(line: &str, command: &str, short: &str, long: &str) -> bool {
    let name = command.trim_start_matches("docker ");
    let names = ["", "container ", "image ", "system "].map(|group| format!("{group}{name} "));
    let called = names.iter().filter_map(|name| line.split_once(name.as_str()));
    called.into_iter().any(|(_, words)| {
        words.split(' ').any(|word| match word.strip_prefix("--") {
            Some(word) => word.split('=').next() == Some(long),
            None => !short.is_empty() && word.starts_with('-') && word[1..].contains(short),
        })
    })
}
