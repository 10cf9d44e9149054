//! Everything around a container's life: what is told of it, and what can be changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use bytes::Bytes;
use engine::{ArchivePut, LogLine, LogOptions, Stream, WaitCondition};
use lab::{Lab, draft, eventually, script, words, world};
use model::ContainerName;
use model::draft::{HealthDraft, OnUnhealthy, UpdateDraft};
use model::image::ImageDraft;
use model::phase::Phase;
use model::restart::RestartPolicy;
use std::time::Duration;

async fn lines(lab: &Lab, id: &str, options: LogOptions) -> Vec<(Stream, String)> {
    let put = |piece: &mut Vec<u8>, line: LogLine<'_>| {
        piece.push(if line.stream == Stream::Stdout { b'1' } else { b'2' });
        piece.extend_from_slice(line.line);
    };
    let mut pieces = lab.engine.containers.logs(id, options, put).await.unwrap();
    let mut text = String::new();
    while let Some(piece) = pieces.recv().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    let line = |line: &str| match line.split_at(1) {
        ("1", line) => (Stream::Stdout, line.to_owned()),
        (_, line) => (Stream::Stderr, line.to_owned()),
    };
    text.split_inclusive('\n').map(line).collect()
}

#[test]
fn the_log_is_read_and_followed_to_the_end() {
    world(|lab| async move {
        let id = lab.create(script("echo a; echo b >&2; sleep 0.3; echo c")).await;
        lab.start(&id).await;
        let both = LogOptions { stdout: true, stderr: true, ..Default::default() };
        let followed = lines(&lab, &id, LogOptions { follow: true, ..both }).await;
        let mut texts: Vec<&str> = followed.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts.pop(), Some("c\n"));
        texts.sort_unstable();
        assert_eq!(texts, ["a\n", "b\n"]);
        let errors = lines(&lab, &id, LogOptions { stderr: true, ..Default::default() }).await;
        assert_eq!(errors, [(Stream::Stderr, "b\n".to_owned())]);
        let last = lines(&lab, &id, LogOptions { tail: Some(1), ..both }).await;
        assert_eq!(last, [(Stream::Stdout, "c\n".to_owned())]);
        lab
    });
}

#[test]
fn names_are_unique_and_can_be_changed() {
    world(|lab| async move {
        let id = lab.create_named("first", draft(&["true"])).await;
        let name = ContainerName::parse("first").unwrap();
        let taken = lab.engine.containers.create(Some(name.clone()), draft(&["true"])).await;
        assert_eq!(
            taken.unwrap_err().to_string(),
            format!(
                "Conflict. The container name \"/first\" is already in use by container \
                 \"{id}\". You have to remove (or rename) that container to be able to reuse \
                 that name."
            )
        );
        let other = ContainerName::parse("other").unwrap();
        lab.engine.containers.rename("first", other).await.unwrap();
        assert_eq!(lab.view("other").id.to_string(), id);
        assert!(lab.engine.containers.view("first").is_err());
        lab.create_named("first", draft(&["true"])).await;
        assert!(lab.engine.containers.rename("other", name).await.is_err());
        assert_eq!(lab.view(&id[..12]).name.as_str(), "other");
        lab
    });
}

#[test]
fn limits_hold_and_can_be_changed() {
    world(|lab| async move {
        let mut wanted = draft(&["sleep", "1000"]);
        wanted.host.resources.memory_bytes = Some(64 << 20);
        wanted.host.resources.pids_limit = Some(50);
        let id = lab.create(wanted).await;
        lab.start(&id).await;
        let stats = lab.engine.containers.stats(&id).await.unwrap();
        assert_eq!((stats.memory.limit, stats.pids_limit), (64 << 20, 50));
        assert!(stats.running && stats.pids >= 1 && stats.memory.usage > 0);
        let mut change = UpdateDraft::default();
        change.resources.memory_bytes = Some(96 << 20);
        change.resources.memory_swap_bytes = Some(192 << 20);
        lab.engine.containers.update(&id, change.clone()).await.unwrap();
        assert_eq!(lab.engine.containers.stats(&id).await.unwrap().memory.limit, 96 << 20);
        change.resources.memory_bytes = Some(1 << 20);
        let refused = lab.engine.containers.update(&id, change).await.unwrap_err();
        assert_eq!(refused.to_string(), "Minimum memory limit allowed is 6MB");
        lab
    });
}

#[test]
fn what_runs_in_it_is_listed() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        let refused = lab.engine.containers.top(&id, "").await.unwrap_err();
        assert_eq!(refused.to_string(), format!("container {id} is not running"));
        lab.start(&id).await;
        let top = lab.engine.containers.top(&id, "").await.unwrap();
        assert_eq!(top.titles.last().unwrap(), "CMD");
        assert_eq!(top.processes.len(), 1);
        assert_eq!(top.processes[0].last().unwrap(), "sleep 1000");
        lab
    });
}

#[test]
fn files_are_copied_in_and_out_with_the_owners_the_container_sees() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        for running in [false, true] {
            if running {
                lab.start(&id).await;
            }
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o640);
            header.set_uid(1000);
            header.set_gid(77);
            tar.append_data(&mut header, "new", &b"abc"[..]).unwrap();
            let (tx, rx) = tokio::sync::mpsc::channel(1);
            tx.send(Ok(Bytes::from(tar.into_inner().unwrap()))).await.unwrap();
            drop(tx);
            let options = ArchivePut { copy_uidgid: true, ..Default::default() };
            lab.engine.containers.archive_put(&id, "/tmp", options, rx).await.unwrap();
            let stat = lab.engine.containers.path_stat(&id, "/tmp/new").await.unwrap();
            assert_eq!((stat.size, stat.name.as_str()), (3, "new"));
            let (_, mut stream) = lab.engine.containers.archive_get(&id, "/tmp/new").await.unwrap();
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.recv().await {
                bytes.extend(chunk.unwrap());
            }
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1000, 77), "{running}");
        }
        let seen = lab.exec(&id, &["stat", "-c", "%u:%g %a", "/tmp/new"]).await;
        assert_eq!(seen.stdout, "1000:77 640\n");
        let missing = lab.engine.containers.path_stat(&id, "/nonesuch").await.unwrap_err();
        assert!(missing.to_string().contains("Could not find the file /nonesuch"), "{missing}");
        let changes = lab.engine.containers.changes(&id).await.unwrap();
        assert!(changes.iter().any(|it| it.path == "/tmp/new"), "{changes:?}");
        lab
    });
}

#[test]
fn a_container_becomes_an_image() {
    world(|lab| async move {
        let id = lab.create(script("echo made > /made")).await;
        lab.start(&id).await;
        lab.wait(&id).await;
        let draft_of_image = ImageDraft {
            reference: "made:1".into(),
            changes: vec!["CMD [\"cat\", \"/made\"]".into()],
            ..Default::default()
        };
        let image = lab.engine.containers.commit(&id, true, draft_of_image, None).await.unwrap();
        let mut wanted = draft(&[]);
        wanted.command = None;
        wanted.image = "made:1".into();
        assert_eq!(lab.run(wanted).await.stdout, "made\n");
        let refused = lab.engine.images.remove("busybox", false, true).await.unwrap_err();
        assert!(refused.to_string().contains("conflict"), "{refused}");
        assert_eq!(lab.engine.images.view("made:1").await.unwrap().id, image);
        lab.engine.images.remove("made:1", false, true).await.unwrap();
        let gone = lab.engine.images.view("made:1").await.unwrap_err();
        assert_eq!(gone.to_string(), "No such image: made:1");
        lab
    });
}

#[test]
fn a_health_check_is_run_and_counted() {
    world(|lab| async move {
        let mut wanted = script("sleep 0.5; touch /ok; sleep 1000");
        wanted.health = Some(HealthDraft {
            test: words(&["CMD-SHELL", "echo checked; test -e /ok"]),
            interval_ns: 50_000_000,
            retries: 2,
            ..Default::default()
        });
        let id = lab.create(wanted).await;
        let mut events = lab.engine.events.subscribe(None, None);
        lab.start(&id).await;
        assert_eq!(lab.view(&id).health.as_ref().unwrap().status, "starting");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
            let action = event.unwrap().unwrap().action;
            seen.extend(action.strip_prefix("health_status: ").map(str::to_owned));
        }
        assert_eq!(seen, ["unhealthy", "healthy"]);
        let health = lab.view(&id).health.clone().unwrap();
        assert_eq!((health.status, health.failing_streak), ("healthy", 0));
        assert_eq!(health.log.last().unwrap().output, "checked\n");
        lab
    });
}

fn always_unhealthy(action: OnUnhealthy) -> model::Draft {
    let mut wanted = script("echo run >> /runs; sleep 1000");
    wanted.stop_timeout = Some(0);
    wanted.health = Some(HealthDraft {
        test: words(&["CMD-SHELL", "test -e /never"]),
        interval_ns: 20_000_000,
        retries: 2,
        on_failure: Some(action),
        ..Default::default()
    });
    wanted
}

async fn seen(events: &mut engine::EventStream, wanted: &str) {
    let heard = async { while events.recv().await.is_some_and(|event| event.action != wanted) {} };
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect(wanted);
}

#[test]
fn an_unhealthy_container_is_restarted_until_somebody_stops_it() {
    world(|lab| async move {
        let mut events = lab.engine.events.subscribe(None, None);
        let mut wanted = always_unhealthy(OnUnhealthy::None);
        // A helper's label means the same as our flag.
        wanted.health.as_mut().unwrap().on_failure = None;
        wanted.labels.insert("autoheal".into(), "true".into());
        let id = lab.create(wanted).await;
        lab.start(&id).await;
        for _ in 0..3 {
            seen(&mut events, "health_status: unhealthy").await;
            seen(&mut events, "die").await;
            seen(&mut events, "start").await;
        }
        assert!(lab.view(&id).restart_count >= 2);
        lab.engine.containers.stop(&id, None, Some(0)).await.unwrap();
        assert!(matches!(lab.view(&id).phase, Phase::Exited(_)), "{:?}", lab.view(&id).phase);
        lab
    });
}

#[test]
fn an_unhealthy_container_is_stopped_or_killed_where_that_is_asked() {
    world(|lab| async move {
        for (action, policy, restarts) in [
            (OnUnhealthy::Stop, RestartPolicy::Always, false),
            (OnUnhealthy::Kill, RestartPolicy::No, false),
            (OnUnhealthy::Kill, RestartPolicy::OnFailure(0), true),
        ] {
            let mut events = lab.engine.events.subscribe(None, None);
            let mut wanted = always_unhealthy(action);
            wanted.host.restart = policy;
            let id = lab.create(wanted).await;
            lab.start(&id).await;
            seen(&mut events, "die").await;
            if restarts {
                seen(&mut events, "start").await;
                seen(&mut events, "start").await;
            } else {
                let wait = lab.engine.containers.wait(&id, WaitCondition::NotRunning).await;
                assert_eq!(wait.unwrap().done().await.unwrap().code, 137);
            }
            let options = engine::RemoveOptions { force: true, ..Default::default() };
            lab.engine.containers.remove(&id, options).await.unwrap();
        }
        lab
    });
}

#[test]
fn failures_in_the_start_period_heal_nothing() {
    world(|lab| async move {
        let mut events = lab.engine.events.subscribe(None, None);
        let mut wanted = always_unhealthy(OnUnhealthy::Restart);
        let health = wanted.health.as_mut().unwrap();
        health.start_period_ns = 3_600_000_000_000;
        health.start_interval_ns = 20_000_000;
        let id = lab.create(wanted).await;
        lab.start(&id).await;
        while lab.view(&id).health.as_ref().unwrap().log.len() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(lab.view(&id).health.as_ref().unwrap().status, "starting");
        assert_eq!(lab.view(&id).restart_count, 0);
        lab.engine.containers.kill(&id, None).await.unwrap();
        seen(&mut events, "die").await;
        lab
    });
}

#[test]
fn what_happens_is_told_in_order() {
    world(|lab| async move {
        let mut events = lab.engine.events.subscribe(None, None);
        let mut wanted = script("exit 4");
        wanted.host.auto_remove = true;
        wanted.labels.insert("k".into(), "v".into());
        let id = lab.create_named("told", wanted).await;
        let wait = lab.engine.containers.wait(&id, WaitCondition::Removed).await.unwrap();
        lab.start(&id).await;
        wait.done().await.unwrap();
        let mut told = Vec::new();
        while told.last().map(String::as_str) != Some("destroy") {
            let event = events.recv().await.unwrap();
            if event.actor == id {
                assert_eq!(event.attributes["k"], "v");
                assert_eq!(event.attributes["name"], "told");
                if event.action == "die" {
                    assert_eq!(event.attributes["exitCode"], "4");
                }
                told.push(event.action);
            }
        }
        assert_eq!(told, ["create", "start", "die", "destroy"]);
        lab
    });
}

#[test]
fn users_directories_and_memory_are_as_asked() {
    world(|lab| async move {
        let mut wanted =
            script("id -u; id -g; pwd; echo $HOME; grep -E ' /(m|dev/shm) ' /proc/mounts");
        wanted.user = "app".into();
        wanted.workdir = "/tmp".into();
        wanted.host.tmpfs.insert("/m".into(), "size=1m,exec".into());
        wanted.host.shm_size_bytes = 2 << 20;
        wanted.host.group_add = vec!["extra".into()];
        let ran = lab.run(wanted).await;
        assert!(ran.stdout.starts_with("1000\n1000\n/tmp\n/home/app\n"), "{ran:?}");
        let mount = |target: &str| ran.stdout.lines().find(|line| line.contains(target)).unwrap();
        assert!(mount(" /m ").contains("size=1024k") && !mount(" /m ").contains("noexec"));
        assert!(mount(" /dev/shm ").contains("size=2048k"), "{ran:?}");
        lab
    });
}

#[test]
fn a_container_of_the_hosts_namespaces_has_the_hosts_ids() {
    world(|lab| async move {
        let mut wanted = script("head -1 /proc/self/uid_map; ls /dev | head -3 >/dev/null");
        wanted.host.privileged = true;
        wanted.host.pid = model::draft::SharedNamespace::Host;
        let ran = lab.run(wanted).await;
        let words: Vec<&str> = ran.stdout.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "4294967295"], "{ran:?}");
        lab
    });
}

#[test]
fn a_stuck_container_keeps_nobody_from_looking() {
    world(|lab| async move {
        let id = lab.create(script("trap '' TERM; while true; do sleep 1; done")).await;
        lab.start(&id).await;
        let stopping = tokio::spawn({
            let (containers, id) = (lab.engine.containers.clone(), id.clone());
            async move { containers.stop(&id, None, Some(1)).await }
        });
        eventually("it is being stopped", || async {
            matches!(lab.view(&id).phase, Phase::Stopping(_)).then_some(())
        })
        .await;
        assert_eq!(lab.engine.containers.list().len(), 1);
        assert_eq!(lab.exec(&id, &["echo", "x"]).await.stdout, "x\n");
        stopping.await.unwrap().unwrap();
        assert_eq!(lab.wait(&id).await.code, 137);
        lab
    });
}
