//! `update`: new limits for a container.

use super::args::{Args, Usage};
use super::record::Record;
use super::{Failed, Global};
use std::io::Read;
use wire::oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};

pub(super) fn update(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let mut resources = Resources::default();
    while let Some(option) = args.option() {
        if matches!(option.as_str(), "--resources" | "-r") {
            resources = from_file(&args.value(&option)?)?;
        } else {
            set(&mut resources, &option, &mut args)?;
        }
    }
    let id = args.required("the container's id")?;
    args.end()?;
    let mut record = Record::load(global, &id)?;
    record.cgroup()?.update(&resources)?;
    let linux = record.launch.spec.linux.get_or_insert_default();
    merge(linux.resources.get_or_insert_default(), resources);
    record.save(&record.launch.state_dir)?;
    Ok(0)
}

fn from_file(path: &str) -> Result<Resources, Failed> {
    let mut text = Vec::new();
    let read = match path {
        "-" => std::io::stdin().read_to_end(&mut text).map(drop),
        path => std::fs::read(path).map(|content| text = content),
    };
    read.map_err(|error| Failed::io(format!("read {path}"), &error))?;
    serde_json::from_slice(&text).map_err(|error| Failed::said(format!("read {path}: {error}")))
}

fn set(resources: &mut Resources, option: &str, args: &mut Args) -> Result<(), Usage> {
    match option {
        "--memory" => memory_of(resources).limit = Some(args.parsed(option)?),
        "--memory-reservation" => memory_of(resources).reservation = Some(args.parsed(option)?),
        "--memory-swap" => memory_of(resources).swap = Some(args.parsed(option)?),
        "--cpu-period" => cpu_of(resources).period = Some(args.parsed(option)?),
        "--cpu-quota" => cpu_of(resources).quota = Some(args.parsed(option)?),
        "--cpu-burst" => cpu_of(resources).burst = Some(args.parsed(option)?),
        "--cpu-share" => cpu_of(resources).shares = Some(args.parsed(option)?),
        "--cpu-rt-period" => cpu_of(resources).realtime_period = Some(args.parsed(option)?),
        "--cpu-rt-runtime" => cpu_of(resources).realtime_runtime = Some(args.parsed(option)?),
        "--cpu-idle" => cpu_of(resources).idle = Some(args.parsed(option)?),
        "--cpuset-cpus" => cpu_of(resources).cpus = args.value(option)?,
        "--cpuset-mems" => cpu_of(resources).mems = args.value(option)?,
        "--pids-limit" => resources.pids = Some(Pids { limit: Some(args.parsed(option)?) }),
        "--blkio-weight" => {
            let weight = Some(args.parsed(option)?);
            resources.block_io.get_or_insert_with(BlockIo::default).weight = weight;
        }
        // Limits of kernel memory are gone from the kernel (5.16); runc takes and drops them too.
        "--kernel-memory" | "--kernel-memory-tcp" => drop(args.value(option)?),
        _ => return Err(Usage::UnknownOption(option.to_owned())),
    }
    Ok(())
}

fn memory_of(resources: &mut Resources) -> &mut Memory {
    resources.memory.get_or_insert_default()
}

fn cpu_of(resources: &mut Resources) -> &mut Cpu {
    resources.cpu.get_or_insert_default()
}

/// Keeps what was not named.
fn merge(old: &mut Resources, new: Resources) {
    old.memory = new.memory.or(old.memory.take());
    old.cpu = new.cpu.or(old.cpu.take());
    old.pids = new.pids.or(old.pids);
    old.block_io = new.block_io.or(old.block_io.take());
    old.unified.extend(new.unified);
}
