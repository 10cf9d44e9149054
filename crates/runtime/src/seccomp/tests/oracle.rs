//! The compiler against libseccomp, through its Python binding: the same rules, every system call
//! of every ABI, arguments around every value that a rule names.

use super::*;
use std::io::Write;
use std::process::{Command, Stdio};
use sys::seccomp::Insn;

/// Compiles the rules on standard input, an OCI document with resolved conditions.
const SCRIPT: &str = r#"
import json, sys, seccomp
spec = json.load(sys.stdin)
def action(name, errno):
    if name == "SCMP_ACT_ERRNO":
        return seccomp.ERRNO(1 if errno is None else errno)
    return getattr(seccomp, name.removeprefix("SCMP_ACT_"))
def operator(name):
    return getattr(seccomp, name.removeprefix("SCMP_CMP_"))
default = action(spec["defaultAction"], spec.get("defaultErrnoRet"))
out = seccomp.SyscallFilter(default)
arches = {"X86_64": seccomp.Arch.X86_64, "X86": seccomp.Arch.X86, "X32": seccomp.Arch.X32}
for arch in (seccomp.Arch.X86, seccomp.Arch.X32):
    out.add_arch(arch)
for rule in spec["syscalls"]:
    act = action(rule["action"], rule.get("errnoRet"))
    args = []
    for arg in rule.get("args", []):
        a, b = arg["value"], arg.get("valueTwo", 0)
        args.append(seccomp.Arg(arg["index"], operator(arg["op"]), a, b))
    for name in rule["names"]:
        if any(seccomp.resolve_syscall(arch, name) != -1 for arch in arches.values()):
            out.add_rule(act, name, *args)
out.export_bpf(sys.stdout)
for line in spec["asked"].split():
    abi, name = line.split(":")
    if seccomp.resolve_syscall(arches[abi], name) < 0:
        print(line, file=sys.stderr)
"#;

const ABIS: [Abi; 3] = [Abi::X86_64, Abi::X86, Abi::X32];

/// libseccomp's program for `profile`, and the calls (`ABI:name`) that it does not know yet.
fn oracle(profile: &Seccomp) -> (Vec<Insn>, BTreeSet<String>) {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut rules = serde_json::to_value(profile).unwrap();
    let calls = |abi: Abi| abi.syscalls().map(move |(name, _)| format!("{abi:?}:{name}"));
    rules["asked"] = ABIS.into_iter().flat_map(calls).collect::<Vec<_>>().join(" ").into();
    let rules = serde_json::to_vec(&rules).unwrap();
    python.stdin.take().unwrap().write_all(&rules).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "python3-seccomp is needed: {said}");
    let program = sys::seccomp::from_bytes(&output.stdout).expect("a program");
    (program, said.split_whitespace().map(str::to_owned).collect())
}

/// Arguments worth asking with: around each value of each condition about `name`.
fn arguments(profile: &Seccomp, name: &str) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    let about = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|n| n == name));
    for rule in about {
        let mut met = [0; 6];
        for arg in &rule.args {
            let index = usize::try_from(arg.index).unwrap();
            met[index] = if arg.op == "SCMP_CMP_MASKED_EQ" { arg.value_two } else { arg.value };
        }
        all.push(met);
        for arg in &rule.args {
            let index = usize::try_from(arg.index).unwrap();
            for seed in [arg.value, arg.value_two] {
                let high = 1 << 32;
                let near = [seed, seed.wrapping_sub(1), seed.wrapping_add(1), !seed];
                for value in near.into_iter().chain([seed ^ high, seed | high, seed >> 1]) {
                    let mut args = met;
                    args[index] = value;
                    all.push(args);
                }
            }
        }
    }
    all
}

/// The rules that libseccomp can express: not those that single out what the default refuses
/// anyway, and not those with two conditions on one argument. The tests of the interpreter are
/// about these.
fn expressible(mut profile: Seccomp) -> Seccomp {
    let default = (profile.default_action.clone(), profile.default_errno_ret);
    profile.syscalls.retain(|rule| {
        let indexes: BTreeSet<u32> = rule.args.iter().map(|arg| arg.index).collect();
        indexes.len() == rule.args.len() && (rule.action.clone(), rule.errno_ret) != default
    });
    profile
}

fn agree(what: &str, profile: Seccomp) {
    let profile = &expressible(profile);
    let ours = compile(profile, Arch::X86_64).unwrap();
    let (theirs, unknown) = oracle(profile);
    let mut asked = 0;
    for abi in ABIS {
        for (name, number) in abi.syscalls() {
            // On i386 libseccomp also writes rules about sockets and IPC as rules about the old
            // calls that bundle them; a document that names those decides about them itself.
            let bundled = abi == Abi::X86 && matches!(name, "socketcall" | "ipc");
            if unknown.contains(&format!("{abi:?}:{name}")) || bundled {
                continue;
            }
            for mut args in arguments(profile, name) {
                if abi != Abi::X86_64 {
                    // libseccomp takes the arguments of both for 32 bits wide.
                    args = args.map(|arg| arg & 0xffff_ffff);
                }
                let call = Call { number, arch: audit_arch(abi), args };
                let (mine, _) = run(ours.instructions(), &call);
                let (oracles, _) = run(&theirs, &call);
                // What is newer than the document is told to be missing, as newer runtimes do.
                let newer = mine == ENOSYS && oracles == EPERM;
                let said = format!("{what}: {name} of {abi:?} with {args:x?}");
                assert!(mine == oracles || newer, "{said}: {mine:#x}, libseccomp {oracles:#x}");
                asked += 1;
            }
        }
    }
    assert!(asked > 1000, "{what}: only {asked} calls were compared");
}

/// Podman's profile for Debian, from the package golang-github-containers-common.
fn podman_profile(caps: CapSet) -> Seccomp {
    let json = std::fs::read("/usr/share/containers/seccomp.json").expect("podman is installed");
    let facts = ProfileFacts { caps, arch: Arch::X86_64, kernel: (6, 1) };
    parse_profile(&json, &facts).unwrap()
}

fn with_abis(mut profile: Seccomp) -> Seccomp {
    profile.architectures =
        ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(str::to_owned).to_vec();
    profile
}

#[test]
fn docker_s_profile_compiles_as_libseccomp_has_it() {
    for caps in [caps::docker_default(), CapSet::ALL] {
        agree("docker", with_abis(docker_profile(caps)));
    }
}

#[test]
fn podman_s_profile_compiles_as_libseccomp_has_it() {
    for caps in [caps::docker_default(), CapSet::ALL] {
        agree("podman", with_abis(podman_profile(caps)));
    }
}

#[test]
fn our_profile_compiles_as_libseccomp_has_it() {
    let profile = default_profile(caps::estiba_default(), &ProfileOptions::default());
    agree("estiba", with_abis(profile));
    agree("estiba, for ping", with_abis(super::ping()));
}
