//! Verification of all signatures of a message, with the caller asking DNS.
//!
//! [`Verifier`] takes the message in chunks. Once the header has come, [`Verifier::queries`] says what to ask for, while the body still
//! arrives; at the end each signature is a [`Check`], which takes the answer and gives an [`Evaluation`].
//!
//! Called for mail of strangers: fields, bodies and key records are theirs, and bounded by `limits`. RFC 6376 3.7, 6.1, RFC 8301, RFC 8463,
//! RFC 8601 2.7.1 (results), RFC 8616. Not here: DNS, the clock, public suffixes, what follows from a result.

use crate::body::{BodyHash, BodyHasher};
use crate::canonical::{Canonicalization, Canonicalizations};
use crate::fields::Fields;
use crate::header_end::HeaderCollector;
use crate::key::Algorithm;
use crate::limits::{DOMAIN_MAX, KEY_RECORDS_MAX, SIGNATURES_MAX};
use crate::public_key::PublicKey;
use crate::reason::{Reason, Status};
use crate::record::{KeyRecord, RecordError, query_name};
use crate::signature::{Signature, without_signature};

/// What the caller knows and demands.
pub struct Rules {
    /// When the message was received, in seconds since 1970. RFC 6376 3.5 (x=).
    pub received_at_secs: u64,
    /// Whether a domain (in A-labels) is too high up to sign for anybody, such as `com`. RFC 6376 6.1.1.
    pub is_public_suffix: Box<dyn Fn(&str) -> bool>,
    /// RFC 6376 3.6.1 (s=): the service the key must be for, `email`, or `tlsrpt` for reports (RFC 8460 3).
    pub service: &'static str,
}

/// What DNS said to a query for TXT records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// Records, each with its strings joined.
    Records(Vec<Vec<u8>>),
    /// The name, or a TXT record of it, does not exist.
    Missing,
    /// No answer, or one that cannot be trusted.
    Unavailable,
}

/// The result of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The result.
    pub status: Status,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// What the field says, unless it is malformed.
    pub signature: Option<Signature>,
    /// Bits of the key that was tried.
    pub key_bits: Option<usize>,
    /// The domain is testing (t=y); a failure then is [`Status::None`].
    pub testing: bool,
}

/// One signature of the message.
#[derive(Debug)]
pub enum Check {
    /// The result is known without a key.
    Settled(Evaluation),
    /// The key is needed.
    Open(Question),
}

/// A signature whose key must be asked for.
#[derive(Debug)]
pub struct Question {
    query: String,
    signature: Signature,
    algorithm: Algorithm,
    /// The canonical header.
    input: Vec<u8>,
    body_hash: BodyHash,
    body_length: u64,
    service: &'static str,
}

/// Takes a message in chunks.
pub struct Verifier {
    rules: Rules,
    header: HeaderCollector,
    plan: Option<Plan>,
}

/// What the header asks for.
struct Plan {
    claims: Vec<Claim>,
    queries: Vec<String>,
    bodies: [(BodyHasher, bool); 2],
}

enum Claim {
    Settled(Evaluation),
    Open {
        question: Question,
        /// Which of the bodies, and which of its hashes.
        body: (usize, usize),
    },
}

impl Verifier {
    /// At the start of a message.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            header: HeaderCollector::default(),
            plan: None,
        }
    }

    /// Takes the next octets of the message. Lines end with CRLF, nothing is dot-stuffed.
    pub fn update(&mut self, chunk: &[u8]) {
        let body = self.header.update(chunk);
        if self.plan.is_none() && self.header.is_complete() {
            self.plan = Some(Plan::of(
                self.header.header().unwrap_or_default(),
                &self.rules,
            ));
        }
        if let Some(plan) = &mut self.plan {
            for (hasher, _) in plan.bodies.iter_mut().filter(|(_, needed)| *needed) {
                hasher.update(body);
            }
        }
    }

    /// Names whose TXT records will be needed, each once; none until the header has come.
    pub fn queries(&self) -> &[String] {
        self.plan.as_ref().map_or(&[], |plan| &plan.queries)
    }

    /// The signatures from the top of the message; none if it has none.
    pub fn finish(self) -> Vec<Check> {
        let Some(header) = self.header.header() else {
            return vec![Check::Settled(Evaluation::without_key(
                None,
                Reason::HeaderTooLong,
            ))];
        };
        let plan = self.plan.unwrap_or_else(|| Plan::of(header, &self.rules));
        let bodies = plan.bodies.map(|(hasher, _)| hasher.finish_all());
        let check = |claim| match claim {
            Claim::Settled(evaluation) => Check::Settled(evaluation),
            Claim::Open {
                mut question,
                body: (body, hash),
            } => {
                question.body_length = bodies[body].0;
                question.body_hash = bodies[body].1[hash];
                Check::Open(question)
            }
        };
        plan.claims.into_iter().map(check).collect()
    }
}

impl Plan {
    fn of(header: &[u8], rules: &Rules) -> Self {
        let fields = Fields::of(header);
        let (mut claims, mut queries) = (Vec::new(), Vec::new());
        let mut lengths: [Vec<Option<u64>>; 2] = Default::default();
        let signatures = fields
            .all()
            .iter()
            .enumerate()
            .filter(|(_, field)| field.is("DKIM-Signature"));
        for (number, (place, field)) in signatures.take(SIGNATURES_MAX + 1).enumerate() {
            if number == SIGNATURES_MAX {
                let evaluation = Evaluation::without_key(None, Reason::TooManySignatures);
                claims.push(Claim::Settled(evaluation));
                break;
            }
            let signature = match Signature::parse(field.value) {
                Ok(signature) => signature,
                Err(reason) => {
                    claims.push(Claim::Settled(Evaluation::without_key(None, reason)));
                    continue;
                }
            };
            let question = Question::of(signature, &fields, place, rules);
            claims.push(match question {
                Err(evaluation) => Claim::Settled(*evaluation),
                Ok((question, body)) => {
                    let hash = place_of(question.signature.body_length, &mut lengths[body]);
                    if !queries.contains(&question.query) {
                        queries.push(question.query.clone());
                    }
                    Claim::Open {
                        question,
                        body: (body, hash),
                    }
                }
            });
        }
        let hasher = |canonicalization, lengths: &[Option<u64>]| {
            (
                BodyHasher::limited(canonicalization, lengths),
                !lengths.is_empty(),
            )
        };
        let bodies = [
            hasher(Canonicalization::Simple, &lengths[0]),
            hasher(Canonicalization::Relaxed, &lengths[1]),
        ];
        Self {
            claims,
            queries,
            bodies,
        }
    }
}

impl Question {
    /// What can be said without the key; or the question for it, and which body it needs.
    fn of(
        signature: Signature,
        fields: &Fields<'_>,
        place: usize,
        rules: &Rules,
    ) -> Result<(Self, usize), Box<Evaluation>> {
        let own = without_signature(&fields.all()[place]);
        let (algorithm, canonicalizations, own) = match acceptable(&signature, rules)
            .and_then(|(algorithm, c)| Ok((algorithm, c, own?)))
        {
            Ok(known) => known,
            Err(reason) => return Err(Box::new(Evaluation::without_key(Some(signature), reason))),
        };
        let mut input = Vec::new();
        let names = signature.signed_names.iter().map(String::as_str);
        fields.canonicalize(names, Some(place), canonicalizations.header, &mut input);
        canonicalizations.header.field(&own, &mut input);
        let question = Self {
            query: query_name(&signature.selector, &signature.domain),
            signature,
            algorithm,
            input,
            body_hash: [0; 32],
            body_length: 0,
            service: rules.service,
        };
        let body = match canonicalizations.body {
            Canonicalization::Simple => 0,
            Canonicalization::Relaxed => 1,
        };
        Ok((question, body))
    }

    /// The name whose TXT records are needed.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The result with what DNS said. Costs some 25 us with RSA of 2048 bits, 45 us with Ed25519.
    pub fn evaluate(self, answer: &KeyAnswer) -> Evaluation {
        let mut attempt = Attempt::default();
        let reason = match answer {
            KeyAnswer::Unavailable => Some(Reason::KeyUnavailable),
            KeyAnswer::Missing => Some(Reason::NoKey),
            KeyAnswer::Records(records) => self.try_records(records, &mut attempt),
        };
        let status = match reason {
            None => Status::Pass,
            // RFC 6376 3.6.1 (t=y): a failure must not be held against the domain.
            Some(_) if attempt.testing => Status::None,
            Some(reason) => reason.status(),
        };
        Evaluation {
            status,
            reason,
            signature: Some(self.signature),
            key_bits: attempt.bits,
            testing: attempt.testing,
        }
    }

    /// Tries each record until one verifies; else tells what was wrong with the last key record.
    // RFC 6376 6.1.2 (4): we cycle through several; (5): what is no key record is a permanent error. It is none that passes with time: else
    // whoever has a wildcard TXT record could be forged at any selector without being refused by DMARC.
    fn try_records(&self, records: &[Vec<u8>], attempt: &mut Attempt) -> Option<Reason> {
        let mut wrong = if records.is_empty() {
            Reason::NoKey
        } else {
            Reason::NoKeyRecord
        };
        let mut keys_left = KEY_RECORDS_MAX;
        for record in records.iter().take(RECORDS_SEEN_MAX) {
            match KeyRecord::parse(record) {
                Err(RecordError::Other) => {}
                Err(RecordError::Malformed) => wrong = Reason::KeySyntax,
                Ok(_) if keys_left == 0 => break,
                Ok(record) => {
                    keys_left -= 1;
                    *attempt = Attempt {
                        bits: None,
                        testing: record.testing,
                    };
                    match self.try_record(&record, attempt) {
                        Ok(()) => return None,
                        Err(reason) => wrong = reason,
                    }
                }
            }
        }
        Some(wrong)
    }

    fn try_record(&self, record: &KeyRecord, attempt: &mut Attempt) -> Result<(), Reason> {
        self.check_record(record)?;
        let key = PublicKey::parse(self.algorithm, &record.public_key)?;
        attempt.bits = Some(key.bits);
        // RFC 6376 6.1.3: first the body, which needs no key.
        // RFC 6376 3.5 (l=): not larger than the body.
        if self
            .signature
            .body_length
            .is_some_and(|length| length > self.body_length)
        {
            return Err(Reason::BodyTooShort);
        }
        if self.body_hash[..] != self.signature.body_hash {
            return Err(Reason::BodyHash);
        }
        if !key.verifies(&self.input, &self.signature.signature) {
            return Err(Reason::Signature);
        }
        // RFC 6376 8.2: anybody could have added to the body.
        if self.signature.body_length.is_some() {
            return Err(Reason::BodyLength);
        }
        if !self.signature.signs("Subject") {
            return Err(Reason::SubjectNotSigned);
        }
        Ok(())
    }

    // RFC 6376 6.1.2, in its order.
    fn check_record(&self, record: &KeyRecord) -> Result<(), Reason> {
        if record
            .hashes
            .as_ref()
            .is_some_and(|hashes| !hashes.iter().any(|hash| hash == "sha256"))
        {
            return Err(Reason::HashNotAllowed);
        }
        if record.public_key.is_empty() {
            return Err(Reason::Revoked);
        }
        if record.key_type != self.algorithm.key_type() {
            return Err(Reason::KeyType);
        }
        if !record.is_for(self.service) {
            return Err(Reason::Service);
        }
        if record.strict && self.signature.identity.1 != self.signature.domain {
            return Err(Reason::Strict);
        }
        Ok(())
    }
}

/// Where the length is in the list; it is put there if it is new, so that signatures share a hash.
fn place_of(length: Option<u64>, lengths: &mut Vec<Option<u64>>) -> usize {
    let known = lengths.iter().position(|other| *other == length);
    known.unwrap_or_else(|| {
        lengths.push(length);
        lengths.len() - 1
    })
}

/// What is known of the key that was tried last.
#[derive(Default)]
struct Attempt {
    bits: Option<usize>,
    testing: bool,
}

impl Evaluation {
    fn without_key(signature: Option<Signature>, reason: Reason) -> Self {
        Self {
            status: reason.status(),
            reason: Some(reason),
            signature,
            key_bits: None,
            testing: false,
        }
    }
}

/// RFC 6376 6.1.1: what a signature must be like before its key is asked for.
fn acceptable(
    signature: &Signature,
    rules: &Rules,
) -> Result<(Algorithm, Canonicalizations), Reason> {
    let algorithm = signature.known_algorithm()?;
    let canonicalizations = signature
        .canonicalizations
        .ok_or(Reason::Canonicalization)?;
    if !signature.by_dns {
        return Err(Reason::QueryMethod);
    }
    if !signature.identity.1.is_within(&signature.domain) {
        return Err(Reason::DomainMismatch);
    }
    if !signature.signs("From") {
        return Err(Reason::FromNotSigned);
    }
    if signature
        .expires_at_secs
        .is_some_and(|end| end < rules.received_at_secs)
    {
        return Err(Reason::Expired);
    }
    if (rules.is_public_suffix)(signature.domain.ascii()) {
        return Err(Reason::PublicSuffix);
    }
    if query_name(&signature.selector, &signature.domain).len() > DOMAIN_MAX {
        return Err(Reason::NoKey);
    }
    Ok((algorithm, canonicalizations))
}

/// TXT records that are looked at to find key records among them.
const RECORDS_SEEN_MAX: usize = 20;

#[cfg(test)]
mod arc_tests;
#[cfg(test)]
mod tests;
