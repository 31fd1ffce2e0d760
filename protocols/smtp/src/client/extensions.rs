//! What the server offered in its answer to EHLO. Lines come from the peer and are not trusted.
//! RFC 5321 4.1.1.1: `ehlo-line = ehlo-keyword *( SP ehlo-param )`. Unknown keywords are ignored.

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
    /// RFC 9422: RCPT commands per transaction.
    pub recipients_max: Option<u32>,
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
            "LIMITS" => self.recipients_max = parameters.find_map(recipients_max),
            _ => {}
        }
    }
}

/// RFC 9422 3.2: `RCPTMAX=` 1 to 999999; a malformed limit is ignored.
fn recipients_max(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    let digits = value.len() <= 6 && value.bytes().all(|octet| octet.is_ascii_digit());
    if !name.eq_ignore_ascii_case("RCPTMAX") || !digits {
        return None;
    }
    value.parse().ok().filter(|&limit| limit > 0)
}
