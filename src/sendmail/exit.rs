//! How the command ends: the codes of sysexits(3), which the callers of sendmail know, and why.

use std::process::ExitCode;

/// An exit code of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done; of a message: the server said 250 to it, for each recipient.
    Ok = 0,
    /// The command line makes no sense.
    Usage = 64,
    /// The message is none.
    DataErr = 65,
    /// There is no message.
    NoInput = 66,
    /// A recipient was refused for good.
    NoUser = 67,
    /// The server's name is not known.
    NoHost = 68,
    /// The server does not take this message.
    Unavailable = 69,
    /// Standard input could not be read.
    IoErr = 74,
    /// Not now; later perhaps.
    TempFail = 75,
    /// The server breaks the rules.
    Protocol = 76,
    /// The server does not let us.
    NoPerm = 77,
    /// The settings have a mistake.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the caller gets.
    pub exit: Exit,
    /// What happened, and what to do next where that is not plain.
    pub text: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure {
            exit,
            text: text.into(),
        }
    }
}
