//! The daemon: settings become values, the engine opens, the API is served until a signal says
//! otherwise. Containers go on when it ends.

mod config;
mod doors;
mod given;
mod in_force;
mod log;
mod proxies;
mod reload;
mod rootless;
mod settings;
mod sockets;
mod supervisor;
mod told;

use doors::Doors;
use engine::Engine;
use given::Line;
use in_force::InForce;
use log::Log;
use reload::Serving;
pub(crate) use rootless::carry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use told::{Reading, Told};

/// Exit status of a daemon whose configuration is wrong.
const MISCONFIGURED: i32 = 1;

/// Runs the daemon called `name` with its own arguments; returns the exit status.
pub(crate) fn run(name: &str, arguments: &[String]) -> i32 {
    match prepare(name, arguments) {
        Ok(Plan::Serve(told)) => {
            let (told, reading) = *told;
            let reading = match rootless::enter(reading) {
                Ok(reading) => reading,
                Err(why) => {
                    eprintln!("{name}: {why}");
                    return 1;
                }
            };
            serve(name, told, reading)
        }
        Ok(Plan::Say(text)) => {
            println!("{text}");
            0
        }
        Err(why) => {
            eprintln!("{name}: {why}\nSee '{name} --help'.");
            MISCONFIGURED
        }
    }
}

/// What the command line asks for.
enum Plan {
    Serve(Box<(Told, Reading)>),
    Say(String),
}

fn prepare(name: &str, arguments: &[String]) -> Result<Plan, String> {
    let flags = match given::from_flags(arguments)? {
        Line::Help => return Ok(Plan::Say(usage(name))),
        Line::Settings(given) => given,
    };
    let asked = |setting: &str| flags.get(setting).is_some_and(|texts| texts == &["true"]);
    if asked("version") {
        return Ok(Plan::Say(version(name)));
    }
    let validate = asked("validate");
    let told = Told::new(name, flags);
    let reading = told.read()?;
    for line in &reading.moot {
        eprintln!("{name}: {line}");
    }
    if validate {
        let config = &reading.config;
        api::Authority::validate(&config.authority).map_err(|error| error.to_string())?;
        return Ok(Plan::Say(verdict(&reading)));
    }
    Ok(Plan::Serve(Box::new((told, reading))))
}

/// That it is well, and what it would change for the daemon that runs.
fn verdict(reading: &Reading) -> String {
    let mut text = "configuration OK".to_owned();
    let Some(running) = in_force::of(&reading.config.options.exec_root) else { return text };
    let changes = told::changes(&running, &reading.given);
    text += match changes.is_empty() {
        true => "\nthe running daemon has these settings",
        false => "\nchanges for the running daemon:",
    };
    for change in changes {
        text += &format!("\n  {change}");
    }
    text
}

/// `estiba-runtime` beside this program, or where packages put it.
fn find_runtime() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("find own program: {error}"))?;
    let beside = own.parent().unwrap_or(Path::new("/")).join("estiba-runtime");
    let places = [
        beside,
        "/usr/local/libexec/estiba/estiba-runtime".into(),
        "/usr/libexec/estiba/estiba-runtime".into(),
    ];
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        format!(
            "estiba-runtime is not in {}, and not in /usr/local/libexec/estiba or \
             /usr/libexec/estiba: install it there, or name it with --runtime-path",
            places[0].parent().unwrap_or(Path::new("/")).display()
        )
    })
}

fn usage(name: &str) -> String {
    let mut text = format!("Usage:  {name} [OPTIONS]\n\nThe engine of estiba.\n\nOptions:\n");
    for setting in settings::SETTINGS {
        let flag = &setting.flag;
        let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let note = match setting.support {
            settings::Support::NotYet => " (not supported yet)",
            _ => "",
        };
        text += &format!(
            "  {short}--{:<30} {}{note}\n",
            format!("{} {}", flag.long, flag.ty),
            flag.help
        );
    }
    text.trim_end().to_owned()
}

fn version(name: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    match name {
        "dockerd" => format!("Docker version {}, build estiba-{own}", cli::DOCKER_VERSION),
        _ => format!("estiba version {own}"),
    }
}

fn serve(name: &str, told: Told, reading: Reading) -> i32 {
    runtime::idle::keep_heaps_few();
    let log = Log::begin(&reading.config);
    // Law A5, for every way an archive can come in; without it nothing is served.
    if let Err(error) = std::fs::File::open("/proc/self/exe").and_then(engine::unpacker::install) {
        eprintln!("{name}: keep own program for unpackers: {error}");
        return 1;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKED)
        .thread_keep_alive(IDLE)
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve_until_told(told, reading, log)),
        Err(error) => Err(format!("start the event loop: {error}")),
    };
    match outcome {
        Ok(()) => 0,
        Err(why) => {
            tracing::error!("{why}");
            eprintln!("{name}: {why}");
            1
        }
    }
}

async fn serve_until_told(told: Told, reading: Reading, log: Log) -> Result<(), String> {
    let Reading { given, config, .. } = reading;
    // From the first moment on: unheard, it would end the process.
    let hangup = signal(SignalKind::hangup()).map_err(|error| format!("hear SIGHUP: {error}"))?;
    proxies::tell_overridden(&given, &|name| std::env::var(name).ok());
    let authority = api::Authority::load(&config.authority).map_err(|error| error.to_string())?;
    let authority = Arc::new(authority);
    let pidfile = sockets::Pidfile::write(&config.pidfile)?;
    let mut open = Vec::new();
    for address in &config.listen {
        open.push((address.clone(), sockets::open(address, &config).await?));
    }
    let metrics = match config.metrics {
        Some(address) => Some((address, sockets::open_metrics(address).await?)),
        None => None,
    };
    let engine = Engine::open(config.options.clone()).await.map_err(|error| error.to_string())?;
    let in_force = InForce::keep(&config.options.exec_root, &given);
    let in_force = in_force
        .inspect_err(|error| tracing::warn!(%error, "tell others which settings are in force"));
    tokio::spawn(rest_when_idle(engine.clone()));
    let mut doors = Doors::new(engine.clone(), Arc::clone(&authority));
    for (address, listeners) in open {
        doors.serve(address, listeners);
    }
    if let Some((address, listener)) = metrics {
        doors.serve_metrics(address, listener);
    }
    let in_force = in_force.ok();
    let mut serving =
        Serving { engine, authority, doors, log, pidfile, told, given, config, in_force };
    supervisor::notify("READY=1");
    if let Some(often) = supervisor::watchdog() {
        tokio::spawn(live(often));
    }
    told_to_end(&mut serving, hangup).await;
    supervisor::notify("STOPPING=1");
    serving.doors.close_all().await;
    serving.engine.shutdown().await;
    Ok(())
}

/// Tells the supervisor that the event loop turns. Never ends.
async fn live(often: Duration) {
    loop {
        supervisor::notify("WATCHDOG=1");
        tokio::time::sleep(often).await;
    }
}

/// How many calls may wait for the kernel at a time, each on a thread that is there as long as it
/// is needed: many, for those that wait for a server which is gone are not to hold up the others.
const MAX_BLOCKED: usize = 512;

/// How long nothing happens before memory goes back to the kernel.
const IDLE: Duration = Duration::from_secs(2);

/// Waits of the event loop in that time that are no work: a timer's way through the wheel.
const OWN_WAITS: u64 = 4;

/// Gives memory back whenever the daemon has had nothing to do for a while. Never ends.
async fn rest_when_idle(engine: Engine) {
    let runtime = tokio::runtime::Handle::current();
    let (mut seen, mut rested) = (0, false);
    loop {
        tokio::time::sleep(IDLE).await;
        let waits = runtime.metrics().worker_park_count(0);
        let idle = waits <= seen + OWN_WAITS;
        if idle && !rested {
            engine.rest().await;
            runtime::idle::give_memory_back();
        }
        (seen, rested) = (waits, idle);
    }
}

/// Completes at SIGTERM or SIGINT; reads the configuration again at SIGHUP.
async fn told_to_end(serving: &mut Serving, mut hangup: Signal) {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    let Ok(mut int) = signal(SignalKind::interrupt()) else { return };
    loop {
        tokio::select! {
            _ = term.recv() => return tracing::info!("SIGTERM: ending; containers go on"),
            _ = int.recv() => return tracing::info!("SIGINT: ending; containers go on"),
            _ = hangup.recv() => serving.reload().await,
        }
    }
}
