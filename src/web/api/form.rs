//! A request's body, taken apart: the JSON of one field, and files beside it. RFC 7578 (multipart/form-data), WHATWG URL 5 (urlencoded).

use std::convert::Infallible;
use std::rc::Rc;

use futures_lite::future::block_on;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use shards::pool::PoolError;
use webapi::{ApiError, Code, UploadKind};

use super::body::{self, BodyFault, Held, content_type};
use crate::calls::UploadedFile;
use crate::percore::PerCore;
use crate::settings::AccountName;

/// How the parts of a form are called.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// That with the JSON.
    pub json: &'static str,
    /// What a file is for.
    pub kind_of: fn(&str) -> Option<UploadKind>,
    /// Any other part is an error.
    pub is_strict: bool,
}

/// Those of version 0.
const NAMES: Names = Names {
    json: "request",
    kind_of: UploadKind::of_field,
    is_strict: false,
};

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
    let content_type = content_type(request.headers())
        .ok_or_else(|| wrong("the request has no Content-Type"))?
        .to_string();
    let (octets, held) = body::read(core, request.into_body(), account)
        .await
        .map_err(|fault| match fault {
            BodyFault::TooLarge(most) => too_large(most),
            BodyFault::Broken(words) | BodyFault::TooSlow(words) => wrong(words),
            BodyFault::Busy(words) => super::ours(words),
        })?;
    let (request, uploads) = if octets.len() > ON_CORE_MAX {
        let job = move || block_on(take_apart(octets, &content_type));
        let taken = core.composing.run(account.as_str(), job);
        taken.await.map_err(busy)??
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

async fn take_apart(octets: Bytes, content_type: &str) -> Result<Parts, ApiError> {
    match multer::parse_boundary(content_type) {
        Ok(boundary) => parts(octets, boundary, NAMES).await,
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

/// The JSON, and files.
pub(super) type Parts = (Option<Bytes>, Vec<UploadedFile>);

/// Those of a multipart form with other names.
pub(super) async fn multipart(
    (core, account): (&PerCore, AccountName),
    octets: Bytes,
    content_type: &str,
    names: Names,
) -> Result<Parts, ApiError> {
    let boundary = multer::parse_boundary(content_type).map_err(|e| wrong(e.to_string()))?;
    if octets.len() > ON_CORE_MAX {
        let job = move || block_on(parts(octets, boundary, names));
        let taken = core.composing.run(account.as_str(), job);
        return taken.await.map_err(busy)?;
    }
    parts(octets, boundary, names).await
}

async fn parts(octets: Bytes, boundary: String, names: Names) -> Result<Parts, ApiError> {
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
        let kind = (names.kind_of)(&name);
        // One without a name is a file by its part's name, where that says so.
        let file_name = match kind {
            Some(_) if names.is_strict => file_name.or(Some(String::new())),
            _ => file_name,
        };
        match (file_name, kind) {
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
                if name == names.json && request.is_none() {
                    request = Some(content);
                } else if names.is_strict {
                    return Err(wrong(format!("nobody asked for the part {name:?}")));
                }
            }
            // The JSON in a file, as some programs send parts that have a type.
            (Some(_), None) if names.is_strict && name == names.json && request.is_none() => {
                request = Some(content);
            }
            (Some(_), None) if names.is_strict => {
                return Err(wrong(format!("nobody asked for the part {name:?}")));
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
