//! The answer to EHLO and HELO.
//! RFC 5321 4.1.1.1, and the RFC of each extension named below.

use super::config::{Config, Link};
use crate::command::HelloKind;
use crate::future_release::FutureRelease;
use crate::timestamp;

/// Appends the reply. HELO gets a single line: its client knows nothing of extensions.
pub(super) fn write(
    config: &Config,
    kind: HelloKind,
    link: Link,
    mechanisms: &[&str],
    future_release: Option<FutureRelease>,
    output: &mut Vec<u8>,
) {
    if kind == HelloKind::Plain {
        output.extend_from_slice(format!("250 {}\r\n", config.hostname).as_bytes());
        return;
    }
    let mut line = |text: &str| {
        output.extend_from_slice(b"250-");
        output.extend_from_slice(text.as_bytes());
        output.extend_from_slice(b"\r\n");
    };
    line(&config.hostname);
    line("PIPELINING"); // RFC 2920
    line(&format!("SIZE {}", config.size_max)); // RFC 1870
    if config.offer_starttls && link == Link::Plain {
        line("STARTTLS"); // RFC 3207
    }
    // RFC 4954 3: the mechanisms that can be used now; no line at all if there is none, so that no client is lured into sending a
    // password.
    if !mechanisms.is_empty() {
        line(&format!("AUTH {}", mechanisms.join(" ")));
    }
    // RFC 8689 2: in the answer to EHLO within TLS.
    if config.offer_require_tls && link == Link::Tls {
        line("REQUIRETLS");
    }
    // RFC 4865 3
    if let Some(FutureRelease {
        seconds_max,
        until_max,
    }) = future_release
    {
        let until = timestamp::format(until_max);
        line(&format!("FUTURERELEASE {seconds_max} {until}"));
    }
    line("ENHANCEDSTATUSCODES"); // RFC 2034
    line("8BITMIME"); // RFC 6152
    if config.offer_dsn {
        line("DSN"); // RFC 3461 3
    }
    if config.offer_chunking {
        line("CHUNKING"); // RFC 3030
    }
    if config.binarymime() {
        line("BINARYMIME"); // RFC 3030 3
    }
    line(&format!(
        "LIMITS RCPTMAX={}",
        config.recipients_max.clamp(1, 999_999)
    )); // RFC 9422
    if config.offer_smtputf8 {
        line("SMTPUTF8"); // RFC 6531
    }
    output.extend_from_slice(b"250 HELP\r\n"); // RFC 5321 4.1.1.8
}
