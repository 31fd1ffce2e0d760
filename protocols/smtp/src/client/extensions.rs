//! What the server offered in its answer to EHLO. Lines come from the peer and are not trusted.
//! RFC 3461 (DSN), 4865 (FUTURERELEASE), 8689 (REQUIRETLS), 9422 (LIMITS).
//! RFC 5321 4.1.1.1: `ehlo-line = ehlo-keyword *( SP ehlo-param )`. Unknown keywords are ignored.

use crate::future_release::FutureRelease;

/// Offers of one EHLO; a new EHLO replaces them (RFC 3207 4.2, RFC 9422).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: the largest message in octets; 0 means no limit is known.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3030 3.
    pub binarymime: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954: names of mechanisms, in upper case.
    pub auth: Vec<String>,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 4865.
    pub future_release: Option<FutureRelease>,
    /// RFC 9422 3.1: transactions per session.
    pub transactions_max: Option<u32>,
    /// RFC 9422 3.2: RCPT commands per transaction.
    pub recipients_max: Option<u32>,
    /// RFC 9422 3.3: domains of recipients per transaction.
    pub recipient_domains_max: Option<u32>,
}

impl Extensions {
    /// Reads the text of the reply: its first line greets, each other names an extension.
    pub(super) fn parse(text: &str) -> Self {
        let mut extensions = Extensions::default();
        for line in text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            if let Some(keyword) = words.next() {
                extensions.learn(&keyword.to_ascii_uppercase(), words);
            }
        }
        extensions
    }

    fn learn<'t>(&mut self, keyword: &str, mut parameters: impl Iterator<Item = &'t str>) {
        match keyword {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = Some(
                    parameters
                        .next()
                        .and_then(|size| size.parse().ok())
                        .unwrap_or(0),
                )
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binarymime = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => self.auth = parameters.map(str::to_ascii_uppercase).collect(),
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.require_tls = true,
            "FUTURERELEASE" => self.future_release = FutureRelease::parse(parameters),
            "LIMITS" => parameters.for_each(|parameter| self.limit(parameter)),
            _ => {}
        }
    }

    /// RFC 9422 3: 1 to 999999 each; a malformed limit is ignored.
    fn limit(&mut self, parameter: &str) {
        let Some((name, value)) = parameter.split_once('=') else {
            return;
        };
        let limit = match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => &mut self.transactions_max,
            "RCPTMAX" => &mut self.recipients_max,
            "RCPTDOMAINMAX" => &mut self.recipient_domains_max,
            _ => return,
        };
        if let Some(number) = digits(value, 6) {
            *limit = Some(number);
        }
    }
}

/// A positive number of at most so many digits.
fn digits(text: &str, most: usize) -> Option<u32> {
    let all = text.len() <= most && text.bytes().all(|octet| octet.is_ascii_digit());
    let number = text.parse().ok().filter(|_| all);
    number.filter(|number| *number > 0)
}
