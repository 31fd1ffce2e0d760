//! What a sender asks for in the envelope about reports: NOTIFY and ORCPT of a recipient, RET and ENVID of a message.
//! Called by the parsers of MAIL and RCPT, by the client that writes them, and by who composes reports. Input is untrusted.
//! RFC 3461 4 (parameters), RFC 6533 3 (UTF-8 addresses in ORCPT).
//! Not here: the commands they stand in (`parameters.rs`), whether a report is due and what it says (`dsn`).

use std::fmt;
use std::str::FromStr;

use crate::address::Address;
use crate::limits;
use crate::xtext::{from_unitext, from_xtext, unitext, xtext};

/// A parameter of MAIL or RCPT that is not as RFC 3461 4 has it: 501 5.5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not `NEVER` and not a list of the three others, each once.
    #[error("malformed NOTIFY parameter")]
    Notify,
    /// Neither `FULL` nor `HDRS`.
    #[error("malformed RET parameter")]
    Return,
    /// Not xtext of printable ASCII, or too long.
    #[error("malformed ENVID parameter")]
    EnvelopeId,
    /// Not `type;address`, or too long.
    #[error("malformed ORCPT parameter")]
    OriginalRecipient,
}

/// NOTIFY of one recipient. RFC 3461 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// No report whatever happens.
    Never,
    /// A report on these occasions, on no other.
    On {
        /// The message was delivered, or left to a host that does not report.
        success: bool,
        /// It will not be delivered.
        failure: bool,
        /// It is not delivered yet.
        delay: bool,
    },
}

impl FromStr for Notify {
    type Err = ParameterError;

    // RFC 3461 4.1: notify-esmtp-value = "NEVER" / 1#notify-list-element
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Notify::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            let seen = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut success,
                "FAILURE" => &mut failure,
                "DELAY" => &mut delay,
                _ => return Err(ParameterError::Notify),
            };
            if std::mem::replace(seen, true) {
                return Err(ParameterError::Notify);
            }
        }
        Ok(Notify::On {
            success,
            failure,
            delay,
        })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Notify::On {
            success,
            failure,
            delay,
        } = self
        else {
            return f.write_str("NEVER");
        };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let words: Vec<&str> = words.iter().filter(|w| *w.0).map(|w| w.1).collect();
        f.write_str(&words.join(","))
    }
}

/// RET of a message. RFC 3461 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The whole message comes back with a report of a failure.
    Full,
    /// Only its header.
    Headers,
}

impl FromStr for Return {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, ParameterError> {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Ok(Return::Full),
            "HDRS" => Ok(Return::Headers),
            _ => Err(ParameterError::Return),
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Return::Full => "FULL",
            Return::Headers => "HDRS",
        })
    }
}

/// ENVID of a message, decoded. RFC 3461 4.4. `Display` writes the parameter as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeId {
    id: Box<str>,
    // RFC 3461 5.2.1 (a): relayed with the same value as it came, so it is kept as it came.
    parameter: Box<str>,
}

impl EnvelopeId {
    /// The id itself, printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.id
    }
}

impl FromStr for EnvelopeId {
    type Err = ParameterError;

    /// Reads the parameter.
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        if text.is_empty() || text.len() > limits::ENVELOPE_ID_MAX {
            return Err(ParameterError::EnvelopeId);
        }
        let octets = from_xtext(text).ok_or(ParameterError::EnvelopeId)?;
        // RFC 3461 4.4: the encoded text must be printable ASCII.
        if !octets.iter().all(|octet| (32..=126).contains(octet)) {
            return Err(ParameterError::EnvelopeId);
        }
        let id = String::from_utf8(octets).map_err(|_| ParameterError::EnvelopeId)?;
        Ok(EnvelopeId {
            id: id.into(),
            parameter: text.into(),
        })
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parameter)
    }
}

/// An address with its type, as ORCPT, Original-Recipient and Final-Recipient have it. RFC 3461 4.2, RFC 3464 2.1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    address_type: Box<str>,
    address: Box<str>,
    // RFC 3461 5.2.1 (d): relayed identically, so it is kept as it came.
    parameter: Box<str>,
}

impl OriginalRecipient {
    /// The address of a recipient as it came, for a message without ORCPT that goes to a server with DSN.
    // RFC 3461 5.2.1: an MTA MAY add an ORCPT parameter with the address that the sender gave.
    pub fn of_address(address: &Address) -> Self {
        let text = address.to_string();
        let (address_type, encoded) = if address.needs_smtputf8() {
            ("utf-8", unitext(&text))
        } else {
            ("rfc822", xtext(text.as_bytes()))
        };
        OriginalRecipient {
            address_type: address_type.into(),
            address: text.into(),
            parameter: format!("{address_type};{encoded}").into(),
        }
    }

    /// The type in lower case: `rfc822`, `utf-8`, or another.
    pub fn address_type(&self) -> &str {
        &self.address_type
    }

    /// The address, decoded.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the address has characters outside ASCII.
    pub fn is_internationalized(&self) -> bool {
        !self.address.is_ascii()
    }

    /// Whether it came with octets above 127. RFC 6533 3: only where SMTPUTF8 was asked for.
    pub fn needs_smtputf8(&self) -> bool {
        !self.parameter.is_ascii()
    }

    /// The value of an ORCPT parameter: as it came, unless that has octets above 127.
    pub fn to_parameter(&self) -> String {
        if self.parameter.is_ascii() {
            return self.parameter.to_string();
        }
        // RFC 6533 3: in 7 bits, and to servers without SMTPUTF8, utf-8-addr-xtext must be used.
        format!("{};{}", self.address_type, unitext(&self.address))
    }
}

impl FromStr for OriginalRecipient {
    type Err = ParameterError;

    /// Reads the parameter.
    // RFC 3461 4.2: original-recipient-address = addr-type ";" xtext
    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let wrong = ParameterError::OriginalRecipient;
        if text.len() > limits::ORIGINAL_RECIPIENT_MAX {
            return Err(wrong);
        }
        let (address_type, address) = text.split_once(';').ok_or(wrong)?;
        let is_atom = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if address_type.is_empty() || !address_type.chars().all(is_atom) {
            return Err(wrong);
        }
        let address_type = address_type.to_ascii_lowercase();
        let address = if address_type == "utf-8" {
            // RFC 6533 3: neither stands in QUCHAR; in a parameter either would end it.
            if address.contains([' ', '=']) {
                return Err(wrong);
            }
            from_unitext(address)
        } else {
            let octets = from_xtext(address).ok_or(wrong)?;
            String::from_utf8(octets).map_err(|_| wrong)?
        };
        if address.is_empty() || address.chars().any(char::is_control) {
            return Err(wrong);
        }
        Ok(OriginalRecipient {
            address_type: address_type.into(),
            address: address.into(),
            parameter: text.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(words: &str) -> Notify {
        words.parse().unwrap()
    }

    #[test]
    fn notify_parameter() {
        assert_eq!(on("never"), Notify::Never);
        assert_eq!(on("Failure,SUCCESS").to_string(), "SUCCESS,FAILURE");
        // RFC 3461 4.1: NEVER stands alone.
        for bad in ["", "NEVER,DELAY", "DELAY,DELAY", "DELAY,", "SOMETIMES"] {
            assert_eq!(bad.parse::<Notify>(), Err(ParameterError::Notify), "{bad}");
        }
    }

    #[test]
    fn ret_and_envid_parameters() {
        assert_eq!("full".parse(), Ok(Return::Full));
        assert_eq!("HDRS".parse::<Return>().unwrap().to_string(), "HDRS");
        assert!("ALL".parse::<Return>().is_err());
        let id: EnvelopeId = "QQ+20a+3Db".parse().unwrap();
        assert_eq!(
            (id.as_str(), id.to_string().as_str()),
            ("QQ a=b", "QQ+20a+3Db")
        );
        for bad in ["", "a b", "+0D+0A", "+E9", &"a".repeat(101)] {
            assert!(bad.parse::<EnvelopeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn orcpt_parameter() {
        let plain: OriginalRecipient = "RFC822;Bob+2Bx@Example.com".parse().unwrap();
        assert_eq!(
            (plain.address_type(), plain.address()),
            ("rfc822", "Bob+x@Example.com")
        );
        assert_eq!(plain.to_parameter(), "RFC822;Bob+2Bx@Example.com");
        let utf8: OriginalRecipient = "utf-8;j\\x{F8}rn@example.com".parse().unwrap();
        assert_eq!(utf8.address(), "j\u{f8}rn@example.com");
        assert_eq!(utf8.to_parameter(), "utf-8;j\\x{F8}rn@example.com");
        let raw: OriginalRecipient = "utf-8;j\u{f8}rn@example.com".parse().unwrap();
        assert_eq!(raw.to_parameter(), utf8.to_parameter());
        let ours = OriginalRecipient::of_address(&"a+b@example.com".parse().unwrap());
        assert_eq!(ours.to_parameter(), "rfc822;a+2Bb@example.com");
        for bad in [
            "bob@x",
            ";bob@x",
            "rfc822;",
            "rfc822;a b",
            "rfc822;+0D+0AX",
            "r f;b",
            "utf-8;\\x{0A}",
            "utf-8;a b",
            "utf-8;a=b",
            "utf-8;a\r\nDATA",
        ] {
            assert!(bad.parse::<OriginalRecipient>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_read_is_written_so_that_it_is_read_alike() {
        const PIECES: [&str; 22] = [
            "rfc822",
            "utf-8",
            "UTF-8",
            "x-1",
            ";",
            "a",
            "@",
            "b.example",
            "+2B",
            "+20",
            "+0a",
            "+",
            "=",
            " ",
            "\\x{F8}",
            "\\x{20}",
            "\\x{2B}",
            "\\x{",
            "}",
            "\u{f8}",
            "\u{2028}",
            "\r",
        ];
        let mut random = 88_172_645_463_325_252u64;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let is_value = |text: &str| text.bytes().all(|o| matches!(o, 33..=60 | 62..=126));
        let (mut ids, mut originals) = (0, 0);
        for _ in 0..20_000 {
            let pieces = (0..below(8)).map(|_| PIECES[below(PIECES.len())]);
            let text: String = pieces.collect();
            if let Ok(id) = text.parse::<EnvelopeId>() {
                assert!(is_value(&id.to_string()), "{text:?}");
                assert_eq!(id.to_string().parse(), Ok(id));
                ids += 1;
            }
            let typed = format!("{};{text}", PIECES[below(3)]);
            for text in [text, typed] {
                if let Ok(original) = text.parse::<OriginalRecipient>() {
                    let parameter = original.to_parameter();
                    assert!(is_value(&parameter), "{text:?}");
                    let again: OriginalRecipient = parameter.parse().unwrap();
                    assert_eq!(
                        (again.address_type(), again.address()),
                        (original.address_type(), original.address())
                    );
                    originals += 1;
                }
            }
        }
        assert!(ids > 1000 && originals > 1000, "{ids} {originals}");
    }
}
