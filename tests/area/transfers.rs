//! How many layers travel at a time and how often one is tried, as the settings in force say: seen
//! by a gate in front of a registry, through which every request goes.

use lab::{Lab, Server, eventually};
use rustix::process::{Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Where the gate is, in the lab's network.
const GATE: &str = "127.0.0.1:5001";

/// How long a request waits for others that never come; it bounds a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the gate does with requests whose first line `counted` knows.
#[derive(Clone)]
struct Rule {
    counted: fn(&str) -> bool,
    /// A part of the first line of those that are not counted all the same.
    but_for: String,
    /// The first so many wait for one another.
    together: usize,
    /// They are told to come again.
    refuse: bool,
}

#[derive(Default)]
struct Counts {
    rule: Option<Rule>,
    seen: usize,
    now: usize,
    most: usize,
}

/// In front of a registry: one request a connection.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Counts>, Condvar)>);

impl Gate {
    /// Opens it; it is shut with the lab's network.
    fn open(lab: &Lab) -> Self {
        let gate = Self::default();
        let network = format!("/proc/{}/ns/net", lab.daemon_pid().as_raw_nonzero());
        let network = File::open(network).unwrap();
        let (opened, open) = std::sync::mpsc::channel();
        std::thread::spawn({
            let gate = gate.clone();
            move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(network.as_fd(), kind).unwrap();
                let listener = TcpListener::bind(GATE).unwrap();
                opened.send(()).unwrap();
                for client in listener.incoming().flatten() {
                    let gate = gate.clone();
                    // Whoever goes away in between has seen enough.
                    std::thread::spawn(move || drop(gate.pass(client)));
                }
            }
        });
        open.recv().unwrap();
        gate
    }

    /// What was counted while `act` went on: how many, and how many at the same time.
    fn watch(&self, rule: Rule, act: impl FnOnce()) -> (usize, usize) {
        *self.0.0.lock().unwrap() = Counts { rule: Some(rule), ..Counts::default() };
        act();
        let counts = std::mem::take(&mut *self.0.0.lock().unwrap());
        (counts.seen, counts.most)
    }

    fn pass(&self, client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let rule = self.0.0.lock().unwrap().rule.clone();
        let rule = rule.filter(|it| (it.counted)(&first));
        let Some(rule) = rule.filter(|it| it.but_for.is_empty() || !first.contains(&it.but_for))
        else {
            return send(client, &forward(&first, reader)?);
        };
        self.enter(&rule);
        let answer = match rule.refuse {
            true => refuse(reader),
            false => forward(&first, reader),
        };
        // Before the other side can know that it is over, and begin the next.
        self.0.0.lock().unwrap().now -= 1;
        send(client, &answer?)
    }

    fn enter(&self, rule: &Rule) {
        let (counts, changed) = &*self.0;
        let mut counts = counts.lock().unwrap();
        counts.seen += 1;
        counts.now += 1;
        counts.most = counts.most.max(counts.now);
        changed.notify_all();
        let alone = |counts: &mut Counts| counts.seen < rule.together;
        drop(changed.wait_timeout_while(counts, PATIENCE, alone).unwrap());
        // One more than there may be would come now.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn refuse(mut reader: BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        .to_vec())
}

/// Hands a request on; the whole answer. The registry closes after it, and so do we.
fn forward(first: &str, mut reader: BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut registry = TcpStream::connect(Server::REGISTRY)?;
    registry.write_all(first.as_bytes())?;
    registry.write_all(b"Connection: close\r\n")?;
    let mut body = registry.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut body));
    let mut answer = Vec::new();
    registry.read_to_end(&mut answer)?;
    Ok(answer)
}

fn send(mut client: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    client.write_all(answer)?;
    client.shutdown(Shutdown::Both)
}

fn in_force(lab: &Lab, settings: &str, mark: &str) {
    let text = format!("{{{settings}, \"labels\": [\"{mark}\"]}}");
    std::fs::write(lab.dir().join("daemon.json"), text).unwrap();
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
    let labels = || lab.estiba(&["info", "-f", "{{.Labels}}"]).ok().to_owned();
    eventually("the settings are in force", || labels() == format!("[{mark}]"));
}

/// Makes an image of as many layers on busybox's, in the gate's repository `name`; its id.
fn image(lab: &Lab, name: &str, layers: usize) -> String {
    let names: Vec<String> = (0..layers).map(|layer| format!("file{layer}")).collect();
    let copies = names.iter().map(|name| format!("COPY {name} /{name}\n")).collect::<String>();
    let dockerfile = format!("FROM busybox\n{copies}");
    let mut files = vec![("Dockerfile", &*dockerfile)];
    files.extend(names.iter().map(|name| (&**name, &**name)));
    lab.build(&lab.context(&files), &["-t", name]).ok();
    lab.estiba(&["image", "inspect", "-f", "{{.Id}}", name]).ok().to_owned()
}

/// Whatever of an image is here goes.
fn forget(lab: &Lab, names: &[&str]) {
    lab.estiba(&[&["rmi"], names].concat()).ok();
    lab.estiba(&["builder", "prune", "-af"]).ok();
}

fn is_upload(line: &str) -> bool {
    line.contains("/blobs/uploads/")
}

fn is_download(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("/blobs/sha256:")
}

#[test]
fn as_many_layers_travel_at_a_time_as_the_settings_say() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let gate = Gate::open(&lab);
    let built = format!("{GATE}/built");
    let id = image(&lab, &built, 5);
    let mut names = vec![built];
    for at_once in [1, 3] {
        let settings = format!(
            "\"max-concurrent-uploads\": {at_once}, \"max-concurrent-downloads\": {at_once}"
        );
        in_force(&lab, &settings, &format!("at-once={at_once}"));
        let name = format!("{GATE}/of{at_once}");
        lab.estiba(&["tag", &id, &name]).ok();
        names.push(name.clone());
        let rule = |counted: fn(&str) -> bool, but_for: &str| Rule {
            counted,
            but_for: but_for.to_owned(),
            together: at_once,
            refuse: false,
        };
        let push = || drop(lab.estiba(&["push", "-q", &name]).ok().to_owned());
        assert_eq!(gate.watch(rule(is_upload, ""), push).1, at_once, "pushed");
        forget(&lab, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let pull = || drop(lab.estiba(&["pull", "-q", &name]).ok().to_owned());
        // The configuration is read before.
        let (layers, most) = gate.watch(rule(is_download, &id), pull);
        assert_eq!((layers, most), (5, at_once), "pulled");
        names = vec![name];
    }
}

#[test]
fn a_download_is_tried_as_often_as_the_settings_say() {
    let lab = Lab::new();
    let _registry = Server::registry(&lab);
    let gate = Gate::open(&lab);
    let name = format!("{GATE}/tried");
    let id = image(&lab, &name, 1);
    lab.estiba(&["push", "-q", &name]).ok();
    forget(&lab, &[&name]);
    for tries in [1, 3] {
        in_force(&lab, &format!("\"max-download-attempts\": {tries}"), &format!("tries={tries}"));
        let rule = Rule { counted: is_download, but_for: id.clone(), together: 1, refuse: true };
        let pull = || lab.estiba(&["pull", "-q", &name]).fails(1, "503");
        assert_eq!(gate.watch(rule, pull).0, tries);
    }
    lab.estiba(&["pull", "-q", &name]).ok();
}
