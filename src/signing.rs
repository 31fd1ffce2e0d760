//! Signing what our own users send: the DKIM-Signature fields of one message, before it is committed.
//!
//! The body of a message in a file was hashed while it was written there (`spool`), by the thread that wrote it; that of one in memory is
//! hashed here in slices. A small header and Ed25519 keys alone cost a few hundredths of a millisecond, on this core; whatever costs more, RSA
//! above all, is the worker pool's. Signed is what will go out: lines end with CRLF, and nothing is dot-stuffed.
//!
//! RFC 6376 5: the fields stand above all others, our own Received included, which they do not cover (3.5, 5.4). RFC 8616 5: U-labels where
//! the header has other letters anyway.
//! Not here: which domain signs (`live/signers.rs`), whether a user may write as an author, reply texts.

use std::rc::Rc;
use std::sync::Arc;

use dkim::{MessageHasher, Occasion, Selector, SignError, SigningFailed, prepare};
use shards::faults::point;
use shards::pool::PoolError;
use shards::rt;

use crate::metrics::{NONE, label};
use crate::percore::PerCore;
use crate::store::NewContent;

/// Why a message is not signed, and so is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The message is such that no signature would hold: its author's fault.
    #[error("{0}")]
    Message(SignError),
    /// A key.
    #[error("{0}")]
    Key(#[from] SigningFailed),
    /// The settings changed while it came.
    #[error("the body was hashed for other selectors than those that sign now")]
    Settings,
    /// The worker pool is full or lost the job.
    #[error("{0}")]
    Pool(#[from] PoolError),
}

impl From<SignError> for SigningError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::BodyNotHashed => Self::Settings,
            error => Self::Message(error),
        }
    }
}

/// The DKIM-Signature fields of a message that our user wrote as `author` (localpart and domain), in the order of the selectors: none if nobody
/// signs for that domain. The last are the fields we add above the message, whether SMTPUTF8 is declared, and until when (seconds since 1970) it may
/// wait in the queue.
pub async fn signatures(
    core: &Rc<PerCore>,
    (localpart, domain): (&str, &str),
    (content, hasher): (&NewContent, Option<Box<MessageHasher>>),
    (added, smtputf8, until): (&str, bool, i64),
) -> Result<String, SigningError> {
    let live = core.live();
    let Some(selectors) = live.signers.of(domain) else {
        return Ok(String::new());
    };
    // i= names the author where its domain is d=.
    let name = live.directory.login_name(&format!("{localpart}@{domain}"));
    let own = name
        .rsplit_once('@')
        .filter(|(_, d)| *d == selectors[0].domain.ascii());
    let localpart = own.and_then(|(l, _)| Some(smtp::Localpart::new(l).ok()?.to_string()));
    let to_sign = ToSign {
        selectors,
        content,
        hasher,
        added,
        localpart,
        smtputf8,
        until,
    };
    sign(core, to_sign).await
}

/// A message that is whole, and what is known of it.
struct ToSign<'a> {
    /// Who signs.
    selectors: Arc<[Selector]>,
    /// Its octets.
    content: &'a NewContent,
    /// What hashed it on its way to a file, or from there; nothing if it is in memory.
    hasher: Option<Box<MessageHasher>>,
    /// Header fields that we add above it and that are part of the message: Date, Message-ID.
    added: &'a str,
    /// The author's localpart in its canonical form, quoted if it must be, if the author's domain is the one that signs.
    localpart: Option<String>,
    /// The client declared SMTPUTF8.
    smtputf8: bool,
    /// Seconds since 1970 until which it may wait in the queue.
    until: i64,
}

/// The DKIM-Signature fields, in the order of the selectors.
async fn sign(core: &Rc<PerCore>, message: ToSign<'_>) -> Result<String, SigningError> {
    let counted = message.selectors.clone();
    let made = make(core, message).await;
    match &made {
        Ok(_) => counted.iter().for_each(|selector| {
            let algorithm = label("algorithm", selector.key.algorithm().word());
            core.metrics
                .count("ringmail_dkim_signatures_total", algorithm);
        }),
        Err(_) => core.metrics.count("ringmail_dkim_failures_total", NONE),
    }
    made
}

async fn make(core: &Rc<PerCore>, message: ToSign<'_>) -> Result<String, SigningError> {
    point("inbound.sign").map_err(|_| SigningFailed)?;
    let ToSign {
        selectors,
        content,
        hasher,
        added,
        localpart,
        smtputf8,
        until,
    } = message;
    let hasher = match hasher {
        Some(hasher) => *hasher,
        None if content.external.is_some() => return Err(SigningError::Settings),
        _ => hashed(&selectors, &content.bytes).await,
    };
    let (header, body) = hasher.finish()?;
    let header = [added.as_bytes(), &header].concat();
    let is_heavy = header.len() > HEADER_ON_CORE_MAX || selectors.iter().any(|s| s.key.is_heavy());
    let (now_secs, until) = (
        u64::try_from(core.wall_clock()).unwrap_or_default(),
        u64::try_from(until).unwrap_or_default(),
    );
    let fields = move || -> Result<String, SigningError> {
        let occasion = Occasion {
            now_secs,
            localpart: localpart.as_deref(),
            internationalized: smtputf8 && !header.is_ascii(),
            needed_until_secs: until.saturating_add(STILL_ON_ITS_WAY_SECS),
        };
        let unsigned = prepare(&selectors, &header, &body, &occasion)?;
        let signed = unsigned.into_iter().map(|unsigned| unsigned.sign());
        Ok(signed.collect::<Result<Vec<_>, _>>()?.concat())
    };
    if is_heavy {
        core.signatures.run(fields).await?
    } else {
        fields()
    }
}

async fn hashed(selectors: &[Selector], bytes: &[u8]) -> MessageHasher {
    let mut hasher = MessageHasher::new(selectors);
    for slice in bytes.chunks(SLICE) {
        hasher.update(slice);
        rt::yield_if_needed().await;
    }
    hasher
}

/// Octets hashed between two looks at the clock: some 50 us.
const SLICE: usize = 64 << 10;
/// Octets of a header that is signed on the core; a usual one has 1 or 2 KiB.
const HEADER_ON_CORE_MAX: usize = 16 << 10;
/// How long after it left our queue a signature must hold: what the next host needs to look at it.
const STILL_ON_ITS_WAY_SECS: u64 = 3600;
