//! A request's body, taken apart: the JSON of the field `request`, and files beside it. It is in memory as a whole, within
//! `limits.http.request_max_bytes`, and all of the core within `limits.http.requests_memory_max_bytes`: who sends more then is put
//! off. RFC 7578 (multipart/form-data), WHATWG URL 5 (urlencoded).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::future::block_on;
use hyper::Request;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use shards::pool::PoolError;
use webapi::{ApiError, Code, UploadKind};

use crate::calls::UploadedFile;
use crate::percore::PerCore;
use crate::settings::AccountName;

/// What came.
pub(super) struct Form {
    /// JSON.
    pub request: Bytes,
    /// Files, in their order.
    pub uploads: Vec<UploadedFile>,
    _held: Held,
}

/// Reads it.
pub(super) async fn read(
    core: &Rc<PerCore>,
    request: Request<Incoming>,
    account: AccountName,
) -> Result<Form, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| wrong("the request has no Content-Type"))?
        .to_string();
    let (most, memory) = {
        let live = core.live();
        let http = &live.settings.server.limits.http;
        (
            http.request_max_bytes.as_usize(),
            http.requests_memory_max_bytes.as_usize(),
        )
    };
    let body = request.into_body();
    // Chunked: it shows as it comes.
    let length = body.size_hint().exact().unwrap_or(0);
    if length > most as u64 {
        return Err(too_large(most));
    }
    let mut held = Held::new(core, account, memory.max(most));
    let octets = collect(body, most, &mut held).await?;
    let (request, uploads) = if octets.len() > ON_CORE_MAX {
        let job = move || block_on(take_apart(octets, &content_type));
        core.parsing.run(job).await.map_err(busy)??
    } else {
        take_apart(octets, &content_type).await?
    };
    let request = request
        .filter(|json| !json.is_empty())
        .ok_or_else(|| wrong("missing/empty request"))?;
    Ok(Form {
        request,
        uploads,
        _held: held,
    })
}

/// Octets of bodies that a core holds, counted as they come: who only announces many takes nothing from others. An account has a quarter of them.
struct Held {
    core: Rc<PerCore>,
    account: AccountName,
    octets: usize,
    most: usize,
}

impl Held {
    fn new(core: &Rc<PerCore>, account: AccountName, most: usize) -> Held {
        Held {
            core: core.clone(),
            account,
            octets: 0,
            most,
        }
    }

    fn add(&mut self, octets: usize) -> Result<(), ApiError> {
        let mut all = self.core.request_memory.borrow_mut();
        let together: usize = all.values().sum();
        let own = all.entry(self.account).or_default();
        if together + octets > self.most || *own + octets > self.most / 4 {
            return Err(super::ours(
                "too much is being sent to the server at once; nothing was done, try again later",
            ));
        }
        *own += octets;
        self.octets += octets;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.core.request_memory.borrow_mut();
        if let Some(own) = all.get_mut(&self.account) {
            *own -= self.octets;
            if *own == 0 {
                all.remove(&self.account);
            }
        }
    }
}

async fn collect(mut body: Incoming, most: usize, held: &mut Held) -> Result<Bytes, ApiError> {
    let mut octets = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else {
            return Ok(octets.into());
        };
        let frame = frame.map_err(|e| wrong(format!("the body is broken off: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if octets.len() + data.len() > most {
                return Err(too_large(most));
            }
            held.add(data.len())?;
            octets.extend_from_slice(&data);
        }
    }
}

async fn take_apart(octets: Bytes, content_type: &str) -> Result<Parts, ApiError> {
    match multer::parse_boundary(content_type) {
        Ok(boundary) => parts(octets, boundary).await,
        Err(multer::Error::NoMultipart) => Ok((urlencoded(&octets)?, Vec::new())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The pool has as much to do as it takes.
pub(super) fn busy(error: PoolError) -> ApiError {
    super::ours(format!("{error}; nothing was done, try again later"))
}

/// Any other content type: a body without fields is told so.
fn urlencoded(octets: &[u8]) -> Result<Option<Bytes>, ApiError> {
    if octets.len() > FIELDS_MAX {
        return Err(too_large(FIELDS_MAX));
    }
    let found = form_urlencoded::parse(octets).find(|(name, _)| name == "request");
    Ok(found.map(|(_, value)| Bytes::from(value.into_owned())))
}

type Parts = (Option<Bytes>, Vec<UploadedFile>);

async fn parts(octets: Bytes, boundary: String) -> Result<Parts, ApiError> {
    let whole = futures_lite::stream::once(Ok::<_, Infallible>(octets));
    let mut parts = multer::Multipart::new(whole, boundary);
    let (mut request, mut uploads, mut fields) = (None, Vec::new(), 0);
    let broken = |error: multer::Error| wrong(format!("multipart/form-data: {error}"));
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        count += 1;
        if count > PARTS_MAX {
            return Err(wrong(format!("more than {PARTS_MAX} parts")));
        }
        let name = part.name().unwrap_or_default().to_string();
        let file_name = part.file_name().map(str::to_string);
        let header = |wanted: &str| {
            let value = part.headers().get(wanted);
            String::from_utf8_lossy(value.map_or(b"", |v| v.as_bytes())).into_owned()
        };
        let (content_type, content_id) = (header("Content-Type"), header("Content-ID"));
        let content = part.bytes().await.map_err(broken)?;
        match (file_name, UploadKind::of_field(&name)) {
            (Some(file_name), Some(kind)) if uploads.len() < FILES_MAX => {
                uploads.push(UploadedFile {
                    kind,
                    name: file_name,
                    content_type,
                    content_id,
                    content,
                })
            }
            (Some(_), Some(_)) => return Err(wrong(format!("more than {FILES_MAX} files"))),
            (None, _) => {
                fields += content.len();
                if fields > FIELDS_MAX {
                    return Err(too_large(FIELDS_MAX));
                }
                if name == "request" && request.is_none() {
                    request = Some(content);
                }
            }
            // A file that nobody asked for.
            (Some(_), None) => (),
        }
    }
    Ok((request, uploads))
}

fn wrong(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::Protocol, message)
}

fn too_large(most: usize) -> ApiError {
    wrong(format!("the request is larger than {most} octets"))
}

/// Octets that are taken apart on the core; more are the pool's that takes long messages apart.
pub(super) const ON_CORE_MAX: usize = 64 << 10;
/// Octets of what is no file.
const FIELDS_MAX: usize = 10 << 20;
/// Parts of a form: files, fields, and those that nobody asked for.
const PARTS_MAX: usize = 2_000;
/// Files of a request.
const FILES_MAX: usize = 1000;
