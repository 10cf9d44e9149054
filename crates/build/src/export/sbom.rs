//! What is in a result: the packages that its own databases list, as an SPDX document; or what a
//! scanner finds that speaks BuildKit's protocol (`docs/attestations/sbom-protocol.md`).

use super::attest::SPDX;
use crate::error::{Act as _, Error, Result};
use crate::graph::{NetworkMode, OpDigest, Pull, SecurityMode};
use crate::platform::Platform;
use crate::progress::Event;
use crate::solve::{Build, blocking, now};
use crate::walk::{names, open_in};
use crate::worker::{MountSource, Step, StepMount};
use model::Digest;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The longest file of a database, and of a scanner's.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The most packages that are listed.
const MAX_PACKAGES: usize = 100_000;
/// Where a scanner looks, and where it writes.
const SCANNED: &str = "/run/src/core/sbom";
const EXTRAS: &str = "/run/src/extras";
const WRITTEN: &str = "/run/out";

/// A package that a database lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    architecture: String,
    license: String,
    supplier: String,
    homepage: String,
}

/// What is looked at.
pub(super) struct Scanned {
    /// The result.
    pub(super) layers: Vec<Digest>,
    /// What is scanned beside it, by name.
    pub(super) extras: Vec<(String, Vec<Digest>)>,
}

/// A document for each file system, of what package databases list there. Blocking.
pub(super) fn built_in(build: &Build, scanned: &Scanned) -> Result<Vec<Value>> {
    let name = crate::tree::chain(&scanned.layers).hex();
    let extras = scanned.extras.iter().map(|(name, layers)| (name.as_str(), layers));
    let all = std::iter::once((name.as_str(), &scanned.layers)).chain(extras);
    all.map(|(name, layers)| listed(build, name, layers)).collect()
}

fn listed(build: &Build, name: &str, layers: &[Digest]) -> Result<Value> {
    let root = build.inner.store.view(layers)?;
    let release = text(&root, "etc/os-release")?.or(text(&root, "usr/lib/os-release")?);
    let release = release.unwrap_or_default();
    let of_release = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let (distribution, version) = (of_release("ID"), of_release("VERSION_ID"));
    let mut debian = parse_dpkg(&text(&root, "var/lib/dpkg/status")?.unwrap_or_default(), true);
    // Where every package has a file of its own, all are installed.
    for path in list(&root, "var/lib/dpkg/status.d")? {
        if !path.ends_with(".md5sums") {
            debian.extend(parse_dpkg(&text(&root, &path)?.unwrap_or_default(), false));
        }
    }
    let alpine = text(&root, "lib/apk/db/installed")?.or(text(&root, "usr/lib/apk/db/installed")?);
    let alpine = parse_apk(&alpine.unwrap_or_default());
    let mut packages: Vec<(&str, Package)> = debian
        .into_iter()
        .map(|it| ("deb", it))
        .chain(alpine.into_iter().map(|it| ("apk", it)))
        .collect();
    packages.sort();
    packages.dedup();
    packages.truncate(MAX_PACKAGES);
    let created =
        build.source_date_epoch.map_or_else(|| now().0, |at| at.saturating_mul(1_000_000_000));
    let created = jiff::Timestamp::from_nanosecond(i128::from(created)).unwrap_or_default();
    // Seconds are all that SPDX knows.
    let created = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(document(name, &created, &packages, (&distribution, &version)))
}

fn document(
    name: &str,
    created: &str,
    packages: &[(&str, Package)],
    (distribution, version): (&str, &str),
) -> Value {
    let or =
        |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let mut listed = vec![json!({
        "SPDXID": "SPDXRef-image",
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relatedSpdxElement": "SPDXRef-image",
        "relationshipType": "DESCRIBES",
    })];
    for (number, (kind, package)) in packages.iter().enumerate() {
        let id = format!("SPDXRef-Package-{number}");
        let vendor = match *kind {
            "apk" => or(distribution, "alpine"),
            _ => or(distribution, "debian"),
        };
        let purl = format!(
            "pkg:{kind}/{vendor}/{}@{}?arch={}&distro={vendor}-{version}",
            quoted(&package.name),
            quoted(&package.version),
            package.architecture,
        );
        listed.push(json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "supplier": match package.supplier.as_str() {
                "" => "NOASSERTION".to_owned(),
                supplier => format!("Person: {supplier}"),
            },
            "downloadLocation": "NOASSERTION",
            "homepage": or(&package.homepage, "NOASSERTION"),
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "licenseComments": package.license,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }],
        }));
        relations.push(json!({
            "spdxElementId": "SPDXRef-image",
            "relatedSpdxElement": id,
            "relationshipType": "CONTAINS",
        }));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "sbom",
        "documentNamespace": format!("urn:estiba:sbom:{name}"),
        "creationInfo": {"created": created, "creators": ["Tool: estiba"]},
        "packages": listed,
        "relationships": relations,
    })
}

/// For a part of a package URL.
fn quoted(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A").replace('@', "%40")
}

/// dpkg's database: paragraphs of fields (deb822).
fn parse_dpkg(text: &str, with_status: bool) -> Vec<Package> {
    let paragraph = |paragraph: &str| {
        let field = |name: &str| {
            let line =
                paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().trim().to_owned()
        };
        let installed = !with_status || field("Status").ends_with(" installed");
        let package = Package {
            name: field("Package"),
            version: field("Version"),
            architecture: field("Architecture"),
            license: String::new(),
            supplier: field("Maintainer"),
            homepage: field("Homepage"),
        };
        (installed && !package.name.is_empty()).then_some(package)
    };
    text.split("\n\n").filter_map(paragraph).collect()
}

/// apk's database: paragraphs of lines with one letter in front.
fn parse_apk(text: &str) -> Vec<Package> {
    let paragraph = |paragraph: &str| {
        let field = |letter: &str| {
            let line =
                paragraph.lines().find_map(|line| line.strip_prefix(letter)?.strip_prefix(':'));
            line.unwrap_or_default().to_owned()
        };
        let package = Package {
            name: field("P"),
            version: field("V"),
            architecture: field("A"),
            license: field("L"),
            supplier: field("m"),
            homepage: field("U"),
        };
        (!package.name.is_empty()).then_some(package)
    };
    text.split("\n\n").filter_map(paragraph).collect()
}

fn text(root: &OwnedFd, path: &str) -> Result<Option<String>> {
    let Ok(file) = open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK) else { return Ok(None) };
    let file = File::from(file);
    if !file.metadata().act(|| format!("look at {path}"))?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).act(|| format!("read {path}"))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn list(root: &OwnedFd, path: &str) -> Result<Vec<String>> {
    let Ok(dir) = open_in(root, path, OFlags::RDONLY | OFlags::DIRECTORY) else {
        return Ok(Vec::new());
    };
    let listed = names(&dir)?;
    Ok(listed.iter().map(|name| format!("{path}/{}", name.to_string_lossy())).collect())
}

/// What a scanner finds: its image is run upon the result.
pub(super) async fn scanned(
    build: &Arc<Build>,
    generator: &str,
    platform: &Platform,
    scanned: Scanned,
    vertex: OpDigest,
) -> Result<Vec<Value>> {
    let host = build.inner.worker.platforms().into_iter().next();
    let host = host.unwrap_or_else(|| platform.clone());
    let reference = model::ImageRef::parse(generator)?.or_latest().to_string();
    let image = build.image(&reference, &host, Pull::Missing, vertex).await?;
    let run = image.config.config.clone();
    let args: Vec<String> =
        run.entrypoint.unwrap_or_default().into_iter().chain(run.cmd.unwrap_or_default()).collect();
    if args.is_empty() {
        return Err(Error::invalid(format!("scanner {generator} has no command")));
    }
    let out = Arc::new(build.inner.store.temp_dir()?);
    let mut env = run.env.unwrap_or_default();
    env.push(format!("BUILDKIT_SCAN_SOURCE={SCANNED}"));
    env.push(format!("BUILDKIT_SCAN_SOURCE_EXTRAS={EXTRAS}"));
    env.push(format!("BUILDKIT_SCAN_DESTINATION={WRITTEN}"));
    let shown = |target: String, layers: Vec<Digest>| StepMount {
        target,
        source: MountSource::Layers { layers, path: String::new() },
    };
    let mut mounts = vec![shown(SCANNED.to_owned(), scanned.layers)];
    for (name, layers) in scanned.extras {
        mounts.push(shown(format!("{EXTRAS}/{name}"), layers));
    }
    mounts.push(StepMount {
        target: WRITTEN.to_owned(),
        source: MountSource::Path { path: out.path(), readonly: false },
    });
    let telling = build.progress.clone();
    let step = Step {
        name: format!("scan by {generator}"),
        layers: image.layers,
        readonly_root: false,
        args,
        env,
        secret_env: Vec::new(),
        cwd: if run.working_dir.is_empty() { "/".to_owned() } else { run.working_dir },
        user: run.user,
        hostname: String::new(),
        network: NetworkMode::None,
        network_name: String::new(),
        security: SecurityMode::Sandbox,
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_bytes: None,
        limits: None,
        cgroup_parent: String::new(),
        devices: Vec::new(),
        mounts,
        latest_mtime: None,
        lease: Arc::clone(&build.lease),
        output: Arc::new(move |stream, data| {
            telling.tell(Event::Log { vertex, stream, data, at: now() });
        }),
    };
    let ran = build.inner.worker.run(step).await?;
    if ran.code != 0 {
        return Err(Error::Step { command: generator.to_owned(), code: ran.code });
    }
    blocking(move || documents(out.dir())).await
}

/// The documents that a scanner wrote: predicates of in-toto statements.
fn documents(dir: &OwnedFd) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for name in names(dir)? {
        let name = name.to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        let content = text(dir, &name)?.unwrap_or_default();
        let statement: Value = serde_json::from_str(&content)
            .map_err(|error| Error::invalid(format!("the scanner's {name}: {error}")))?;
        if statement["predicateType"] == SPDX {
            found.push(statement["predicate"].clone());
        }
    }
    match found.is_empty() {
        true => Err(Error::invalid("the scanner wrote no SPDX document")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_list_packages() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2+b\n\
            Architecture: amd64\nMaintainer: M <m@x>\nDescription: x\n more: y\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let packages = parse_dpkg(text, true);
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].version.as_str()), ("a", "1:2+b"));
        let apk = parse_apk("C:Q1\nP:musl\nV:1.2-r0\nA:x86_64\nL:MIT\n\nP:b\nV:2\n");
        assert_eq!((apk.len(), apk[0].license.as_str()), (2, "MIT"));
        let all = [("deb", packages[0].clone())];
        let document = document("x", "2024-01-01T00:00:00Z", &all, ("debian", "12"));
        let text = document.to_string();
        assert!(text.contains("pkg:deb/debian/a@1%3A2%2Bb?arch=amd64&distro=debian-12"), "{text}");
    }
}
