//! What each method does. The account's list is asked of the account's owner.

use std::rc::Rc;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shards::lanes::CallError;
use webapi::{
    ApiError, Code, Empty, Present, SendResult, Suppression, SuppressionAdd, SuppressionAddress,
    Time, read,
};

use super::body::{BodyFault, Held};
use super::form::{Form, ON_CORE_MAX, busy};
use super::{Caller, Said, examples, json, messages, ours};
use crate::calls::{Answer, Call, ControlAnswer, ControlCall, Submit, Submitted};
use crate::percore::PerCore;
use crate::queue::suppression::{AddressRow, Suppressed, base};
use crate::web::payload::{Payload, Source};

/// All methods.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OWN.into_iter().chain(messages::NAMES)
}

/// Those of this file.
const OWN: [&str; 5] = [
    "Send",
    "SuppressionList",
    "SuppressionAdd",
    "SuppressionRemove",
    "SuppressionPresent",
];

/// Answers one.
pub(super) async fn run(
    core: &Rc<PerCore>,
    name: &str,
    form: Form,
    (caller, id): (&Caller, &str),
) -> Result<Said, ApiError> {
    if name == "Send" {
        return said(send(core, caller, id, form).await);
    }
    let form = &form;
    if messages::NAMES.contains(&name) {
        // Boxed: most calls are no such.
        return Box::pin(messages::run(core, name, form, caller)).await;
    }
    match name {
        "SuppressionList" => Box::pin(list(core, caller, asked(form)?)).await,
        "SuppressionAdd" => said(add(core, caller, asked(form)?).await),
        "SuppressionRemove" => said(remove(core, caller, asked(form)?).await),
        _ => said(is_present(core, caller, asked(form)?).await),
    }
}

pub(super) fn asked<T: DeserializeOwned>(form: &Form) -> Result<T, ApiError> {
    read(&form.request)
}

pub(super) fn said<T: Serialize>(answer: Result<T, ApiError>) -> Result<Said, ApiError> {
    answer.map(|answer| Said::Json(json(&answer)))
}

/// The message goes round the cores, so that one account's bulk uses all of them.
async fn send(
    core: &Rc<PerCore>,
    caller: &Caller,
    id: &str,
    mut form: Form,
) -> Result<SendResult, ApiError> {
    let request = if form.request.len() > ON_CORE_MAX {
        let json = form.request.clone();
        let read = core
            .composing
            .run(caller.account.as_str(), move || read(&json));
        read.await.map_err(busy)??
    } else {
        asked(&form)?
    };
    let submit = Submit {
        account: caller.account,
        login: caller.address.clone(),
        id: id.to_string(),
        request,
        uploads: std::mem::take(&mut form.uploads),
        unsubscribe: false,
        once: None,
    };
    let next = core.next_core();
    match core.call(next, Call::Submit(Box::new(submit))).await {
        Ok(Answer::Submitted(submitted)) => match submitted? {
            Submitted::Now(sent) | Submitted::Before(sent) => Ok(sent),
            // It named no key.
            Submitted::OtherRequest => Err(ours(OTHER_ANSWER)),
        },
        Ok(_) => Err(ours(OTHER_ANSWER)),
        Err(CallError::Full) => Err(ours(
            "the core is too busy; nothing was sent, try again later",
        )),
        Err(error) => Err(ours(format!(
            "{error}; whether the message was accepted is not known"
        ))),
    }
}

/// It comes page by page, as the client takes it: there may be many.
async fn list(core: &Rc<PerCore>, caller: &Caller, _: Empty) -> Result<Said, ApiError> {
    let listing = Listing {
        core: core.clone(),
        caller: caller.clone(),
        next: Some(None),
        count: 0,
    };
    let mut held = Held::new(core, caller.account);
    if let Err(BodyFault::Busy(words)) = held.add(PAGE * ENTRY) {
        return Err(ours(words));
    }
    let pieces = listing.pieces().await?;
    let payload = Payload::of_pieces(None, pieces).counted(held);
    Ok(Said::Raw(
        Box::new(payload),
        HeaderValue::from_static(super::JSON),
    ))
}

struct Listing {
    core: Rc<PerCore>,
    caller: Caller,
    /// The key of the last row that was told; none: all were.
    next: Option<Option<Vec<u8>>>,
    count: i64,
}

impl Source for Listing {
    type Error = ApiError;

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let (core, now) = (&self.core, self.core.wall_clock());
        let mut text = Vec::new();
        while let Some(after) = self.next.take() {
            if after.is_none() {
                text.extend_from_slice(b"{\"Suppressions\":[");
            }
            let call = ControlCall::Suppressions {
                shard: shards::shard_of(self.caller.account.as_str().as_bytes(), core.shard_count)
                    .0,
                account: Some(self.caller.account.to_string()),
                after,
                limit: PAGE,
            };
            let ControlAnswer::Suppressions(rows) = ask(core, &self.caller, call).await? else {
                return Err(ours(OTHER_ANSWER));
            };
            match rows.last() {
                Some((last, ..)) => self.next = Some(Some(last.clone())),
                None => text.extend_from_slice(b"]}\n"),
            }
            for (_, account, row) in rows {
                let Some(suppressed) = row.in_force(now) else {
                    continue;
                };
                if self.count > 0 {
                    text.push(b',');
                }
                self.count += 1;
                let one = describe(self.count, account, &row, suppressed);
                serde_json::to_writer(&mut text, &one).map_err(|e| ours(e.to_string()))?;
            }
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        Ok(None)
    }
}

fn describe(id: i64, account: String, row: &AddressRow, suppressed: &Suppressed) -> Suppression {
    Suppression {
        id,
        created: Time::of_unix(suppressed.created),
        account,
        base_address: base(&row.address),
        original_address: row.address.clone(),
        manual: suppressed.manual,
        reason: suppressed.reason.clone(),
    }
}

async fn add(
    core: &Rc<PerCore>,
    caller: &Caller,
    asked: SuppressionAdd,
) -> Result<Empty, ApiError> {
    if asked.reason.len() > REASON_MAX || asked.reason.chars().any(char::is_control) {
        let message = format!("Reason: at most {REASON_MAX} octets, and no control characters");
        return Err(ApiError::new(Code::User, message));
    }
    let suppressed = Suppressed {
        reason: match asked.reason.as_str() {
            "" => "added through the API".into(),
            reason => reason.into(),
        },
        manual: asked.manual,
        created: core.wall_clock(),
        expires: None,
    };
    match change(core, caller, &asked.email_address, Some(suppressed)).await? {
        true => Err(ApiError::new(
            Code::Error,
            "the address is on the list already",
        )),
        false => Ok(Empty {}),
    }
}

async fn remove(
    core: &Rc<PerCore>,
    caller: &Caller,
    asked: SuppressionAddress,
) -> Result<Empty, ApiError> {
    match change(core, caller, &asked.email_address, None).await? {
        true => Ok(Empty {}),
        false => Err(ApiError::new(Code::Error, "the address is not on the list")),
    }
}

async fn is_present(
    core: &Rc<PerCore>,
    caller: &Caller,
    asked: SuppressionAddress,
) -> Result<Present, ApiError> {
    let call = ControlCall::Suppression {
        account: caller.account,
        address: address(&asked.email_address)?,
    };
    match ask(core, caller, call).await? {
        ControlAnswer::Suppression(row) => Ok(Present {
            present: row.is_some_and(|row| row.in_force(core.wall_clock()).is_some()),
        }),
        _ => Err(ours(OTHER_ANSWER)),
    }
}

/// Whether it was on the list before.
async fn change(
    core: &Rc<PerCore>,
    caller: &Caller,
    text: &str,
    to: Option<Suppressed>,
) -> Result<bool, ApiError> {
    let call = ControlCall::ChangeSuppression {
        account: caller.account,
        address: address(text)?,
        to,
        replaces: false,
    };
    match ask(core, caller, call).await? {
        ControlAnswer::SuppressionChanged(was, _) => Ok(was),
        _ => Err(ours(OTHER_ANSWER)),
    }
}

fn address(text: &str) -> Result<String, ApiError> {
    let address: smtp::Address = text
        .parse()
        .map_err(|e| ApiError::new(Code::BadAddress, format!("{text:?}: {e}")))?;
    Ok(address.to_string())
}

async fn ask(
    core: &Rc<PerCore>,
    caller: &Caller,
    call: ControlCall,
) -> Result<ControlAnswer, ApiError> {
    let owner = core.owner_of(caller.account.as_str());
    match core.call(owner, Call::Control(Box::new(call))).await {
        Ok(Answer::Control(Ok(answer))) => Ok(answer),
        Ok(Answer::Control(Err(error))) => Err(ours(error.to_string())),
        Ok(_) => Err(ours(OTHER_ANSWER)),
        Err(error) => Err(ours(format!("{error}; try again later"))),
    }
}

/// What there is.
pub(super) fn introduction() -> String {
    let links: String = names()
        .map(|name| format!("<li><a href=\"/webapi/v0/{name}\">{name}</a></li>"))
        .collect();
    page(
        "The sending API",
        &format!(
            "<p>POST a form with a field <code>request</code>, which holds a JSON object, to a method; log in with HTTP Basic: a login address and its password. \
             200: it is done. 400: a JSON object with Code and Message says why not.</p><ul>{links}</ul>"
        ),
    )
}

/// What a method takes and answers, with a form that calls it. What answers octets is a form of the browser's own, which keeps or shows them by their type.
pub(super) fn help(name: &str) -> String {
    let (takes, answers) = examples::of(name);
    let (takes, is_octets) = (escaped(&takes), answers.is_none());
    let answers = escaped(&answers.unwrap_or("octets".into()));
    let (form, button, script) = match is_octets {
        true => (
            format!("<form method=post action=\"{name}\" enctype=multipart/form-data>"),
            "<button>Call</button>",
            String::new(),
        ),
        false => (
            "<form>".to_string(),
            "<button type=button id=call>Call</button>",
            format!(
                "<script>document.getElementById('call').onclick=async()=>{{const form=new FormData();form.append('request',document.getElementById('request').value);\
                 const said=await fetch('{name}',{{method:'POST',body:form}});const text=await said.text();let shown=text;try{{shown=JSON.stringify(JSON.parse(text),null,'\\t')}}catch{{}}\
                 document.getElementById('said').textContent=said.status+'\\n'+shown}}</script>"
            ),
        ),
    };
    page(
        name,
        &format!(
            "{form}<p>Request</p><textarea id=request name=request rows=24 cols=80>{takes}</textarea><p>{button}</p></form>\
             <pre id=said></pre><p>Response</p><pre>{answers}</pre>{script}"
        ),
    )
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html><head><meta charset=utf-8><meta name=robots content=\"noindex,nofollow\"><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Rows that are asked for at a time.
const PAGE: usize = 1000;
/// Octets of memory that one comes to.
const ENTRY: usize = 512;
/// Octets of a reason.
const REASON_MAX: usize = 200;
pub(super) const OTHER_ANSWER: &str = "the account's core gave another answer than was asked for";
