//! A connection after login, on the core of its account: waits, takes events, answers commands, idles.
//! RFC 9051 6.3 and 6.4; one file for each family of commands has the rest of `Client`.
//! While nothing happens a client holds no buffer: ten thousand of them wait on one core.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use imap::command::Command;
use imap::response::{Code, Condition, Encoder, NamespaceEntry};
use imap::server::{Awaits, Event};
use imap::types::{NameSyntax, NumberSet, Numbering, Tag};
use shards::lanes::Responder;
use shards::rt;

use super::admitted::Admitted;
use super::append::Appending;
use super::capabilities::Announced;
use super::responses::{Done, LoggedIn, Refusal, Trouble, ended};
use super::talk::{End, OUTPUT_MAX, RefusalsCounted, Talk};
use super::visitor::{client_in_words, shutting_down};
use crate::calls::{Answer, ConnectionFacts, MovedConnection};
use crate::percore::{PerCore, monotonic};
use crate::store::{Account, Selected, StoreError};

/// A logged-in connection.
pub(super) struct Client {
    pub core: Rc<PerCore>,
    pub talk: Talk,
    pub facts: ConnectionFacts,
    pub account: Rc<Account>,
    pub selected: Option<Rc<Selected>>,
    pub enabled: Enabled,
    /// RFC 5182: UIDs of the saved search result.
    pub saved: NumberSet,
    /// Keywords of the mailbox that the client was told with FLAGS.
    pub keywords_told: usize,
    /// The tag of IDLE, while idling.
    idle: Option<Tag>,
    pub appending: Option<Box<Appending>>,
    /// When the event that is worked on began; the command's duration counts from there, without the client's share.
    pub began: Instant,
    who: LoggedIn,
    refusals: RefusalsCounted,
    _admitted: Admitted,
}

/// What the client has turned on, RFC 5161.
#[derive(Clone, Copy, Default)]
pub(super) struct Enabled {
    /// RFC 7162; by ENABLE or by using it.
    pub condstore: bool,
    /// RFC 9051.
    pub rev2: bool,
    /// RFC 6855, or IMAP4rev2.
    pub utf8: bool,
}

/// Serves a connection that arrives after login.
pub(super) async fn resume(
    core: Rc<PerCore>,
    moved: Box<MovedConnection>,
    responder: Responder<Answer>,
) {
    rt::label_task(&moved.facts.id);
    // Boxed, as all that is large: what stays in this future is what an idle connection costs.
    let Some(mut client) = Box::pin(arrive(core, moved, responder)).await else {
        return;
    };
    let Err(end) = client.converse().await;
    tracing::debug!(connection = client.facts.id, ?end, "ended");
    Box::pin(leave(client, end)).await;
}

/// Puts the connection on this core and opens its account.
async fn arrive(
    core: Rc<PerCore>,
    moved: Box<MovedConnection>,
    responder: Responder<Answer>,
) -> Option<Box<Client>> {
    let MovedConnection {
        detached,
        session,
        unread,
        unwritten,
        account: name,
        checked,
        unrecorded,
        facts,
    } = *moved;
    if let Some(attempted) = unrecorded {
        core.record_unnamed(&facts.id, *attempted);
    }
    let admitted = Admitted::new(core.clone(), facts.networks);
    let attached = detached.attach().await;
    responder.answer(Answer::Done(Ok(())));
    let connection = attached.ok()?;
    let write_limit = {
        let live = core.live();
        live.settings
            .server
            .limits
            .imap
            .write_timeout_secs
            .duration()
    };
    let refusals = RefusalsCounted::all_of(&session);
    let mut talk = Talk::new(connection, session, write_limit).with_unread(unread);
    let opened = match core.draining.get() {
        true => Err(shutting_down()),
        false => core.account(name).await.map_err(not_opened),
    };
    let account = match opened {
        Ok(account) => account,
        Err(end) => {
            talk.end(end, bye_limit(&core)).await;
            return None;
        }
    };
    talk.wire.out = unwritten;
    tracing::debug!(connection = facts.id, account = account.name, "logged in");
    Some(Box::new(Client {
        core,
        talk,
        facts,
        who: LoggedIn {
            account: name,
            checked,
        },
        account,
        selected: None,
        enabled: Enabled::default(),
        saved: NumberSet::new(),
        keywords_told: 0,
        idle: None,
        appending: None,
        began: monotonic(),
        refusals,
        _admitted: admitted,
    }))
}

async fn leave(client: Box<Client>, end: End) {
    let Client {
        core,
        talk,
        selected,
        mut refusals,
        _admitted: admitted,
        ..
    } = *client;
    refusals.count_new(&core, &talk.session);
    drop(selected);
    talk.end(end, bye_limit(&core)).await;
    drop(admitted);
}

fn bye_limit(core: &PerCore) -> Duration {
    let live = core.live();
    live.settings.server.limits.imap.bye_timeout_secs.duration()
}

fn not_opened(error: StoreError) -> End {
    match Trouble::from(error) {
        Trouble::Refused(refusal) => End::Bye(refusal.code, refusal.text),
        Trouble::End(end) => end,
    }
}

/// Nothing of this type exists: conversations only end with an [`End`].
enum Never {}

/// What a client that waits is woken by.
enum Woken {
    Read,
    Changed,
}

impl Client {
    async fn converse(&mut self) -> Result<Never, End> {
        loop {
            while let Some(event) = self.talk.next_event(&mut self.appending) {
                // Boxed: an idle connection must not pay for the largest of its commands.
                Box::pin(self.handle(event)).await?;
                if self.talk.wire.out.len() >= OUTPUT_MAX {
                    self.talk.wire.flush().await?;
                }
                rt::yield_if_needed().await;
            }
            if self.appending.as_ref().is_some_and(|a| a.needs_settling()) {
                Box::pin(self.settle_append()).await;
                self.talk.session.transmit(&mut self.talk.wire.out);
            }
            self.talk.wire.flush().await?;
            self.talk.wire.out = Vec::new();
            self.refusals.count_new(&self.core, &self.talk.session);
            if self.talk.session.awaits() == Awaits::Closed {
                return Err(End::Said);
            }
            let most = self
                .core
                .live()
                .settings
                .server
                .limits
                .imap
                .bad_commands_max;
            if self.talk.session.refusals() > most {
                return Err(End::bye("too many bad commands"));
            }
            if let Woken::Changed = self.wait().await? {
                Box::pin(self.tell_updates(true)).await?;
            }
        }
    }

    /// Waits for the client, for news while idling, for the end of the account or the server.
    async fn wait(&mut self) -> Result<Woken, End> {
        let limit = {
            let live = self.core.live();
            self.talk.patience(&live.settings.server.limits.imap, true)
        };
        let Client {
            core,
            talk,
            account,
            selected,
            idle,
            appending,
            who,
            ..
        } = self;
        let read = async { talk.read(appending).await.map(|()| Woken::Read) };
        let drained = async {
            core.drained().await;
            Err(shutting_down())
        };
        let who = *who;
        let watched = selected.as_ref().filter(|s| idle.is_some() && !s.is_gone());
        let changed = async {
            loop {
                match watched {
                    Some(selected) => selected.wait().await,
                    None => {
                        let event = &account.mailboxes_changed;
                        if ended(core, account, who).is_none() {
                            event.wait(event.count()).await;
                        }
                    }
                }
                if let Some(end) = ended(core, account, who) {
                    return Err(end);
                }
                if watched.is_some() {
                    return Ok(Woken::Changed);
                }
            }
        };
        match rt::timeout(limit, read.or(changed).or(drained)).await {
            Ok(result) => result,
            // RFC 9051 5.4: autologout.
            Err(rt::Elapsed) => Err(End::bye("inactive")),
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), End> {
        self.began = monotonic();
        match event {
            Event::Command { tag, command } => self.command(tag, command).await?,
            Event::Idle { tag } => {
                self.idle = Some(tag);
                self.tell_updates(true).await?;
            }
            Event::IdleDone => {
                self.tell_updates(true).await?;
                if let Some(tag) = self.idle.take() {
                    Done::ok("IDLE done").write_to(&mut self.talk.wire.out, &tag);
                }
                self.talk.session.answered();
            }
            Event::IdleBroken => self.idle = None,
            Event::AppendBegin { tag, mailbox } => self.append_begin(tag, mailbox),
            Event::AppendMessage(message) => self.append_message(message),
            Event::AppendMessageEnd => self.append_message_end().await,
            Event::AppendEnd => self.append_end().await?,
            Event::AppendAbort => self.appending = None,
            Event::SavedResultLost => self.saved = NumberSet::new(),
            Event::Close => return Err(End::Said),
            // The session lets nothing else through after login.
            _ => (),
        }
        Ok(())
    }

    async fn command(&mut self, tag: Tag, command: Command) -> Result<(), End> {
        let name = command.name();
        // RFC 9051 7.5.1: no EXPUNGE in the answer to FETCH, STORE, SEARCH by sequence numbers.
        let expunges = !matches!(
            &command,
            Command::Fetch(imap::types::Fetch {
                numbering: Numbering::Sequence,
                ..
            }) | Command::Store(imap::types::Store {
                numbering: Numbering::Sequence,
                ..
            }) | Command::Search(imap::types::Search {
                numbering: Numbering::Sequence,
                ..
            })
        );
        let result = self.carry_out(&tag, command).await;
        self.answer(&tag, name, expunges, result).await
    }

    /// Writes the tagged response, after what is new.
    pub(super) async fn answer(
        &mut self,
        tag: &Tag,
        name: &'static str,
        expunges: bool,
        result: Result<Done, Trouble>,
    ) -> Result<(), End> {
        let word = match &result {
            Ok(_) => "ok",
            Err(Trouble::Refused(refusal)) if refusal.is_ours() => "servererror",
            Err(Trouble::Refused(_)) => "usererror",
            Err(Trouble::End(_)) => "end",
        };
        self.core.imap_command(name, word, self.began);
        if let Some(end) = ended(&self.core, &self.account, self.who) {
            return Err(end);
        }
        match result {
            Ok(done) => {
                self.tell_updates(expunges).await?;
                done.write_to(&mut self.talk.wire.out, tag);
            }
            Err(Trouble::Refused(refusal)) => {
                if refusal.is_ours() {
                    tracing::warn!(connection = self.facts.id, account = self.account.name, command = name, text = %refusal.text, "command failed");
                } else {
                    tracing::debug!(connection = self.facts.id, account = self.account.name, command = name, text = %refusal.text, "command refused");
                }
                self.tell_updates(expunges).await?;
                refusal.write_to(&mut self.talk.wire.out, tag, &self.facts.id);
            }
            Err(Trouble::End(end)) => return Err(end),
        }
        self.talk.session.answered();
        Ok(())
    }

    async fn carry_out(&mut self, tag: &Tag, command: Command) -> Result<Done, Trouble> {
        match command {
            Command::Capability => self.capability(),
            Command::Noop => Ok(Done::ok("NOOP done")),
            Command::Id(pairs) => {
                self.core
                    .client_named(&self.facts.id, &client_in_words(&pairs));
                let version = env!("CARGO_PKG_VERSION");
                let pairs = [("name", Some("ringmail")), ("version", Some(version))];
                self.encoder().id(&pairs);
                Ok(Done::ok("ID done"))
            }
            Command::Logout => {
                let mut encoder = self.encoder();
                encoder.untagged(Condition::Bye, None, "until next time");
                encoder.tagged(tag, Condition::Ok, None, "LOGOUT done");
                Err(Trouble::End(End::Said))
            }
            Command::Enable(words) => Ok(self.enable(&words)),
            Command::Namespace => {
                let personal = NamespaceEntry {
                    prefix: "",
                    delimiter: Some(b'/'),
                };
                self.encoder().namespace(&[personal], &[], &[]);
                Ok(Done::ok("NAMESPACE done"))
            }
            Command::Check => {
                self.selected()?;
                Ok(Done::ok("CHECK done"))
            }
            Command::Select(select) => self.select(select).await,
            Command::Close => self.close().await,
            Command::Unselect => Ok(self.unselect()),
            Command::Create {
                mailbox,
                special_use,
            } => self.create(&mailbox, &special_use).await,
            Command::Delete(mailbox) => self.delete(&mailbox).await,
            Command::Rename { mailbox, new_name } => self.rename(&mailbox, &new_name).await,
            Command::Subscribe(mailbox) => self.subscribe(&mailbox, true).await,
            Command::Unsubscribe(mailbox) => self.subscribe(&mailbox, false).await,
            Command::List(list) => self.list(&list).await,
            Command::Lsub { reference, pattern } => self.lsub(&reference, &pattern).await,
            Command::Status { mailbox, items } => self.status(&mailbox, &items),
            Command::Fetch(fetch) => self.fetch(fetch).await,
            Command::Store(store) => self.store(store).await,
            Command::Search(search) => self.search(tag, search).await,
            Command::Expunge(set) => self.expunge(set).await,
            Command::Copy(transfer) => self.copy(transfer).await,
            Command::Move(transfer) => self.move_messages(transfer).await,
            Command::Login { .. } => Err(Refusal::bad("logged in already").into()),
        }
    }

    /// Writes responses of one line.
    pub(super) fn encoder(&mut self) -> Encoder<'_> {
        Encoder::new(&mut self.talk.wire.out, self.talk.session.syntax())
    }

    /// The selected mailbox, which must still exist.
    pub(super) fn selected(&self) -> Result<Rc<Selected>, Trouble> {
        match &self.selected {
            Some(selected) if selected.info().is_some() => Ok(selected.clone()),
            Some(_) => Err(Refusal::no(Some(Code::NonExistent), "the mailbox was deleted").into()),
            None => Err(Refusal::bad("no mailbox is selected").into()),
        }
    }

    /// The selected mailbox, for a command that changes it.
    pub(super) fn selected_to_write(&self) -> Result<Rc<Selected>, Trouble> {
        let selected = self.selected()?;
        if selected.read_only() {
            return Err(Refusal::no(Some(Code::Cannot), "the mailbox is open read-only").into());
        }
        Ok(selected)
    }

    fn capability(&mut self) -> Result<Done, Trouble> {
        let announced = Announced {
            mechanisms: Vec::new(),
            before_login: false,
            starttls: false,
            passwords: false,
            append_limit: self.append_limit(),
        };
        let words = announced.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.encoder().capability(&words);
        Ok(Done::ok("CAPABILITY done"))
    }

    /// Largest message of APPEND, in octets.
    pub(super) fn append_limit(&self) -> u64 {
        let live = self.core.live();
        live.settings
            .server
            .limits
            .imap
            .message_size_max_bytes
            .get()
    }

    /// RFC 5161 3.1: what is unknown is passed over; the answer has what is new.
    fn enable(&mut self, words: &[String]) -> Done {
        let mut new: Vec<&str> = Vec::new();
        for word in words {
            let on = match word.to_ascii_uppercase().as_str() {
                "CONDSTORE" => &mut self.enabled.condstore,
                "IMAP4REV2" => &mut self.enabled.rev2,
                "UTF8=ACCEPT" => &mut self.enabled.utf8,
                _ => continue,
            };
            if !std::mem::replace(on, true) {
                new.push(word);
            }
        }
        if self.enabled.rev2 || self.enabled.utf8 {
            self.talk.session.enable(NameSyntax::Utf8);
        }
        let condstore = new
            .iter()
            .any(|word| word.eq_ignore_ascii_case("CONDSTORE"));
        self.encoder().enabled(&new);
        if condstore {
            self.tell_highest_mod_seq();
        }
        Done::ok("ENABLE done")
    }

    /// RFC 7162 3.1: a command that only makes sense with CONDSTORE turns it on.
    pub(super) fn use_condstore(&mut self) {
        if !std::mem::replace(&mut self.enabled.condstore, true) {
            self.tell_highest_mod_seq();
        }
    }

    fn tell_highest_mod_seq(&mut self) {
        let info = self.selected.as_ref().and_then(|s| s.info());
        if let Some(mod_seq) = info.and_then(|i| imap::types::ModSeq::new(i.modseq)) {
            self.encoder().untagged(
                Condition::Ok,
                Some(&Code::HighestModSeq(mod_seq)),
                "CONDSTORE is on",
            );
        }
    }
}
