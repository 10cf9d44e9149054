//! Where a container's output goes, decided. What is sent elsewhere is kept in files first: these
//! are what `logs` reads, whatever the driver, and what a slow receiver is fed from.
//!
//! This module never opens a file or a connection.

use std::collections::BTreeMap;

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSpec {
    /// Nowhere.
    None,
    /// Docker's json-file format.
    JsonFile {
        /// Bytes before a file is rotated.
        max_size_bytes: u64,
        /// Files kept.
        max_files: u32,
        /// Files that were put aside are compressed.
        compress: bool,
        /// Attributes written on each line (`labels`, `env`, `tag` options).
        attributes: BTreeMap<String, String>,
    },
    /// To receivers, by way of files.
    Sent {
        /// The files in between.
        file: LogFile,
        /// Every receiver gets every line.
        sinks: Vec<LogSink>,
        /// Users can read the files.
        readable: bool,
    },
}

/// A log's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Bytes before a file is rotated.
    pub max_size_bytes: u64,
    /// Files kept.
    pub max_files: u32,
    /// Files that were put aside are compressed.
    pub compress: bool,
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSink {
    /// What it is.
    pub kind: SinkKind,
    /// What lines are tagged with; the template filled in.
    pub tag: String,
    /// Further fields (`labels`, `env` options).
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A syslog daemon.
    Syslog {
        /// Where.
        address: SinkAddress,
        /// Facility, 0 to 23.
        facility: u8,
        /// How lines are written.
        format: SyslogFormat,
    },
    /// systemd's journal.
    Journald,
    /// Graylog's format.
    Gelf {
        /// Where: UDP or TCP.
        address: SinkAddress,
        /// How datagrams are compressed.
        compression: GelfCompression,
        /// 0 to 9; absent for the default.
        level: Option<u8>,
    },
    /// Fluentd's forward protocol.
    Fluentd {
        /// Where: TCP or a unix socket.
        address: SinkAddress,
        /// Times have nanoseconds.
        sub_second: bool,
        /// Every batch is acknowledged.
        acknowledge: bool,
    },
    /// A plugin of Docker's protocol.
    Plugin {
        /// Its name.
        name: String,
        /// Options, for it to understand.
        options: BTreeMap<String, String>,
    },
}

impl SinkKind {
    /// The driver's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Syslog { .. } => "syslog",
            Self::Journald => "journald",
            Self::Gelf { .. } => "gelf",
            Self::Fluentd { .. } => "fluentd",
            Self::Plugin { name, .. } => name,
        }
    }
}

/// How syslog lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogFormat {
    /// As local programs do: no host name.
    #[default]
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, seconds.
    Rfc5424,
    /// RFC 5424, microseconds.
    Rfc5424Micro,
}

/// How GELF datagrams are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GelfCompression {
    /// gzip.
    #[default]
    Gzip,
    /// zlib.
    Zlib,
    /// Not at all.
    None,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkAddress {
    /// The machine's own, wherever it is.
    Local,
    /// `host:port`, datagrams.
    Udp(String),
    /// `host:port`, a stream.
    Tcp(String),
    /// `host:port`, a stream under TLS.
    Tls {
        /// `host:port`.
        address: String,
        /// File of certificate authorities; empty for the host's.
        ca: String,
        /// File of the client's certificate; empty for none.
        cert: String,
        /// File of its key.
        key: String,
    },
    /// A unix socket's path, a stream.
    Unix(String),
    /// A unix socket's path, datagrams.
    Unixgram(String),
}

impl LogSpec {
    /// The files that the output is written to, if any.
    pub fn file(&self) -> Option<LogFile> {
        match self {
            Self::None => None,
            Self::JsonFile { max_size_bytes, max_files, compress, .. } => Some(LogFile {
                max_size_bytes: *max_size_bytes,
                max_files: *max_files,
                compress: *compress,
            }),
            Self::Sent { file, .. } => Some(file.clone()),
        }
    }

    /// Who gets it.
    pub fn sinks(&self) -> &[LogSink] {
        match self {
            Self::Sent { sinks, .. } => sinks,
            _ => &[],
        }
    }

    /// Whether users can read it.
    pub fn readable(&self) -> bool {
        match self {
            Self::None => false,
            Self::JsonFile { .. } => true,
            Self::Sent { readable, .. } => *readable,
        }
    }
}
