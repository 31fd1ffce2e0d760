//! Messages of batches, made when they are due: the template is rendered with the recipient's data, the text becomes a message, and it is signed.
//!
//! Called by who sends (`outbound`) and who shows (`handle`). A message lives as long as somebody holds it. Made again it has the same octets but for
//! its signatures: Message-ID, Date and boundaries come from the recipient's number and what was decided when the batch was accepted.
//! What costs little is done on the core: the engine stops after a fraction of a millisecond there, and whatever takes longer, or comes to a long
//! message, is done by threads for it, where accounts take turns. RSA is the worker pool's (`signing`).
//! RFC 5322, RFC 6376. Not here: the engine (`webapi::template`), MIME (`webapi::compose`), where the data lie (`queue::recipe`).

use std::rc::Rc;
use std::sync::Arc;

use dkim::MessageHasher;
use shards::pool::PoolError;
use shards::rt;
use shards::storage::StorageError;
use webapi::compose::{FileKinds, compose_before_files};
use webapi::template::{Data, Defaults, Effort, RenderError, Rendered, Template};
use webapi::{ApiError, Code, Maker, NameAddress, SendRequest, Time};

use crate::percore::PerCore;
use crate::queue::from_id::token_field;
use crate::queue::recipe::{Common, InFile, Recipe};
use crate::queue::unsubscribe::{self, Link};
use crate::queue::{Content, Message, QueueId};
use crate::signing::{SigningError, signatures};
use crate::store::{NewContent, StoreError};

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMade {
    /// Too much is under way: it was not tried.
    Busy,
    /// The account has as many in line as it may, or all have: it was not tried.
    Crowded,
    /// Perhaps later.
    Later(String),
    /// Never: template and data come to no message.
    Never(String),
}

/// Whether it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// As it goes out.
    Yes,
    /// What is the same each time.
    No,
}

/// Makes the message of a recipient of a batch.
pub async fn make(
    core: &Rc<PerCore>,
    message: &Rc<Message>,
    index: u32,
    signed: Signed,
) -> Result<Rc<Content>, NotMade> {
    let recipe = message.recipe().await.map_err(stored)?;
    let (name, json) = recipe.of(index).await.map_err(stored)?;
    let account = message.row.account.as_str();
    let (template, defaults) = read(core, account, &recipe).await?;
    let recipient = message.row.recipients.get(index as usize);
    let address = recipient.map_or("", |recipient| recipient.address.as_str());
    let id = message.id(index);
    let job = Job {
        template,
        defaults,
        common: recipe.common.clone(),
        extra_fields: extra_fields(core, message, (address, id), &recipe.common),
        to: (address.to_owned(), name),
        json,
        message_id: message.row.message_id_of(id),
        boundary: match recipe.files.kinds {
            FileKinds::NONE => format!("{}-{id}", recipe.common.boundary),
            // What ends all of them has it.
            _ => recipe.common.boundary.clone(),
        },
        files: recipe.files.kinds,
    };
    let mut octets = run(core, account, &recipe, job).await?;
    octets.extend(recipe.files_in_memory().await.map_err(stored)?);
    finish(core, (message, id), &recipe, octets, signed).await
}

/// Header fields that a recipient's message has beside those of the template. They are signed with the others.
fn extra_fields(
    core: &PerCore,
    message: &Message,
    (address, id): (&str, u64),
    common: &Common,
) -> Vec<(String, String)> {
    if common.unsubscribe.is_empty() {
        return Vec::new();
    }
    let link = Link {
        account: message.row.account.clone(),
        address: address.to_owned(),
        message_id: message.row.message_id_of(id),
        life: common.life,
    };
    // One that would be too long is of an address that takes no mail.
    let token = core.from_ids.links().and_then(|links| links.token(&link));
    let fields = token.map(|token| unsubscribe::fields(&common.unsubscribe, &token));
    let fields = fields.into_iter().flatten();
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The subject of a recipient's message; empty if it can't be made at once.
pub async fn subject(core: &Rc<PerCore>, message: &Rc<Message>, index: u32) -> String {
    let made = async {
        let recipe = message.recipe().await.ok()?;
        let (name, json) = recipe.of(index).await.ok()?;
        if json.len() > ON_CORE_MAX {
            return None;
        }
        let account = message.row.account.as_str();
        let (template, defaults) = read(core, account, &recipe).await.ok()?;
        let recipient = message.row.recipients.get(index as usize)?;
        let data = Data::read(
            &defaults,
            &json,
            (recipient.address.as_str(), name.as_str()),
        )
        .ok()?;
        let subject = template.render_subject(&data, Effort::Quick).ok();
        // It is asked for many, one after the other.
        rt::yield_if_needed().await;
        subject
    };
    made.await.unwrap_or_default()
}

/// Made on the core if that takes next to no time, as it did for those before.
async fn run(
    core: &Rc<PerCore>,
    account: &str,
    recipe: &Recipe,
    job: Job,
) -> Result<Vec<u8>, NotMade> {
    let heavy = recipe.heavy.get();
    recipe.heavy.set(heavy.saturating_sub(1));
    if job.json.len() <= ON_CORE_MAX && heavy == 0 {
        match job.render(Effort::Quick) {
            Ok(rendered) if rendered.text.len() + rendered.html.len() <= ON_CORE_MAX => {
                return job.compose(rendered).map_err(NotMade::Never);
            }
            Ok(_) | Err(RenderError::TooMuch(_)) => recipe.heavy.set(HEAVY_FOR),
            Err(RenderError::Wrong(problem)) => return Err(NotMade::Never(problem.to_string())),
        }
    }
    let made = core.rendering.run(account, move || {
        let rendered = job.render(Effort::Full);
        let rendered = rendered.map_err(|error| error.into_problem().to_string())?;
        job.compose(rendered)
    });
    made.await.map_err(not_run)?.map_err(NotMade::Never)
}

fn not_run(error: PoolError) -> NotMade {
    match error {
        PoolError::Full => NotMade::Crowded,
        PoolError::Lost => NotMade::Busy,
    }
}

/// Signs it, and writes what stands above it.
async fn finish(
    core: &Rc<PerCore>,
    (message, id): (&Message, u64),
    recipe: &Recipe,
    octets: Vec<u8>,
    signed: Signed,
) -> Result<Rc<Content>, NotMade> {
    let (common, files) = (&recipe.common, recipe.files_in_file());
    let (localpart, domain) = (common.from.1.rsplit_once('@')).unwrap_or((&common.from.1, ""));
    let content = NewContent {
        bytes: Arc::new(octets),
        external: None,
    };
    let fields = match signed {
        Signed::No => String::new(),
        Signed::Yes => {
            let until = message.row.expires.max(core.wall_clock());
            let facts = ("", message.row.smtputf8, until);
            let hasher = match &files {
                Some(files) => hashed(core, message, &content.bytes, files).await?,
                None => None,
            };
            let made = signatures(core, (localpart, domain), (&content, hasher), facts).await;
            made.map_err(|error| match error {
                SigningError::Message(error) => NotMade::Never(format!("DKIM: {error}")),
                SigningError::Pool(_) => NotMade::Busy,
                error => {
                    tracing::error!(message = message.body.0, domain, %error, "a message of a batch could not be signed and was put off");
                    NotMade::Later("the message could not be signed".into())
                }
            })?
        }
    };
    let token = QueueId::from_u64(id).map(|id| token_field(&core.from_ids, id));
    let bytes = [
        token.unwrap_or_default().as_bytes(),
        fields.as_bytes(),
        common.received.as_bytes(),
        &content.bytes,
    ]
    .concat();
    let content = Content {
        bytes: Arc::new(bytes),
        external: None,
        files,
    };
    let live = core.live();
    let most = live.settings.server.limits.smtp.message_size_max_bytes;
    let octets = content.length();
    if octets > most.get() {
        let words = format!("the message came to {octets} octets, and {most} is the most");
        return Err(NotMade::Never(words));
    }
    Ok(Rc::new(content))
}

/// What has seen all of a message whose end is in the recipe's file; none: nobody signs.
async fn hashed(
    core: &PerCore,
    message: &Message,
    bytes: &[u8],
    files: &InFile,
) -> Result<Option<Box<MessageHasher>>, NotMade> {
    let Some(mut hasher) = core.live().signers.hasher() else {
        return Ok(None);
    };
    hasher.update(bytes);
    let mut at = files.place.start;
    while at < files.place.end {
        let now = (files.place.end - at).min(PIECE as u64) as usize;
        let shard = message.shard();
        let piece = shard
            .read_external(message.body, files.location, at, now)
            .await;
        let piece = piece.map_err(|error| stored(error.into()))?;
        at += piece.len() as u64;
        for slice in piece.chunks(SLICE) {
            hasher.update(slice);
            rt::yield_if_needed().await;
        }
    }
    Ok(Some(Box::new(hasher)))
}

fn stored(error: StoreError) -> NotMade {
    match error {
        StoreError::Storage(StorageError::Busy) => NotMade::Busy,
        error => NotMade::Later(error.to_string()),
    }
}

/// The template of a recipe; it is read once.
async fn read(
    core: &Rc<PerCore>,
    account: &str,
    recipe: &Recipe,
) -> Result<(Arc<Template>, Arc<Defaults>), NotMade> {
    if let Some(known) = recipe.template.get() {
        return Ok(known.clone());
    }
    let _one = recipe.reading.take(1).await;
    if let Some(known) = recipe.template.get() {
        return Ok(known.clone());
    }
    let common = recipe.common.clone();
    let read = core.rendering.run(account, move || read_template(&common));
    let read = read.await.map_err(not_run)?.map_err(NotMade::Never)?;
    Ok(recipe.template.get_or_init(|| read).clone())
}

fn read_template(common: &Common) -> Result<(Arc<Template>, Arc<Defaults>), String> {
    let template = Template::check(&common.parts).map_err(|problems| {
        let problem = problems.first().map(ToString::to_string);
        problem.unwrap_or_default()
    })?;
    let defaults = Defaults::read(&common.defaults)?;
    Ok((Arc::new(template), Arc::new(defaults)))
}

/// A message that is to be made.
pub struct Job {
    /// What it is made from.
    pub template: Arc<Template>,
    /// Variables that the recipient has none of his own for.
    pub defaults: Arc<Defaults>,
    /// What is common to all of the batch.
    pub common: Arc<Common>,
    /// Fields beside those of the template.
    pub extra_fields: Vec<(String, String)>,
    /// The recipient's address and name; empty: the template may say it.
    pub to: (String, String),
    /// The recipient's variables.
    pub json: String,
    /// With its angle brackets.
    pub message_id: String,
    /// What boundaries begin with.
    pub boundary: String,
    /// Which files it has: it is made up to these.
    pub files: FileKinds,
}

impl Job {
    /// Puts the data in.
    pub fn render(&self, effort: Effort) -> Result<Rendered, RenderError> {
        let (address, name) = &self.to;
        let data = Data::read(&self.defaults, &self.json, (address, name));
        let wrong = |reason| {
            RenderError::Wrong(webapi::template::Problem {
                pointer: "/data".into(),
                line: None,
                reason,
            })
        };
        self.template.render(&data.map_err(wrong)?, effort)
    }

    /// Makes the message, up to its files.
    pub fn compose(&self, rendered: Rendered) -> Result<Vec<u8>, String> {
        let request = self.request(rendered);
        let made = self
            .maker()
            .and_then(|maker| compose_before_files(&request, self.files, &maker));
        made.map_err(|error| error.message)
    }

    /// What is to be made.
    pub fn request(&self, rendered: Rendered) -> SendRequest {
        let common = &self.common;
        let named = |(name, address): &(String, String)| NameAddress {
            name: name.clone(),
            address: address.clone(),
        };
        let (address, name) = &self.to;
        let name = match name.as_str() {
            "" => rendered.to_name,
            name => name.to_owned(),
        };
        let mut headers = rendered.headers;
        headers.extend(self.extra_fields.iter().cloned());
        SendRequest {
            from: vec![named(&common.from)],
            to: vec![named(&(name, address.clone()))],
            reply_to: common.reply_to.iter().map(named).collect(),
            message_id: self.message_id.clone(),
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            headers,
            ..SendRequest::default()
        }
    }

    /// What it gets from us.
    pub fn maker(&self) -> Result<Maker<'_>, ApiError> {
        let common = &self.common;
        let now = Time::of_unix(common.date);
        Ok(Maker {
            author: (&common.from.0, &common.from.1),
            message_id: "",
            now: now.ok_or_else(|| ApiError::new(Code::Server, "the clock is wrong"))?,
            product: concat!("ringmail/", env!("CARGO_PKG_VERSION")),
            boundary: Some(&self.boundary),
        })
    }
}

/// Octets of files that are read at once, and those of them that are hashed between two looks at the clock.
const PIECE: usize = 256 << 10;
const SLICE: usize = 64 << 10;
/// Octets of data, and of texts, whose message is made on the core.
const ON_CORE_MAX: usize = 32 << 10;
/// So many of a batch are not tried on the core when one was too much for it: the others will be.
const HEAVY_FOR: u8 = 20;
