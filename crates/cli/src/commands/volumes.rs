//! Commands about volumes.

use wire::docker::volume::{Volume, VolumeCreateBody};

use super::{inspect as inspection, list_format, prune as pruning};
use crate::command::Outcome;
use crate::create::environment::pairs;
use crate::failure::Failure;
use crate::format::{self, Row, Table};
use crate::invocation::Invocation;
use crate::terminal::print;
use crate::{transfer, units};

/// The list of volumes.
pub(crate) const TABLE: Table = Table {
    default: "{{.Driver}}\t{{.Name}}",
    titles: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
    type_name: "*formatter.volumeContext",
};

/// The table of `--cluster`.
const CLUSTER: &str = "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}";

/// `volume ls`.
pub(crate) async fn list(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let quiet = matches.bool("quiet");
    let format = list_format(invocation, "volumesFormat");
    let cluster = matches.bool("cluster");
    let format = match format {
        _ if quiet => "{{.Name}}",
        "" | "table" if cluster => CLUSTER,
        format => format,
    };
    let mut volumes = invocation.client()?.volume_list(&matches.filters("filter")).await?.volumes;
    // None of a swarm's can be here.
    volumes.retain(|_| !cluster);
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    format::list(&TABLE, format, volumes.iter().map(row).collect())
}

/// A volume's fields.
pub(crate) fn row(volume: &Volume) -> Row {
    let entries = volume.labels.clone().unwrap_or_default();
    let labels: Vec<String> =
        entries.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (links, size) = match &volume.usage_data {
        Some(usage) => {
            #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
            let size = units::human_size(usage.size as f64, 4);
            (usage.ref_count.to_string(), size)
        }
        None => ("N/A".to_owned(), "N/A".to_owned()),
    };
    Row::default()
        .with("Availability", "N/A")
        .with("Driver", volume.driver.clone())
        .with("Group", "N/A")
        .with("Labels", labels.join(","))
        .with("Links", links)
        .with("Mountpoint", volume.mountpoint.clone())
        .with("Name", volume.name.clone())
        .with("Scope", volume.scope.clone())
        .with("Size", size)
        .with("Status", "N/A")
        .method("Label", entries)
}

/// `volume create`.
pub(crate) async fn create(invocation: &Invocation) -> Outcome {
    let matches = &invocation.matches;
    let name = match (matches.text("name"), matches.arg(0)) {
        (named, None) => named,
        ("", Some(name)) => name,
        _ => {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a \
                 positional arg",
            ));
        }
    };
    let body = VolumeCreateBody {
        driver: matches.string("driver").unwrap_or("local").to_owned(),
        driver_opts: Some(pairs(&matches.list("opt"))),
        labels: Some(pairs(&matches.list("label"))),
        name: name.to_owned(),
    };
    let volume = invocation.client()?.volume_create(&body).await?;
    print(format!("{}\n", volume.name))?;
    Ok(0)
}

/// `volume update`: a swarm's volumes only, of which there are none.
pub(crate) async fn update(invocation: &Invocation) -> Outcome {
    invocation.client()?.volume_inspect_raw(invocation.arg(0)).await?;
    Err(Failure::new("can only update cluster volumes"))
}

/// `volume inspect`.
pub(crate) async fn inspect(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    inspection::each(invocation, async |name| client.volume_inspect_raw(name).await).await
}

/// `volume export`.
pub(crate) async fn export(invocation: &Invocation) -> Outcome {
    let output = invocation.matches.text("output");
    transfer::check_output(output, "export volume")?;
    let client = invocation.client()?;
    transfer::save(client.volume_export(invocation.arg(0)).await?, output).await?;
    Ok(0)
}

/// `volume import`.
pub(crate) async fn import(invocation: &Invocation) -> Outcome {
    let body = match invocation.matches.arg(1).unwrap_or("-") {
        "-" => {
            transfer::check_stdin()?;
            transfer::file_body(Box::new(std::io::stdin()))?
        }
        path => transfer::file_body(Box::new(transfer::open(path)?))?,
    };
    let volume = invocation.client()?.volume_import(invocation.arg(0), body).await?;
    print(format!("{}\n", volume.name))?;
    Ok(0)
}

/// `volume cp` and `volume snapshot`.
pub(crate) async fn copy(invocation: &Invocation) -> Outcome {
    let client = invocation.client()?;
    let volume = client.volume_copy(invocation.arg(0), invocation.arg(1)).await?;
    print(format!("{}\n", volume.name))?;
    Ok(0)
}

/// `volume rename`.
pub(crate) async fn rename(invocation: &Invocation) -> Outcome {
    invocation.client()?.volume_rename(invocation.arg(0), invocation.arg(1)).await?;
    Ok(0)
}

/// `volume rm`.
pub(crate) async fn remove(invocation: &Invocation) -> Outcome {
    let (client, force) = (invocation.client()?, invocation.matches.bool("force"));
    super::each(invocation, 1, async |name| client.volume_remove(name, force).await).await
}

/// `volume prune`.
pub(crate) async fn prune(invocation: &Invocation) -> Outcome {
    let all = invocation.matches.bool("all");
    let mut filters = pruning::filters(invocation);
    if all && filters.iter().any(|(name, _)| name == "all") {
        return Err(Failure::new(
            "conflicting options: cannot specify both --all and --filter all=1",
        ));
    }
    let warning = match all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if !pruning::agreed(invocation, warning)? {
        return Ok(0);
    }
    if all {
        filters.push(("all".to_owned(), "true".to_owned()));
    }
    let report = invocation.client()?.volume_prune(&filters).await?;
    let removed = report.volumes_deleted.unwrap_or_default();
    print(pruning::section("Deleted Volumes:", &removed))?;
    print(pruning::total(report.space_reclaimed))?;
    Ok(0)
}
