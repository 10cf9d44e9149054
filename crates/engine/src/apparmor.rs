//! AppArmor's profile of containers that name none, where the host has AppArmor: handed to the
//! kernel by apparmor_parser(8) when the engine opens. What it denies is denied by namespaces,
//! masks and the system-call filter already; it is there for the day on which one of those has a
//! hole. Knows no container.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The profile's name.
pub(crate) const PROFILE: &str = "estiba-default";

/// Where distributions have the parser; a daemon's `PATH` may lack all of them.
const PARSERS: [&str; 4] = [
    "/usr/sbin/apparmor_parser",
    "/sbin/apparmor_parser",
    "/usr/bin/apparmor_parser",
    "/bin/apparmor_parser",
];

/// apparmor.d(5). Capabilities, calls and networks are others' affair; here is denied what no
/// container needs of files: parameters of the kernel that are no namespace's, memory, mounts.
const RULES: &str = "\
profile estiba-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  unix,
  umount,

  # The engine and its monitors stop containers; among themselves containers of one kind may.
  signal (receive) peer=unconfined,
  signal (send,receive) peer=estiba-default,
  ptrace (trace,read,tracedby,readby) peer=estiba-default,

  # Of /proc only processes, and in kernel/ the parameters of a namespace: msg*, sem*, shm*.
  deny /proc/{sysrq-trigger,kcore,kmem,mem} rwklx,
  deny /proc/* w,
  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** w,
  deny /proc/sys/{abi,crypto,debug,dev,fs,user,vm}/** w,
  deny /proc/sys/kernel/{[^ms]*,m[^s]*,s[^eh]*,*/**} w,

  deny mount,

  # Of /sys nothing is written but control groups that were delegated.
  deny /sys/{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}/** wklx,
  deny /sys/fs/{bpf,btrfs,ext4,f2fs,fuse,nfs,pstore,resctrl,selinux,smackfs,xfs}/** wklx,
  deny /sys/{firmware,devices/virtual/powercap,kernel/security}/** rwklx,
}
";

/// Loads the profile, in place of one that an engine before has loaded; its name if the kernel has
/// it now. Says why not otherwise: containers run unconfined by AppArmor then, as with Docker.
pub(crate) fn load() -> Option<&'static str> {
    if !runtime::userns::is_first() {
        tracing::info!("AppArmor profiles are root's to load: containers have none");
        return None;
    }
    let Some(parser) = PARSERS.iter().map(PathBuf::from).find(|path| path.is_file()) else {
        tracing::warn!(
            "AppArmor is enabled, but there is no apparmor_parser to load the profile of \
             containers: they run without one; install the package apparmor"
        );
        return None;
    };
    match hand_over(&parser) {
        Ok(()) => Some(PROFILE),
        Err(why) => {
            tracing::warn!(%why, "load AppArmor profile {PROFILE}: containers run without one");
            None
        }
    }
}

fn hand_over(parser: &Path) -> Result<(), String> {
    let mut command = Command::new(parser);
    command.args(["--skip-cache", "--replace"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let said = child.stdin.take().map(|mut stdin| stdin.write_all(RULES.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match (output.status.success(), said) {
        (true, Some(Ok(()))) => Ok(()),
        (false, _) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        (true, _) => Err("the parser did not read it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the parser takes a profile, without a kernel.
    fn compiles(text: &str) -> Option<Result<Vec<u8>, String>> {
        let parser = PARSERS.iter().find(|path| Path::new(path).is_file())?;
        let mut command = Command::new(parser);
        command.args(["--skip-kernel-load", "--skip-cache", "--stdout", "--features-file"]);
        command.arg("/etc/apparmor.d/abi/3.0");
        if !Path::new("/etc/apparmor.d/abi/3.0").is_file() {
            return None;
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        Some(match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        })
    }

    #[test]
    fn the_parser_understands_the_rules() {
        let Some(compiled) = compiles(RULES) else { return };
        let program = compiled.unwrap();
        assert!(program.windows(PROFILE.len()).any(|it| it == PROFILE.as_bytes()));
        assert!(compiles(&RULES.replace("deny mount,", "deny mountain,")).unwrap().is_err());
    }
}
