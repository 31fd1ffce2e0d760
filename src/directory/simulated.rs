//! Failures that `localserve` plays when the localpart of an address that nobody has asks for them, for those who develop against it. Spec 9.4.
//!
//! | ends in | what is played |
//! |---|---|
//! | `temperror` | 451 |
//! | `permerror` | 550 |
//! | `timeout` | nothing for an hour, then 451 |
//! | three digits, 400 to 599 | that code |
//!
//! It is played at the end of the message; a localpart that begins with `mailfrom`, `rcptto` or `queue` moves it to that command, or to the
//! attempt to deliver from the queue. What comes by the API, which has no commands, is played at that attempt, but for `mailfrom`.

/// Where it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
    /// At the end of the message.
    Message,
    /// When the queue delivers.
    Queue,
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A reply with this code.
    Code(u16),
    /// No answer for an hour.
    Timeout,
}

/// What a localpart asks for.
pub fn simulated(localpart: &str) -> Option<(Stage, Failure)> {
    let stages = [
        ("mailfrom", Stage::Mail),
        ("rcptto", Stage::Recipient),
        ("queue", Stage::Queue),
    ];
    let text = localpart.to_ascii_lowercase();
    let stage = stages.iter().find(|(prefix, _)| text.starts_with(prefix));
    let stage = stage.map_or(Stage::Message, |(_, stage)| *stage);
    let failure = if text.ends_with("temperror") {
        Failure::Code(451)
    } else if text.ends_with("permerror") {
        Failure::Code(550)
    } else if text.ends_with("timeout") {
        Failure::Timeout
    } else {
        let digits = text.get(text.len().checked_sub(3)?..)?;
        let code = digits.parse().ok().filter(|code| (400..600).contains(code));
        Failure::Code(code?)
    };
    Some((stage, failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localparts_ask_for_failures() {
        for (localpart, expected) in [
            ("temperror", Some((Stage::Message, Failure::Code(451)))),
            ("x-permerror", Some((Stage::Message, Failure::Code(550)))),
            ("rcptto421", Some((Stage::Recipient, Failure::Code(421)))),
            ("MailFromTempError", Some((Stage::Mail, Failure::Code(451)))),
            ("queue-552", Some((Stage::Queue, Failure::Code(552)))),
            ("queuetimeout", Some((Stage::Queue, Failure::Timeout))),
            ("599", Some((Stage::Message, Failure::Code(599)))),
            ("600", None),
            ("399", None),
            ("+55", None),
            ("anna", None),
            ("queue", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(simulated(localpart), expected, "{localpart}");
        }
    }
}
