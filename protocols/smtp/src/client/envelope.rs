//! What a transaction begins with, and the lines it is sent in: only parameters of extensions that the server has offered.
//! Called by `session.rs`. What stands in an envelope is typed, so nothing in it can end a line.
//! RFC 1870, RFC 6152, RFC 6531, RFC 3461 5.2.1 (what a client sends of NOTIFY, ORCPT, RET and ENVID), RFC 8689 (REQUIRETLS).
//! Not here: whether a message may go to a server that lacks something (the caller has looked at [`Extensions`]).

use super::extensions::Extensions;
use crate::address::{Address, ReversePath};
use crate::notification::{EnvelopeId, Notify, OriginalRecipient, Return};
use crate::parameters::BodyKind;

/// What a transaction begins with. Begin with [`Envelope::new`] and add what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL.
    pub reverse_path: ReversePath,
    /// RCPT, in this order; at least one.
    pub recipients: Vec<Recipient>,
    /// Octets of the message, for SIZE if it is offered.
    pub size: Option<u64>,
    /// BODY, if 8BITMIME or BINARYMIME is offered.
    pub body: Option<BodyKind>,
    /// Whether to ask for SMTPUTF8. The caller has seen that it is offered.
    pub smtputf8: bool,
    /// RET, if DSN is offered.
    pub ret: Option<Return>,
    /// ENVID, if DSN is offered.
    pub envid: Option<EnvelopeId>,
    /// Whether to ask for REQUIRETLS. The caller has seen that it is offered: to a server that does not know it, the parameter goes all the
    /// same, and is refused with 555, for the message must not go without. Not with the null reverse-path, see RFC 8689 5.
    pub require_tls: bool,
}

/// A recipient and what its sender wants to hear of it. Made of an address, it is that alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub address: Address,
    /// NOTIFY, if DSN is offered.
    pub notify: Option<Notify>,
    /// ORCPT, if DSN is offered.
    pub orcpt: Option<OriginalRecipient>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Recipient {
            address,
            notify: None,
            orcpt: None,
        }
    }
}

impl Envelope {
    /// One that asks for nothing but delivery.
    pub fn new<R: Into<Recipient>>(
        reverse_path: ReversePath,
        recipients: impl IntoIterator<Item = R>,
    ) -> Self {
        Envelope {
            reverse_path,
            recipients: recipients.into_iter().map(Into::into).collect(),
            size: None,
            body: None,
            smtputf8: false,
            ret: None,
            envid: None,
            require_tls: false,
        }
    }

    /// MAIL for a server with these extensions, with CRLF.
    pub(super) fn mail_line(&self, extensions: &Extensions) -> String {
        let mut line = format!("MAIL FROM:{}", self.reverse_path);
        if let (Some(size), Some(_)) = (self.size, extensions.size) {
            line.push_str(&format!(" SIZE={size}"));
        }
        if let Some(body) = self.body
            && (extensions.eight_bit_mime || extensions.binarymime)
        {
            line.push_str(" BODY=");
            line.push_str(body.as_str());
        }
        if self.smtputf8 {
            line.push_str(" SMTPUTF8");
        }
        // RFC 3461 5.2.1 (a) and (b): as they came.
        if extensions.dsn {
            if let Some(ret) = self.ret {
                line.push_str(&format!(" RET={ret}"));
            }
            if let Some(envid) = &self.envid {
                line.push_str(&format!(" ENVID={envid}"));
            }
        }
        // RFC 8689 5: a bounce goes on even where REQUIRETLS is not offered; anything else must not.
        let goes_without = self.reverse_path == ReversePath::Null && !extensions.require_tls;
        if self.require_tls && !goes_without {
            line.push_str(" REQUIRETLS");
        }
        line.push_str("\r\n");
        line
    }
}

impl Recipient {
    /// RCPT for a server with these extensions, with CRLF.
    pub(super) fn line(&self, extensions: &Extensions) -> String {
        let mut line = format!("RCPT TO:<{}>", self.address);
        // RFC 3461 5.2.1 (c) and (d): as they came.
        if extensions.dsn {
            if let Some(notify) = self.notify {
                line.push_str(&format!(" NOTIFY={notify}"));
            }
            if let Some(orcpt) = &self.orcpt {
                line.push_str(&format!(" ORCPT={}", orcpt.to_parameter()));
            }
        }
        line.push_str("\r\n");
        line
    }
}
