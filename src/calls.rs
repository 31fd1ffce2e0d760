//! What cores ask each other. Each call says which account or network it is about; the caller sends it to the owner that `routing`
//! names, and the receiver serves it only if it is the owner. A lost answer and a repeat: told at each call.

mod control;
mod messages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Bytes;
use sasl::{CramDigest, ScramHash, ScramProof, Secret, ServerSignature};
use shards::CoreId;
use shards::net::Detached;
use webapi::batch::BatchRequest;
use webapi::template::Problem;
use webapi::{ApiError, SendRequest, SendResult, Upload, UploadKind};

use crate::live::Live;
use crate::login::api_key::KeyId;
use crate::login::limiter::{May, Networks, Refused};
use crate::login::{Attempted, LoginRecord, SaltRow, Secrets, Service};
use crate::metrics::{DurationSamples, Samples};
use crate::queue::events::Told;
use crate::queue::hooks;
use crate::queue::returned::{Returned, TakenReturned};
use crate::queue::sending::{Refusal, Taken, Wanted};
use crate::queue::sites::{Lent, SiteReport};
use crate::queue::unsubscribe::Link;
use crate::queue::warm_up::WarmUpAsk;
use crate::settings::AccountName;
use crate::store::{
    ApiKeyRow, ClientKeyRow, Fingerprint, NewMessage, RequestHash, StoreError, rows,
};
use crate::tls_policy::{ResultBatch, StsAnswer};

pub use control::{ControlAnswer, ControlCall, SiteDeed};
pub use messages::{MessageAsk, MessageCall, MessageSaid, OCTETS_MAX};

/// A call.
pub enum Call {
    /// Does the client know one of the account's passwords? Changes nothing; may be repeated.
    Verify(Box<Verify>),
    /// The salt for a SCRAM client. Changes nothing; may be repeated.
    Salt {
        /// None: an unknown name, for which a salt is made up.
        account: Option<AccountName>,
        /// The name as the client gave it, prepared.
        name: String,
        /// Of which mechanism.
        hash: ScramHash,
    },
    /// Whose is the key of this TLS client certificate? Changes nothing; may be repeated. A lost answer: nobody's.
    ClientKey {
        /// Of the key.
        fingerprint: Fingerprint,
    },
    /// The key was used now. Losing it leaves an older time.
    ClientKeyUsed {
        /// Of the key.
        fingerprint: Fingerprint,
    },
    /// Whose is this key of the API? Changes nothing; may be repeated. A lost answer: the client is told to come again.
    ApiKey {
        /// Which.
        id: KeyId,
    },
    /// Stores a key of the API. Absolute.
    PutApiKey {
        /// Which.
        id: KeyId,
        /// None: it goes.
        row: Option<Box<ApiKeyRow>>,
    },
    /// The key was used now. Losing it leaves an older time.
    ApiKeyUsed {
        /// Which.
        id: KeyId,
    },
    /// The key is not any more what it was. A lost one: it is known some minutes later.
    ApiKeyChanged {
        /// Which.
        id: KeyId,
    },
    /// Attempts to log in, for the record. A repeat counts them twice, losing it leaves them out.
    RecordLogins {
        /// The shard of the accounts.
        shard: u16,
        /// At most 500.
        records: Vec<LoginRecord>,
    },
    /// What is stored of an account's secrets. Changes nothing; may be repeated.
    Secrets {
        /// Whose.
        account: AccountName,
    },
    /// Stores other secrets in place of those that were read. May be repeated: the second time they are not those any more.
    ChangeSecrets {
        /// Whose.
        account: AccountName,
        /// As they were read.
        from: Option<Box<Secrets>>,
        /// As they shall be.
        to: Box<Secrets>,
        /// Whether whoever is logged in must do so again.
        ends_sessions: bool,
    },
    /// Adds a message. A lost answer leaves open whether it was added: SMTP then answers 451 and the sender repeats, as it may; with
    /// a transaction number the repeat adds nothing.
    Deliver(Box<Deliver>),
    /// Which of these accounts of one core have room for so many octets more? Changes nothing; may be repeated. A lost answer: all.
    HasRoom {
        /// Accounts that have a quota.
        wanted: Vec<(AccountName, u64)>,
    },
    /// A message is about to be accepted for all of these accounts: the octets are promised to each, room or not. How much room had they
    /// before? Promises pass. A lost answer: all.
    Promise {
        /// Accounts that have a quota.
        wanted: Vec<(AccountName, u64)>,
    },
    /// The message was not accepted after all. Losing it: promises pass.
    TakeBack {
        /// What was promised.
        promised: Vec<(AccountName, u64)>,
    },
    /// The fan-out entry of these transactions is gone: forget that they were delivered. Losing it leaves small rows behind.
    ForgetDelivered {
        /// Whose.
        account: AccountName,
        /// Numbers of the transactions.
        transactions: Vec<Transaction>,
    },
    /// Which of these rows of a shard are there? Changes nothing; may be repeated.
    RowsExist {
        /// Which shard.
        shard: u16,
        /// Their keys.
        keys: Vec<Vec<u8>>,
    },
    /// Takes over a logged-in connection. A lost answer: the connection is closed, the client comes again.
    Connection(Box<MovedConnection>),
    /// Counts a connection in, or refuses it. A lost answer: the connection is let in.
    Admit {
        /// Whose.
        networks: Networks,
        /// At which kind of door.
        door: LimitedDoor,
    },
    /// A connection counted in has ended.
    Release {
        /// Whose.
        networks: Networks,
        /// At which kind of door.
        door: LimitedDoor,
    },
    /// May another login be tried? It is counted as under way then, until its `LoginResult`, or for a minute or two. A lost answer:
    /// it may.
    MayLogIn {
        /// Who tries.
        networks: Networks,
    },
    /// A login that might be tried is over.
    LoginResult {
        /// Whose.
        networks: Networks,
        /// Success forgives earlier failures. None: the password was not the matter, or not looked at.
        succeeded: Option<bool>,
    },
    /// Whoever is logged in to this account must do so again. Losing it leaves submission sessions that go on.
    EndSessions(AccountName),
    /// How many connections may the core have to a site that this one owns? Reports what came of those it had. A lost answer: as many as
    /// before; a lost report is a lesson less.
    Borrow {
        /// The site.
        site: String,
        /// The transport that leads to it.
        transport: Option<String>,
        /// Who asks.
        core: CoreId,
        /// What it has to say.
        report: SiteReport,
    },
    /// How many recipients of a site may an address of a pool send to now? Reports what came of those before. A lost answer: none, and what was
    /// given counts as used; a lost report is a lesson less.
    WarmUp {
        /// The shard of the address and the site.
        shard: u16,
        /// Which, and how many.
        ask: Box<WarmUpAsk>,
    },
    /// May an account send so much? If so it is counted, durably. A lost answer: it may count; the sender is told to come again. A repeat counts twice.
    Reserve {
        /// Whose.
        account: AccountName,
        /// A message.
        wanted: Box<Wanted>,
    },
    /// A message that was counted was not accepted. Losing it: it counts.
    GiveBack {
        /// Whose.
        account: AccountName,
        /// What was counted.
        taken: Taken,
    },
    /// What does a domain say by MTA-STS? Changes what is remembered; may be repeated. A lost answer: nobody can say now.
    Sts {
        /// Of a recipient.
        domain: dns::Name,
        /// For whose mail; empty: nobody's.
        account: String,
        /// Its record is looked at again, whatever is known.
        anew: bool,
    },
    /// How TLS went with domains of one shard. May be repeated: it has a number.
    TlsResults(Box<ResultBatch>),
    /// Events of an account's mail. May be repeated: they have numbers. A lost answer: they are repeated.
    Events {
        /// Whose.
        account: AccountName,
        /// What.
        told: Box<Told>,
    },
    /// What came back about an account's mail that went out. May be repeated: each is taken once. A lost answer: nobody knows whether it was taken.
    Returned {
        /// Whose.
        account: AccountName,
        /// At most [`RETURNED_MAX`](crate::queue::returned::RETURNED_MAX).
        returned: Vec<Returned>,
    },
    /// The hashes of all addresses that an account's suppression list has something of. Changes nothing; may be repeated.
    SuppressionHashes {
        /// Whose.
        account: AccountName,
    },
    /// Why does an account send nothing to these addresses? Changes nothing; may be repeated.
    Suppressed {
        /// Whose.
        account: AccountName,
        /// A few.
        addresses: Vec<String>,
    },
    /// An account's suppression list has changed: hashes that are in it now, or no longer. A lost one: it is known some minutes later.
    SuppressionChanged {
        /// Whose.
        account: AccountName,
        /// Each, and whether it is there.
        changes: Vec<(u64, bool)>,
    },
    /// The mark of an account's life, which its links to unsubscribe have: made if there is none. May be repeated.
    Life {
        /// Whose.
        account: AccountName,
    },
    /// Does a link to unsubscribe still hold? Changes nothing; may be repeated. Answered by `Done`: `AccountGone` if it does not.
    LinkHolds(Box<Link>),
    /// A reader wants no more mail from an account. May be repeated. A lost answer: the reader is told to come again.
    Unsubscribe(Box<Link>),
    /// Of which events of an account any endpoint is told now. A lost one: it is known some minutes later.
    HooksChanged {
        /// Whose.
        account: AccountName,
        /// With the version of that.
        told: hooks::Told,
    },
    /// New configuration. Absolute.
    Live(Arc<Live>),
    /// All is prepared: mail doors may accept, and `/readyz` may say so. Absolute.
    Serving,
    /// Counters of this core.
    Scrape,
    /// Makes and accepts a message of an account. A lost answer leaves open whether it was accepted: the client is told so,
    /// and may repeat what has a key of its own.
    Submit(Box<Submit>),
    /// About a stored message of an account. A lost answer and a repeat: told at each [`MessageAsk`].
    Message(Box<MessageCall>),
    /// Accepts a batch of an account. A lost answer leaves open whether it was accepted: the client is told so.
    SubmitBatch(Box<SubmitBatch>),
    /// From the control socket: about accounts, queue and storage of this core's shards.
    Control(Box<ControlCall>),
}

/// The answer to a [`Call`], by its kind.
pub enum Answer {
    /// To `Verify`.
    Verified(Result<Verified, StoreError>),
    /// To `Salt`.
    Salt(Result<SaltRow, StoreError>),
    /// To `ClientKey`.
    ClientKey(Result<Option<Box<ClientKeyRow>>, StoreError>),
    /// To `ApiKey`.
    ApiKey(Result<Option<Box<ApiKeyRow>>, StoreError>),
    /// To `Secrets`.
    Secrets(Result<Option<Box<Secrets>>, StoreError>),
    /// To `ChangeSecrets`: none if they were others meanwhile, else how many cores did not say that they ended the account's sessions.
    Changed(Result<Option<u16>, StoreError>),
    /// To `Deliver`: false if the transaction was delivered before.
    Delivered(Result<bool, StoreError>),
    /// To `HasRoom` and `Promise`, in the order of the accounts.
    HasRoom(Vec<Room>),
    /// To `Admit`.
    Admitted(Result<(), Refused>),
    /// To `MayLogIn`; that it has to wait only after it did.
    MayLogIn(May),
    /// To `Scrape`.
    Samples(Samples, DurationSamples),
    /// To `Borrow`.
    Lent(Lent),
    /// To `WarmUp`: so many.
    Given(Result<u32, StoreError>),
    /// To `Reserve`: what was counted; none: the account has no limits.
    Reserved(Result<Result<Option<Taken>, Refusal>, StoreError>),
    /// To `RowsExist`, in the order of the keys.
    Exist(Result<Vec<bool>, StoreError>),
    /// To `Sts`.
    Sts(StsAnswer),
    /// To `Returned`, in their order; durable.
    Returned(Result<Vec<TakenReturned>, StoreError>),
    /// To `SuppressionHashes`; and of which events any endpoint is told.
    Hashes(Result<(Vec<u64>, hooks::Told), StoreError>),
    /// To `Suppressed`, in the order of the addresses: the reason in words; none: it may be sent to.
    Suppressed(Result<Vec<Option<String>>, StoreError>),
    /// To `Life`.
    Life(Result<u64, StoreError>),
    /// To calls that only do something.
    Done(Result<(), StoreError>),
    /// To `Submit`.
    Submitted(Result<Submitted<SendResult>, ApiError>),
    /// To `Message`.
    Message(Result<MessageSaid, ApiError>),
    /// To `SubmitBatch`.
    SubmittedBatch(Result<Submitted<AcceptedBatch>, BatchError>),
    /// To `Control`.
    Control(Result<ControlAnswer, StoreError>),
}

/// Number of one recipient of one fan-out entry: shard, entry, index of the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The shard of the entry.
    pub shard: u16,
    /// The entry.
    pub entry: u64,
    /// The recipient's position in it.
    pub recipient: u32,
}

impl Transaction {
    /// As part of a key.
    pub fn to_bytes(self) -> [u8; rows::TRANSACTION] {
        rows::transaction(self.shard, self.entry, self.recipient)
    }
}

/// What room an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For all of it.
    Enough,
    /// For less.
    Little,
    /// For nothing.
    None,
}

/// A login whose claim is to be looked at.
pub struct Verify {
    /// None: an unknown name, for which the same work is done.
    pub account: Option<AccountName>,
    /// The name as the client gave it, prepared.
    pub name: String,
    /// How it claims to know the password.
    pub claim: Claim,
    /// What it wants.
    pub service: Service,
    /// Where it comes from.
    pub networks: Networks,
}

/// How a client claims to know a password.
pub enum Claim {
    /// PLAIN, LOGIN: it said it; prepared.
    Password(Secret),
    /// SCRAM.
    Proof(ScramProof),
    /// CRAM-MD5.
    Digest(CramDigest),
}

/// Whether a claim holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// No.
    No,
    /// Yes.
    Yes,
    /// Yes; what SCRAM answers.
    Signed(ServerSignature),
    /// No, and it could not: nothing is stored for the mechanism. The client sees what it sees for `No`, and its networks' limits count it as
    /// one; the account's does not, for no password was guessed at.
    NoKeys,
    /// Not looked at: too many failures of this account.
    Later,
}

/// A message that a client of the API asks for.
pub struct Submit {
    /// Whose.
    pub account: AccountName,
    /// The address it logged in with.
    pub login: String,
    /// The connection or request, as the log names it.
    pub id: String,
    /// As it was asked for.
    pub request: SendRequest,
    /// Files that came beside it.
    pub uploads: Vec<UploadedFile>,
    /// Its one recipient gets a link by which to unsubscribe.
    pub unsubscribe: bool,
    /// It names a key of its own, and goes to the owner of that key's shard.
    pub once: Option<Once>,
}

/// A request that is done once, however often it comes.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// Of the account and the request's key.
    pub hash: RequestHash,
    /// Of all that is asked.
    pub fingerprint: [u8; 32],
    /// The shard that the key leads to: what is done is committed there.
    pub shard: u16,
}

/// What came of a `Submit` or a `SubmitBatch`.
#[derive(Debug)]
pub enum Submitted<T> {
    /// It was done.
    Now(T),
    /// It was done before; this was the answer.
    Before(T),
    /// Something else was done under its key.
    OtherRequest,
}

/// A batch that a client of the API asks for.
pub struct SubmitBatch {
    /// Whose.
    pub account: AccountName,
    /// The address it logged in with.
    pub login: String,
    /// The connection or request, as the log names it.
    pub id: String,
    /// As it was asked for.
    pub request: BatchRequest,
    /// Files that came beside it.
    pub uploads: Vec<UploadedFile>,
    /// It names a key of its own, and goes to the owner of that key's shard.
    pub once: Option<Once>,
}

/// A batch that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedBatch {
    /// Its id, which is that of its first recipient; those of the others follow.
    pub id: u64,
    /// Recipients.
    pub recipients: u32,
}

/// Why a batch is not taken.
#[derive(Clone, Debug)]
pub enum BatchError {
    /// Places in the request.
    Wrong(Vec<Problem>),
    /// Anything else.
    Api(ApiError),
}

impl From<ApiError> for BatchError {
    fn from(error: ApiError) -> Self {
        BatchError::Api(error)
    }
}

/// A file that came beside the JSON of a request.
pub struct UploadedFile {
    /// Where it goes.
    pub kind: UploadKind,
    /// Empty: none.
    pub name: String,
    /// Empty: it is to be guessed.
    pub content_type: String,
    /// Empty: none.
    pub content_id: String,
    /// Its octets.
    pub content: Bytes,
}

impl UploadedFile {
    /// As messages are made of it.
    pub fn as_upload(&self) -> Upload<'_> {
        Upload {
            kind: self.kind,
            name: self.name.clone(),
            content_type: self.content_type.clone(),
            content_id: self.content_id.clone(),
            content: &self.content,
        }
    }
}

/// A delivery to one account.
pub struct Deliver {
    /// To whom.
    pub account: AccountName,
    /// Into which mailbox; made if it is missing.
    pub mailbox: String,
    /// What.
    pub message: NewMessage,
    /// Set for fan-out entries: such a message is accepted already, so the quota does not hold it back.
    pub transaction: Option<Transaction>,
}

/// An IMAP connection on its way to its account's core.
pub struct MovedConnection {
    /// The socket with its TLS.
    pub detached: Detached,
    /// The protocol's state.
    pub session: imap::server::Session,
    /// Octets received and not yet given to the session.
    pub unread: Vec<u8>,
    /// Octets to be written first: the OK of the login.
    pub unwritten: Vec<u8>,
    /// Who logged in.
    pub account: AccountName,
    /// Before that the password was looked at.
    pub checked: Instant,
    /// The login, to be recorded once the client has had time to say what it is.
    pub unrecorded: Option<Box<Attempted>>,
    /// Facts that logs and limits need.
    pub facts: ConnectionFacts,
}

/// What is known of a connection from its start.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Its number, on each line of the log and in error replies.
    pub id: String,
    /// The client's address.
    pub peer: IpAddr,
    /// Its networks, to be released at the end.
    pub networks: Networks,
    /// Position of its listener in the settings at its start, for names and TLS.
    pub listener: usize,
}

/// Doors whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedDoor {
    /// Port 25.
    Smtp,
    /// Ports 587 and 465.
    Submission,
    /// Ports 143 and 993.
    Imap,
}
