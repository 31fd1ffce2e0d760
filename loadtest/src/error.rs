//! What ends a run early.

/// Why a run failed. The first one met is reported, and nothing is measured over it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The server's: an answer that was not expected, or none.
    #[error("{target}: connection {connection}: {answer}")]
    Answer {
        /// Which server.
        target: String,
        /// Number of the connection in the order of opening, from 1.
        connection: u64,
        /// What came and when, in words; holds the server's line.
        answer: String,
    },
    /// `--timeout` is over.
    #[error("{target}: not done within {secs} s ({waiting})")]
    Timeout {
        /// Which server.
        target: String,
        /// The limit.
        secs: u64,
        /// How far it came.
        waiting: String,
    },
    /// Messages that were accepted and are not there once.
    #[error("{0}")]
    Verify(String),
    /// This machine: sockets, files, /proc.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// How it failed.
        source: std::io::Error,
    },
}

impl Failure {
    /// For `map_err`: what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
        let what = what.into();
        move |source| Failure::Io { what, source }
    }
}
