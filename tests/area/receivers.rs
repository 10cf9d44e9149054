//! Receivers of containers' output, real ones at the other end: syslog over TLS, which proves who
//! it is, and several at the same time; the files here are read all the same.

use lab::{Lab, eventually};
use rustix::process::Signal;

fn certificate(lab: &Lab, name: &str) -> (String, String) {
    let at = |end: &str| lab.dir().join(format!("{name}.{end}")).to_string_lossy().into_owned();
    let (key, cert) = (at("key"), at("crt"));
    let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
    // What stands for itself is no authority over others.
    let own = [&["-subj", "/CN=receiver"], &names[..], &["-addext", "basicConstraints=CA:FALSE"]];
    let make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    lab.in_network(&[&make[..], &own.concat(), &["-keyout", &key, "-out", &cert]].concat()).ok();
    (key, cert)
}

#[test]
fn lines_go_to_a_syslog_that_proves_itself_and_to_others_besides() {
    let lab = Lab::new();
    let (key, cert) = certificate(&lab, "server");
    let (_, other) = certificate(&lab, "other");
    let script = "import socket, ssl, sys\n\
                  c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
                  c.load_cert_chain(sys.argv[1], sys.argv[2])\n\
                  s = socket.create_server(('127.0.0.1', 6514)); print('bound', flush=True)\n\
                  while True:\n  \
                    a, _ = s.accept()\n  \
                    try:\n    \
                      t = c.wrap_socket(a, server_side=True)\n    \
                      while d := t.recv(65536): print(d.decode(), flush=True)\n  \
                    except OSError as e: print('refused', e, flush=True)";
    let syslog = lab.start_in_network(&["python3", "-c", script, &cert, &key]);
    let script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  s.bind(('127.0.0.1', 12201)); print('bound', flush=True)\n\
                  while True: print(s.recv(65536).decode(), flush=True)";
    let gelf = lab.start_in_network(&["python3", "-c", script]);
    eventually("the receiver is there", || gelf.so_far().contains("bound"));
    eventually("the other one, too", || syslog.so_far().contains("bound"));
    let authority = |file: &str| format!("syslog-tls-ca-cert={file}");
    let run = |name: &str, file: &str| {
        let trusted = authority(file);
        let options = [
            "--log-driver",
            "syslog,gelf",
            "--log-opt",
            "syslog-address=tcp+tls://127.0.0.1:6514",
            "--log-opt",
            &trusted,
            "--log-opt",
            "gelf-address=udp://127.0.0.1:12201",
            "--log-opt",
            "gelf-compression-type=none",
        ];
        let say = format!("echo said by {name}");
        let words = ["busybox", "sh", "-c", &say];
        lab.estiba(&[&["run", "--name", name], &options[..], &words].concat()).ok();
    };
    run("trusting", &cert);
    eventually("syslog hears it", || syslog.so_far().contains("said by trusting"));
    eventually("and so does the other", || gelf.so_far().contains("said by trusting"));
    assert_eq!(lab.estiba(&["logs", "trusting"]).ok(), "said by trusting");
    // Whoever cannot prove to be the receiver hears nothing, and the others do.
    run("careful", &other);
    eventually("the other hears it", || gelf.so_far().contains("said by careful"));
    assert_eq!(lab.estiba(&["logs", "careful"]).ok(), "said by careful");
    eventually("it is turned away", || syslog.so_far().contains("refused"));
    assert!(!syslog.so_far().contains("careful"));
    for session in [syslog, gelf] {
        session.signal(Signal::KILL);
        session.finish();
    }
}
