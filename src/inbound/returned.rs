//! What a message that came in says of mail that went out: reports of other servers, and complaints. Before the message is committed in its
//! mailbox, the shard of the account whose mail it speaks of has taken what it says; if that fails it is not accepted, and its sender comes again.
//! What is taken twice counts once.
//!
//! Called by `smtp_server` for mail of strangers. All of it is untrusted, and looked at only if it came to an address that only a message of ours
//! had, or if its header looks like a report's; `dsn` bounds what that costs, and what is long is the worker pool's.
//! RFC 3464, RFC 5965. docs/QUEUE.md. Not here: how a report is read (`protocols/dsn`), which message it finds and what follows
//! (`queue::returned`).

use std::rc::Rc;

use dsn::{Action, Incoming, Kind, ReportedRecipient};
use message::Header;
use ring::digest::{SHA256, digest};
use shards::storage::External;
use smtp::{Address, Host};

use super::Recipient;
use crate::calls::{Answer, Call};
use crate::directory::{Directory, Resolution};
use crate::percore::PerCore;
use crate::queue::from_id::{FromIds, TOKEN_FIELD};
use crate::queue::returned::{Clue, RETURNED_MAX, Returned, ReturnedKind, TakenReturned};
use crate::settings::{AccountName, Settings};
use crate::store::{NewContent, StoreError};

/// A message that came in.
pub struct Arrived<'a> {
    /// It has the null reverse-path, as reports do.
    pub is_null: bool,
    /// Addresses that were named.
    pub named: Vec<&'a str>,
    /// Who gets it.
    pub recipients: &'a [Recipient],
    /// Its header, as far as it is looked at.
    pub head: &'a [u8],
}

/// What addresses are held against.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Whose an address is.
    pub directory: &'a Directory,
    /// Who has ids of his own.
    pub settings: &'a Settings,
    /// Whose a fromid is.
    pub from_ids: &'a FromIds,
}

/// What to look for in a message; none: it is mail like any other.
pub struct Lookout {
    /// Whose message a recipient's address is about.
    targets: Vec<(AccountName, Clue)>,
    /// Who gets it, if it may be a report.
    receivers: Vec<AccountName>,
}

impl Lookout {
    /// By the envelope and the header: cheap, for each message asks it.
    pub fn of(known: Known<'_>, arrived: &Arrived<'_>) -> Option<Lookout> {
        let named = arrived.named.iter().take(ADDRESSES_MAX);
        let targets: Vec<(AccountName, Clue)> =
            named.filter_map(|address| known.target(address)).collect();
        let mut receivers: Vec<AccountName> = Vec::new();
        if arrived.is_null || is_report(Header::of_message(arrived.head)) {
            for recipient in arrived.recipients {
                if let Ok(account) = recipient.account.parse()
                    && receivers.len() < ADDRESSES_MAX
                    && !receivers.contains(&account)
                {
                    receivers.push(account);
                }
            }
        }
        let is_any = !targets.is_empty() || !receivers.is_empty();
        is_any.then_some(Lookout { targets, receivers })
    }

    /// Has what the message says taken, durably. Answers whether it was about mail that went out.
    pub async fn take(self, core: &Rc<PerCore>, content: &NewContent) -> Result<bool, StoreError> {
        let (incoming, digest) = read(core, content).await?;
        let read = Read {
            incoming,
            digest,
            at: core.wall_clock(),
        };
        let live = core.live();
        let known = Known {
            directory: &live.directory,
            settings: &live.settings,
            from_ids: &core.from_ids,
        };
        let says = self.says(known, &read);
        let mut found = false;
        for (account, mut returned) in says {
            while !returned.is_empty() {
                let rest = returned.split_off(returned.len().min(RETURNED_MAX));
                found |= hand_over(core, account, returned).await?;
                returned = rest;
            }
        }
        Ok(found)
    }

    /// Whom to tell what.
    fn says(&self, known: Known<'_>, read: &Read) -> Vec<(AccountName, Vec<Returned>)> {
        let others = read.clues(known.from_ids);
        let mut all = Vec::new();
        for (account, clue) in &self.targets {
            let is_number = matches!(clue, Clue::Number(_));
            let clues = [std::slice::from_ref(clue), &others].concat();
            let said = match is_number {
                true => vec![read.of_one(&clues)],
                false => read.of_each(&clues),
            };
            all.push((*account, said));
        }
        if !all.is_empty() {
            all.retain(|(_, returned)| !returned.is_empty());
            return all;
        }
        // A complaint may come to whoever answers for us: it says itself whose mail it is about.
        let sender = read.complained_of(known);
        let mut accounts = self.receivers.clone();
        let mut clues = others;
        if let Some((account, number)) = sender {
            accounts = vec![account];
            clues.splice(..0, number.map(Clue::Number));
        }
        let said = match clues.is_empty() {
            true => Vec::new(),
            false => read.of_each(&clues),
        };
        if said.is_empty() {
            return Vec::new();
        }
        accounts
            .into_iter()
            .map(|account| (account, said.clone()))
            .collect()
    }
}

/// A message as it was read.
struct Read {
    incoming: Incoming,
    digest: [u8; 16],
    at: i64,
}

impl Read {
    /// How it names its message, besides the address it came to.
    fn clues(&self, from_ids: &FromIds) -> Vec<Clue> {
        let envid = self.incoming.envelope_id.clone().map(Clue::Envid);
        let returned = self.incoming.returned.as_ref();
        let message_id = returned.and_then(|r| r.message_id()).map(Clue::MessageId);
        let token = returned.and_then(|r| r.header().first(TOKEN_FIELD));
        let token = token.and_then(|field| from_ids.decode_token(field.text().trim()));
        let token = token.map(|first| Clue::Message(first.get()));
        token.into_iter().chain(envid).chain(message_id).collect()
    }

    /// What it says of the one recipient whose address it came to.
    fn of_one(&self, clues: &[Clue]) -> Returned {
        let mut said = self.of_each(clues);
        match said.len() {
            1 => said.remove(0),
            _ => self.says(clues, ReturnedKind::Unrecognized, 0),
        }
    }

    /// What it says of each recipient that it speaks of; nothing if it is no report.
    fn of_each(&self, clues: &[Clue]) -> Vec<Returned> {
        match self.incoming.kind {
            Kind::Failed | Kind::Delayed | Kind::Delivered => {
                let recipients = (0u32..).zip(&self.incoming.recipients);
                recipients
                    .map(|(index, r)| self.says_of(clues, index, r))
                    .collect()
            }
            Kind::Complaint if self.is_unwanted() => {
                let mut said = self.says(clues, ReturnedKind::Complaint, 0);
                // Of nobody in particular if it does not say (RFC 5965 3.2), of all it names else.
                let named = self.incoming.recipients.iter().take(ADDRESSES_MAX);
                said.recipients = named.flat_map(addresses).collect();
                vec![said]
            }
            Kind::Complaint | Kind::AutoReply | Kind::NotAReport => Vec::new(),
        }
    }

    fn is_unwanted(&self) -> bool {
        let complaint = self.incoming.complaint.as_ref();
        complaint.is_none_or(dsn::Complaint::is_unwanted)
    }

    fn says_of(&self, clues: &[Clue], index: u32, recipient: &ReportedRecipient) -> Returned {
        let kind = match recipient.action {
            Action::Failed => ReturnedKind::Failed,
            Action::Delayed => ReturnedKind::Delayed,
            Action::Delivered => ReturnedKind::Delivered,
            Action::Relayed => ReturnedKind::Relayed,
            Action::Expanded => ReturnedKind::Expanded,
        };
        // Of a status alone: what a reply with it would begin with.
        let of_status = recipient
            .status
            .map_or(0, |status| u16::from(status.class) * 100);
        Returned {
            recipients: addresses(recipient),
            code: recipient.code.map_or(of_status, |code| code.number()),
            enhanced: recipient.status.map(|s| (s.class, s.subject, s.detail)),
            text: recipient.diagnostic.clone(),
            class: recipient.bounce.map(|bounce| bounce.class),
            ..self.says(clues, kind, index)
        }
    }

    fn says(&self, clues: &[Clue], kind: ReturnedKind, index: u32) -> Returned {
        Returned {
            clues: clues.to_vec(),
            recipients: Vec::new(),
            kind,
            code: 0,
            enhanced: None,
            text: String::new(),
            class: None,
            reporting_mta: self.incoming.reporting_mta.clone().unwrap_or_default(),
            digest: self.digest,
            index,
            at: self.at,
        }
    }

    /// Of a complaint: the account whose mail it is about, by the reverse-path or the author of the original, and the recipient's number.
    fn complained_of(&self, known: Known<'_>) -> Option<(AccountName, Option<u64>)> {
        let complaint = self.incoming.complaint.as_ref()?;
        let field = |name: &str| {
            let header = self.incoming.returned.as_ref()?.header();
            let field = header.first(name)?;
            match name {
                "From" => {
                    let from = message::single_from_address(header).ok()?;
                    Some(format!("{}@{}", from.localpart, from.domain))
                }
                _ => Some(field.text().trim_matches(['<', '>', ' ']).to_string()),
            }
        };
        let paths = [
            complaint.original_mail_from.clone(),
            field("Return-Path"),
            field("From"),
        ];
        let mut author = None;
        for path in paths.into_iter().flatten() {
            let Some((localpart, domain)) = path.rsplit_once('@') else {
                continue;
            };
            let Some(account) = known.account_of(localpart, domain) else {
                continue;
            };
            if let Some(id) = known.detail(localpart, domain)
                && let Some(id) = known.from_ids.decode(id)
            {
                return Some((account, Some(id.get())));
            }
            author.get_or_insert((account, None));
        }
        author
    }
}

fn addresses(recipient: &ReportedRecipient) -> Vec<String> {
    let original = recipient.original.clone();
    [recipient.address.clone()]
        .into_iter()
        .chain(original)
        .collect()
}

impl Known<'_> {
    /// Whose message an address is about: one that holds a recipient's number, or one to which an account may have given an id of its own.
    fn target(&self, address: &str) -> Option<(AccountName, Clue)> {
        let Ok(Address {
            localpart,
            host: Host::Domain(domain),
        }) = address.parse::<Address>()
        else {
            return None;
        };
        let (localpart, domain) = (localpart.as_str(), domain.as_str());
        let id = self.detail(localpart, domain)?;
        let account = self.account_of(localpart, domain)?;
        if let Some(id) = self.from_ids.decode(id) {
            return Some((account, Clue::Number(id.get())));
        }
        let settings = self.settings.accounts.get(&account)?;
        let has_own = !settings.unique_mail_from.is_empty() && !id.is_empty();
        has_own.then(|| (account, Clue::OwnId(address.to_owned())))
    }

    fn detail<'l>(&self, localpart: &'l str, domain: &str) -> Option<&'l str> {
        let divided = self.directory.divided(localpart, domain);
        divided.map(|(_, detail)| detail)
    }

    fn account_of(&self, localpart: &str, domain: &str) -> Option<AccountName> {
        match self.directory.resolve(localpart, domain) {
            Resolution::Account(found) => Some(found.account),
            _ => None,
        }
    }
}

/// Whether the header says that it may be a report. RFC 6522 3 and RFC 5965 2; some complaints come without the multipart.
fn is_report(header: Header<'_>) -> bool {
    let Some(field) = header.first("Content-Type") else {
        return false;
    };
    let value = String::from_utf8_lossy(&field.unfolded()).to_ascii_lowercase();
    value.contains("multipart/report") || value.contains("feedback-report")
}

/// Reads a message, as far as reports are looked at, and makes its digest.
async fn read(core: &PerCore, content: &NewContent) -> Result<(Incoming, [u8; 16]), StoreError> {
    let (bytes, external) = (content.bytes.clone(), content.external.clone());
    if external.is_none() && bytes.len() <= ON_CORE_MAX {
        return Ok(read_octets(&bytes));
    }
    let job = move || match external {
        Some(external) => beginning(&external).map(|octets| read_octets(&octets)),
        None => Ok(read_octets(&bytes)),
    };
    let read = core.parsing.run(job).await.map_err(|_| BUSY)?;
    read.map_err(|error| {
        tracing::warn!(%error, "a report that came in can't be read from its file");
        BUSY
    })
}

fn read_octets(octets: &[u8]) -> (Incoming, [u8; 16]) {
    let octets = &octets[..octets.len().min(dsn::limits::LOOKED_AT_MAX)];
    let mut short = [0; 16];
    short.copy_from_slice(&digest(&SHA256, octets).as_ref()[..16]);
    (dsn::parse(octets), short)
}

/// The first octets of a message in a file. Blocking.
fn beginning(external: &External) -> std::io::Result<Vec<u8>> {
    let length = external.length.min(dsn::limits::LOOKED_AT_MAX as u64) as usize;
    external.read(0, length)
}

/// Answered when it is durable: whether any of it was about mail of the account. One that is gone hears nothing.
async fn hand_over(
    core: &Rc<PerCore>,
    account: AccountName,
    returned: Vec<Returned>,
) -> Result<bool, StoreError> {
    let kind = returned.first().map(|returned| returned.kind);
    let call = Call::Returned { account, returned };
    match core.call(core.owner_of(account.as_str()), call).await {
        Ok(Answer::Returned(Ok(taken))) => {
            tracing::info!(%account, ?kind, ?taken, "a report about mail that was sent came in");
            Ok(taken.iter().any(|one| *one != TakenReturned::Nothing))
        }
        Ok(Answer::Returned(Err(StoreError::AccountGone))) => Ok(false),
        Ok(Answer::Returned(Err(error))) => Err(error),
        _ => Err(BUSY),
    }
}

const BUSY: StoreError = StoreError::Storage(shards::storage::StorageError::Busy);
/// Octets of a message that is read on the core; most reports have less than 20 KiB.
const ON_CORE_MAX: usize = 64 << 10;
/// Addresses and accounts of a message that are looked at. A report has one recipient; an alias may have many members.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::id::QueueId;
    use crate::settings::{Text, Texts, parse_and_check};

    const SERVER: &str = "
data_dir = \"/d\"
hostname = \"mx.example.org\"
queue.keep_retired_secs = \"1d\"
[[listener]]
name = \"public\"
addresses = [\"192.0.2.1\"]
smtp = {}
";
    const DOMAINS: &str = "
[postmaster]
account = \"root\"
[domain.\"example.org\"]
separators = [\"+\"]
aliases.team = { members = [\"anna@example.org\", \"bob@example.org\"], post = \"public\" }
";

    fn settings() -> Settings {
        let account = |name: &str, more: &str| {
            let content = format!("addresses = [\"{name}@example.org\"]\n{more}");
            Text::new(format!("accounts/{name}.toml"), content)
        };
        let texts = Texts {
            server: Text::new("ringmail.toml", SERVER),
            domains: Text::new("domains.toml", DOMAINS),
            accounts: vec![
                account("anna", "unique_mail_from = [\"anna@example.org\"]"),
                account("bob", ""),
                account("root", ""),
            ],
        };
        parse_and_check(&texts).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn id() -> QueueId {
        QueueId::new(1, 4_711).unwrap()
    }

    /// Whom a message to an address tells what: account, clues, kind and recipients.
    type Told = (String, Vec<Clue>, ReturnedKind, Vec<String>);

    fn told(is_null: bool, to: &str, message: &str) -> Vec<Told> {
        let settings = settings();
        let directory = Directory::new(&settings);
        let from_ids = FromIds::new([7; 16]);
        let known = Known {
            directory: &directory,
            settings: &settings,
            from_ids: &from_ids,
        };
        let to = to.replace("FROMID", &from_ids.encode(id()));
        let message = message
            .replace("FROMID", &from_ids.encode(id()))
            .replace('\n', "\r\n");
        let (localpart, domain) = to.split_once('@').unwrap();
        let recipient = |account: &str| Recipient {
            account: account.into(),
            mailbox: "INBOX".into(),
            address: to.clone(),
        };
        let recipients = match directory.resolve(localpart, domain) {
            Resolution::Account(found) => vec![recipient(found.account.as_str())],
            Resolution::Alias(_) => vec![recipient("anna"), recipient("bob")],
            other => panic!("{other:?}"),
        };
        let arrived = Arrived {
            is_null,
            named: vec![&to],
            recipients: &recipients,
            head: message.as_bytes(),
        };
        let Some(lookout) = Lookout::of(known, &arrived) else {
            return Vec::new();
        };
        let (incoming, digest) = read_octets(message.as_bytes());
        let read = Read {
            incoming,
            digest,
            at: 5,
        };
        let mut all = Vec::new();
        for (account, returned) in lookout.says(known, &read) {
            for (at, one) in (0u32..).zip(returned) {
                assert_eq!((one.digest, one.index, one.at), (digest, at, 5));
                all.push((account.to_string(), one.clues, one.kind, one.recipients));
            }
        }
        all
    }

    const REPORT: &str = "From: MAILER-DAEMON@mx.example.net
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

Sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: QQ314159

Original-Recipient: rfc822;c@example.com
Final-Recipient: rfc822; c@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: text/rfc822-headers

Message-ID: <1@example.org>
From: anna@example.org

--b--
";

    fn second() -> String {
        let more = "\nFinal-Recipient: rfc822; d@example.net\nAction: delayed\nStatus: 4.4.1\n\n--b\nContent-Type: text/rfc822-headers";
        REPORT.replace("\n--b\nContent-Type: text/rfc822-headers", more)
    }

    fn clues(first: Option<Clue>) -> Vec<Clue> {
        let others = [
            Clue::Envid("QQ314159".into()),
            Clue::MessageId("<1@example.org>".into()),
        ];
        first.into_iter().chain(others).collect()
    }

    fn c() -> Vec<String> {
        vec!["c@example.net".into(), "c@example.com".into()]
    }

    #[test]
    fn a_report_to_a_fromid_is_about_that_recipient() {
        let number = Clue::Number(id().get());
        let expected = |kind, recipients| {
            let clues = clues(Some(number.clone()));
            [("anna".to_string(), clues, kind, recipients)]
        };
        for (is_null, to) in [
            (true, "anna+FROMID@example.org"),
            (false, "Anna+FROMID@EXAMPLE.org"),
        ] {
            assert_eq!(
                told(is_null, to, REPORT),
                expected(ReturnedKind::Failed, c())
            );
        }
        // Of two it says nothing about the one.
        let to = "anna+FROMID@example.org";
        assert_eq!(
            told(true, to, &second()),
            expected(ReturnedKind::Unrecognized, vec![])
        );
        let hello = "From: c@example.net\nSubject: Re: hello\n\nThank you.\n";
        let unrecognized = (
            "anna".to_string(),
            vec![number],
            ReturnedKind::Unrecognized,
            vec![],
        );
        assert_eq!(told(false, to, hello), [unrecognized]);
    }

    #[test]
    fn a_report_that_lost_the_reverse_path_names_its_message_by_our_field() {
        let ours = REPORT.replace("Message-ID: <1", "Ringmail-Message: FROMID\nMessage-ID: <1");
        let token = Some(Clue::Message(id().get()));
        let told_of = |report: &str| told(true, "anna@example.org", report).remove(0).1;
        assert_eq!(told_of(&ours), clues(token));
        // Nobody makes one up.
        let made_up = ours.replace("FROMID", "00000000000000000000000000");
        assert_eq!(told_of(&made_up), clues(None));
    }

    #[test]
    fn without_a_fromid_a_report_names_its_message_itself() {
        let own = Clue::OwnId("anna+Order-17@example.org".into());
        let failed = |account: &str, clues| (account.to_string(), clues, ReturnedKind::Failed, c());
        assert_eq!(
            told(true, "anna+Order-17@example.org", REPORT),
            [failed("anna", clues(Some(own)))]
        );
        // Bob has no ids.
        assert_eq!(
            told(true, "bob+Order-17@example.org", REPORT),
            [failed("bob", clues(None))]
        );
        assert_eq!(
            told(false, "bob@example.org", REPORT),
            [failed("bob", clues(None))]
        );
        let both = [failed("anna", clues(None)), failed("bob", clues(None))];
        assert_eq!(told(true, "team@example.org", REPORT), both);
        let d = vec!["d@example.net".to_string()];
        let delayed = ("bob".to_string(), clues(None), ReturnedKind::Delayed, d);
        assert_eq!(
            told(true, "bob@example.org", &second()),
            [failed("bob", clues(None)), delayed]
        );
    }

    #[test]
    fn what_is_no_report_says_nothing() {
        let hello = "From: c@example.net\nSubject: Re: hello\n\nThank you.\n";
        for to in [
            "anna@example.org",
            "anna+Order-17@example.org",
            "bob+x@example.org",
        ] {
            assert_eq!(told(false, to, hello), []);
            assert_eq!(told(true, to, hello), []);
        }
        // One that names nothing.
        let nameless = REPORT
            .replace("Original-Envelope-Id: QQ314159\n", "")
            .replace("Message-ID: <1@example.org>\n", "");
        assert_eq!(told(true, "bob@example.org", &nameless), []);
    }

    #[test]
    fn a_complaint_finds_the_account_that_it_is_about() {
        let complaint = "From: fbl@example.net
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

Spam.

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: x/1
Version: 1
Original-Mail-From: <anna+FROMID@example.org>

--b
Content-Type: message/rfc822

Message-ID: <1@example.org>
From: bob@example.org

Buy!

--b--
";
        let message_id = Clue::MessageId("<1@example.org>".into());
        let says = |account: &str, clues| {
            let kind = ReturnedKind::Complaint;
            [(account.to_string(), clues, kind, Vec::<String>::new())]
        };
        let number = Clue::Number(id().get());
        assert_eq!(
            told(false, "root@example.org", complaint),
            says("anna", vec![number, message_id.clone()])
        );
        let without = complaint.replace("Original-Mail-From: <anna+FROMID@example.org>\n", "");
        assert_eq!(
            told(false, "root@example.org", &without),
            says("bob", vec![message_id.clone()])
        );
        let strange = without.replace("From: bob@example.org", "From: x@example.net");
        assert_eq!(
            told(false, "root@example.org", &strange),
            says("root", vec![message_id])
        );
        let fine = complaint.replace("abuse", "not-spam");
        assert_eq!(told(false, "root@example.org", &fine), []);
    }
}
