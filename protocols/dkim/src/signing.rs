//! Signing: which fields, the text of the signature, in steps that the caller may run apart.
//!
//! 1. [`MessageHasher`] takes the message in chunks and hashes its body once for all signatures.
//! 2. [`prepare`] makes an [`Unsigned`] for each selector. No key is used yet.
//! 3. [`Unsigned::sign`] uses the key and gives the field. With RSA that takes half a millisecond: [`Unsigned::is_heavy`].
//!
//! Called for mail of our own users; header and body are theirs. RFC 6376 3.7, 5.3-5.6, RFC 8301, RFC 8463, RFC 8616 5.
//! Not here: which domain signs and with which keys, what of the message is changed before, the clock.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::body::{BodyHash, BodyHasher};
use crate::canonical::{Canonicalization, Canonicalizations};
use crate::domain::Name;
use crate::field_text::FieldText;
use crate::fields::Fields;
use crate::header_end::HeaderCollector;
use crate::key::{SigningFailed, SigningKey};
use crate::limits::{HEADER_SIZE_MAX, SELECTORS_MAX, SIGNED_NAMES_MAX};
use crate::signed_fields::SignedFields;
use crate::tag_list::encode_quoted_printable;

/// One signature that a domain makes: its key and how it is used.
#[derive(Clone, Debug)]
pub struct Selector {
    /// d=
    pub domain: Name,
    /// s=
    pub selector: Name,
    /// The key whose public half is in DNS under those.
    pub key: Arc<SigningKey>,
    /// c=
    pub canonicalizations: Canonicalizations,
    /// h=
    pub fields: Arc<SignedFields>,
    /// x= minus t=; no x= if `None`.
    pub expiration_secs: Option<u64>,
}

impl Selector {
    /// With relaxed canonicalization, the default fields and no expiration.
    pub fn new(domain: Name, selector: Name, key: Arc<SigningKey>) -> Self {
        Self {
            domain,
            selector,
            key,
            canonicalizations: Canonicalizations::RELAXED,
            fields: Arc::new(SignedFields::default()),
            expiration_secs: None,
        }
    }
}

/// What differs from message to message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Occasion<'a> {
    /// t=, in seconds since 1970.
    pub now_secs: u64,
    /// Localpart of i= as an address has it, quoted if it must be; its domain is d=. No i= if `None`.
    pub localpart: Option<&'a str>,
    /// True for messages that need SMTPUTF8: RFC 8616 5 wants U-labels in them.
    pub internationalized: bool,
    /// x= is this at least, whatever the selector says: the message may be on its way until then.
    pub needed_until_secs: u64,
}

/// Why a message cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// RFC 6376 5.4 wants From signed, RFC 5322 3.6 one of it.
    #[error("the message has {0} From fields, not one")]
    From(usize),
    /// Over [`HEADER_SIZE_MAX`].
    #[error("header longer than {HEADER_SIZE_MAX} octets")]
    HeaderTooLong,
    /// More repeated fields than [`SIGNED_NAMES_MAX`] names stand for.
    #[error("more than {SIGNED_NAMES_MAX} header fields to sign")]
    TooManyFields,
    /// More than [`SELECTORS_MAX`].
    #[error("more than {SELECTORS_MAX} selectors")]
    TooManySelectors,
    /// Our own fault: the body was not hashed as a selector needs it.
    #[error("the body was hashed with another canonicalization")]
    BodyNotHashed,
}

/// The hashes of one body, as far as its selectors need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyHashes {
    /// With simple canonicalization.
    pub simple: Option<BodyHash>,
    /// With relaxed canonicalization.
    pub relaxed: Option<BodyHash>,
}

/// Takes a message in chunks: keeps its header, hashes its body.
pub struct MessageHasher {
    header: HeaderCollector,
    simple: Option<BodyHasher>,
    relaxed: Option<BodyHasher>,
}

impl MessageHasher {
    /// For the selectors that will sign the message.
    pub fn new(selectors: &[Selector]) -> Self {
        let bodies = selectors.iter().map(|s| s.canonicalizations.body);
        Self::of_bodies(&bodies.collect::<Vec<_>>())
    }

    /// For canonicalizations of the body, when it is not known yet who will sign.
    pub fn of_bodies(canonicalizations: &[Canonicalization]) -> Self {
        let needs = |canonicalization| {
            let needed = canonicalizations.contains(&canonicalization);
            needed.then(|| BodyHasher::new(canonicalization))
        };
        Self {
            header: HeaderCollector::default(),
            simple: needs(Canonicalization::Simple),
            relaxed: needs(Canonicalization::Relaxed),
        }
    }

    /// Takes the next octets of the message. Its lines end with CRLF, nothing is dot-stuffed.
    pub fn update(&mut self, chunk: &[u8]) {
        let body = self.header.update(chunk);
        for hasher in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            hasher.update(body);
        }
    }

    /// Octets of the header that are kept.
    pub fn held(&self) -> usize {
        self.header.held()
    }

    /// The header section, and the hashes of the body.
    pub fn finish(self) -> Result<(Vec<u8>, BodyHashes), SignError> {
        let header = self.header.into_header().ok_or(SignError::HeaderTooLong)?;
        let hashes = BodyHashes {
            simple: self.simple.map(BodyHasher::finish),
            relaxed: self.relaxed.map(BodyHasher::finish),
        };
        Ok((header, hashes))
    }
}

/// Prepares one signature for each selector. Costs microseconds; nothing is signed yet.
pub fn prepare(
    selectors: &[Selector],
    header: &[u8],
    body: &BodyHashes,
    occasion: &Occasion<'_>,
) -> Result<Vec<Unsigned>, SignError> {
    if header.len() > HEADER_SIZE_MAX {
        return Err(SignError::HeaderTooLong);
    }
    if selectors.len() > SELECTORS_MAX {
        return Err(SignError::TooManySelectors);
    }
    let fields = Fields::of(header);
    // Two From fields show one author here and another there; nobody signs that.
    match fields.count("From") {
        1 => {}
        count => return Err(SignError::From(count)),
    }
    let each = selectors
        .iter()
        .map(|selector| Unsigned::of(selector, &fields, body, occasion));
    each.collect()
}

/// A signature before the key is used. It may go to another thread.
#[derive(Debug)]
pub struct Unsigned {
    key: Arc<SigningKey>,
    /// All of the field up to "b=".
    field: FieldText,
    /// What is signed: the canonical header.
    input: Vec<u8>,
}

impl Unsigned {
    fn of(
        selector: &Selector,
        fields: &Fields<'_>,
        body: &BodyHashes,
        occasion: &Occasion<'_>,
    ) -> Result<Self, SignError> {
        let body_hash = match selector.canonicalizations.body {
            Canonicalization::Simple => body.simple,
            Canonicalization::Relaxed => body.relaxed,
        };
        let body_hash = body_hash.ok_or(SignError::BodyNotHashed)?;
        let names = selector.fields.names(|name| fields.count(name));
        if names.len() > SIGNED_NAMES_MAX {
            return Err(SignError::TooManyFields);
        }
        let field = field_before_signature(selector, &names, &body_hash, occasion);
        let mut input = Vec::with_capacity(2048);
        let canonicalization = selector.canonicalizations.header;
        fields.canonicalize(names.iter().copied(), None, canonicalization, &mut input);
        // RFC 6376 3.7: our own field comes last, with an empty b= and without a line end.
        canonicalization.field(field.as_str().as_bytes(), &mut input);
        Ok(Self {
            key: selector.key.clone(),
            field,
            input,
        })
    }

    /// The key that will be used.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Whether [`Self::sign`] should run on a worker thread.
    pub fn is_heavy(&self) -> bool {
        self.key.is_heavy()
    }

    /// Uses the key. The answer is the whole DKIM-Signature field with its line end, to be put before the message.
    pub fn sign(self) -> Result<String, SigningFailed> {
        let signature = self.key.sign(&self.input)?;
        let mut field = self.field;
        field.anywhere(&STANDARD.encode(signature));
        Ok(field.finish())
    }
}

fn field_before_signature(
    selector: &Selector,
    names: &[&str],
    body_hash: &BodyHash,
    occasion: &Occasion<'_>,
) -> FieldText {
    let internationalized = occasion.internationalized;
    let domain = selector.domain.in_field(internationalized);
    let mut field = FieldText::new("DKIM-Signature");
    field.word("v=1;");
    field.word(&format!("a={};", selector.key.algorithm()));
    if selector.canonicalizations != Canonicalizations::SIMPLE {
        field.word(&format!("c={};", selector.canonicalizations));
    }
    field.word(&format!("d={domain};"));
    field.word(&format!(
        "s={};",
        selector.selector.in_field(internationalized)
    ));
    if let Some(localpart) = occasion.localpart {
        let localpart = encode_quoted_printable(localpart, internationalized);
        field.word(&format!("i={localpart}@{domain};"));
    }
    field.word(&format!("t={};", occasion.now_secs));
    if let Some(secs) = selector.expiration_secs {
        // RFC 6376 3.5: x= is greater than t=.
        let end = occasion.now_secs.saturating_add(secs.max(1));
        field.word(&format!("x={};", end.max(occasion.needed_until_secs)));
    }
    let mut names = names.iter().peekable();
    let mut mark = "h=";
    while let Some(name) = names.next() {
        let end = if names.peek().is_some() { ":" } else { ";" };
        let piece = format!("{mark}{name}{end}");
        if mark.is_empty() {
            field.piece(&piece)
        } else {
            field.word(&piece)
        }
        mark = "";
    }
    field.word(&format!("bh={};", STANDARD.encode(body_hash)));
    // RFC 6376 5.4.1 and 8.2: never l=.
    field.word("b=");
    field
}

#[cfg(test)]
mod tests;
