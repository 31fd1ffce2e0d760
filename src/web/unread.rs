//! What is answered to a request whose head hyper can't read: it says a status for itself, and nothing else. Here that gets words, and the number by which
//! the log has it. RFC 9112 2.2, RFC 6585 5. HTTP/1 alone: h2 answers its peers with frames.
//! Called by `stream` with what hyper begins to write while no request is under way.

use hyper::StatusCode;
use webapi::v1::openapi::PROBLEM;
use webapi::v1::{Kind, Problem};

use super::http::REQUEST_ID;

/// The response in place of hyper's; none: that is none of its own, or has a status without words.
pub(super) fn in_words(
    written: &[u8],
    (head_max, is_api): (usize, bool),
    request_id: impl FnOnce() -> String,
) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(written).ok()?;
    let (line, fields) = head.strip_suffix("\r\n\r\n")?.split_once("\r\n")?;
    let status = line.strip_prefix("HTTP/1.")?.get(2..5)?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    let mut fields: Vec<&str> = fields.split("\r\n").collect();
    let before = fields.len();
    fields.retain(|field| !field.eq_ignore_ascii_case("content-length: 0"));
    if fields.len() == before || fields.iter().any(|field| field.starts_with(REQUEST_ID)) {
        return None;
    }
    let problem = match status {
        StatusCode::BAD_REQUEST => {
            Problem::new(Kind::Malformed, "the head of the request can't be read")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => too_large(head_max),
        _ => return None,
    };
    let id = request_id();
    tracing::debug!(
        request = id,
        status = status.as_u16(),
        "the head of a request can't be read"
    );
    let (body, content_type) = match is_api {
        true => {
            let problem = Problem {
                request_id: Some(id.clone()),
                ..problem
            };
            (serde_json::to_vec(&problem).ok()?, PROBLEM)
        }
        false => {
            let detail = problem.detail;
            let text = format!("{detail}.\nRequest {id}.\n");
            (text.into_bytes(), "text/plain; charset=utf-8")
        }
    };
    let length = body.len();
    let fields = fields.join("\r\n");
    let mut all = format!(
        "{line}\r\n{fields}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{REQUEST_ID}: {id}\r\n\r\n"
    )
    .into_bytes();
    all.extend(body);
    Some(all)
}

/// A head with more than there may be, of octets or of fields.
pub(super) fn too_large(head_max: usize) -> Problem {
    let detail = format!(
        "the head of a request has at most {head_max} octets (limits.http.header_max_bytes) and {HEADERS_MAX} fields"
    );
    Problem::new(Kind::HeadTooLarge, detail)
}

/// Header fields of a request, at most. With those of header_max_bytes by default each has 65 octets.
pub(super) const HEADERS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_for_itself_gets_words() {
        let said = |text: &str| {
            let words = in_words(text.as_bytes(), (8192, true), || "a-1".into());
            words.map(|words| String::from_utf8(words).unwrap())
        };
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let words = said(own).unwrap();
        let (head, body) = words.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nconnection: close\r\n") && head.contains("\r\ndate: x\r\n"));
        assert!(head.ends_with("\r\nringmail-request-id: a-1"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())));
        assert!(body.contains("8192 octets") && body.contains("\"request_id\":\"a-1\""));
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nringmail-request-id: b-1\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 4\r\n\r\n",
            "\r\n\r\n",
            "",
        ] {
            assert_eq!(said(other), None, "{other:?}");
        }
    }
}
