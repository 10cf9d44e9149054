//! `estiba registry serve`: flags and a file become the registry's configuration; it is served
//! until a signal says otherwise.

use ::registry::server::{self, Config};
use cli::flags::{Flag, Matches, Parsed};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The most used settings; the file has all of them.
static FLAGS: &[Flag] = &[
    Flag::string("listen", "Address to listen on (default \"127.0.0.1:5000\")"),
    Flag::string("root", "Where content is kept (default \"/var/lib/estiba/registry\")"),
    Flag::string("config", "Configuration file (docs/registry.md says what it holds)"),
    Flag::string("tls-certificate", "PEM file of the certificate"),
    Flag::string("tls-key", "PEM file of its private key"),
    Flag::bool("insecure", "Listen beyond loopback without encryption"),
    Flag::string("htpasswd", "Accounts: a file made by htpasswd -B"),
    Flag::bool("read-only", "Nothing may be pushed or deleted"),
    Flag::string("upstream", "Registry whose content is fetched and kept when it is asked for"),
    Flag::bool("debug", "Log every request").short('D'),
];

/// How long an idle thread of the blocking pool stays.
const IDLE: Duration = Duration::from_secs(5);

/// Runs `estiba registry …` and returns the exit status.
pub(crate) fn run(name: &str, arguments: &[String]) -> i32 {
    let usage = format!("Usage:  {name} serve [OPTIONS]");
    let outcome = match arguments.split_first() {
        Some((word, rest)) if word == "serve" => prepare(rest),
        Some((word, _)) if word != "--help" && word != "-h" => {
            Err(format!("unknown command: {name} {word}\n\n{usage}"))
        }
        _ => Ok(None),
    };
    match outcome {
        Ok(Some((config, debug))) => serve(name, config, debug),
        Ok(None) => {
            println!("{usage}\n\nServe images to Docker, Podman, skopeo and others\n\nOptions:");
            for flag in FLAGS {
                println!("      --{:<26} {}", format!("{} {}", flag.long, flag.ty), flag.help);
            }
            0
        }
        Err(why) => {
            eprintln!("{name}: {why}");
            1
        }
    }
}

/// What to serve, or nothing when help is wanted.
fn prepare(arguments: &[String]) -> Result<Option<(Config, bool)>, String> {
    let matches = match cli::flags::parse(FLAGS.iter().collect(), true, arguments)? {
        Parsed::Help(_) => return Ok(None),
        Parsed::Run(matches) => matches,
    };
    if let Some(extra) = matches.arg(0) {
        return Err(format!("accepts no arguments, was given {extra:?}"));
    }
    let config = match matches.string("config") {
        Some(path) => Config::read(Path::new(path))?,
        None => Config::default(),
    };
    Ok(Some((with(config, &matches)?, matches.bool("debug"))))
}

/// The configuration with what the flags say.
fn with(mut config: Config, matches: &Matches) -> Result<Config, String> {
    if let Some(text) = matches.string("listen") {
        let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        let bad = |_| format!("--listen {text}: not an address, like 127.0.0.1:5000");
        config.listen = Some(whole.parse().map_err(bad)?);
    }
    let path = |name: &str| matches.string(name).map(PathBuf::from);
    config.root = path("root").or(config.root);
    match (path("tls-certificate"), path("tls-key")) {
        (Some(certificate), Some(key)) => config.tls = Some(server::Tls { certificate, key }),
        (None, None) => {}
        _ => return Err("give both --tls-certificate and --tls-key".into()),
    }
    config.insecure |= matches.bool("insecure");
    config.auth.htpasswd = path("htpasswd").or(config.auth.htpasswd);
    config.read_only |= matches.bool("read-only");
    if let Some(url) = matches.string("upstream") {
        let url = url.to_owned();
        let (username, password_file, tag_seconds) = (None, None, 0);
        config.upstream = Some(server::Upstream { url, username, password_file, tag_seconds });
    }
    Ok(config)
}

fn serve(name: &str, config: Config, debug: bool) -> i32 {
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_keep_alive(IDLE).build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(serve_until_told(config));
            runtime.shutdown_timeout(IDLE);
            outcome
        }
        Err(error) => Err(format!("start the event loop: {error}")),
    };
    match outcome {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{name}: {why}");
            1
        }
    }
}

async fn serve_until_told(config: Config) -> Result<(), String> {
    let hear = |kind| signal(kind).map_err(|error| format!("listen for signals: {error}"));
    let (mut stop, mut interrupt) =
        (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    let told = async {
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let ready = |address| tracing::info!("the registry listens on {address}");
    server::serve(config, ready, told).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<(Config, bool)>, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        prepare(&words)
    }

    #[test]
    fn flags_become_settings() {
        let (config, debug) = read("--listen :5001 --root /x --insecure -D").unwrap().unwrap();
        assert_eq!(config.listen.unwrap().to_string(), "0.0.0.0:5001");
        assert_eq!(config.root.as_deref(), Some(Path::new("/x")));
        assert!(config.insecure && debug);
        assert!(read("--help").unwrap().is_none());
        assert!(read("--listen nowhere").unwrap_err().contains("not an address"));
        assert!(read("--tls-key x").unwrap_err().contains("both"));
        assert!(read("extra").is_err());
    }
}
