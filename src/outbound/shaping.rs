//! What replies come to by the rules of traffic shaping: for the recipient, and for the site. Called by `carry`. Not here: the rules
//! (`settings::shaping`), what a site bears (`queue::sites`).

use super::link::Lost;
use super::site::Site;
use super::transaction::{RecipientResult, Transacted};
use crate::queue::retry::Verdict;
use crate::queue::sites::{Asked, Kind};
use crate::settings::{ReplyAction, ReplyStage, SiteShape};

/// Code, enhanced code and text of a reply.
pub(super) type Facts<'a> = (u16, Option<(u8, u16, u16)>, &'a str);

/// Looks at a reply; answers what it comes to, if that is not what its code says.
pub(super) fn judge(
    site: &Site,
    shape: &SiteShape,
    stage: ReplyStage,
    facts: Facts<'_>,
) -> Option<Verdict> {
    let (code, enhanced, text) = facts;
    if code < 400 {
        // Ours, or no refusal.
        return None;
    }
    let (action, length) = shape.reply(stage, code, enhanced, text)?;
    let kind = match action {
        ReplyAction::None => return None,
        ReplyAction::Permanent => return Some(Verdict::Permanent),
        ReplyAction::Temporary => return Some(Verdict::Temporary),
        ReplyAction::Pause => Kind::Pause,
        ReplyAction::Slow => Kind::Slow,
    };
    let cause = words(facts);
    site.ask(Asked {
        kind,
        length,
        cause,
    });
    Some(Verdict::Temporary)
}

/// The same for all that a transaction came to.
pub(super) fn judge_all(site: &Site, shape: &SiteShape, results: &mut [RecipientResult]) {
    for result in results {
        let facts = (result.code, result.enhanced, result.text.as_str());
        if let Some(verdict) = judge(site, shape, result.stage, facts) {
            result.verdict = verdict;
        }
    }
}

/// What a server said that has too much.
pub(super) fn said(done: &Transacted) -> String {
    let refused = done.results.iter().find(|r| !r.verdict.is_success());
    let of_result = |r: &RecipientResult| words((r.code, r.enhanced, r.text.as_str()));
    let of_loss = || done.lost.as_ref().map(Lost::words);
    refused.map(of_result).or_else(of_loss).unwrap_or_default()
}

/// A reply in words.
pub(super) fn words((code, enhanced, text): Facts<'_>) -> String {
    let mut words = Vec::new();
    if code > 0 {
        words.push(code.to_string());
    }
    if let Some((class, subject, detail)) = enhanced {
        words.push(format!("{class}.{subject}.{detail}"));
    }
    words.push(text.to_owned());
    words.join(" ")
}
