//! The policy: which hosts receive mail for a domain, and whether that binds senders. RFC 8461 3.2, 4.1, 5.
//!
//! ```text
//! sts-policy-record      = sts-policy-field *WSP *(sts-policy-term sts-policy-field *WSP) [sts-policy-term]
//! sts-policy-field       = name sts-policy-field-delim value      ; version, mode, max_age once, mx at least once
//! sts-policy-field-delim = ":" *WSP                               ; unless mode is none
//! sts-policy-term        = LF / CRLF
//! sts-policy-ext-value   = sts-policy-vchar [*(%x20 / sts-policy-vchar) sts-policy-vchar]
//! ```

use std::fmt;

use crate::limits::{MAX_AGE_SECS_MAX, MX_PATTERNS_MAX, POLICY_SIZE_MAX};
use crate::name::{MxPattern, normalise};
use crate::record::is_field_name;

/// What follows when a host is not as the policy says. RFC 8461 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No mail to hosts that fail.
    Enforce,
    /// Mail as if there were no policy; failures are reported.
    Testing,
    /// No policy any more. RFC 8461 8.3.
    None,
}

impl Mode {
    /// As in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Mode::Enforce, Mode::Testing, Mode::None]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// What holds for the connection to a host that the policy lists: STARTTLS, and a certificate valid for the host's own name that chains
    /// to a trusted root. RFC 8461 4.2.
    pub fn certificate(self) -> CertificateRule {
        match self {
            Mode::Enforce => CertificateRule::Required,
            Mode::Testing => CertificateRule::Reported,
            Mode::None => CertificateRule::Unchecked,
        }
    }
}

/// See [`Mode::certificate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRule {
    /// No STARTTLS or no valid certificate: no mail.
    Required,
    /// A failure is reported, no more.
    Reported,
    /// Neither.
    Unchecked,
}

/// May mail go to this MX host?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The host is one of the policy's, or the mode is none.
    Allowed,
    /// The host is not the policy's, but the policy is in testing: mail goes there, and [`MX_MISMATCH`] is reported.
    Reported,
    /// RFC 8461 5: mail must not go there. [`MX_MISMATCH`] is reported and the next host tried; with none left the failure is temporary, and
    /// not made permanent before the record was looked up again.
    Skipped,
}

/// The words of RFC 8460 for a host that no pattern matches: result type and reason.
pub const MX_MISMATCH: (&str, &str) = ("validation-failure", "mtasts-policy-mx-mismatch");

/// A policy, of others or our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    mode: Mode,
    max_age_secs: u64,
    mx: Vec<MxPattern>,
    text: String,
}

/// Why a text is no policy. All are `sts-policy-invalid` in reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not all of it was served, or it is no policy.
    #[error("the policy has more than {POLICY_SIZE_MAX} octets")]
    TooLarge,
    /// RFC 8461 3.2: values are UTF-8.
    #[error("the policy is not UTF-8")]
    Utf8,
    /// Line number from 1.
    #[error("line {0} of the policy is no field")]
    Syntax(usize),
    /// The field is missing.
    #[error("the policy has no {0}")]
    Missing(&'static str),
    /// The field's value is none of its kind.
    #[error("the policy has an invalid {0}")]
    Invalid(&'static str),
    /// More patterns than we keep.
    #[error("the policy has more than {MX_PATTERNS_MAX} mx patterns")]
    TooManyPatterns,
}

impl Policy {
    /// Reads what a policy host served. CRLF and LF both end lines (RFC 8461 erratum 6253). Lines without anything are let through.
    pub fn parse(octets: &[u8]) -> Result<Self, PolicyError> {
        if octets.len() > POLICY_SIZE_MAX {
            return Err(PolicyError::TooLarge);
        }
        let text = std::str::from_utf8(octets).map_err(|_| PolicyError::Utf8)?;
        let mut fields = Fields::default();
        for (at, line) in lines(text).enumerate() {
            let line = line.trim_end_matches(WSP);
            if !line.is_empty() {
                let (name, value) = parse_field(line).ok_or(PolicyError::Syntax(at + 1))?;
                fields.add(name, value)?;
            }
        }
        fields.finish(text)
    }

    /// Our own policy. A policy that is not none needs at least one pattern; more time than a year is cut to it.
    pub fn new(mode: Mode, max_age_secs: u64, mx: Vec<MxPattern>) -> Result<Self, PolicyError> {
        let mut policy = Policy {
            mode,
            max_age_secs: max_age_secs.min(MAX_AGE_SECS_MAX),
            mx,
            text: String::new(),
        };
        policy.check_patterns()?;
        policy.text = policy.to_string();
        Ok(policy)
    }

    /// The policy's mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How long the policy holds after it was fetched. At most a year and six hours.
    pub fn max_age_secs(&self) -> u64 {
        self.max_age_secs
    }

    /// The patterns, as they stand in the policy.
    pub fn mx(&self) -> &[MxPattern] {
        &self.mx
    }

    /// The policy as it was served; [`Policy::parse`] reads it again. What we serve is in this form: CRLF behind each line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines for the `policy-string` of a TLS report: as declared by the domain, with all errors (RFC 8460 4.5).
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let trimmed = lines(&self.text).map(|line| line.trim_end_matches(WSP));
        trimmed.filter(|line| !line.is_empty())
    }

    /// Is the host one that the policy lists? `mx_host` is the name in the MX record, in A-labels. RFC 8461 4.1.
    pub fn matches(&self, mx_host: &str) -> bool {
        let Some(host) = normalise(mx_host) else {
            return false;
        };
        self.mx
            .iter()
            .any(|pattern| pattern.matches_normalised(&host))
    }

    /// RFC 8461 5.
    pub fn decide(&self, mx_host: &str) -> Decision {
        match self.mode {
            Mode::None => Decision::Allowed,
            _ if self.matches(mx_host) => Decision::Allowed,
            Mode::Testing => Decision::Reported,
            Mode::Enforce => Decision::Skipped,
        }
    }

    fn check_patterns(&self) -> Result<(), PolicyError> {
        if self.mx.is_empty() && self.mode != Mode::None {
            return Err(PolicyError::Missing("mx"));
        }
        if self.mx.len() > MX_PATTERNS_MAX {
            return Err(PolicyError::TooManyPatterns);
        }
        Ok(())
    }
}

/// The text in its standard form, whatever form it was read in.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version: STSv1\r\nmode: {}\r\n", self.mode.as_str())?;
        for pattern in &self.mx {
            write!(f, "mx: {pattern}\r\n")?;
        }
        write!(f, "max_age: {}\r\n", self.max_age_secs)
    }
}

#[derive(Default)]
struct Fields {
    has_version: bool,
    mode: Option<Mode>,
    max_age_secs: Option<u64>,
    mx: Vec<MxPattern>,
}

impl Fields {
    /// RFC 8461 3.2: of fields that come twice, except mx, the first counts; unknown ones are ignored.
    fn add(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        match name {
            "version" if !self.has_version => {
                if value != "STSv1" {
                    return Err(PolicyError::Invalid("version"));
                }
                self.has_version = true;
            }
            "mode" if self.mode.is_none() => {
                self.mode = Some(Mode::parse(value).ok_or(PolicyError::Invalid("mode"))?);
            }
            "max_age" if self.max_age_secs.is_none() => {
                let secs = parse_max_age(value).ok_or(PolicyError::Invalid("max_age"))?;
                self.max_age_secs = Some(secs);
            }
            "mx" => {
                if self.mx.len() == MX_PATTERNS_MAX {
                    return Err(PolicyError::TooManyPatterns);
                }
                let pattern = MxPattern::parse(value).ok_or(PolicyError::Invalid("mx"))?;
                self.mx.push(pattern);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, text: &str) -> Result<Policy, PolicyError> {
        if !self.has_version {
            return Err(PolicyError::Missing("version"));
        }
        let policy = Policy {
            mode: self.mode.ok_or(PolicyError::Missing("mode"))?,
            max_age_secs: self.max_age_secs.ok_or(PolicyError::Missing("max_age"))?,
            mx: self.mx,
            text: text.to_owned(),
        };
        policy.check_patterns()?;
        Ok(policy)
    }
}

/// The lines of what was served, policy or not, for reports about one that is invalid (RFC 8460 4.5): at most `lines_max`, each shortened.
pub fn policy_lines(octets: &[u8], lines_max: usize) -> Vec<String> {
    let octets = &octets[..octets.len().min(POLICY_SIZE_MAX)];
    let text = String::from_utf8_lossy(octets);
    let kept = lines(&text).filter(|line| !line.trim().is_empty());
    kept.take(lines_max)
        .map(|line| line.chars().filter(|c| !c.is_control()).take(256).collect())
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
}

fn parse_field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_start_matches(WSP);
    let is_value = !value.is_empty() && !value.contains(char::is_control);
    (is_field_name(name) && is_value).then_some((name, value))
}

/// `1*10(DIGIT)`. A time beyond the greatest is cut: to refuse the policy would leave the domain with less than it asked for.
fn parse_max_age(value: &str) -> Option<u64> {
    let is_number = (1..=10).contains(&value.len()) && value.bytes().all(|o| o.is_ascii_digit());
    let secs: u64 = is_number.then(|| value.parse().ok())??;
    Some(secs.min(MAX_AGE_SECS_MAX))
}

const WSP: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8461 3.2.
    const EXAMPLE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n\
        mx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_rfc() {
        let policy = parse(EXAMPLE).unwrap();
        assert_eq!(policy.mode(), Mode::Enforce);
        assert_eq!(policy.max_age_secs(), 604_800);
        assert_eq!(policy.mx().len(), 3);
        assert_eq!(policy.text(), EXAMPLE);
        let lines: Vec<&str> = policy.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[3], "mx: *.example.net");
        for host in ["mail.example.com", "a.example.net", "BACKUPMX.example.com."] {
            assert_eq!(policy.decide(host), Decision::Allowed, "{host}");
        }
        for host in ["example.net", "b.a.example.net", "mail.example.org", ""] {
            assert_eq!(policy.decide(host), Decision::Skipped, "{host}");
        }
    }

    #[test]
    fn forms_that_are_read_too() {
        for text in [
            EXAMPLE.replace("\r\n", "\n"),
            EXAMPLE.trim_end().to_owned(),
            EXAMPLE.replace(": ", ":"),
            EXAMPLE.replace(": ", ":\t "),
            EXAMPLE.replace("\r\n", " \t\r\n"),
            EXAMPLE.replace("\r\n", "\r\n\r\n"),
            format!("x-later.field_1: caf\u{e9} au lait: 1\n{EXAMPLE}"),
            format!("{EXAMPLE}mode: none\nmode: bad\nmax_age: x\nversion: STSv2\n"),
        ] {
            let policy = parse(&text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
            assert_eq!(policy.to_string(), EXAMPLE);
        }
    }

    #[test]
    fn modes_decide() {
        let testing = parse(&EXAMPLE.replace("enforce", "testing")).unwrap();
        assert_eq!(testing.decide("mail.example.com"), Decision::Allowed);
        assert_eq!(testing.decide("mail.example.org"), Decision::Reported);
        assert_eq!(testing.mode().certificate(), CertificateRule::Reported);
        // RFC 8461 3.2: mx is required unless mode is none.
        let none = parse("version: STSv1\nmode: none\nmax_age: 0\n").unwrap();
        assert_eq!(none.decide("mail.example.org"), Decision::Allowed);
        assert_eq!(none.mode().certificate(), CertificateRule::Unchecked);
        assert_eq!(Mode::Enforce.certificate(), CertificateRule::Required);
    }

    #[test]
    fn what_is_no_policy() {
        use PolicyError::{Invalid, Missing, Syntax};
        for (from, to, error) in [
            ("version: STSv1\r\n", "", Missing("version")),
            ("mode: enforce\r\n", "", Missing("mode")),
            ("max_age: 604800\r\n", "", Missing("max_age")),
            ("version", "Version", Missing("version")),
            ("STSv1", "STSv2", Invalid("version")),
            ("STSv1", "stsv1", Invalid("version")),
            ("enforce", "Enforce", Invalid("mode")),
            ("enforce", "report", Invalid("mode")),
            ("604800", "-1", Invalid("max_age")),
            ("604800", "+1", Invalid("max_age")),
            ("604800", "1 week", Invalid("max_age")),
            ("604800", "12345678901", Invalid("max_age")),
            ("mail.example.com", "b\u{fc}cher.example", Invalid("mx")),
            ("mail.example.com", "a.example b.example", Invalid("mx")),
            ("mail.example.com", "a.*.example", Invalid("mx")),
            ("mail.example.com", "", Syntax(3)),
            ("mode: enforce", "mode : enforce", Syntax(2)),
            ("mode: enforce", "mode enforce", Syntax(2)),
            ("mode: enforce", "mode: enforce\r\nx: \0", Syntax(3)),
            ("mode: enforce", "mode: enforce\r\n: x", Syntax(3)),
        ] {
            let text = EXAMPLE.replace(from, to);
            assert_eq!(parse(&text), Err(error), "{text}");
        }
        let no_mx: String = EXAMPLE
            .split_inclusive('\n')
            .filter(|l| !l.starts_with("mx"))
            .collect();
        assert_eq!(parse(&no_mx), Err(Missing("mx")));
        assert_eq!(parse("<html><body>404</body></html>"), Err(Syntax(1)));
        assert_eq!(parse(""), Err(Missing("version")));
        assert_eq!(Policy::parse(b"version: \xff"), Err(PolicyError::Utf8));
    }

    #[test]
    fn bounds_of_a_policy() {
        let long = parse(&EXAMPLE.replace("604800", "9999999999")).unwrap();
        assert_eq!(long.max_age_secs(), MAX_AGE_SECS_MAX);
        let longest = EXAMPLE.replace("604800", "31557600");
        assert_eq!(parse(&longest).unwrap().max_age_secs(), 31_557_600);
        let mut full = format!("{EXAMPLE}x: ");
        full.extend(std::iter::repeat_n('y', POLICY_SIZE_MAX - full.len()));
        assert!(parse(&full).is_ok());
        full.push('y');
        assert_eq!(parse(&full), Err(PolicyError::TooLarge));
        let many = EXAMPLE.to_owned() + &"mx: a.example\n".repeat(MX_PATTERNS_MAX - 3);
        assert!(parse(&many).is_ok());
        assert_eq!(
            parse(&(many + "mx: a.example")),
            Err(PolicyError::TooManyPatterns)
        );
    }

    #[test]
    fn our_own_policy_is_read() {
        let mx = vec![MxPattern::parse("mail.example.com").unwrap()];
        let policy = Policy::new(Mode::Testing, 86_400, mx).unwrap();
        assert_eq!(
            policy.text(),
            "version: STSv1\r\nmode: testing\r\nmx: mail.example.com\r\nmax_age: 86400\r\n"
        );
        assert_eq!(parse(policy.text()), Ok(policy));
        assert_eq!(
            Policy::new(Mode::Enforce, 1, Vec::new()),
            Err(PolicyError::Missing("mx"))
        );
        assert!(Policy::new(Mode::None, 1, Vec::new()).is_ok());
    }

    #[test]
    fn lines_of_what_is_invalid_go_into_reports() {
        let served = b"version: STSv1\r\nmode: foo\x07\n\nmx: \xff\n";
        let lines = policy_lines(served, 10);
        assert_eq!(lines, ["version: STSv1", "mode: foo", "mx: \u{fffd}"]);
        assert_eq!(policy_lines(served, 1).len(), 1);
        assert_eq!(policy_lines(&[b'a'; 100_000], 9)[0].len(), 256);
    }
}
