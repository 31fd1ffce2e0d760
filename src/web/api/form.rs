//! A request's body, taken apart: the JSON of one field, and files beside it. RFC 7578 (multipart/form-data), WHATWG URL 5 (urlencoded).

use std::rc::Rc;

use hyper::Request;
use hyper::body::Bytes;
use message::ContentType;
use shards::pool::PoolError;
use webapi::{ApiError, Code, UploadKind};

use super::body::{self, BodyFault, Held, content_type};
use super::multipart::{self, Broken, Part};
use crate::calls::UploadedFile;
use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::web::posted::Posted;
use crate::web::stream::Clock;

/// How the parts of a form are called.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// That with the JSON.
    pub json: &'static str,
    /// What a file is for.
    pub kind_of: fn(&str) -> Option<UploadKind>,
    /// Any other part is an error, not a file alone, and one without octets is something.
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
    request: Request<Posted>,
    (account, clock): (AccountName, &Clock),
) -> Result<Form, ApiError> {
    let content_type = content_type(request.headers())
        .ok_or_else(|| wrong("the request has no Content-Type"))?
        .to_string();
    let (octets, held) = body::read(core, request.into_body(), (account, clock))
        .await
        .map_err(|fault| match fault {
            BodyFault::TooLarge(most) => too_large(most),
            BodyFault::Broken(words) | BodyFault::TooSlow(words) => wrong(words),
            BodyFault::Busy(words) => super::ours(words),
        })?;
    let (request, uploads) = if octets.len() > ON_CORE_MAX {
        let job = move || take_apart(octets, &content_type);
        let taken = core.composing.run(account.as_str(), job);
        taken.await.map_err(busy)??
    } else {
        take_apart(octets, &content_type)?
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

fn take_apart(octets: Bytes, content_type: &str) -> Result<Parts, ApiError> {
    let kind = ContentType::parse(content_type.as_bytes());
    let kind = kind.ok_or_else(|| wrong("the Content-Type can't be read"))?;
    match kind.is("multipart", "form-data") {
        true => parts(octets, boundary(&kind)?, NAMES),
        false => Ok((urlencoded(&octets)?, Vec::new())),
    }
}

/// RFC 2046 5.1.1.
fn boundary(kind: &ContentType) -> Result<&[u8], ApiError> {
    let given = kind.parameter("boundary");
    given
        .filter(|boundary| (1..=BOUNDARY_MAX).contains(&boundary.len()))
        .ok_or_else(|| wrong("multipart/form-data: it has no boundary, or a long one"))
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
    let kind = ContentType::parse(content_type.as_bytes());
    let kind = kind.ok_or_else(|| wrong("the Content-Type can't be read"))?;
    if octets.len() > ON_CORE_MAX {
        let job = move || parts(octets, boundary(&kind)?, names);
        let taken = core.composing.run(account.as_str(), job);
        return taken.await.map_err(busy)?;
    }
    parts(octets, boundary(&kind)?, names)
}

fn parts(octets: Bytes, boundary: &[u8], names: Names) -> Result<Parts, ApiError> {
    let broken = |why: Broken| wrong(format!("multipart/form-data: {why}"));
    let mut parts = multipart::Parts::of(octets, boundary).map_err(broken)?;
    let (mut request, mut uploads, mut fields) = (None, Vec::new(), 0);
    let mut count = 0;
    while let Some(part) = parts.next().map_err(broken)? {
        count += 1;
        if count > PARTS_MAX {
            return Err(wrong(format!("more than {PARTS_MAX} parts")));
        }
        let Part {
            name,
            file_name,
            content_type,
            content_id,
            content,
        } = part;
        let is_named = file_name.as_ref().is_some_and(|name| !name.is_empty());
        // WHATWG HTML, "constructing the entry list": where nobody chose a file a browser sends an empty one without a name.
        if !names.is_strict && !is_named && content.is_empty() {
            continue;
        }
        if let Some(kind) = (names.kind_of)(&name) {
            if uploads.len() == FILES_MAX {
                return Err(wrong(format!("more than {FILES_MAX} files")));
            }
            uploads.push(UploadedFile {
                kind,
                // One without a name is a file by its part's name.
                name: file_name.unwrap_or_default(),
                content_type,
                content_id,
                content,
            });
            continue;
        }
        let is_json = name == names.json && request.is_none();
        // Version 1 takes the JSON in a file, as some programs send parts that have a type.
        let is_file = is_named && !(names.is_strict && is_json);
        if is_file || names.is_strict && !is_json {
            let what = if is_file { "file" } else { "part" };
            return Err(wrong(format!("nobody asked for the {what} {name:?}")));
        }
        if name.is_empty() {
            return Err(wrong("a part has no name"));
        }
        if file_name.is_none() || !names.is_strict {
            fields += content.len();
            if fields > FIELDS_MAX {
                return Err(too_large(FIELDS_MAX));
            }
        }
        if is_json {
            request = Some(content);
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
/// Parts of a form: files, fields, and those that nobody asked for or filled in.
const PARTS_MAX: usize = 2_000;
/// Octets of a boundary: RFC 2046 5.1.1 has 70, some programs write more.
const BOUNDARY_MAX: usize = 200;
/// Files of a request.
const FILES_MAX: usize = 1000;

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
