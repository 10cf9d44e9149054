//! What another runtime is told: our specification without what only ours understands. Pure.

use crate::plan::{ALSO_MASKED, ALSO_READONLY};
use crate::user::User;
use wire::oci::runtime::{Mount, Process, Root, Spec};

/// The version that every runtime of the last years knows, and that the document keeps to.
const VERSION: &str = "1.0.2";

/// Where a container finds the built-in init: `/dev` is never the image's.
pub(super) const INIT: &str = "/dev/estiba-init";

/// What the document is made from, beyond the specification.
pub(super) struct Given<'a> {
    /// Path of the mounted root.
    pub(super) rootfs: &'a str,
    /// The user, if it was given by name.
    pub(super) user: Option<&'a User>,
    /// A copy of the built-in init on the host, if the container wants one.
    pub(super) init: Option<&'a str>,
    /// Path of the container's control group.
    pub(super) cgroup: &'a str,
}

/// The document for a container.
pub(super) fn of_container(spec: &Spec, given: &Given<'_>) -> Spec {
    let mut spec = spec.clone();
    spec.oci_version = VERSION.to_owned();
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    spec.root = Some(Root { path: given.rootfs.to_owned(), readonly });
    if let Some(process) = &mut spec.process {
        if let Some(user) = given.user {
            become_user(process, user);
        }
        if given.init.is_some() {
            process.args.insert(0, INIT.to_owned());
        }
    }
    if let Some(source) = given.init {
        spec.mounts.push(Mount {
            destination: INIT.to_owned(),
            kind: "bind".to_owned(),
            source: source.to_owned(),
            options: ["bind", "ro", "nosuid", "nodev"].map(str::to_owned).to_vec(),
            ..Mount::default()
        });
    }
    let linux = spec.linux.get_or_insert_default();
    linux.cgroups_path = given.cgroup.to_owned();
    also(&mut linux.masked_paths, &ALSO_MASKED);
    also(&mut linux.readonly_paths, &ALSO_READONLY);
    spec
}

/// The document for a further process.
pub(super) fn of_exec(process: &Process, user: Option<&User>) -> Process {
    let mut process = process.clone();
    if let Some(user) = user {
        become_user(&mut process, user);
    }
    if process.cwd.is_empty() {
        process.cwd = "/".to_owned();
    }
    process
}

fn become_user(process: &mut Process, user: &User) {
    process.user.uid = user.uid;
    process.user.gid = user.gid;
    let named =
        user.additional_gids.iter().filter(|gid| !process.user.additional_gids.contains(gid));
    let named: Vec<u32> = named.copied().collect();
    process.user.additional_gids.extend(named);
    if !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        process.env.push(format!("HOME={}", user.home));
    }
}

/// What our runtime adds wherever anything is protected at all.
fn also(paths: &mut Vec<String>, more: &[&str]) {
    if paths.is_empty() {
        return;
    }
    let missing = more.iter().filter(|path| !paths.iter().any(|have| have == *path));
    let missing: Vec<String> = missing.map(|path| (*path).to_owned()).collect();
    paths.extend(missing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_ours_made_plain() {
        let mut spec = Spec { process: Some(Process::default()), ..Spec::default() };
        spec.linux.get_or_insert_default().masked_paths = vec!["/proc/kcore".into()];
        let user = User { uid: 5, gid: 6, additional_gids: vec![6, 7], home: "/h".into() };
        let given = Given {
            rootfs: "/r",
            user: Some(&user),
            init: Some("/state/init"),
            cgroup: "/estiba/x",
        };
        let out = of_container(&spec, &given);
        let (process, linux) = (out.process.unwrap(), out.linux.unwrap());
        assert_eq!((process.user.uid, process.user.gid), (5, 6));
        assert_eq!(process.user.additional_gids, [6, 7]);
        assert_eq!(process.args, [INIT]);
        assert_eq!(process.env, ["HOME=/h"]);
        assert_eq!(linux.cgroups_path, "/estiba/x");
        assert!(ALSO_MASKED.iter().all(|path| linux.masked_paths.iter().any(|have| have == path)));
        assert!(linux.readonly_paths.is_empty(), "nothing was read-only before");
        assert_eq!(out.mounts.len(), 1);
    }
}
