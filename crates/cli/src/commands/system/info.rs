//! `info`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wire::docker::system::Info;

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::terminal::{complain, print};
use crate::{DOCKER_VERSION, VERSION, format, plugins, units};

/// The programs that add commands, if there are any.
fn further(invocation: &Invocation) -> String {
    let plugins = plugins::all(invocation.globals.config());
    let mut out = String::new();
    for plugin in &plugins {
        let (short, vendor) = (plugin.text("ShortDescription"), plugin.text("Vendor"));
        let _ = writeln!(out, "  {}: {short} ({vendor})", plugin.name);
        if !plugin.text("Version").is_empty() {
            let _ = writeln!(out, "    Version:  {}", plugin.text("Version"));
        }
        let _ = writeln!(out, "    Path:     {}", plugin.path.display());
    }
    if plugins.is_empty() { out } else { format!(" Plugins:\n{out}") }
}

/// `info`. What is known of the client is printed even when no engine answers.
pub(crate) async fn info(invocation: &Invocation) -> Outcome {
    let format = invocation.matches.text("format");
    let context = invocation.globals.context_name()?;
    let debug = invocation.globals.debug();
    let client = invocation.client()?;
    let own = if invocation.prog == "docker" { DOCKER_VERSION } else { VERSION };
    if !format.is_empty() {
        let mut own = super::version::own(invocation, &client.version().to_string(), &context);
        own.shift_remove("ApiVersion");
        own.shift_insert(0, "Debug".to_owned(), debug.into());
        let plugins = plugins::all(invocation.globals.config());
        let plugins: Vec<Value> = plugins.iter().map(plugins::Plugin::document).collect();
        own.insert("Plugins".to_owned(), plugins.into());
        own.insert("Warnings".to_owned(), Value::Null);
        return with_format(format, client.info_raw().await, own);
    }
    print(format!(
        "Client:\n Version:    {own}\n Context:    {context}\n Debug Mode: {debug}\n{}\nServer:\n",
        further(invocation)
    ))?;
    match client.info().await {
        Ok(info) => {
            print(page(&info))?;
            for warning in info.warnings.unwrap_or_default() {
                complain(format!("{warning}\n"));
            }
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

fn with_format(
    format: &str,
    asked: client::Result<bytes::Bytes>,
    own: Map<String, Value>,
) -> Outcome {
    match asked {
        Ok(bytes) => {
            let mut all: Map<String, Value> = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::new(format!("read the answer: {error}")))?;
            if let Some(Value::Object(registries)) = all.get_mut("RegistryConfig") {
                // Docker's library writes this one from a map.
                registries.sort_keys();
            }
            all.insert("ClientInfo".to_owned(), Value::Object(own));
            format::document_of(format, Value::Object(all), "system.dockerInfo")
        }
        Err(error) => {
            let errors = json!([error.to_string()]);
            let known = json!({"ServerErrors": errors, "ClientInfo": own});
            format::document_of(format, known, "system.dockerInfo")?;
            Err(Failure::silent(1))
        }
    }
}

fn page(info: &Info) -> String {
    let mut out = String::new();
    let mut line = |indent: usize, title: &str, value: &str| {
        let _ = writeln!(out, "{:indent$}{title}: {value}", "");
    };
    line(1, "Containers", &info.containers.to_string());
    line(2, "Running", &info.containers_running.to_string());
    line(2, "Paused", &info.containers_paused.to_string());
    line(2, "Stopped", &info.containers_stopped.to_string());
    line(1, "Images", &info.images.to_string());
    line(1, "Server Version", &info.server_version);
    line(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(2, name, value);
    }
    line(1, "Logging Driver", &info.logging_driver);
    line(1, "Cgroup Driver", &info.cgroup_driver);
    if !info.cgroup_version.is_empty() {
        line(1, "Cgroup Version", &info.cgroup_version);
    }
    let _ = writeln!(out, " Plugins:");
    let _ = writeln!(out, "  Volume: {}", info.plugins.volume.join(" "));
    let _ = writeln!(out, "  Network: {}", info.plugins.network.join(" "));
    let _ = writeln!(out, "  Log: {}", info.plugins.log.join(" "));
    let mut line = |indent: usize, title: &str, value: &str| {
        let _ = writeln!(out, "{:indent$}{title}: {value}", "");
    };
    line(1, "Swarm", &info.swarm.local_node_state);
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        line(1, "Runtimes", &names.join(" "));
        line(1, "Default Runtime", &info.default_runtime);
    }
    line(1, "Init Binary", &info.init_binary);
    line(1, "containerd version", &info.containerd_commit.id);
    line(1, "runc version", &info.runc_commit.id);
    line(1, "init version", &info.init_commit.id);
    out.push_str(&security(info));
    out.push_str(&host(info));
    out
}

fn security(info: &Info) -> String {
    let mut out = String::new();
    if info.security_options.is_empty() {
        return out;
    }
    let _ = writeln!(out, " Security Options:");
    for option in &info.security_options {
        for (index, field) in option.split(',').enumerate() {
            let (key, value) = field.split_once('=').unwrap_or(("name", field));
            match (index, key) {
                (0, _) => {
                    let _ = writeln!(out, "  {value}");
                }
                (_, "profile") => {
                    let _ = writeln!(out, "   Profile: {value}");
                }
                (_, key) => {
                    let _ = writeln!(out, "   {key}: {value}");
                }
            }
        }
    }
    out
}

fn host(info: &Info) -> String {
    let mut out = String::new();
    let mut line = |title: &str, value: &str| {
        let _ = writeln!(out, " {title}: {value}");
    };
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &info.operating_system);
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.n_cpu.to_string());
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    line("Total Memory", &units::bytes_size(info.mem_total as f64));
    line("Name", &info.name);
    line("ID", &info.id);
    line("Docker Root Dir", &info.docker_root_dir);
    line("Debug Mode", &info.debug.to_string());
    for (title, value) in [
        ("HTTP Proxy", &info.http_proxy),
        ("HTTPS Proxy", &info.https_proxy),
        ("No Proxy", &info.no_proxy),
    ] {
        if !value.is_empty() {
            line(title, value);
        }
    }
    for label in &info.labels {
        line("Label", label);
    }
    line("Experimental", &info.experimental_build.to_string());
    if let Some(registry) = &info.registry_config {
        let _ = writeln!(out, " Insecure Registries:");
        for (name, index) in &registry.index_configs {
            if !index.secure {
                let _ = writeln!(out, "  {name}");
            }
        }
        for network in &registry.insecure_registry_cidrs {
            let _ = writeln!(out, "  {network}");
        }
        let mirrors = registry.mirrors.as_deref().unwrap_or_default();
        if !mirrors.is_empty() {
            let _ = writeln!(out, " Registry Mirrors:");
            for mirror in mirrors {
                let _ = writeln!(out, "  {mirror}");
            }
        }
    }
    let _ = writeln!(out, " Live Restore Enabled: {}", info.live_restore_enabled);
    if !info.default_address_pools.is_empty() {
        let _ = writeln!(out, " Default Address Pools:");
        for pool in &info.default_address_pools {
            let _ = writeln!(out, "   Base: {}, Size: {}", pool.base, pool.size);
        }
    }
    out.push('\n');
    out
}
