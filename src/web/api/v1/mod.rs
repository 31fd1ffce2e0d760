//! Version 1 of the API, `/webapi/v1/`: resources. The table of operations (`webapi::v1::operations`) says which there are, who may, and what
//! their bodies are; here a request is led to its operation, which is answered in the file of its subject.
//!
//! `auth` says who asks, `reply` makes responses. RFC 9110, 9457 (problems), 6750 (Bearer).
//! Not here: the types and the document (`protocols/webapi`), what an operation does to mail (the rooms below).

mod auth;
mod batches;
mod deliveries;
mod general;
mod happenings;
mod keys;
mod messages;
mod paging;
mod recipients;
mod reply;
mod senders;
mod suppressions;
mod templates;
mod webhooks;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hyper::body::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use shards::CoreId;
use shards::lanes::CallError;
use webapi::v1::recipient::Action;
use webapi::v1::{Access, Fault, Kind, Op, Operation, Problem, Route, Takes, find};
use webapi::{ApiError, Code, UploadKind};

use super::body::{self, BodyFault, Held, content_type};
use super::form::{self, Names};
use crate::calls::{Answer, Call, ControlAnswer, ControlCall, UploadedFile};
use crate::percore::{PerCore, monotonic};
use crate::queue::hooks::HookAsk;
use crate::settings::AccountName;
use crate::store::StoreError;
use crate::web::connection::Facing;
use crate::web::http::has_room;
use crate::web::payload::Payload;
use crate::web::posted::Posted;
use auth::Login;
pub(super) use reply::problem;

/// What came, and who sent it.
struct Asked {
    core: Rc<PerCore>,
    /// None: the operation is anybody's.
    login: Option<Login>,
    /// Of the path, in their order.
    parameters: Vec<String>,
    query: String,
    headers: HeaderMap,
    /// As the log names it.
    request_id: String,
    /// The JSON; empty: the operation takes none.
    body: Bytes,
    /// Files that came beside it.
    uploads: Vec<UploadedFile>,
    /// Something was done: what fails later is not all of it.
    has_changed: Rc<Cell<bool>>,
    _held: Option<Held>,
    /// Of a list, or of what is long: the answer, until it is there.
    answer: RefCell<Option<Held>>,
}

type Said = Result<Response<Bytes>, Problem>;

/// The response to a request; `path` is below the mount.
pub(super) async fn answer(
    core: &Rc<PerCore>,
    request: Request<Posted>,
    path: &str,
    (facing, is_foreign): (&Rc<Facing>, bool),
) -> Response<Payload> {
    let began = monotonic();
    let request_id = facing.request_id();
    let route = match path {
        "" if super::is_read(request.method()) => return super::redirect("/webapi/v1/"),
        path => find(request.method().as_str(), path),
    };
    let mut id = "none";
    let mut is_read = true;
    let said = match route {
        // Like what is asked of the pages: it takes no login.
        Route::Nowhere | Route::OtherVerbs(_) if !has_room(core, &facing.networks) => {
            Err(too_many())
        }
        Route::Nowhere => Err(Problem::new(
            Kind::NotFound,
            "there is nothing here; GET /webapi/v1/ shows what there is",
        )),
        Route::OtherVerbs(verbs) => {
            let detail = format!("only {verbs} can be used here");
            let mut refused =
                reply::problem(Problem::new(Kind::MethodNotAllowed, detail), &request_id);
            // RFC 9110 15.5.6.
            if let Ok(verbs) = HeaderValue::from_str(&verbs) {
                refused.headers_mut().insert(ALLOW, verbs);
            }
            Ok(refused)
        }
        Route::To(operation, parameters) => {
            id = operation.id;
            is_read = super::is_read(request.method());
            match is_foreign && !is_read {
                true => Err(Problem::new(
                    Kind::OtherSite,
                    "pages of other sites may not do this",
                )),
                false => {
                    let came = (request, parameters, request_id.clone());
                    let said = super::in_time(core, facing, run(core, operation, came, facing));
                    said.await.unwrap_or_else(|| {
                        Err(match is_read {
                            true => unavailable(super::TOO_LONG),
                            false => outcome_unknown(super::TOO_LONG),
                        })
                    })
                }
            }
        }
    };
    let said = said.and_then(|response| match facing.account() {
        Some(account) => counted((core, account), response, !is_read),
        None => Ok(response.map(Payload::from)),
    });
    let (response, result) = match said {
        Ok(response) => (response, "ok"),
        Err(problem) => {
            let word = problem.kind.word();
            let told = reply::problem(problem, &request_id);
            (told.map(Payload::from), word)
        }
    };
    tracing::debug!(
        request = request_id,
        operation = id,
        status = response.status().as_u16(),
        "API request"
    );
    super::count(core, id, result, began);
    response
}

/// An answer takes memory until its client has it.
fn counted(
    (core, account): (&Rc<PerCore>, AccountName),
    response: Response<Bytes>,
    is_done: bool,
) -> Result<Response<Payload>, Problem> {
    let mut held = Held::new(core, account);
    held.answer(response.body().len(), is_done)
        .map_err(body_problem)?;
    Ok(response.map(|octets| Payload::from(octets).counted(held)))
}

async fn run(
    core: &Rc<PerCore>,
    operation: &'static Operation,
    (request, parameters, request_id): (Request<Posted>, Vec<String>, String),
    facing: &Rc<Facing>,
) -> Said {
    let login = match operation.access {
        Access::Anybody if !has_room(core, &facing.networks) => return Err(too_many()),
        Access::Anybody => None,
        Access::Login => Some(auth::login(core, request.headers(), facing).await?),
        Access::Scope(scope) => {
            let login = auth::login(core, request.headers(), facing).await?;
            login.must_have(scope)?;
            Some(login)
        }
    };
    if let Some(login) = &login {
        facing.set_account(login.account);
    }
    let (head, incoming) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    if login.is_some() && operation.query.is_none() && !query.is_empty() {
        let name = query.split(['=', '&']).next().unwrap_or_default();
        return Err(Fault::of_parameter(name, "this takes no parameter in its query").into());
    }
    let (mut octets, mut uploads, mut held) = (Bytes::new(), Vec::new(), None);
    if let (Some(login), Takes::Json(_) | Takes::JsonOrFiles(..)) = (&login, operation.takes) {
        if body::is_coded(&head.headers) {
            let detail = "the body has a Content-Encoding, and is read only without";
            return Err(Problem::new(Kind::UnsupportedCoding, detail));
        }
        let form = form_type(&head.headers, operation.takes)?;
        let (read, counted) = body::read(core, incoming, (login.account, facing.clock()))
            .await
            .map_err(body_problem)?;
        auth::holds(core, login, &head.headers, facing).await?;
        (octets, held) = (read, Some(counted));
        if let Some((content_type, json)) = form {
            let of = (&**core, login.account);
            let parts = form::multipart(of, octets, content_type, names(json)).await;
            let (said, files) = parts.map_err(form_problem)?;
            let lacks = || Problem::new(Kind::Malformed, format!("the form has no part {json:?}"));
            (octets, uploads) = (said.ok_or_else(lacks)?, files);
        }
    }
    let asked = Asked {
        core: core.clone(),
        login,
        parameters,
        query: head.uri.query().unwrap_or_default().to_string(),
        headers: head.headers,
        request_id,
        body: octets,
        uploads,
        has_changed: Rc::default(),
        _held: held,
        answer: RefCell::default(),
    };
    let has_changed = asked.has_changed.clone();
    let said = dispatch(operation.op, asked).await;
    said.map_err(|problem| match problem.kind {
        Kind::Unavailable if has_changed.get() => {
            let words = problem.detail.strip_suffix(NOTHING_DONE);
            outcome_unknown(words.unwrap_or(&problem.detail))
        }
        _ => problem,
    })
}

async fn dispatch(op: Op, asked: Asked) -> Said {
    match op {
        Op::Page => general::page(&asked).await,
        Op::Document => general::document(&asked).await,
        Op::Problem => general::problem(&asked),
        Op::Account => general::account(&asked).await,
        Op::Keys => keys::list(&asked).await,
        Op::MakeKey => keys::make(&asked).await,
        Op::DeleteKey => keys::delete(&asked).await,
        Op::Send => messages::send(asked).await,
        Op::Messages => recipients::list(&asked).await,
        Op::Message => recipients::get(&asked).await,
        Op::Happenings => happenings::list(&asked).await,
        Op::Queue => recipients::list_queue(&asked).await,
        Op::ChangeQueue => recipients::change_all(&asked).await,
        Op::Hold => recipients::change(&asked, Action::Hold).await,
        Op::Release => recipients::change(&asked, Action::Release).await,
        Op::Kick => recipients::change(&asked, Action::Kick).await,
        Op::Drop => recipients::change(&asked, Action::Drop).await,
        Op::PostBatch => batches::post(asked).await,
        Op::Batches => batches::list(&asked).await,
        Op::Batch => batches::get(&asked).await,
        Op::CancelBatch => batches::cancel(&asked).await,
        Op::Templates => templates::list(&asked).await,
        Op::Template => templates::get(&asked).await,
        Op::PutTemplate => templates::put(&asked).await,
        Op::DeleteTemplate => templates::delete(&asked).await,
        Op::Suppressions => suppressions::list(&asked).await,
        Op::Suppression => suppressions::get(&asked).await,
        Op::PutSuppression => suppressions::put(&asked).await,
        Op::DeleteSuppression => suppressions::delete(&asked).await,
        Op::Webhooks => webhooks::list(&asked).await,
        Op::Webhook => webhooks::get(&asked).await,
        Op::MakeWebhook => webhooks::make(&asked).await,
        Op::PutWebhook => webhooks::put(&asked).await,
        Op::DeleteWebhook => webhooks::delete(&asked).await,
        Op::EnableWebhook => webhooks::enable(&asked, true).await,
        Op::DisableWebhook => webhooks::enable(&asked, false).await,
        Op::RotateSecret => webhooks::rotate(&asked).await,
        Op::TestWebhook => webhooks::test(&asked).await,
        Op::Deliveries => deliveries::list(&asked).await,
        Op::Delivery => deliveries::get(&asked).await,
        Op::Redeliver => deliveries::redeliver(&asked).await,
        Op::CancelDelivery => deliveries::cancel(&asked).await,
    }
}

impl Asked {
    /// Whoever has passed the check of access.
    fn login(&self) -> Result<&Login, Problem> {
        self.login
            .as_ref()
            .ok_or_else(|| Problem::new(Kind::Unauthorized, "this needs a login"))
    }

    /// Memory for an answer of so many octets, while it is made: what is too much is put off before that.
    fn reserve(&self, octets: usize) -> Result<(), Problem> {
        let mut held = Held::new(&self.core, self.login()?.account);
        held.add(octets).map_err(body_problem)?;
        self.answer.replace(Some(held));
        Ok(())
    }

    /// The first parameter of the path.
    fn parameter(&self) -> &str {
        self.parameters.first().map_or("", String::as_str)
    }

    /// Asks the owner of the caller's account.
    async fn ask_owner(&self, call: ControlCall) -> Result<ControlAnswer, Problem> {
        let owner = self.core.owner_of(self.login()?.account.as_str());
        self.ask(owner, call).await
    }

    /// Asks a core.
    async fn ask(&self, to: CoreId, call: ControlCall) -> Result<ControlAnswer, Problem> {
        let changes = changes(&call);
        let error = match self.core.call(to, Call::Control(Box::new(call))).await {
            Ok(Answer::Control(Ok(answer))) => {
                self.has_changed.set(self.has_changed.get() || changes);
                return Ok(answer);
            }
            Ok(Answer::Control(Err(error))) => error,
            Ok(_) => return Err(other_answer()),
            Err(error) => error.into(),
        };
        Err(match error {
            StoreError::Limit(_) => Problem::new(Kind::LimitReached, error.to_string()),
            error if changes && !error.is_certain() => outcome_unknown(error),
            error => unavailable(error),
        })
    }
}

/// Whether it asks for anything but words.
fn changes(call: &ControlCall) -> bool {
    match call {
        ControlCall::AddApiKey { .. }
        | ControlCall::RemoveApiKey { .. }
        | ControlCall::PutTemplate { .. }
        | ControlCall::QueueChange { .. }
        | ControlCall::CancelBatch { .. }
        | ControlCall::ChangeSuppression { .. } => true,
        ControlCall::Webhooks { ask, .. } => !matches!(
            **ask,
            HookAsk::List
                | HookAsk::Pending { .. }
                | HookAsk::Retired { .. }
                | HookAsk::Payload { .. }
        ),
        _ => false,
    }
}

/// Why a call that was to send something has no answer.
fn unanswered(error: CallError) -> Problem {
    match StoreError::from(error) {
        error if error.is_certain() => unavailable(error),
        error => outcome_unknown(error),
    }
}

/// A core answered what it was not asked: a fault of ours.
fn other_answer() -> Problem {
    unavailable("the account's core gave another answer than was asked for")
}

/// The type of a form, with its boundary, and the name of its part with the JSON; none: the body is JSON. RFC 8259 11: no parameter of that means
/// anything.
fn form_type(headers: &HeaderMap, takes: Takes) -> Result<Option<(&str, &'static str)>, Problem> {
    let given = content_type(headers).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let is = |wanted: &str| essence.eq_ignore_ascii_case(wanted);
    match takes {
        _ if is("application/json") => Ok(None),
        Takes::JsonOrFiles(_, form) if is("multipart/form-data") => Ok(Some((given, form.json))),
        _ => Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!("the body has to be application/json; it says {given:?}"),
        )),
    }
}

/// The parts of a form, as the table of operations has them.
fn names(json: &'static str) -> Names {
    Names {
        json,
        kind_of: |name| match name {
            "attachment" => Some(UploadKind::Attached),
            "inline" => Some(UploadKind::Inline),
            _ => None,
        },
        is_strict: true,
    }
}

fn form_problem(error: ApiError) -> Problem {
    let kind = match error.code {
        Code::Server => Kind::Unavailable,
        _ => Kind::Malformed,
    };
    Problem::new(kind, error.message)
}

fn body_problem(fault: BodyFault) -> Problem {
    match fault {
        BodyFault::TooLarge(most) => Problem::new(
            Kind::TooLarge,
            format!("the request is larger than {most} octets"),
        ),
        BodyFault::Broken(words) => Problem::new(Kind::Malformed, words),
        BodyFault::TooSlow(words) => Problem::new(Kind::TooSlow, words),
        BodyFault::Busy(words) => Problem::new(Kind::Unavailable, words),
    }
}

fn too_many() -> Problem {
    Problem::new(
        Kind::TooMany,
        "too many requests without a valid login from your network",
    )
}

/// What the server answers for itself when it can't be asked now.
fn unavailable(error: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::Unavailable, format!("{error}{NOTHING_DONE}"))
}

/// The same, once it may have been done, or a part of it.
fn outcome_unknown(error: impl std::fmt::Display) -> Problem {
    let detail = format!("{error}; whether it was done, or all of it, is not known");
    Problem {
        retry_after: Some(5),
        ..Problem::new(Kind::OutcomeUnknown, detail)
    }
}

const NOTHING_DONE: &str = "; nothing was done, try again later";
