//! A container's life, from the outside: made, started, heard, stopped, removed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use engine::{Outcome, RemoveOptions, WaitCondition};
use lab::{draft, eventually, script, world};
use model::phase::Phase;

#[test]
fn a_program_runs_and_its_output_and_exit_arrive() {
    world(|lab| async move {
        let ran = lab.run(script("echo out; echo err >&2; exit 7")).await;
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
        lab
    });
}

#[test]
fn it_is_kept_apart_from_the_host() {
    world(|lab| async move {
        let ran = lab
            .run(script(
                "cat /proc/self/uid_map; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; \
                 hostname; echo $$",
            ))
            .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let words: Vec<&str> = ran.stdout.split_whitespace().collect();
        assert_eq!((words[0], words[2]), ("0", "65536"), "{ran:?}");
        assert_ne!(words[1], "0", "root in it is root outside");
        assert!(ran.stdout.contains("NoNewPrivs:\t1\n"), "{ran:?}");
        assert!(ran.stdout.contains("Seccomp:\t2\n"), "{ran:?}");
        assert!(ran.stdout.ends_with("\n1\n"), "{ran:?}");
        lab
    });
}

#[test]
fn start_stop_start_remove() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        let all = &lab.engine.containers;
        assert_eq!(all.start(&id).await.unwrap(), Outcome::Done);
        assert_eq!(all.start(&id).await.unwrap(), Outcome::NotModified);
        assert!(matches!(lab.view(&id).phase, Phase::Running(_)));
        let refused = all.remove(&id, RemoveOptions::default()).await.unwrap_err();
        assert!(refused.to_string().contains("container is running"), "{refused}");
        assert_eq!(all.stop(&id, None, Some(0)).await.unwrap(), Outcome::Done);
        assert_eq!(lab.view(&id).last_exit.as_ref().unwrap().code, 137);
        assert_eq!(all.stop(&id, None, None).await.unwrap(), Outcome::NotModified);
        lab.start(&id).await;
        all.restart(&id, None, Some(0)).await.unwrap();
        assert!(matches!(lab.view(&id).phase, Phase::Running(_)));
        all.remove(&id, RemoveOptions { force: true, ..Default::default() }).await.unwrap();
        assert_eq!(all.view(&id).unwrap_err().to_string(), format!("No such container: {id}"));
        lab
    });
}

#[test]
fn a_program_that_is_not_there_is_exit_127_and_one_that_cannot_run_126() {
    world(|lab| async move {
        for (program, code, words) in [
            ("nonesuch", 127, "executable file not found in $PATH"),
            ("/nonesuch", 127, "no such file or directory"),
            ("/etc/passwd", 126, "permission denied"),
        ] {
            let id = lab.create(draft(&[program])).await;
            let error = lab.engine.containers.start(&id).await.unwrap_err();
            assert!(error.to_string().contains(words), "{program}: {error}");
            let view = lab.view(&id);
            let Phase::Exited(exit) = &view.phase else { panic!("{:?}", view.phase) };
            assert_eq!(exit.code, code, "{program}");
            lab.rm(&id).await;
        }
        lab
    });
}

#[test]
fn one_that_removes_itself_is_gone_with_its_exit() {
    world(|lab| async move {
        let mut wanted = script("exit 3");
        wanted.host.auto_remove = true;
        let id = lab.create_named("brief", wanted).await;
        let wait = lab.engine.containers.wait(&id, WaitCondition::Removed).await.unwrap();
        lab.start(&id).await;
        assert_eq!(wait.done().await.unwrap().code, 3);
        assert!(lab.engine.containers.view("brief").is_err());
        lab.create_named("brief", script("true")).await;
        lab
    });
}

#[test]
fn a_failing_program_is_restarted_as_often_as_its_policy_says() {
    world(|lab| async move {
        let mut wanted = script("exit 1");
        wanted.host.restart = model::restart::RestartPolicy::OnFailure(2);
        let id = lab.create(wanted).await;
        lab.start(&id).await;
        let view = eventually("it gives up", || async {
            let view = lab.view(&id);
            (matches!(view.phase, Phase::Exited(_)) && view.restart_count == 2).then_some(view)
        })
        .await;
        assert_eq!(view.last_exit.as_ref().unwrap().code, 1);
        lab
    });
}

#[test]
fn pause_freezes_and_unpause_goes_on() {
    world(|lab| async move {
        let id = lab.create(script("while true; do echo x; sleep 0.01; done")).await;
        lab.start(&id).await;
        let all = &lab.engine.containers;
        all.pause(&id).await.unwrap();
        let log = lab.view(&id).paths.log.clone();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let before = std::fs::metadata(&log).unwrap().len();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(std::fs::metadata(&log).unwrap().len(), before);
        assert!(all.pause(&id).await.unwrap_err().to_string().contains("already paused"));
        all.unpause(&id).await.unwrap();
        eventually("it writes again", || async {
            (std::fs::metadata(&log).unwrap().len() > before).then_some(())
        })
        .await;
        lab
    });
}

#[test]
fn execs_run_beside_it_and_tell_their_exit() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        lab.start(&id).await;
        let ran = lab.exec(&id, &["sh", "-c", "echo hi; echo no >&2; exit 5"]).await;
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (5, "hi\n", "no\n"));
        let status =
            lab.exec(&id, &["sh", "-c", "grep -E 'Seccomp:|NoNew' /proc/self/status"]).await;
        assert!(status.stdout.contains("Seccomp:\t2") && status.stdout.contains("NoNewPrivs:\t1"));
        let failed = lab.exec(&id, &["nonesuch"]).await;
        assert!(failed.stderr.contains("executable file not found"), "{failed:?}");
        lab
    });
}

#[test]
fn volumes_keep_and_binds_reach_the_host() {
    world(|lab| async move {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("in"), "from the host").unwrap();
        let mut wanted =
            script("cat /h/in; cat /data/from-image; echo w > /h/out; echo v > /data/v");
        let bind = |source: &str, target: &str| model::draft::BindDraft {
            source: source.into(),
            target: target.into(),
            text: format!("{source}:{target}"),
            ..Default::default()
        };
        wanted.host.binds = vec![bind(dir.path().to_str().unwrap(), "/h"), bind("vol", "/data")];
        let ran = lab.run(wanted.clone()).await;
        assert_eq!(ran.stdout, "from the hostfrom the image\n", "{ran:?}");
        assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "w\n");
        wanted.command = Some(lab::words(&["cat", "/data/v"]));
        assert_eq!(lab.run(wanted).await.stdout, "v\n");
        assert_eq!(lab.engine.volumes.view("vol").await.unwrap().name.as_str(), "vol");
        lab
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything_of_one_that_removes_itself() {
    world(|lab| async move {
        let mut wanted = script("i=0; while [ $i -lt 40000 ]; do echo line-$i; i=$((i+1)); done");
        wanted.host.auto_remove = true;
        let id = lab.create(wanted).await;
        let output = lab.attach_slowly(&id, std::time::Duration::from_secs(1)).await;
        let wait = lab.engine.containers.wait(&id, WaitCondition::Removed).await.unwrap();
        lab.start(&id).await;
        let (stdout, _) = output.await.unwrap();
        assert_eq!(stdout.lines().count(), 40_000);
        assert!(stdout.ends_with("line-39999\n"));
        assert_eq!(wait.done().await.unwrap().code, 0);
        lab
    });
}

#[test]
fn restarted_again_and_again_it_comes_up() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        lab.start(&id).await;
        for _ in 0..10 {
            lab.engine.containers.restart(&id, None, Some(0)).await.unwrap();
            assert_eq!(lab.exec(&id, &["echo", "up"]).await.stdout, "up\n");
        }
        lab
    });
}

#[test]
fn one_whose_monitor_is_killed_is_over_and_can_be_started_again() {
    world(|lab| async move {
        let id = lab.create(draft(&["sleep", "1000"])).await;
        lab.start(&id).await;
        let init = lab.view(&id).phase.run().unwrap().pid;
        let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
        let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap();
        let monitor = rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap();
        let name = std::fs::read_to_string(format!("/proc/{parent}/cmdline")).unwrap();
        assert!(name.contains("monitor"), "{name:?}");
        rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
        assert_eq!(lab.wait(&id).await.code, 137);
        assert!(!std::path::Path::new(&format!("/proc/{init}/root")).exists());
        lab.start(&id).await;
        assert_eq!(lab.exec(&id, &["echo", "again"]).await.stdout, "again\n");
        lab
    });
}
