//! Every command: its words, arguments, options and help. What `--help` prints and what the parser takes both come from here.

use super::options::Opt;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Localserve,
    Serve,
    ConfigCheck,
    ConfigExample,
    AccountAdd,
    AccountRemove,
    AccountList,
    AccountPassword,
    AccountLimits,
    AccountLogins,
    AppPasswordAdd,
    AppPasswordRemove,
    AppPasswordList,
    ApiKeyAdd,
    ApiKeyList,
    ApiKeyRemove,
    TlsPubKeyList,
    TlsPubKeyGet,
    TlsPubKeyAdd,
    TlsPubKeyRemove,
    TlsPubKeyGen,
    QueueList,
    QueueHold,
    QueueRelease,
    QueueKick,
    QueueSchedule,
    QueueDrop,
    QueueFail,
    QueueTransport,
    QueueRequireTls,
    QueueRetries,
    QueueDump,
    SiteList,
    SitePause,
    SiteResume,
    QueueWarmUp,
    QueueRetired,
    HoldRuleList,
    HoldRuleAdd,
    HoldRuleRemove,
    BatchList,
    BatchShow,
    BatchCancel,
    SuppressionList,
    SuppressionAdd,
    SuppressionRemove,
    SuppressionLookup,
    WebhookList,
    WebhookAdd,
    WebhookSet,
    WebhookRemove,
    WebhookEnable,
    WebhookDisable,
    WebhookRotate,
    WebhookTest,
    WebhookQueue,
    WebhookHistory,
    WebhookPayload,
    WebhookRedeliver,
    WebhookCancel,
    DkimGen,
    DkimRecord,
    DkimCheck,
    DkimVerify,
    DnsLookup,
    DnsMx,
    DnsTls,
    MtaStsShow,
    MtaStsList,
    MtaStsRemove,
    TlsResults,
    Check,
    Salvage,
    Reload,
    Stop,
    Status,
    Sendmail,
}

/// The options of a command about recipients in the queue: which server, which recipients, and others.
macro_rules! with_filter {
    ($($other:ident),*) => {
        &[
            Opt::Config,
            Opt::Dir,
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
            $(Opt::$other),*
        ]
    };
}

/// A command's row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) command: Command,
    pub(super) words: &'static [&'static str],
    /// Names of its arguments; one in brackets may be left out, one with dots repeats.
    pub(super) arguments: &'static [&'static str],
    pub(super) options: &'static [Opt],
    /// One line.
    summary: &'static str,
    /// The rest of its help.
    details: &'static str,
}

impl Row {
    /// `account add`.
    pub(super) fn name(&self) -> String {
        self.words.join(" ")
    }

    /// What is wrong with a command line of it, and where to look.
    pub(super) fn see_help(&self, wrong: &str) -> String {
        format!("{wrong}; see ringmail {} --help", self.name())
    }

    /// How many arguments it takes: at least, at most.
    pub(super) fn argument_range(&self) -> (usize, usize) {
        let optional = |a: &&&str| a.starts_with('[');
        let least = self.arguments.len() - self.arguments.iter().filter(optional).count();
        let repeats = self.arguments.iter().any(|a| a.contains("..."));
        (
            least,
            if repeats {
                usize::MAX
            } else {
                self.arguments.len()
            },
        )
    }

    fn usage(&self) -> String {
        let mut parts = vec![format!("ringmail {}", self.name())];
        let both = [Opt::Config, Opt::Dir]
            .iter()
            .all(|o| self.options.contains(o));
        if both {
            parts.push("(--config FILE | --dir DIR)".into());
        }
        let has_filter = self.options.contains(&Opt::Transport);
        if has_filter {
            parts.push("[FILTER]".into());
        }
        for option in self.options {
            match option {
                Opt::Config | Opt::Dir if both => (),
                Opt::Config => parts.push("--config FILE".into()),
                filter if has_filter && filter.is_filter() => (),
                other => parts.push(format!("[{}]", other.written())),
            }
        }
        parts.extend(self.arguments.iter().map(|a| a.to_string()));
        let mut line = String::new();
        let mut length = "Usage: ".len();
        for part in parts {
            if length + 1 + part.len() > USAGE_MAX {
                line.push_str("\n      ");
                length = "      ".len();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            length += 1 + part.len();
            line.push_str(&part);
        }
        line
    }

    /// What `--help` prints for it.
    pub(super) fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage: {}\n", self.summary, self.usage());
        if !self.details.is_empty() {
            text.push_str(&format!("\n{}\n", self.details));
        }
        text.push_str("\nOptions:\n");
        let longest = self.options.iter().map(|o| o.written().len() + 2).max();
        let width = longest.unwrap_or(0).max(18);
        for option in self.options {
            text.push_str(&format!(
                "  {:<width$}{}\n",
                option.written(),
                option.help(self.command)
            ));
        }
        text.push_str(&format!("  {:<width$}{}\n", "--help", "this text"));
        text
    }
}

/// What `ringmail --help` prints, or `ringmail account --help` for the commands that begin so.
pub(super) fn overview(beginning: &[String]) -> String {
    let mut text = String::from("ringmail, a mail server\n\nUsage: ringmail COMMAND [OPTIONS]\n\n");
    for row in ROWS.iter().filter(|row| begins(row, beginning)) {
        let mut left = row.name();
        for argument in row.arguments {
            left.push(' ');
            left.push_str(argument);
        }
        if left.len() >= LEFT {
            // Its summary stands below.
            left = format!("{left}\n{}", " ".repeat(LEFT + 2));
        }
        text.push_str(&format!("  {left:<LEFT$}{}\n", row.summary));
    }
    text.push_str(CLOSING);
    text
}

/// Whether a command's words begin with these.
pub(super) fn begins(row: &Row, beginning: &[String]) -> bool {
    beginning.len() <= row.words.len() && row.words.iter().zip(beginning).all(|(a, b)| a == b)
}

/// Columns of the usage.
const USAGE_MAX: usize = 96;

/// Columns of a command in the overview.
const LEFT: usize = 30;

const CLOSING: &str = "
ringmail COMMAND --help explains a command. ringmail --version prints the version.

To try it: ringmail localserve
To run it: ringmail config example, edit, ringmail config check, ringmail serve

Exit code: 0 done; 1 failed, or something was found; 2 the command line makes no sense.
";

const WHICH: &[Opt] = &[Opt::Config, Opt::Dir];
const WHICH_JSON: &[Opt] = &[Opt::Config, Opt::Dir, Opt::Json];

/// All commands, in the order of the help.
pub(super) const ROWS: [Row; 77] = [
    Row {
        command: Command::Localserve,
        words: &["localserve"],
        arguments: &[],
        options: &[Opt::Dir, Opt::PortOffset, Opt::Accounts],
        summary: "Runs a whole mail server on this machine, to try and to test",
        details: "\
Every standard port plus the offset, on 127.0.0.1: SMTP 1025, submission 1587,
submissions 1465, IMAP 1143, IMAPS 1993, HTTP 1080 (the sending API, metrics and
health), HTTPS 1443.
ringmail@localhost, password ringmailringmail, receives mail to any address
that has no account of its own. No mail leaves this machine: what an account
submits for such an address goes through the queue and comes to the account itself.
Endpoints of webhooks are called wherever they are.
Failures are played on request: a localpart that ends in temperror, permerror,
timeout or a code (400 to 599) fails at the end of the message; with mailfrom,
rcptto or queue before it at that command, or when the queue delivers.
Accounts u1, u2, ... have the same password until another is set. They are files
in DIR/accounts and stay, without --accounts too, until ringmail account remove.
DIR is made at the first start and used again at the next; by default it is
ringmail/localserve below the user's data directory ($XDG_DATA_HOME, else
~/.local/share). The certificate is DIR/localhost.crt, made by ourselves; mail
for elsewhere is signed (DKIM) with DIR/localhost.dkim.key.",
    },
    Row {
        command: Command::Serve,
        words: &["serve"],
        arguments: &[],
        options: &[Opt::Config],
        summary: "Runs the server",
        details: "\
FILE names the data directory, the domains file and the accounts folder.
It logs to standard error. SIGTERM and SIGINT stop it, a second one at once;
SIGHUP reads the settings again. It tells systemd when it is ready.",
    },
    Row {
        command: Command::ConfigCheck,
        words: &["config", "check"],
        arguments: &[],
        options: &[Opt::Config],
        summary: "Checks the settings and shows every mistake",
        details: "\
Reads the static file and the files it names, certificates and keys too, and
compares them with this machine: run it where the server will run, as a user
who may read the keys. Touches nothing; a server that runs goes on with what
it has.",
    },
    Row {
        command: Command::ConfigExample,
        words: &["config", "example"],
        arguments: &["[FILE]"],
        options: &[],
        summary: "Prints sample files that explain every field",
        details: "\
FILE is ringmail.toml, domains.toml or accounts/example.toml; without it all
three are printed. shaping.toml has the rules of traffic shaping that are built
in, and says how rules are written.",
    },
    Row {
        command: Command::AccountAdd,
        words: &["account", "add"],
        arguments: &["NAME", "ADDRESS..."],
        options: &[Opt::Config, Opt::Dir, Opt::Keep],
        summary: "Adds an account with its addresses",
        details: "\
Writes the account's file and, when the server runs, takes it into service.
Works before the first start too, while the domains file names accounts that
are not there yet. Give it a password next: ringmail account password NAME.
Refused while mail of an earlier account of the name is stored, unless --keep, or
still being sent.",
    },
    Row {
        command: Command::AccountRemove,
        words: &["account", "remove"],
        arguments: &["NAME"],
        options: &[Opt::Config, Opt::Dir, Opt::DropQueued],
        summary: "Removes an account and all its mail",
        details: "\
There is no way back but a backup. Its open sessions end. Mail left of an account
whose file was removed by hand goes too. Refused while mail that it sent is in the
queue, unless --drop-queued; what comes in while it is being removed is delivered.",
    },
    Row {
        command: Command::AccountList,
        words: &["account", "list"],
        arguments: &[],
        options: &[Opt::Config, Opt::Dir, Opt::Numbers, Opt::Json],
        summary: "Lists the accounts and their addresses",
        details: "",
    },
    Row {
        command: Command::AccountPassword,
        words: &["account", "password"],
        arguments: &["NAME"],
        options: &[Opt::Config, Opt::Dir, Opt::Generate],
        summary: "Sets an account's password",
        details: "\
The password is asked for on the terminal without showing it, or is the first
line of standard input. It has at least 8 characters. While the server runs root
can set it too, else only the server's own user.",
    },
    Row {
        command: Command::AccountLimits,
        words: &["account", "limits"],
        arguments: &["NAME"],
        options: WHICH_JSON,
        summary: "Says how much an account may send, and how much it has",
        details: "\
Limits stand in [sending] of the account's file, and for all accounts of the
static file. What was sent counts for 24 hours, up to the end of an hour; a
message counts once for each recipient.",
    },
    Row {
        command: Command::AccountLogins,
        words: &["account", "logins"],
        arguments: &["[NAME]"],
        options: &[Opt::Config, Opt::Dir, Opt::Failed, Opt::Limit, Opt::Json],
        summary: "Lists who logged in or tried to, the latest first",
        details: "\
Of one account or all; NAME - is for names that nobody has. Attempts that differ
in nothing but their time are one line, with their number and when the first of
them was. Shown are: time, account, the name that was given, the client's
address, protocol, mechanism, result, what the client says it is, TLS, and the
key of a client certificate. How long they are kept says limits.auth.",
    },
    Row {
        command: Command::AppPasswordAdd,
        words: &["account", "app-password", "add"],
        arguments: &["NAME", "LABEL", "[SERVICE...]"],
        options: WHICH,
        summary: "Makes a password for one program or device and prints it",
        details: "\
LABEL is a word for the program. SERVICE is imap or submission, or both, which
is the same as none. It works with every mechanism, beside the account's own
password. It is shown once; whoever loses it gets another one.",
    },
    Row {
        command: Command::AppPasswordRemove,
        words: &["account", "app-password", "remove"],
        arguments: &["NAME", "LABEL"],
        options: WHICH,
        summary: "Removes an app password",
        details: "All open sessions of the account end; the others log in again.",
    },
    Row {
        command: Command::AppPasswordList,
        words: &["account", "app-password", "list"],
        arguments: &["NAME"],
        options: WHICH_JSON,
        summary: "Lists an account's app passwords, without the passwords",
        details: "",
    },
    Row {
        command: Command::ApiKeyAdd,
        words: &["apikey", "add"],
        arguments: &["ACCOUNT", "LABEL"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Scope,
            Opt::From,
            Opt::Rate,
            Opt::Expires,
            Opt::Json,
        ],
        summary: "Makes a key with which programs use the API of an account",
        details: "\
The key is printed, for the only time. send: send messages and change those that
wait; read: what became of them; suppression: the suppression list; webhooks;
admin: make and remove keys. LABEL is a word for who has it. An account has 100
keys at most. docs/API.md",
    },
    Row {
        command: Command::ApiKeyList,
        words: &["apikey", "list"],
        arguments: &["ACCOUNT"],
        options: WHICH_JSON,
        summary: "Lists an account's keys of the API, without their secrets",
        details: "\
When a key was used last is written at most every ten minutes.",
    },
    Row {
        command: Command::ApiKeyRemove,
        words: &["apikey", "remove"],
        arguments: &["ACCOUNT", "ID"],
        options: WHICH,
        summary: "Removes a key of the API: from then on it does nothing",
        details: "",
    },
    Row {
        command: Command::TlsPubKeyList,
        words: &["config", "tlspubkey", "list"],
        arguments: &["[NAME]"],
        options: WHICH_JSON,
        summary: "Lists keys of TLS client certificates, all or an account's",
        details: "\
When a key was used last is written at most once an hour.",
    },
    Row {
        command: Command::TlsPubKeyGet,
        words: &["config", "tlspubkey", "get"],
        arguments: &["FINGERPRINT"],
        options: WHICH_JSON,
        summary: "Shows a key and its certificate",
        details: "",
    },
    Row {
        command: Command::TlsPubKeyAdd,
        words: &["config", "tlspubkey", "add"],
        arguments: &["ADDRESS", "[LABEL]"],
        options: &[Opt::Config, Opt::Dir, Opt::NoImapPreauth],
        summary: "Registers the key of a certificate: whoever holds it is ADDRESS",
        details: "\
The certificate is read from standard input (PEM). Only its key counts: it may
be self-signed and expired, and name anybody. LABEL is a word for the device;
without it the certificate's common name, else its serial number. The key is
RSA from 2048 bits, ECDSA on P-256 or P-384, or Ed25519.",
    },
    Row {
        command: Command::TlsPubKeyRemove,
        words: &["config", "tlspubkey", "remove"],
        arguments: &["FINGERPRINT"],
        options: WHICH,
        summary: "Removes a key; its account's sessions end",
        details: "",
    },
    Row {
        command: Command::TlsPubKeyGen,
        words: &["config", "tlspubkey", "gen"],
        arguments: &["STEM"],
        options: &[],
        summary: "Makes a key and a certificate for it",
        details: "\
Writes STEM.key.pem (ECDSA P-256, which every mail program knows),
STEM.cert.pem, both in STEM.pem, and STEM.p12 for mail programs, whose password
is printed. Nothing that is there is overwritten. Register it next:
ringmail config tlspubkey add ... ADDRESS < STEM.cert.pem",
    },
    Row {
        command: Command::QueueList,
        words: &["queue", "list"],
        arguments: &["[ID...]"],
        options: with_filter!(Json),
        summary: "Lists mail on its way out, and why each recipient waits",
        details: "\
All recipients, or those that fit: what is given must all be true. ID is the
number that is shown. TIME is now, a duration from now (30m; -2h is two hours
ago), 2026-01-31T08:00:00Z, or a date as it is shown here. --from and --to look
for a part of the address, or with @DOMAIN for that domain. A recipient that is
over is shown until its message is.",
    },
    Row {
        command: Command::QueueHold,
        words: &["queue", "hold"],
        arguments: &["[ID...]"],
        options: with_filter!(All, Why, Json),
        summary: "Holds recipients: nothing is tried until they are released",
        details: "\
An attempt that is under way goes on; if it fails for now, the recipient is held
then. What is held is given up when its time is over, as everything is.
Which recipients: as ringmail queue list takes it; for all of them, --all. New
mail is held by rules: ringmail queue holdrules.",
    },
    Row {
        command: Command::QueueRelease,
        words: &["queue", "release"],
        arguments: &["[ID...]"],
        options: with_filter!(All, Json),
        summary: "Releases held recipients",
        details: "\
They are tried at their time: at once, if that is over. Which recipients: as
ringmail queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueKick,
        words: &["queue", "kick"],
        arguments: &["[ID...]"],
        options: with_filter!(All, Json),
        summary: "Has recipients tried now",
        details: "\
Held ones stay held, and those whose sender asked that they be sent later are
left to that time unless they are named by their ID. One that is being tried right
now is tried again after that, unless it is over then. Which recipients: as
ringmail queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueSchedule,
        words: &["queue", "schedule"],
        arguments: &["TIME", "[ID...]"],
        options: with_filter!(All, Shift, Json),
        summary: "Has recipients tried at another time",
        details: "\
TIME is a duration from now (30m), 2026-01-31T08:00:00Z, or a date as ringmail
queue list shows it; with --shift a duration that is added to each one's own next
time (-1h: sooner). No later than when they are given up. After that attempt they
are tried as always. Which recipients: as ringmail queue list takes it; for all
of them, --all.",
    },
    Row {
        command: Command::QueueDrop,
        words: &["queue", "drop"],
        arguments: &["[ID...]"],
        options: with_filter!(All, Json),
        summary: "Drops recipients; no report is sent",
        details: "\
There is no way back. Endpoints of webhooks that are told of canceled are told. One
that is being tried right now is delivered all the same if its server takes it.
Which recipients: as ringmail queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueFail,
        words: &["queue", "fail"],
        arguments: &["[ID...]"],
        options: with_filter!(All, Why, Json),
        summary: "Gives recipients up; their senders are told",
        details: "\
The sender gets a report of failure, with the reason, unless he wants none. One
that is being tried right now is delivered all the same if its server takes it,
and then nobody is told of a failure. Which recipients: as ringmail queue list
takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueTransport,
        words: &["queue", "transport"],
        arguments: &["NAME", "[ID...]"],
        options: with_filter!(All, Json),
        summary: "Has recipients go by another transport",
        details: "\
From the next attempt on, whatever the routes say; an empty NAME (\"\") gives them
back to the routes. NAME is one of the settings in force; localserve has none.
Which recipients: as ringmail queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueRequireTls,
        words: &["queue", "requiretls"],
        arguments: &["HOW", "[ID...]"],
        options: with_filter!(All, Json),
        summary: "Says whether recipients may go without TLS",
        details: "\
HOW is yes: only to servers that promise TLS all the way (REQUIRETLS); no: TLS
does not matter (as TLS-Required: No); or default: as the message says. Which
recipients: as ringmail queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueRetries,
        words: &["queue", "retries"],
        arguments: &["[ID...]"],
        options: with_filter!(All, MaxAttempts, Expires, Schedule, Json),
        summary: "Says how often, how long and when recipients are tried",
        details: "\
In place of retry_secs and give_up_after_secs of the settings; default gives it
back to them. What is not written stays. The schedule counts from the next
attempt on: ringmail queue kick or schedule changes when that is. One that has had
as many attempts as it may have is tried once more. Which recipients: as ringmail
queue list takes it; for all of them, --all.",
    },
    Row {
        command: Command::QueueDump,
        words: &["queue", "dump"],
        arguments: &["ID"],
        options: WHICH,
        summary: "Writes a queued message to standard output",
        details: "Its octets as they are stored, with the fields that we added.",
    },
    Row {
        command: Command::QueueRetired,
        words: &["queue", "retired"],
        arguments: &[],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Account,
            Opt::From,
            Opt::To,
            Opt::Domain,
            Opt::Result,
            Opt::AcceptedBefore,
            Opt::AcceptedAfter,
            Opt::Json,
        ],
        summary: "Lists recipients that are over, with their results",
        details: "\
Of accounts whose keep_retired_secs, or the server's, says that they are kept. What
is given must all be true; TIME, --from and --to as ringmail queue list takes them.
Those of an account come in the order in which they ended.",
    },
    Row {
        command: Command::SiteList,
        words: &["queue", "sites"],
        arguments: &["[SITE]"],
        options: &[Opt::Config, Opt::Dir, Opt::Paused, Opt::Json],
        summary: "Lists the sites that mail goes to, and what is done about them",
        details: "\
A site is the group of hosts that take mail of the same domains. SITE is its name
or that of one of its hosts. Shown are its connections, its rate, how long it is
paused or slowed down and why, and the latest that was done about it: unreachable
(paused), overload (half of the connections), reply-pause and reply-slow (by a
rule of traffic shaping, with the reply), by-hand. Kept until the next start.",
    },
    Row {
        command: Command::SitePause,
        words: &["queue", "sites", "pause"],
        arguments: &["SITE"],
        options: &[Opt::Config, Opt::Dir, Opt::For, Opt::Why, Opt::Json],
        summary: "Leaves a site alone for a time",
        details: "\
Messages that are being sent go on; the others wait, until the time is over, ringmail
queue sites resume, or the next start. For longer: ringmail queue holdrules.",
    },
    Row {
        command: Command::SiteResume,
        words: &["queue", "sites", "resume"],
        arguments: &["[SITE]"],
        options: &[Opt::Config, Opt::Dir, Opt::All, Opt::Json],
        summary: "Ends the pause of a site, and what it is given less",
        details: "\
Whatever it came from. One that can't be reached is tried with one connection.",
    },
    Row {
        command: Command::QueueWarmUp,
        words: &["queue", "warmup"],
        arguments: &["[MEMBER]"],
        options: WHICH_JSON,
        summary: "Shows how much new addresses may send, and why",
        details: "\
For each address of a pool that has warm_up, and each site it has sent to: what
it may send a day, what came of today's, and what was made of each day before.
MEMBER is the name of one in [pool.NAME.member.MEMBER]. Days are those of UTC.",
    },
    Row {
        command: Command::HoldRuleList,
        words: &["queue", "holdrules", "list"],
        arguments: &[],
        options: WHICH_JSON,
        summary: "Lists the rules that hold new mail",
        details: "",
    },
    Row {
        command: Command::HoldRuleAdd,
        words: &["queue", "holdrules", "add"],
        arguments: &[],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Account,
            Opt::SenderDomain,
            Opt::Domain,
            Opt::All,
            Opt::Json,
        ],
        summary: "Adds a rule: what has all of its fields is held",
        details: "\
From when the command ends, new mail that fits is held as it is accepted, and so
is what waits already; what is being sent goes on. A field that is left out fits
anything; --all, without a field, holds everything. Reports of the server itself
are not held. Rules stay until they are removed.",
    },
    Row {
        command: Command::HoldRuleRemove,
        words: &["queue", "holdrules", "remove"],
        arguments: &["N"],
        options: WHICH,
        summary: "Removes a rule; what it holds stays held",
        details: "\
N is its number, as ringmail queue holdrules list shows it. What it holds is
released by ringmail queue release --rule N.",
    },
    Row {
        command: Command::SuppressionList,
        words: &["suppression", "list"],
        arguments: &[],
        options: &[Opt::Config, Opt::Dir, Opt::Account, Opt::Json],
        summary: "Lists the addresses that accounts send nothing to",
        details: "\
Of all accounts, or of one. Addresses that failed and are not suppressed yet are
listed too, with how often: another message to them is still tried.",
    },
    Row {
        command: Command::SuppressionAdd,
        words: &["suppression", "add"],
        arguments: &["ADDRESS"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Account,
            Opt::Why,
            Opt::Expires,
            Opt::Json,
        ],
        summary: "Has an account send nothing to an address",
        details: "\
From when the command ends, mail of the account (--account) to the address is given
up before it is tried, and the sender gets a report with the reason. It holds for
all forms of the address: any case, and with +ANYTHING in the local part. Addresses
that refuse mail for good are added by themselves, unless suppress_on_failure says
otherwise.",
    },
    Row {
        command: Command::SuppressionRemove,
        words: &["suppression", "remove"],
        arguments: &["ADDRESS"],
        options: &[Opt::Config, Opt::Dir, Opt::Account, Opt::Json],
        summary: "Lets an account send to an address again",
        details: "Failures that were counted for it are forgotten too.",
    },
    Row {
        command: Command::SuppressionLookup,
        words: &["suppression", "lookup"],
        arguments: &["ADDRESS"],
        options: &[Opt::Config, Opt::Dir, Opt::Account, Opt::Json],
        summary: "Says whether an account sends to an address",
        details: "",
    },
    Row {
        command: Command::WebhookList,
        words: &["webhook", "list"],
        arguments: &["ACCOUNT"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Lists the endpoints that an account's events are sent to",
        details: "",
    },
    Row {
        command: Command::WebhookAdd,
        words: &["webhook", "add"],
        arguments: &["ACCOUNT", "URL"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Events,
            Opt::Authorization,
            Opt::Concurrency,
            Opt::Json,
        ],
        summary: "Has an account's events sent to a URL",
        details: "\
EVENT is delivered, suppressed, delayed, failed, relayed, expanded, canceled,
unrecognized, complaint, unsubscribed or incoming; the last three only where they
are named. Prints the secret that calls are signed with (Standard Webhooks); it is
not shown again. Only addresses of the public internet are called, and none of this
machine's own, unless allow_networks of the static file says otherwise.",
    },
    Row {
        command: Command::WebhookSet,
        words: &["webhook", "set"],
        arguments: &["ACCOUNT", "N"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Url,
            Opt::Events,
            Opt::Authorization,
            Opt::Concurrency,
            Opt::Json,
        ],
        summary: "Says something else of an endpoint",
        details: "What is not said stays as it is. What waits goes to the new URL.",
    },
    Row {
        command: Command::WebhookRemove,
        words: &["webhook", "remove"],
        arguments: &["ACCOUNT", "N"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Takes an endpoint out, with all that waits for it",
        details: "",
    },
    Row {
        command: Command::WebhookEnable,
        words: &["webhook", "enable"],
        arguments: &["ACCOUNT", "N"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Switches an endpoint on again; what waits for it goes on",
        details: "",
    },
    Row {
        command: Command::WebhookDisable,
        words: &["webhook", "disable"],
        arguments: &["ACCOUNT", "N"],
        options: &[Opt::Config, Opt::Dir, Opt::Why, Opt::Json],
        summary: "Switches an endpoint off; what waits for it stays",
        details: "It is told of no new events until it is switched on again.",
    },
    Row {
        command: Command::WebhookRotate,
        words: &["webhook", "rotate"],
        arguments: &["ACCOUNT", "N"],
        options: &[Opt::Config, Opt::Dir, Opt::For, Opt::Json],
        summary: "Gives an endpoint another secret, and prints it",
        details: "\
Calls are signed with both, the new one and the one before, for the given time
(default 1d).",
    },
    Row {
        command: Command::WebhookTest,
        words: &["webhook", "test"],
        arguments: &["ACCOUNT", "N"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Calls an endpoint with an event that did not happen",
        details: "\
Once, also one that is switched off. The webhook-id is msg_test_ and a number,
another one each time, so that a receiver which takes nothing twice takes it.",
    },
    Row {
        command: Command::WebhookQueue,
        words: &["webhook", "queue"],
        arguments: &["ACCOUNT"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Endpoint,
            Opt::Event,
            Opt::Recipient,
            Opt::CreatedBefore,
            Opt::CreatedAfter,
            Opt::Json,
        ],
        summary: "Lists the webhooks of an account that wait",
        details: "Endpoint by endpoint, in the order in which they are due.",
    },
    Row {
        command: Command::WebhookHistory,
        words: &["webhook", "history"],
        arguments: &["ACCOUNT"],
        options: &[
            Opt::Config,
            Opt::Dir,
            Opt::Endpoint,
            Opt::Event,
            Opt::Recipient,
            Opt::Result,
            Opt::CreatedBefore,
            Opt::CreatedAfter,
            Opt::Json,
        ],
        summary: "Lists the webhooks of an account that are over and kept",
        details: "\
In the order in which they ended. They are kept if keep_webhooks_secs says so, of
the account or of [webhooks].",
    },
    Row {
        command: Command::WebhookPayload,
        words: &["webhook", "payload"],
        arguments: &["ACCOUNT", "ID"],
        options: &[Opt::Config, Opt::Dir],
        summary: "Prints what a webhook says",
        details: "",
    },
    Row {
        command: Command::WebhookRedeliver,
        words: &["webhook", "redeliver"],
        arguments: &["ACCOUNT", "ID..."],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Sends webhooks that are over once more, under their ids",
        details: "",
    },
    Row {
        command: Command::WebhookCancel,
        words: &["webhook", "cancel"],
        arguments: &["ACCOUNT", "ID..."],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Gives up webhooks that wait",
        details: "",
    },
    Row {
        command: Command::BatchList,
        words: &["batch", "list"],
        arguments: &["ACCOUNT"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Lists an account's batches, the latest first",
        details: "\
A batch is one message of the sending API for many recipients, each of whom gets
a text of its own. Shown is how many of them wait, and what came of the others. It
is kept for 30 days after its end, or keep_retired_secs, whichever is longer.",
    },
    Row {
        command: Command::BatchShow,
        words: &["batch", "show"],
        arguments: &["ACCOUNT", "ID"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Says how far a batch is",
        details: "",
    },
    Row {
        command: Command::BatchCancel,
        words: &["batch", "cancel"],
        arguments: &["ACCOUNT", "ID"],
        options: &[Opt::Config, Opt::Dir, Opt::Json],
        summary: "Drops all recipients of a batch that still wait",
        details: "\
The sender gets no report; endpoints of webhooks that are told of canceled are told.
Those that are being sent to may have their messages still; it says how many these are.",
    },
    Row {
        command: Command::DkimGen,
        words: &["dkim", "gen"],
        arguments: &["DOMAIN", "SELECTOR"],
        options: &[Opt::Config, Opt::Dir, Opt::Rsa, Opt::Ed25519, Opt::Bits],
        summary: "Makes a key that signs a domain's mail (DKIM)",
        details: "\
SELECTOR is a word of your choice, such as 2026a; each new key has a new one.
Writes dkim/SELECTOR._domainkey.DOMAIN.pem beside the domains file, mode 0600,
which belongs to the server's user; what is there is never overwritten. Prints
the TXT record for DNS as lines of a zone file, and the lines for the domains
file. Nothing is signed until those are there and the server was reloaded.",
    },
    Row {
        command: Command::DkimRecord,
        words: &["dkim", "record"],
        arguments: &["DOMAIN", "[SELECTOR]"],
        options: WHICH,
        summary: "Prints the DNS records of a domain's keys again",
        details: "\
Of those in the domains file, as lines of a zone file. Run it as a user who may
read the keys.",
    },
    Row {
        command: Command::DkimCheck,
        words: &["dkim", "check"],
        arguments: &["DOMAIN", "[SELECTOR]"],
        options: WHICH_JSON,
        summary: "Looks whether the DNS records fit a domain's keys",
        details: "\
Asks DNS as ringmail dns lookup does, and has a signature of each key verified
with what it finds. Run it as a user who may read the keys.

Exit code: 0 when the record of each selector that signs fits; else 1.",
    },
    Row {
        command: Command::DkimVerify,
        words: &["dkim", "verify"],
        arguments: &["FILE"],
        options: WHICH,
        summary: "Checks the DKIM signatures of a message in a file",
        details: "\
FILE is the message as it was received. Keys are looked up as ringmail dns
lookup does.

Exit code: 0 when a signature passes; else 1.",
    },
    Row {
        command: Command::DnsLookup,
        words: &["dns", "lookup"],
        arguments: &["TYPE", "NAME"],
        options: WHICH_JSON,
        summary: "Looks a name up as the server does",
        details: "\
TYPE is A, AAAA, CNAME, MX, PTR, TLSA or TXT; NAME of a PTR may be an address.
A running server is asked, with what it remembers; else the servers of its
settings are ([dns], or /etc/resolv.conf). Shows the records, the aliases on the
way to them, how long they hold, and whether DNSSEC proves them: that is what a
resolver says that is trusted, which dns.trusted explains.

Exit code: 0 when there are records; 1 when there are none or nobody can say.",
    },
    Row {
        command: Command::DnsMx,
        words: &["dns", "mx"],
        arguments: &["DOMAIN"],
        options: WHICH_JSON,
        summary: "Finds where mail for a domain would go",
        details: "\
Shows the hosts in the order in which they would be tried (those of one
preference in random order), their addresses, and which DANE certificates they
publish where DNSSEC proves the way there. Asks as ringmail dns lookup does.

Exit code: 0 when there are hosts; 1 when the domain takes no mail, is not
there, or nobody can say.",
    },
    Row {
        command: Command::DnsTls,
        words: &["dns", "tls"],
        arguments: &["DOMAIN"],
        options: WHICH_JSON,
        summary: "Shows what connections to a domain's mail hosts must hold to",
        details: "\
For each host: whether TLS is a must, which certificate is taken, and why: DANE,
MTA-STS, or neither; or why it must not be used now. A running server answers by
what it remembers, and remembers what it finds; else this program asks with the
settings. DANE counts only where DNSSEC proves the way (ringmail dns mx).

Exit code: 0 when there is a host that may be used; 1 when there is none.",
    },
    Row {
        command: Command::MtaStsShow,
        words: &["mtasts", "show"],
        arguments: &["DOMAIN"],
        options: WHICH_JSON,
        summary: "Shows what a domain demands by MTA-STS now",
        details: "\
Looks its record up and fetches its policy, whatever is kept of it. A running
server does so, else this program with the settings.

Exit code: 0 when there is a policy, of whatever mode; 1 when there is none or
it cannot be had, and why.",
    },
    Row {
        command: Command::MtaStsList,
        words: &["mtasts", "list"],
        arguments: &[],
        options: WHICH_JSON,
        summary: "Lists the policies of MTA-STS that are kept",
        details: "\
Of domains that mail was sent to. A policy is looked for anew when mail goes
there and that was not done for 5 minutes, fetched again each day, and holds
until its max_age is over, whatever becomes of its record or its host. One that
no mail has needed for 180 days is forgotten.",
    },
    Row {
        command: Command::MtaStsRemove,
        words: &["mtasts", "remove"],
        arguments: &["DOMAIN"],
        options: WHICH,
        summary: "Forgets the policy of a domain",
        details: "\
For one that its owner cannot keep: while it is kept it binds. What the domain
says now is looked for with the next mail, at most a minute later.",
    },
    Row {
        command: Command::TlsResults,
        words: &["tlsresults"],
        arguments: &["[DOMAIN]"],
        options: &[Opt::Config, Opt::Dir, Opt::Day, Opt::Json],
        summary: "Shows how TLS went with other domains, day by day",
        details: "\
By the domain whose policy it is: of MTA-STS that of the recipients, of DANE the
name that has the TLSA records; without a policy the recipients'. Counted are
connections, with the words of TLS reports (RFC 8460) for what went wrong. How
long they are kept says tls_policy.results_kept_days.",
    },
    Row {
        command: Command::Check,
        words: &["check"],
        arguments: &[],
        options: WHICH_JSON,
        summary: "Checks everything that is stored",
        details: "\
Reads all that is stored and compares it: checksums, counts, numbers,
references. A running server goes on meanwhile. Progress goes to standard
error, findings to standard output; notes there (mail of accounts that are not
configured) are no findings. A damaged body is told with account, mailbox and
UID of each message that has it. Changes nothing.

Exit code: 0 when nothing is wrong, 1 when something is or it could not be done.",
    },
    Row {
        command: Command::Salvage,
        words: &["salvage"],
        arguments: &["DIR"],
        options: &[Opt::All, Opt::MakeMissing],
        summary: "Rebuilds the index of a damaged directory from the stored mail",
        details: "\
DIR is a directory of localserve or a data directory that does not open any
more, or one where ringmail check says so. No server may run on it. Make a copy
first; the old index is set aside all the same, not removed.

A format file that is missing or damaged is made anew from the copies in the
shards' directories. Then salvage looks for damage, and leaves the sound shards
alone: in a rebuilt one, messages that were expunged lately may be back, and
later changes of flags and moves may be lost. --all rebuilds the sound ones too,
for when mail is missing though nothing is damaged.

A shard whose directory is missing is named and left to be restored or mounted.
Only if it is gone for good, --make-missing makes it anew: its accounts are empty
then and need new passwords, the mail of the others is there.

Stopped half way, it may be run again. Progress goes to standard error, what was
done to standard output.

Exit code: 0 when nothing is damaged, all was brought back, or what is missing
was made anew; 1 when something is lost or missing, and listed, when something
is wrong that no new index mends (a damaged body; ringmail check names it), or
it could not be done.",
    },
    Row {
        command: Command::Reload,
        words: &["reload"],
        arguments: &[],
        options: WHICH,
        summary: "Has a running server read its settings again",
        details: "\
Settings with a mistake change nothing. What takes effect at the next start
only is named.",
    },
    Row {
        command: Command::Stop,
        words: &["stop"],
        arguments: &[],
        options: WHICH,
        summary: "Stops a running server and waits until it has ended",
        details: "",
    },
    Row {
        command: Command::Status,
        words: &["status"],
        arguments: &[],
        options: WHICH_JSON,
        summary: "Tells how a running server is",
        details: "Exit code 1 when none runs or something is wrong with it.",
    },
    Row {
        command: Command::Sendmail,
        words: &["sendmail"],
        arguments: &["[RECIPIENT...]"],
        options: &[],
        summary: "Sends a message by way of a submission server, as sendmail does",
        details: "\
For programs that call sendmail: a link named sendmail to this program does the
same (ln -s /usr/local/bin/ringmail /usr/sbin/sendmail). The message is standard
input; what it lacks of From, Date and Message-ID is added, Bcc is removed.

  -t            recipients from To, Cc and Bcc of the message, and those named
  -f ADDRESS    who errors go to; \"\" for nobody. -r is the same
  -F NAME       the name in a From field that has to be added
  -i, -oi       a line with a dot alone does not end the message
  --config FILE the settings, instead of /etc/ringmail/sendmail.toml. -C is the same
  --again FILE  sends a message that was kept, and removes FILE when that is done
  --check       checks the settings and shows every mistake
  --example     prints a sample of the settings that explains every field

What other options of sendmail say makes no difference here (-bm, -e, -o, -B, -N
and so on); modes that are other programs (-bp, -bd, -bs, -q) are refused.

What could not be sent is kept, for the recipients that did not get it, in a file
in the settings' spool_dir, else in ~/ringmail-unsent, else in /var/tmp; standard
error says where.

Exit code: 0 when the server took the message for all recipients; else one of
sysexits: 64 command line, 65 not a message, 66 no message, 67 recipient refused,
68 unknown server, 69 not taken, 74 input broke off, 75 not now, 76 server breaks
the rules, 77 login refused, 78 settings. It must be the first word.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::local::{ACCOUNTS_MAX, PORT_OFFSET_MAX};

    #[test]
    fn the_overview_names_each_command_and_each_help_its_options() {
        let overview = overview(&[]);
        for row in &ROWS {
            assert!(
                overview.contains(&format!("\n  {} ", row.name())),
                "{}",
                row.name()
            );
            let apart = |line: &str| line.ends_with(&format!(" {}", row.summary));
            assert!(overview.lines().any(apart), "{overview}");
            let help = row.help();
            for option in row.options {
                assert!(
                    help.contains(&format!("\n  {}", option.written())),
                    "{help}"
                );
            }
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
        }
        let localserve = ROWS[0].help();
        for most in [u32::from(PORT_OFFSET_MAX), ACCOUNTS_MAX] {
            assert!(localserve.contains(&format!("at most {most}")), "{most}");
        }
    }

    #[test]
    fn arguments_are_counted_from_their_names() {
        let range = |command| {
            ROWS.iter()
                .find(|r| r.command == command)
                .unwrap()
                .argument_range()
        };
        assert_eq!(range(Command::Stop), (0, 0));
        assert_eq!(range(Command::ConfigExample), (0, 1));
        assert_eq!(range(Command::AccountAdd), (2, usize::MAX));
        assert_eq!(range(Command::Salvage), (1, 1));
    }
}
