//! An engine at the other end of `ssh`: the program connects and proves who is who, and the
//! engine's own `system dial-stdio` there joins its socket to the connection.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Where `ssh` goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Login name; ssh's own choice when absent.
    pub user: Option<String>,
    /// A host name, or a name in ssh's configuration.
    pub host: String,
    /// The port; ssh's own choice when absent.
    pub port: Option<u16>,
    /// The engine's socket there; its default one when empty.
    pub socket: String,
}

impl SshTarget {
    /// Reads `[user@]host[:port][/socket]`. `None` when it is none, or would be read as an option.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (authority, socket) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map(str::parse).transpose().ok()?;
        let option = |text: &str| text.is_empty() || text.starts_with('-');
        if option(host) || user.as_deref().is_some_and(|user| option(user) || user.contains(':')) {
            return None;
        }
        let socket = socket.trim_end_matches('/').to_owned();
        Some(Self { user, host: host.to_owned(), port, socket })
    }

    /// What follows `ssh` on its command line.
    fn arguments(&self) -> Vec<String> {
        let mut words = vec!["-o".to_owned(), "ConnectTimeout=30".to_owned(), "-T".to_owned()];
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        let host = match self.socket.as_str() {
            "" => String::new(),
            path => format!(" --host {}", quoted(&format!("unix://{path}"))),
        };
        // Whichever of the two is there; both know the command.
        words.push(format!(
            "if command -v docker >/dev/null 2>&1; then exec docker{host} system dial-stdio; else \
             exec estiba{host} system dial-stdio; fi"
        ));
        words
    }
}

/// A word of the other side's shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl std::fmt::Display for SshTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.socket)
    }
}

/// Starts `ssh`; what is returned is connected to the engine's socket there. It ends with its
/// connection.
pub(crate) fn connect(target: &SshTarget) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let output: OwnedFd = theirs.try_clone()?.into();
    let mut child = Command::new("ssh")
        .args(target.arguments())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(output))
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("start ssh: {error}")))?;
    std::thread::spawn(move || child.wait());
    ours.set_nonblocking(true)?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for text in ["ssh://host", "ssh://me@host:22", "ssh://[::1]:2222", "ssh://h/run/x.sock"] {
            let target = SshTarget::parse(text.strip_prefix("ssh://").unwrap()).unwrap();
            assert_eq!(target.to_string(), text);
        }
        for bad in ["", "-oProxyCommand=x", "-x@host", "me:secret@host", "host:port", "@host"] {
            assert_eq!(SshTarget::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_far_shell_gets_one_command() {
        let target = SshTarget::parse("me@host:23/tmp/it's.sock").unwrap();
        let words = target.arguments();
        assert_eq!(
            words[..9],
            ["-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "23", "--", "host"]
        );
        assert!(words[9].contains("docker --host 'unix:///tmp/it'\\''s.sock' system dial-stdio"));
    }
}
