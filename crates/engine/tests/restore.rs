//! The daemon's death. A daemon that was killed (SIGKILL, as a process of its own) is followed by
//! another one in the same place, which takes over what runs and finishes or undoes the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use engine::{Engine, EngineError, RemoveOptions};
use lab::{
    Lab, check_nothing_left, draft, eventually, options, own_network, place, runtime, script,
};
use model::phase::Phase;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a daemon that is to be killed does; by name, for it is another process of this program.
const SCENE: &str = "ENGINE_TEST_SCENE";

/// A daemon in a process of its own, in the network namespace of the calling thread.
struct Daemon(Child);

impl Daemon {
    /// Starts it and waits until it says that it is where the scene wants it.
    fn start(scene: &str, dir: &std::path::Path, cgroup_parent: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_daemon", "--nocapture", "--ignored"])
            .env(SCENE, scene)
            .env("ENGINE_TEST_DIR", dir)
            .env("ENGINE_TEST_CGROUP", cgroup_parent)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = output.lines().any(|line| line.unwrap().contains("scene is set"));
        assert!(ready, "{scene}: the daemon ended before it was ready");
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The process that [`Daemon::start`] makes.
#[test]
#[ignore = "a process of the other tests"]
fn the_other_daemon() {
    let scene = std::env::var(SCENE).unwrap();
    let dir = PathBuf::from(std::env::var("ENGINE_TEST_DIR").unwrap());
    let options = options(&dir, std::env::var("ENGINE_TEST_CGROUP").unwrap());
    runtime().block_on(async {
        let engine = Engine::open(options.clone()).await.unwrap();
        match scene.as_str() {
            "running" => set_running(&engine).await,
            "restless" => be_restless(&engine).await,
            other => panic!("no scene {other}"),
        }
    });
}

async fn made(engine: &Engine, name: &str, draft: model::Draft) {
    let name = model::ContainerName::parse(name).unwrap();
    engine.containers.create(Some(name), draft).await.unwrap();
}

async fn set_running(engine: &Engine) {
    let counting = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done";
    let mut networked = script(counting);
    networked.host.network = model::network::NetworkMode::Default;
    made(engine, "counting", networked).await;
    made(engine, "created", draft(&["true"])).await;
    made(engine, "exits-later", draft(&["sh", "-c", "sleep 0.3; exit 9"])).await;
    let mut always = draft(&["sh", "-c", "sleep 0.3; exit 1"]);
    always.host.restart = model::restart::RestartPolicy::Always;
    made(engine, "always", always).await;
    made(engine, "paused", draft(&["sleep", "1000"])).await;
    for name in ["counting", "exits-later", "always", "paused"] {
        engine.containers.start(name).await.unwrap();
    }
    engine.containers.pause("paused").await.unwrap();
    println!("scene is set");
    std::future::pending().await
}

/// Creates, starts and removes without end.
async fn be_restless(engine: &Engine) {
    println!("scene is set");
    for round in 0u32.. {
        let mut wanted = draft(&["sleep", "1000"]);
        wanted.volumes = vec!["/data".into()];
        wanted.host.network = model::network::NetworkMode::Default;
        wanted.host.auto_remove = round % 3 == 0;
        let name = format!("restless-{round}");
        made(engine, &name, wanted).await;
        engine.containers.start(&name).await.unwrap();
        let options = RemoveOptions { force: true, volumes: true };
        engine.containers.remove(&name, options).await.unwrap();
    }
}

/// Runs `after` on a node whose former daemon was killed `delay` after it was ready.
fn after_death<F>(
    scene: &'static str,
    delay: Duration,
    after: impl FnOnce(Lab) -> F + Send + 'static,
) where
    F: Future<Output = Lab>,
{
    std::thread::spawn(move || {
        own_network();
        let (dir, options) = place();
        let prepare = runtime();
        let (dir, options) = prepare.block_on(async {
            let lab = Lab::open_at(dir, options).await;
            lab.import_busybox().await;
            lab.engine.shutdown().await;
            lab.leave()
        });
        prepare.shutdown_timeout(Duration::from_secs(5));
        let daemon = Daemon::start(scene, dir.path(), &options.cgroup_parent);
        std::thread::sleep(delay);
        daemon.kill();
        let second = runtime();
        let (dir, options) = second.block_on(async {
            let lab = Lab::open_at(dir, options).await;
            let lab = tokio::time::timeout(Duration::from_secs(120), after(lab)).await;
            lab.expect("the test hangs").close().await
        });
        second.shutdown_timeout(Duration::from_secs(5));
        check_nothing_left(&options);
        drop(dir);
    })
    .join()
    .unwrap();
}

#[test]
fn what_ran_goes_on_and_what_ended_meanwhile_is_known() {
    after_death("running", Duration::from_millis(600), |lab| async move {
        let counting = lab.view("counting");
        assert!(matches!(counting.phase, Phase::Running(_)), "{:?}", counting.phase);
        assert_eq!(counting.endpoints.len(), 1);
        let log = counting.paths.log.clone();
        let lines = || std::fs::read_to_string(&log).unwrap().lines().count();
        let before = lines();
        assert!(before > 20, "it went on while there was no daemon: {before} lines");
        eventually("it counts on", || async { (lines() > before + 5).then_some(()) }).await;
        assert_eq!(lab.view("created").phase, Phase::Created);
        let exited = eventually("the exit is known", || async {
            let view = lab.view("exits-later");
            matches!(view.phase, Phase::Exited(_)).then_some(view)
        })
        .await;
        assert_eq!(exited.last_exit.as_ref().unwrap().code, 9);
        eventually("its policy starts it again", || async {
            let view = lab.view("always");
            matches!(view.phase, Phase::Running(_)).then_some(())
        })
        .await;
        assert!(matches!(lab.view("paused").phase, Phase::Paused(_)));
        lab.engine.containers.unpause("paused").await.unwrap();
        assert_eq!(lab.exec("counting", &["echo", "still here"]).await.stdout, "still here\n");
        lab.engine.containers.stop("counting", None, Some(0)).await.unwrap();
        assert_eq!(lab.wait("counting").await.code, 137);
        lab
    });
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_stays() {
    for at_ms in [0u64, 3, 7, 12, 18, 25, 33, 42, 55, 70, 90, 120] {
        println!("killed after {at_ms} ms");
        after_death("restless", Duration::from_millis(at_ms), |lab| async move {
            // Whatever is there is whole: it can be started, or it is over; and it can be removed.
            for view in lab.engine.containers.list() {
                let id = view.id.to_string();
                match view.phase {
                    // A start that was cut off is being undone; the order waits for that.
                    Phase::Created | Phase::Exited(_) | Phase::Starting => {
                        match lab.engine.containers.start(&id).await {
                            Ok(_) => {}
                            // What was to remove itself when it ended has done so.
                            Err(EngineError::NoSuchContainer(_)) => {
                                assert!(lab.engine.containers.view(&id).is_err());
                                continue;
                            }
                            Err(error) => panic!("start {id}: {error}"),
                        }
                    }
                    Phase::Running(_) => {}
                    ref other => panic!("{other:?}"),
                }
                assert_eq!(lab.exec(&id, &["echo", "well"]).await.stdout, "well\n");
                lab.rm(&id).await;
            }
            let left = lab.engine.volumes.prune(&|_| false, true).await.unwrap();
            println!("anonymous volumes that were left: {}", left.0.len());
            lab
        });
    }
}
