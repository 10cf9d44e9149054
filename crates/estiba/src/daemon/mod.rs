//! The daemon: settings become values, the engine opens, the API is served until a signal says
//! otherwise. Containers go on when it ends.

mod config;
mod given;
mod reload;
mod settings;
mod sockets;
mod supervisor;

use config::Config;
use engine::Engine;
use given::{Given, Line};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::fmt;

/// Exit status of a daemon whose configuration is wrong.
const MISCONFIGURED: i32 = 1;

/// Runs the daemon called `name` with its own arguments; returns the exit status.
pub(crate) fn run(name: &str, arguments: &[String]) -> i32 {
    match prepare(name, arguments) {
        Ok(Plan::Serve(config)) => serve(name, arguments, *config),
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
    Serve(Box<Config>),
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
    let file = read_file(name, &flags)?;
    let given = given::join(flags.clone(), file)?;
    let moot = given::served(&given)?;
    let mut config = Config::defaults(name).with(&given)?;
    if !given.contains_key("runtime-path") {
        config.options.runtime_exe = find_runtime()?;
    }
    for line in moot {
        eprintln!("{name}: {line}");
    }
    if asked("validate") {
        api::Authority::validate(&config.authority).map_err(|error| error.to_string())?;
        return Ok(Plan::Say("configuration OK".into()));
    }
    Ok(Plan::Serve(Box::new(config)))
}

/// What flags and file say of authorization now.
fn authority_of(name: &str, arguments: &[String]) -> Result<api::AuthorityConfig, String> {
    let Line::Settings(flags) = given::from_flags(arguments)? else {
        return Ok(api::AuthorityConfig::default());
    };
    let file = read_file(name, &flags)?;
    Ok(Config::defaults(name).with(&given::join(flags, file)?)?.authority)
}

/// The configuration file's settings. A file that was asked for by flag may be missing too, as for
/// dockerd only when it is the default one.
fn read_file(name: &str, flags: &Given) -> Result<Given, String> {
    let asked = flags.get("config-file").and_then(|texts| texts.last());
    let path = asked.map_or_else(|| Config::file_of(name), PathBuf::from);
    match std::fs::read_to_string(&path) {
        Ok(text) => given::from_json(&text)
            .map_err(|why| format!("configuration file {}: {why}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Given::new()),
        Err(error) => Err(format!("read configuration file {}: {error}", path.display())),
    }
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

fn serve(name: &str, arguments: &[String], config: Config) -> i32 {
    log_to_stderr(&config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .thread_keep_alive(IDLE)
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve_until_told(name, arguments, config)),
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

fn log_to_stderr(config: &Config) {
    let lines =
        fmt().with_max_level(config.log_level).with_writer(std::io::stderr).with_ansi(false);
    match config.log_json {
        true => lines.json().init(),
        false => lines.init(),
    }
}

async fn serve_until_told(
    name: &str,
    arguments: &[String],
    mut config: Config,
) -> Result<(), String> {
    // Names are answered by a process that outlives this one.
    config.options.net.resolver = Some(config.options.exec_root.clone());
    let authority = api::Authority::load(&config.authority).map_err(|error| error.to_string())?;
    let authority = Arc::new(authority);
    let _pidfile = sockets::Pidfile::write(&config.pidfile)?;
    let listeners = sockets::open(&config).await?;
    let engine = Engine::open(config.options).await.map_err(|error| error.to_string())?;
    tokio::spawn(rest_when_idle());
    let (tell, told) = tokio::sync::watch::channel(false);
    let serving = api::serve(engine.clone(), listeners, Arc::clone(&authority), told);
    let server = tokio::spawn(serving);
    let again = (name.to_owned(), arguments.to_vec());
    tokio::spawn(reload::at_hangup(authority, move || authority_of(&again.0, &again.1)));
    supervisor::notify("READY=1");
    told_to_end().await;
    supervisor::notify("STOPPING=1");
    // The server may have ended by itself; then there is nobody to tell.
    let _ = tell.send(true);
    let outcome = server.await.map_err(|error| format!("serve: {error}"));
    engine.shutdown().await;
    outcome
}

/// How long nothing happens before memory goes back to the kernel.
const IDLE: Duration = Duration::from_secs(2);

/// Waits of the event loop in that time that are no work: a timer's way through the wheel.
const OWN_WAITS: u64 = 4;

/// Gives memory back whenever the daemon has had nothing to do for a while. Never ends.
async fn rest_when_idle() {
    let runtime = tokio::runtime::Handle::current();
    let (mut seen, mut rested) = (0, false);
    loop {
        tokio::time::sleep(IDLE).await;
        let waits = runtime.metrics().worker_park_count(0);
        let idle = waits <= seen + OWN_WAITS;
        if idle && !rested {
            runtime::idle::give_memory_back();
        }
        (seen, rested) = (waits, idle);
    }
}

/// Completes at SIGTERM or SIGINT.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    let Ok(mut int) = signal(SignalKind::interrupt()) else { return };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: ending; containers go on"),
        _ = int.recv() => tracing::info!("SIGINT: ending; containers go on"),
    }
}
