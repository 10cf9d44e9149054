//! What becomes of a build's result: `--output`, `--tag`, `--push`, `--load`. Opens the places.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use wire::build::{HandingOrder, Typed};

use super::ask::{Ask, typed};
use crate::commands::images::check_reference;
use crate::failure::Failure;
use crate::flags::Matches;
use crate::terminal::is_terminal;

/// Reads the flags into the order.
pub(super) fn read(ask: &mut Ask, matches: &Matches) -> Result<(), Failure> {
    let tags = matches.list("tag");
    for tag in &tags {
        check_reference(tag).map_err(|why| {
            Failure::new(format!("invalid argument {tag:?} for \"-t, --tag\" flag: {why}"))
        })?;
    }
    let mut outputs = Vec::new();
    for value in matches.list("output") {
        outputs.push(parse(value)?);
    }
    if outputs.is_empty() || matches.bool("load") || matches.bool("push") {
        let mut image = Typed { kind: "image".to_owned(), ..Typed::default() };
        if matches.bool("push") {
            if tags.is_empty() {
                return Err(Failure::new("tag is needed when pushing to registry"));
            }
            image.attrs.insert("push".to_owned(), "true".to_owned());
        }
        outputs.push(image);
    }
    // What leaves nothing behind is no output to be numbered.
    outputs.retain(|output| output.kind != "cacheonly");
    for (number, output) in outputs.iter_mut().enumerate() {
        if matches!(output.kind.as_str(), "image" | "registry" | "oci" | "docker")
            && !tags.is_empty()
        {
            output.attrs.entry("name".to_owned()).or_insert_with(|| tags.join(","));
        }
        for annotation in matches.list("annotation") {
            let Some((name, value)) = annotation.split_once('=') else {
                return Err(Failure::new(format!("invalid annotation {annotation:?}")));
            };
            output.attrs.insert(annotation_key(name), value.to_owned());
        }
        if let Some((order, fd)) = place(number, output)? {
            ask.hand(order, fd);
        }
    }
    ask.order.outputs = outputs;
    Ok(())
}

/// `[<place>[[<platform>]]:]<key>` as an exporter's attribute.
fn annotation_key(name: &str) -> String {
    const PLACES: [&str; 4] = ["manifest", "index", "manifest-descriptor", "index-descriptor"];
    if let Some((place, key)) = name.split_once(':') {
        let (kind, platform) = match place.split_once('[') {
            Some((kind, rest)) => (kind, format!("[{rest}")),
            None => (place, String::new()),
        };
        if PLACES.contains(&kind) {
            return format!("annotation-{kind}{platform}.{key}");
        }
    }
    format!("annotation.{name}")
}

/// `type=x,dest=y`, or only a place: a directory, or `-` for an archive on standard output.
fn parse(value: &str) -> Result<Typed, Failure> {
    if !value.contains('=') {
        let kind = if value == "-" { "tar" } else { "local" };
        let mut output = Typed { kind: kind.to_owned(), ..Typed::default() };
        output.attrs.insert("dest".to_owned(), value.to_owned());
        return Ok(output);
    }
    let output = typed(value, "")?;
    if output.kind.is_empty() {
        return Err(Failure::new(format!("type is required for output: {value}")));
    }
    Ok(output)
}

/// Opens where an output goes, if it leaves the daemon.
fn place(number: usize, output: &mut Typed) -> Result<Option<(HandingOrder, OwnedFd)>, Failure> {
    let dest = output.attrs.remove("dest").unwrap_or_default();
    let directory = match output.kind.as_str() {
        "local" => true,
        "oci" | "tar" => output.attrs.get("tar").is_some_and(|tar| tar == "false"),
        "docker" if dest.is_empty() => {
            // Without a place it is loaded, which this daemon does by keeping it.
            "image".clone_into(&mut output.kind);
            return Ok(None);
        }
        "docker" => false,
        _ => return Ok(None),
    };
    if dest.is_empty() && directory {
        return Err(Failure::new(format!("dest is required for {} exporter", output.kind)));
    }
    let failed = |error: std::io::Error| Failure::new(format!("open {dest}: {error}"));
    if directory {
        std::fs::create_dir_all(&dest).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(dest.as_str(), flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        return Ok(Some((HandingOrder::OutputDirectory { number }, fd)));
    }
    let fd = match dest.as_str() {
        "" | "-" => {
            if is_terminal(rustix::stdio::stdout()) {
                return Err(Failure::new(format!(
                    "dest file is required for {} exporter. refusing to write to console",
                    output.kind
                )));
            }
            let stdout = rustix::stdio::stdout();
            stdout.try_clone_to_owned().map_err(failed)?
        }
        path => {
            if let Some(parent) = Path::new(path).parent() {
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            std::fs::File::create(path).map_err(failed)?.into()
        }
    };
    Ok(Some((HandingOrder::OutputFile { number }, fd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_short() {
        let output = parse("out").unwrap();
        assert_eq!((output.kind.as_str(), output.attrs["dest"].as_str()), ("local", "out"));
        assert_eq!(parse("-").unwrap().kind, "tar");
        assert_eq!(parse("type=oci,dest=x").unwrap().kind, "oci");
        assert!(parse("dest=x").is_err());
        let mut local = parse("type=local").unwrap();
        assert!(place(0, &mut local).is_err());
        let mut docker = parse("type=docker").unwrap();
        assert!(place(0, &mut docker).unwrap().is_none());
        assert_eq!(docker.kind, "image");
    }
}
