//! What was done about a site, by itself or by hand: when, why, until when. Kept in memory, the latest few of each site.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is done about a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It could not be reached, and is left alone.
    Unreachable,
    /// It said that there is too much, and gets half as many connections.
    Overload,
    /// A rule has it left alone for a reply.
    Pause,
    /// A rule gives it half for a reply.
    Slow,
    /// An operator has it left alone.
    ByHand,
    /// It is one of our own, of a pool: this machine does not have it.
    NoAddress,
}

impl Kind {
    /// In a word, for metrics and programs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Unreachable => "unreachable",
            Kind::Overload => "overload",
            Kind::Pause => "reply-pause",
            Kind::Slow => "reply-slow",
            Kind::ByHand => "by-hand",
            Kind::NoAddress => "no-address",
        }
    }

    /// Why mail waits.
    pub fn reason(self, cause: &str) -> String {
        match self {
            Kind::Unreachable | Kind::NoAddress => cause.to_owned(),
            Kind::Overload => format!("it has too much: {cause}"),
            Kind::Pause => format!("the site is paused by a rule: {cause}"),
            Kind::Slow => format!("the site is slowed down by a rule: {cause}"),
            Kind::ByHand if cause.is_empty() => "the site is paused by hand".to_owned(),
            Kind::ByHand => format!("the site is paused by hand: {cause}"),
        }
    }
}

/// What a reply asks for by the rules, or what an address of ours needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `Pause` or `Slow`; `NoAddress`.
    pub kind: Kind,
    /// For how long.
    pub length: Duration,
    /// The reply.
    pub cause: String,
}

/// Something that was done just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// About which site.
    pub site: String,
    /// What.
    pub kind: Kind,
    /// For how long, if that is known.
    pub length: Option<Duration>,
    /// Why.
    pub cause: String,
}

/// Something that was done, for operators; times are how long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionState {
    /// What.
    pub kind: Kind,
    /// When.
    pub ago: Duration,
    /// For how long, if that was known.
    pub length: Option<Duration>,
    /// When it was ended before that.
    pub ended: Option<Duration>,
    /// Why.
    pub cause: String,
}

#[derive(Debug)]
struct Action {
    kind: Kind,
    at: Instant,
    length: Option<Duration>,
    ended: Option<Instant>,
    cause: String,
}

/// The latest.
#[derive(Debug, Default)]
pub(super) struct Actions {
    latest: VecDeque<Action>,
    /// Those nobody was told of.
    untold: Vec<(Kind, Option<Duration>, String)>,
}

impl Actions {
    pub fn add(&mut self, kind: Kind, length: Option<Duration>, cause: &str, now: Instant) {
        let cause: String = cause.chars().take(CAUSE_MAX).collect();
        if self.latest.len() >= KEPT {
            self.latest.pop_front();
        }
        self.untold.push((kind, length, cause.clone()));
        self.latest.push_back(Action {
            kind,
            at: now,
            length,
            ended: None,
            cause,
        });
    }

    /// What was done of these kinds, and goes on, ends.
    pub fn end(&mut self, kinds: &[Kind], now: Instant) {
        for action in &mut self.latest {
            let goes_on = action.length.is_some_and(|length| action.at + length > now);
            if kinds.contains(&action.kind) && goes_on && action.ended.is_none() {
                action.ended = Some(now);
            }
        }
    }

    pub fn take_news(&mut self, site: &str, news: &mut Vec<News>) {
        let untold = self.untold.drain(..);
        news.extend(untold.map(|(kind, length, cause)| News {
            site: site.to_owned(),
            kind,
            length,
            cause,
        }));
    }

    pub fn states(&self, now: Instant) -> Vec<ActionState> {
        let state = |action: &Action| ActionState {
            kind: action.kind,
            ago: now.saturating_duration_since(action.at),
            length: action.length,
            ended: action.ended.map(|at| now.saturating_duration_since(at)),
            cause: action.cause.clone(),
        };
        self.latest.iter().map(state).collect()
    }
}

/// Of a site.
const KEPT: usize = 4;
/// Characters of a cause.
const CAUSE_MAX: usize = 256;
