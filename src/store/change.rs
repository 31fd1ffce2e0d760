//! What happened in a mailbox, in the order it became durable; and what a session tells its client of it.

/// One durable change, as the mailbox's log holds it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new message; UIDs only grow, so it is the last one.
    Added { uid: u32 },
    /// New flags.
    Flags { uid: u32, origin: u64 },
    /// Messages expunged by one command.
    Removed { uid: u32 },
}

/// What a session is to tell its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The mailbox has this many messages now.
    Exists(u32),
    /// The message with this sequence number is gone; the numbers of those after it are one less.
    Expunge {
        /// Its sequence number until now.
        sequence: u32,
        /// Its UID.
        uid: u32,
    },
    /// The flags of this message changed.
    Flags {
        /// Its sequence number.
        sequence: u32,
        /// Its UID.
        uid: u32,
    },
    /// The mailbox was deleted; nothing more can be asked of it.
    MailboxGone,
    /// The session was not told of more changes than are kept for it: its view can't be advanced any more and must be given up
    /// (`BYE`, or the mailbox selected anew).
    Overrun,
}
