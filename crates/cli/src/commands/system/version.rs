//! `version`.

use serde_json::{Map, Value, json};
use wire::docker::system::Version;

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::template::{Data, Template};
use crate::terminal::print;
use crate::{DOCKER_VERSION, VERSION, tabwriter, time};

/// `version`. What is known of the client is printed even when no engine answers.
pub(crate) async fn version(invocation: &Invocation) -> Outcome {
    let format = invocation.matches.text("format");
    let template = match format {
        "" | "json" => None,
        format => Some(Template::parse(format).map_err(|why| {
            Failure::new(format!("template parsing error: {}", named(&why))).with_code(64)
        })?),
    };
    let context = invocation.globals.context_name()?;
    let client = invocation.client()?;
    let asked = client.engine_version().await;
    let server = asked.as_ref().ok();
    let own = own(invocation, &client.version().to_string(), &context);
    match (format, template) {
        ("json", _) => {
            let server = server.map_or(Value::Null, |server| json!(server));
            print(format!("{}\n", json!({"Client": own, "Server": server})))?;
        }
        (_, Some(template)) => {
            let server = server.map_or(Value::Null, |server| json!(server));
            let data = Data::document(json!({"Client": own, "Server": server}));
            let filled = template.execute(&data.of_type("system.versionInfo"));
            if let (Err(_), Err(error)) = (&filled, &asked) {
                return Err(Failure::new(error.to_string()));
            }
            // What fails has printed an empty line before.
            print(format!("{}\n", filled.as_deref().unwrap_or_default()))?;
            filled.map_err(|why| Failure::new(named(&why)))?;
        }
        (_, None) => print(page(&own, server))?,
    }
    match asked {
        Ok(_) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A template's failure, with the name that the template has here.
fn named(why: &str) -> String {
    why.replacen("template: :", "template: version:", 1).replacen(
        "executing \"\"",
        "executing \"version\"",
        1,
    )
}

/// What this program is. Started as `docker`, it says which version of it it follows.
pub(super) fn own(invocation: &Invocation, api: &str, context: &str) -> Map<String, Value> {
    let mut own = Map::new();
    let mut put = |name: &str, value: &str| own.insert(name.to_owned(), value.into());
    let docker = invocation.prog == "docker";
    put("Version", if docker { DOCKER_VERSION } else { VERSION });
    put("ApiVersion", api);
    put("DefaultAPIVersion", api);
    put("GitCommit", concat!("estiba-", env!("CARGO_PKG_VERSION")));
    put("GoVersion", "none (Rust)");
    put("Os", std::env::consts::OS);
    put("Arch", arch());
    put("BuildTime", "");
    put("Context", context);
    own
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    }
}

fn page(own: &Map<String, Value>, server: Option<&Version>) -> String {
    let text = |name: &str| own.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut out = String::from("Client:\n");
    for (title, value) in [
        ("Version:", text("Version")),
        ("API version:", text("ApiVersion")),
        ("Go version:", text("GoVersion")),
        ("Git commit:", text("GitCommit")),
        ("OS/Arch:", &format!("{}/{}", text("Os"), text("Arch"))),
        ("Context:", text("Context")),
    ] {
        out.push_str(&format!(" {title}\t{value}\n"));
    }
    if let Some(server) = server {
        out.push_str(&server_page(server));
    }
    tabwriter::align(&out, 20, 1)
}

fn server_page(server: &Version) -> String {
    let name = match server.platform.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let mut out = format!("\nServer:{name}\n");
    for component in &server.components {
        out.push_str(&format!(" {}:\n", component.name));
        out.push_str(&format!("  Version:\t{}\n", component.version));
        let empty = std::collections::BTreeMap::new();
        let details = component.details.as_ref().unwrap_or(&empty);
        let detail = |name: &str| details.get(name).map(String::as_str).unwrap_or_default();
        if component.name != "Engine" {
            for (name, value) in details {
                out.push_str(&format!("  {name}:\t{value}\n"));
            }
            continue;
        }
        let api = format!("{} (minimum version {})", detail("ApiVersion"), detail("MinAPIVersion"));
        for (title, value) in [
            ("API version:", api.as_str()),
            ("Go version:", detail("GoVersion")),
            ("Git commit:", detail("GitCommit")),
            ("Built:", &time::build_time(detail("BuildTime"))),
            ("OS/Arch:", &format!("{}/{}", detail("Os"), detail("Arch"))),
            ("Experimental:", detail("Experimental")),
        ] {
            out.push_str(&format!("  {title}\t{value}\n"));
        }
    }
    out
}
