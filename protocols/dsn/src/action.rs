//! What became of a message for one recipient: the Action of RFC 3464 2.3.3.
//! Not here: why (`class.rs`), the field (`compose/status.rs`, `parse/status.rs`).

use std::fmt;
use std::str::FromStr;

/// The Action field. RFC 3464 2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was not delivered and will not be.
    Failed,
    /// Not delivered yet; attempts go on.
    Delayed,
    /// Delivered to the recipient's mailbox.
    Delivered,
    /// Handed to a host that sends no reports of success.
    Relayed,
    /// Delivered to a list or alias with several members.
    Expanded,
}

impl Action {
    /// The word in the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not one of the five actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action")]
pub struct UnknownAction;

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        const ALL: [Action; 5] = [
            Action::Failed,
            Action::Delayed,
            Action::Delivered,
            Action::Relayed,
            Action::Expanded,
        ];
        let found = ALL
            .into_iter()
            .find(|a| text.eq_ignore_ascii_case(a.as_str()));
        found.ok_or(UnknownAction)
    }
}
