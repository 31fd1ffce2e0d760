//! Every option: as it is written, and what it means. Each means the same in every command that takes it. Not here: which command takes which (`table`).

use super::table::Command;

/// An option. Each means the same in every command that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    Config,
    Dir,
    Json,
    PortOffset,
    Accounts,
    Generate,
    Keep,
    DropQueued,
    Numbers,
    All,
    MakeMissing,
    NoImapPreauth,
    Failed,
    Limit,
    Rsa,
    Ed25519,
    Bits,
    Day,
    Account,
    From,
    To,
    Domain,
    State,
    Rule,
    AcceptedBefore,
    AcceptedAfter,
    NextBefore,
    NextAfter,
    AttemptsMin,
    AttemptsMax,
    Transport,
    Why,
    SenderDomain,
    Shift,
    Paused,
    For,
    Expires,
    MaxAttempts,
    Schedule,
    Result,
    Scope,
    Rate,
    Url,
    Events,
    Authorization,
    Concurrency,
    Endpoint,
    Event,
    Recipient,
    CreatedBefore,
    CreatedAfter,
}

/// Options whose values are texts that their commands read.
pub(super) const TEXTS: [Opt; 31] = [
    Opt::Account,
    Opt::From,
    Opt::To,
    Opt::Domain,
    Opt::State,
    Opt::Rule,
    Opt::AcceptedBefore,
    Opt::AcceptedAfter,
    Opt::NextBefore,
    Opt::NextAfter,
    Opt::AttemptsMin,
    Opt::AttemptsMax,
    Opt::Transport,
    Opt::Why,
    Opt::SenderDomain,
    Opt::For,
    Opt::Expires,
    Opt::MaxAttempts,
    Opt::Schedule,
    Opt::Result,
    Opt::Scope,
    Opt::Rate,
    Opt::Url,
    Opt::Events,
    Opt::Authorization,
    Opt::Concurrency,
    Opt::Endpoint,
    Opt::Event,
    Opt::Recipient,
    Opt::CreatedBefore,
    Opt::CreatedAfter,
];

impl Opt {
    /// As written, with the name of its value.
    pub(super) fn written(self) -> &'static str {
        match self {
            Opt::Config => "--config FILE",
            Opt::Dir => "--dir DIR",
            Opt::Json => "--json",
            Opt::PortOffset => "--port-offset N",
            Opt::Accounts => "--accounts N",
            Opt::Generate => "--generate",
            Opt::Keep => "--keep",
            Opt::DropQueued => "--drop-queued",
            Opt::Numbers => "--numbers",
            Opt::All => "--all",
            Opt::MakeMissing => "--make-missing",
            Opt::NoImapPreauth => "--no-imap-preauth",
            Opt::Failed => "--failed",
            Opt::Limit => "--limit N",
            Opt::Rsa => "--rsa",
            Opt::Ed25519 => "--ed25519",
            Opt::Bits => "--bits N",
            Opt::Day => "--day YYYYMMDD",
            Opt::Account => "--account NAME",
            Opt::From => "--from TEXT",
            Opt::To => "--to TEXT",
            Opt::Domain => "--domain DOMAIN",
            Opt::State => "--state STATE",
            Opt::Rule => "--rule N",
            Opt::AcceptedBefore => "--accepted-before TIME",
            Opt::AcceptedAfter => "--accepted-after TIME",
            Opt::NextBefore => "--next-before TIME",
            Opt::NextAfter => "--next-after TIME",
            Opt::AttemptsMin => "--attempts-min N",
            Opt::AttemptsMax => "--attempts-max N",
            Opt::Transport => "--transport NAME",
            Opt::Why => "--why TEXT",
            Opt::SenderDomain => "--sender-domain DOMAIN",
            Opt::Shift => "--shift",
            Opt::Paused => "--paused",
            Opt::For => "--for LENGTH",
            Opt::Expires => "--expires TIME",
            Opt::MaxAttempts => "--max-attempts N",
            Opt::Schedule => "--schedule WAIT,...",
            Opt::Result => "--result RESULT",
            Opt::Scope => "--scope SCOPE,...",
            Opt::Rate => "--rate N",
            Opt::Url => "--url URL",
            Opt::Events => "--events EVENT,...",
            Opt::Authorization => "--authorization TEXT",
            Opt::Concurrency => "--concurrency N",
            Opt::Endpoint => "--endpoint N",
            Opt::Event => "--event EVENT",
            Opt::Recipient => "--recipient N",
            Opt::CreatedBefore => "--created-before TIME",
            Opt::CreatedAfter => "--created-after TIME",
        }
    }

    /// Whether it is written so, without the dashes.
    pub(super) fn is_called(self, word: &str) -> bool {
        let written = self.written().split(' ').next();
        written.and_then(|written| written.strip_prefix("--")) == Some(word)
    }

    /// Whether it is a part of a filter, or in place of one: the usage names these together.
    pub(super) fn is_filter(self) -> bool {
        let others = [
            Opt::Why,
            Opt::SenderDomain,
            Opt::For,
            Opt::Expires,
            Opt::MaxAttempts,
            Opt::Schedule,
            Opt::Result,
            Opt::Scope,
            Opt::Rate,
            Opt::Url,
            Opt::Events,
            Opt::Authorization,
            Opt::Concurrency,
            Opt::Endpoint,
            Opt::Event,
            Opt::Recipient,
            Opt::CreatedBefore,
            Opt::CreatedAfter,
        ];
        self == Opt::All || TEXTS.contains(&self) && !others.contains(&self)
    }

    pub(super) fn help(self, command: Command) -> &'static str {
        match self {
            Opt::Dir if command == Command::Localserve => "its directory; made if it is not there",
            Opt::Config if matches!(command, Command::Serve | Command::ConfigCheck) => {
                "the static file"
            }
            Opt::Config => "the server whose static file this is",
            Opt::Dir => "the server whose directory this is (of localserve, or a data directory)",
            Opt::Json => "one JSON object a line",
            Opt::PortOffset => "added to each standard port (default 1000, at most 64542)",
            Opt::Accounts => "makes accounts u1 to uN (at most 100000) if they are not there",
            Opt::Generate => "makes a password and prints it",
            Opt::Keep => "takes over mail and password of an earlier account of the name",
            Opt::DropQueued => "drops its mail that is in the queue; nobody is told",
            Opt::Numbers => "with mailboxes, messages and octets of each account",
            Opt::All if command == Command::Salvage => {
                "rebuilds every shard, not only the damaged ones"
            }
            Opt::All if command == Command::HoldRuleAdd => "holds everything: the queue is paused",
            Opt::All if command == Command::SiteResume => "every site",
            Opt::All => "every recipient in the queue",
            Opt::SenderDomain => "the domain of the sender's address",
            Opt::Account if is_suppression(command) => "whose list",
            Opt::From if command == Command::ApiKeyAdd => {
                "addresses and domains it may write as, with commas"
            }
            Opt::Expires if command == Command::ApiKeyAdd => "until when: 30d is in thirty days",
            Opt::Scope => "of send, read, suppression, webhooks, admin (default send)",
            Opt::Rate => "requests in a minute at most",
            Opt::Expires if command == Command::QueueRetries => {
                "when to give up: 12h is in twelve hours; default"
            }
            Opt::MaxAttempts => "gives up after so many attempts; default",
            Opt::Schedule => "how long after each attempt, the last one repeats: 1m,5m,1h; default",
            Opt::Result if command == Command::WebhookHistory => "delivered or failed",
            Opt::For if command == Command::WebhookRotate => {
                "how long the one before is valid too: 30m, 12h, 2d"
            }
            Opt::Url => "where calls go from now on",
            Opt::Events => "of what it is told; default: delivered to unrecognized",
            Opt::Authorization => "the value of the header Authorization; empty for none",
            Opt::Concurrency => "calls at once, 1 to 32; 1 keeps the order (default)",
            Opt::Endpoint => "for this endpoint",
            Opt::Event => "about this event",
            Opt::Recipient => "about the recipient with this number",
            Opt::CreatedBefore => "made before then: -2h is two hours ago",
            Opt::CreatedAfter => "made then or later",
            Opt::Result => "delivered, relayed, failed, dropped or suppressed",
            Opt::Expires => "when it may be written to again: 30d is in thirty days",
            Opt::Account => "whose mail it is",
            Opt::From => "a part of the sender's address; @DOMAIN; <> for the null path",
            Opt::To => "a part of the recipient's address; @DOMAIN",
            Opt::Domain => "the recipient's domain",
            Opt::State => "waiting, held, delivered, failed or dropped",
            Opt::Rule => "held by this hold rule",
            Opt::AcceptedBefore => "accepted before then: -2h is two hours ago",
            Opt::AcceptedAfter => "accepted then or later",
            Opt::NextBefore => "due before then: 30m is in half an hour",
            Opt::NextAfter => "due then or later",
            Opt::AttemptsMin => "with so many attempts at least",
            Opt::AttemptsMax => "with so many attempts at most",
            Opt::Transport => "given this transport by hand; - for none",
            Opt::Why if command == Command::QueueFail => {
                "the reason, for the sender and in the list"
            }
            Opt::Why => "the reason, shown in the list",
            Opt::Paused => "only those that are paused or slowed down",
            Opt::For => "for how long: 30m, 1h, 2d",
            Opt::Shift => "TIME is a duration, added to each one's own next time",
            Opt::NoImapPreauth => "IMAP greets as always, and the program logs in with EXTERNAL",
            Opt::Failed => "only attempts that failed",
            Opt::Limit => "how many records at most (default 100, at most 100000)",
            Opt::Day => "only of this day (UTC)",
            Opt::Rsa => "an RSA key, which every receiver verifies (the default)",
            Opt::Ed25519 => {
                "an Ed25519 key: small and fast, not verified by all; beside one with RSA"
            }
            Opt::Bits => "of the RSA key: 2048 (default), 3072 or 4096",
            Opt::MakeMissing => "makes shards whose directories are gone for good anew, empty",
        }
    }
}

fn is_suppression(command: Command) -> bool {
    matches!(
        command,
        Command::SuppressionList
            | Command::SuppressionAdd
            | Command::SuppressionRemove
            | Command::SuppressionLookup
    )
}
