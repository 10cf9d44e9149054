//! What was counted, as Prometheus reads it (text exposition format 0.0.4), under the names that
//! dashboards for Docker's engine ask for, and a few of our own. Served without authentication on
//! an address of its own (`--metrics-addr`), and nothing else is served there.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Engine;
use engine::metrics::{BOUNDS_S, Counted, Durations, Timed};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::body::ReplyBody;
use crate::server::{self, App, Listener, Shutdown};

/// How many answers requests got, by the first digit of the status. Shared by all doors.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<[AtomicU64; 6]>);

impl Requests {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves `GET /metrics` on `listener` until `shutdown` turns true.
pub async fn serve_metrics(
    engine: Engine,
    listener: Listener,
    requests: Requests,
    shutdown: Shutdown,
) {
    server::run(Metrics { engine, requests }, vec![listener], shutdown).await;
}

#[derive(Clone)]
struct Metrics {
    engine: Engine,
    requests: Requests,
}

impl App for Metrics {
    async fn answer(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let (status, text) = match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => (StatusCode::OK, self.text()),
            ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
        let mut response = Response::new(ReplyBody::Whole(Some(text.into())));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl Metrics {
    fn text(&self) -> String {
        let view = self.engine.system.view();
        let counted = self.engine.system.counted();
        let mut page = Page::default();
        let info = [
            ("architecture", view.architecture.as_str()),
            ("commit", &view.git_commit),
            ("daemon_id", &view.id),
            ("graphdriver", &view.storage_driver),
            ("kernel", &view.kernel),
            ("os", &view.operating_system),
            ("os_type", &view.os),
            ("os_version", &view.os_version),
            ("version", &view.version),
        ];
        let about = "The information related to the engine and the OS it is running on";
        page.head("engine_daemon_engine_info", "gauge", about);
        page.line("engine_daemon_engine_info", &info, 1);
        let about = "The number of cpus that the host system of the engine has";
        page.gauge("engine_daemon_engine_cpus_cpus", about, view.cpus);
        let about = "The number of bytes of memory that the host system of the engine has";
        page.gauge("engine_daemon_engine_memory_bytes", about, view.memory_bytes);
        page.durations(&counted);
        page.counters(&counted);
        page.containers(&counted);
        page.process(&counted, view.started.seconds());
        let about = "The number of answers to requests of the Engine API, by class of status";
        page.head("estiba_api_requests_total", "counter", about);
        for (class, count) in self.requests.0.iter().enumerate().skip(1) {
            let class = format!("{class}xx");
            let count = count.load(Ordering::Relaxed);
            page.line("estiba_api_requests_total", &[("code", &class)], count);
        }
        page.0
    }
}

/// A family of histograms: its name, what is said of it, its label, and its members.
type Family = (&'static str, &'static str, &'static str, &'static [(&'static str, Timed)]);

/// Docker's families.
const FAMILIES: [Family; 5] = [
    (
        "engine_daemon_container_actions_seconds",
        "The number of seconds it takes to process each container action",
        "action",
        &[
            ("changes", Timed::ContainerChanges),
            ("commit", Timed::ContainerCommit),
            ("create", Timed::ContainerCreate),
            ("delete", Timed::ContainerDelete),
            ("start", Timed::ContainerStart),
        ],
    ),
    (
        "engine_daemon_host_info_functions_seconds",
        "The number of seconds it takes to call functions gathering info about the host",
        "function",
        &[("system_info", Timed::SystemInfo)],
    ),
    (
        "engine_daemon_image_actions_seconds",
        "The number of seconds it takes to process each image action",
        "action",
        &[
            ("delete", Timed::ImageDelete),
            ("history", Timed::ImageHistory),
            ("pull", Timed::ImagePull),
            ("push", Timed::ImagePush),
        ],
    ),
    (
        "engine_daemon_network_actions_seconds",
        "The number of seconds it takes to process each network action",
        "action",
        &[
            ("allocate", Timed::NetworkAllocate),
            ("connect", Timed::NetworkConnect),
            ("release", Timed::NetworkRelease),
        ],
    ),
    (
        "engine_daemon_health_check_start_duration_seconds",
        "The number of seconds it takes to prepare to run health checks",
        "",
        &[("", Timed::HealthCheckStart)],
    ),
];

/// A page of metrics being written.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        let mut open = '{';
        for (label, text) in labels.iter().filter(|(label, _)| !label.is_empty()) {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
            open = ',';
        }
        if open == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn gauge(&mut self, name: &str, about: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", about);
        self.line(name, &[], value);
    }

    fn counter(&mut self, name: &str, about: &str, value: impl std::fmt::Display) {
        self.head(name, "counter", about);
        self.line(name, &[], value);
    }

    fn durations(&mut self, counted: &Counted) {
        for (name, about, label, members) in FAMILIES {
            self.head(name, "histogram", about);
            for (member, timed) in members {
                self.histogram(name, (label, member), &counted.durations[*timed as usize]);
            }
        }
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), durations: &Durations) {
        let mut count = 0;
        let bucket = format!("{name}_bucket");
        for (at, of_class) in durations.counts.iter().enumerate() {
            count += of_class;
            let bound = BOUNDS_S.get(at).map_or("+Inf".to_owned(), f64::to_string);
            self.line(&bucket, &[label, ("le", &bound)], count);
        }
        self.line(&format!("{name}_sum"), &[label], durations.sum.as_secs_f64());
        self.line(&format!("{name}_count"), &[label], count);
    }

    fn counters(&mut self, counted: &Counted) {
        for (name, about, value) in [
            ("events_total", "The number of events logged", counted.events),
            ("health_checks_total", "The total number of health checks", counted.health_checks),
            (
                "health_checks_failed_total",
                "The total number of failed health checks",
                counted.failed_health_checks,
            ),
        ] {
            self.counter(&format!("engine_daemon_{name}"), about, value);
        }
        let about = "The number of current subscribers to events";
        self.gauge("engine_daemon_events_subscribers_total", about, counted.event_listeners);
    }

    /// Docker's three states, and then all there are.
    fn containers(&mut self, counted: &Counted) {
        let of = |state: &str| {
            let found = counted.containers.iter().find(|(known, _)| *known == state);
            found.map_or(0, |(_, count)| *count)
        };
        let all: usize = counted.containers.iter().map(|(_, count)| count).sum();
        let (running, paused) = (of("running"), of("paused"));
        let name = "engine_daemon_container_states_containers";
        self.head(name, "gauge", "The count of containers in various states");
        for (state, count) in
            [("paused", paused), ("running", running), ("stopped", all - running - paused)]
        {
            self.line(name, &[("state", state)], count);
        }
        self.head("estiba_containers", "gauge", "The count of containers in each state");
        for (state, count) in counted.containers {
            self.line("estiba_containers", &[("state", state)], count);
        }
    }

    /// What clients of Prometheus tell of their own process.
    fn process(&mut self, counted: &Counted, started_s: i64) {
        let process = &counted.process;
        let about = "Total user and system CPU time spent in seconds.";
        self.counter("process_cpu_seconds_total", about, process.cpu.as_secs_f64());
        let about = "Number of open file descriptors.";
        self.gauge("process_open_fds", about, process.open_files);
        let about = "Resident memory size in bytes.";
        self.gauge("process_resident_memory_bytes", about, process.resident_bytes);
        let about = "Start time of the process since unix epoch in seconds.";
        self.gauge("process_start_time_seconds", about, started_s);
        let about = "Number of OS threads in the process.";
        self.gauge("process_threads", about, process.threads);
        let about = "Virtual memory size in bytes.";
        self.gauge("process_virtual_memory_bytes", about, process.virtual_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn classes_add_up_and_texts_are_quoted() {
        let mut durations = Durations { sum: Duration::from_millis(1500), ..Durations::default() };
        durations.counts[0] = 2;
        durations.counts[11] = 1;
        let mut page = Page::default();
        page.histogram("x_seconds", ("action", "a\"b\\c\n"), &durations);
        let lines: Vec<&str> = page.0.lines().collect();
        let label = r#"action="a\"b\\c\n""#;
        assert_eq!(lines[0], format!("x_seconds_bucket{{{label},le=\"0.005\"}} 2"));
        assert_eq!(lines[10], format!("x_seconds_bucket{{{label},le=\"10\"}} 2"));
        assert_eq!(lines[11], format!("x_seconds_bucket{{{label},le=\"+Inf\"}} 3"));
        assert_eq!(lines[12], format!("x_seconds_sum{{{label}}} 1.5"));
        assert_eq!(lines[13], format!("x_seconds_count{{{label}}} 3"));
        let mut page = Page::default();
        page.histogram("y", ("", ""), &durations);
        assert!(page.0.starts_with("y_bucket{le=\"0.005\"} 2\n"), "{}", page.0);
        assert!(page.0.ends_with("y_sum 1.5\ny_count 3\n"), "{}", page.0);
    }

    #[test]
    fn every_duration_is_in_one_family() {
        for timed in Timed::ALL {
            let members = FAMILIES.iter().flat_map(|(.., members)| members.iter());
            assert_eq!(members.filter(|(_, it)| *it == timed).count(), 1, "{timed:?}");
        }
    }
}
