//! What is asked about accounts, queue and storage of a core's shards: by the control socket, and by the API for one account. Each call says which
//! shard or account it is about; a lost answer and a repeat: told at each where it matters.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::login::LoginRecord;
use crate::login::Secrets;
use crate::login::api_key::KeyId;
use crate::lookup::{Found, MailHosts};
use crate::queue::batch::{BatchPlace, BatchRow, Cancelled};
use crate::queue::hooks;
use crate::queue::retired::{RetiredFilter, RetiredRow};
use crate::queue::rows::Stored;
use crate::queue::sending::SendingUse;
use crate::queue::sites::SiteState;
use crate::queue::suppression::{AddressRow, Suppressed};
use crate::queue::warm_up::WarmUpPage;
use crate::queue::{Deed, Done, Filter, HoldRules, Most, OfAccount, Place, Standing};
use crate::settings::AccountName;
use crate::store::{ApiKeyRow, CheckSlice, ClientKeyRow, Fingerprint, TemplateRow};
use crate::tls_policy::{Demands, Shown, StoredPolicy, Wanted};

/// What operators do to a site.
#[derive(Clone, Debug)]
pub enum SiteDeed {
    /// Ends what is in force.
    Resume,
    /// Leaves it alone.
    Pause {
        /// For how long.
        length: Duration,
        /// In words.
        why: String,
    },
}

/// What the control socket asks of a core.
#[derive(Debug)]
pub enum ControlCall {
    /// Removes the stored mail of an account that is no longer configured.
    RemoveAccount(AccountName),
    /// Accounts of this core are configured now: what waits to be told to them goes on. Answered at once. May be repeated.
    AccountsAreBack(Vec<AccountName>),
    /// Brings a removal to its end that a stop cut short, before an account of the name is made anew. May be repeated.
    FinishRemoval(AccountName),
    /// How much of the queue of a shard is an account's. Changes nothing.
    QueueOfAccount {
        /// Which shard.
        shard: u16,
        /// Whose.
        account: AccountName,
    },
    /// Erases what a shard keeps of the requests of an account that goes: what was answered, and how far its batches came. May be repeated.
    ForgetAccount {
        /// Which shard.
        shard: u16,
        /// Whose.
        account: AccountName,
    },
    /// Whether rows of the name are stored, configured or not.
    AccountIsStored(AccountName),
    /// Numbers of an account: (mailboxes, messages, octets).
    AccountNumbers(AccountName),
    /// How much of its sending limits an account has used.
    SendingUse(AccountName),
    /// Sets the password of those accounts that have none. May be repeated.
    SetMissingSecrets {
        /// Accounts of this core.
        accounts: Vec<AccountName>,
        /// The same for all.
        secrets: Box<Secrets>,
    },
    /// Registers the key of a client certificate; `Found` says whether it was registered before, and nothing was changed then.
    AddClientKey {
        /// Of the key.
        fingerprint: Fingerprint,
        /// Whose it is.
        row: Box<ClientKeyRow>,
    },
    /// Removes the key of a client certificate.
    RemoveClientKey {
        /// Of the key.
        fingerprint: Fingerprint,
    },
    /// Keys of one shard after one, at most so many.
    ClientKeys {
        /// Which shard.
        shard: u16,
        /// The last one told.
        after: Option<Fingerprint>,
        /// How many.
        limit: usize,
    },
    /// Makes a key of the API for an account of this core.
    AddApiKey {
        /// Whose.
        account: AccountName,
        /// Which; it is new.
        id: KeyId,
        /// The key.
        row: Box<ApiKeyRow>,
    },
    /// The templates of an account of this core, with their subjects alone.
    Templates {
        /// Whose.
        account: AccountName,
    },
    /// One of them.
    Template {
        /// Whose.
        account: AccountName,
        /// Which.
        name: String,
    },
    /// Writes one, or removes it; `Found` says whether it was there. May be repeated.
    PutTemplate {
        /// Whose.
        account: AccountName,
        /// Which.
        name: String,
        /// None: it goes.
        row: Option<Box<TemplateRow>>,
    },
    /// The keys of an account of this core.
    ApiKeys {
        /// Whose.
        account: AccountName,
    },
    /// Removes a key of an account of this core. May be repeated.
    RemoveApiKey {
        /// Whose.
        account: AccountName,
        /// Which.
        id: KeyId,
    },
    /// Writes the attempts to log in that this core has not written yet.
    WriteLogins,
    /// Records of logins in one shard after a key, at most so many.
    Logins {
        /// Which shard.
        shard: u16,
        /// Whose; empty: of names that nobody has; none: all.
        account: Option<String>,
        /// The last one told.
        after: Option<Vec<u8>>,
        /// How many.
        limit: usize,
    },
    /// Looks a name up in the DNS. Changes nothing but what is remembered.
    Lookup {
        /// Which name.
        name: dns::Name,
        /// Records of which type.
        record_type: dns::RecordType,
    },
    /// Finds where mail for a domain would go.
    MailHosts {
        /// Which domain.
        domain: dns::Name,
    },
    /// What a domain says by MTA-STS now, whatever is remembered.
    ShowSts {
        /// Which domain.
        domain: dns::Name,
    },
    /// What would be demanded of connections to the hosts of a domain?
    TlsDemands {
        /// Which domain.
        domain: dns::Name,
    },
    /// Hands over the results of TLS that this core has gathered.
    WriteTlsResults,
    /// Results of TLS kept in one shard after a key, about so many.
    TlsResults {
        /// Which shard.
        shard: u16,
        /// Which results.
        wanted: Wanted,
        /// The last one told.
        after: Option<Vec<u8>>,
        /// How many.
        limit: usize,
    },
    /// Policies of MTA-STS kept in one shard after one, about so many.
    StoredSts {
        /// Which shard.
        shard: u16,
        /// The last one told.
        after: Option<dns::Name>,
        /// How many.
        limit: usize,
    },
    /// Forgets a policy of MTA-STS.
    RemoveSts {
        /// Whose.
        domain: dns::Name,
    },
    /// Recipients of the queue in one shard that fit, after a place, up to the bounds of a page. Changes nothing; may be repeated.
    Queue {
        /// Which shard.
        shard: u16,
        /// Which recipients.
        filter: Box<Filter>,
        /// The last one that was looked at.
        after: Option<Place>,
        /// How many.
        most: Most,
    },
    /// Does something to a page of recipients of one shard. A repeat does nothing more, but where it puts them off by a duration.
    QueueChange {
        /// Which shard.
        shard: u16,
        /// To whom.
        filter: Box<Filter>,
        /// What.
        deed: Box<Deed>,
        /// The last one that was looked at.
        after: Option<Place>,
    },
    /// A piece of a queued message. Changes nothing; may be repeated.
    QueueOctets {
        /// Which shard.
        shard: u16,
        /// The number of one of its recipients there.
        number: u64,
        /// From which octet on.
        from: u64,
    },
    /// Sites whose limits this core owns, after one; at most so many are looked at. Changes nothing; may be repeated.
    Sites {
        /// The name of a site or of a host; none: all.
        wanted: Option<String>,
        /// Only those that are left alone or given less.
        restrained: bool,
        /// The last one that was looked at.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
    /// Does something to sites whose limits this core owns. May be repeated.
    ChangeSites {
        /// The name of a site or of a host; none: all.
        wanted: Option<String>,
        /// What.
        deed: SiteDeed,
    },
    /// Has those who look after sites on this core ask the owners now. May be repeated.
    SitesChanged,
    /// The hold rules as one shard has them.
    HoldRules {
        /// Which shard.
        shard: u16,
    },
    /// Stores the hold rules in one shard. Absolute.
    WriteHoldRules {
        /// Which shard.
        shard: u16,
        /// All of them.
        rules: Box<HoldRules>,
    },
    /// Puts the hold rules in force on this core. Absolute.
    UseHoldRules {
        /// All of them.
        rules: Box<HoldRules>,
        /// Whether to wait until what was accepted before is found in the rows.
        settle: bool,
    },
    /// What one shard keeps of addresses and sites. Changes nothing; may be repeated.
    WarmUps {
        /// Which shard.
        shard: u16,
        /// The last one that was told.
        after: Option<Vec<u8>>,
        /// How many.
        limit: usize,
    },
    /// Rows of suppression lists in one shard after a key, at most so many.
    Suppressions {
        /// Which shard.
        shard: u16,
        /// Whose; none: all.
        account: Option<String>,
        /// The last one told.
        after: Option<Vec<u8>>,
        /// How many.
        limit: usize,
    },
    /// What fits of the recipients that are over, in one shard after a key, up to the bounds of a page.
    Retired {
        /// Which shard.
        shard: u16,
        /// Which recipients.
        filter: Box<RetiredFilter>,
        /// The last one that was looked at.
        after: Option<Vec<u8>>,
        /// How many.
        most: Most,
    },
    /// A recipient that is over, of an account of this core: `Retired` has it, if it is kept.
    RetiredOne {
        /// Whose.
        account: AccountName,
        /// Its number.
        id: u64,
    },
    /// Which of these recipients are over and kept, of an account of this core. Changes nothing; may be repeated.
    RetiredAmong {
        /// Whose.
        account: AccountName,
        /// Their numbers.
        ids: Vec<u64>,
    },
    /// How far a batch is. Changes nothing; may be repeated.
    Batch {
        /// Which shard.
        shard: u16,
        /// Whose.
        account: AccountName,
        /// Its number there.
        number: u64,
    },
    /// Batches of an account in one shard, the latest first, at most so many. Changes nothing; may be repeated.
    Batches {
        /// Which shard.
        shard: u16,
        /// Whose.
        account: AccountName,
        /// The last one that was told.
        after: Option<BatchPlace>,
        /// How many.
        limit: usize,
    },
    /// Drops what still waits of a batch. A repeat does nothing more.
    CancelBatch {
        /// Which shard.
        shard: u16,
        /// Whose.
        account: AccountName,
        /// Its number there.
        number: u64,
    },
    /// What is stored of an address in an account's suppression list.
    Suppression {
        /// Whose.
        account: AccountName,
        /// Which.
        address: String,
    },
    /// Adds an address to an account's suppression list, or removes it.
    ChangeSuppression {
        /// Whose.
        account: AccountName,
        /// Which.
        address: String,
        /// None: it goes.
        to: Option<Suppressed>,
        /// Also in place of what is in force.
        replaces: bool,
    },
    /// About an account's webhooks.
    Webhooks {
        /// Whose.
        account: AccountName,
        /// What.
        ask: Box<hooks::HookAsk>,
    },
    /// Checks a slice of one shard.
    Check {
        /// Which shard.
        shard: u16,
        /// Position to go on from, as answered before.
        from: Vec<u8>,
    },
}

/// What it gets.
#[derive(Debug)]
pub enum ControlAnswer {
    /// Nothing to tell.
    Done,
    /// To `RemoveAccount` and `AccountIsStored`: whether there was anything.
    Found(bool),
    /// To `QueueOfAccount`.
    QueueOfAccount(OfAccount),
    /// To `RemoveClientKey` and `ClientKeys`.
    ClientKeys(Vec<(Fingerprint, ClientKeyRow)>),
    /// To `Templates` and `Template`, each with its name.
    Templates(Vec<(String, TemplateRow)>),
    /// To `ApiKeys`.
    ApiKeys(Vec<(KeyId, ApiKeyRow)>),
    /// To `RemoveApiKey`: what it was, and how many cores gave no answer.
    ApiKeyRemoved(Option<Box<ApiKeyRow>>, u16),
    /// To `Logins`, each with its key.
    Logins(Vec<(Vec<u8>, LoginRecord)>),
    /// To `SendingUse`.
    SendingUse(Box<SendingUse>),
    /// To `AccountNumbers`.
    Numbers {
        /// Mailboxes.
        mailboxes: u64,
        /// Messages.
        messages: u64,
        /// Octets of all messages.
        octets: u64,
    },
    /// To `Lookup`.
    Lookup(Result<Found, dns::LookupError>),
    /// To `MailHosts`.
    MailHosts(Result<Box<MailHosts>, dns::LookupError>),
    /// To `Queue`: messages with those of their recipients that fit, each with how it stands; and where to go on.
    Queue(Vec<(Stored, Vec<(u32, Standing)>)>, Option<Place>),
    /// To `QueueChange`.
    QueueDone(Done),
    /// To `Sites`, and where to go on.
    Sites(Vec<SiteState>, Option<String>),
    /// To `ChangeSites`: how many.
    Count(usize),
    /// To `HoldRules`.
    HoldRules(Box<HoldRules>),
    /// To `WarmUps`, and where to go on.
    WarmUps(WarmUpPage),
    /// To `Suppressions`: each with its key and whose it is.
    Suppressions(Vec<(Vec<u8>, String, AddressRow)>),
    /// To `Retired`, each with whose it is; and where to go on.
    Retired(Vec<(String, RetiredRow)>, Option<Vec<u8>>),
    /// To `RetiredAmong`: those that are.
    RetiredAmong(BTreeSet<u64>),
    /// To `Batch`.
    Batch(Option<BatchRow>),
    /// To `Batches`: each with its id.
    Batches(Vec<(u64, BatchRow)>),
    /// To `CancelBatch`; none: there is no such batch.
    BatchCancelled(Option<Cancelled>),
    /// To `Suppression`.
    Suppression(Option<AddressRow>),
    /// To `ChangeSuppression`: whether it was suppressed before, and how many cores gave no answer.
    SuppressionChanged(bool, u16),
    /// To `QueueOctets`: none if there is no such recipient, nothing at the end.
    Octets(Option<Vec<u8>>),
    /// To `ShowSts`.
    ShowSts(Box<Shown>),
    /// To `TlsResults`, and where to go on.
    TlsResults(Vec<tls_rpt::Tally>, Option<Vec<u8>>),
    /// To `TlsDemands`.
    TlsDemands(Box<Demands>),
    /// To `StoredSts`, and where to go on.
    StoredSts(Vec<StoredPolicy>, Option<dns::Name>),
    /// To `Webhooks`.
    Webhooks(Box<hooks::HookAnswer>),
    /// To `Check`.
    Check(CheckSlice),
}
