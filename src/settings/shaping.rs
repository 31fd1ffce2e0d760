//! The rules of traffic shaping: `outbound.shaping_file`, and `config/shaping.toml`, which is built in and comes after it. Take effect at reload.
//!
//! A rule is for sites, by the names of their hosts: a site fits if any of its hosts does. Of the rules that fit, the first one that has a
//! field counts for that field, so that one field of a built-in rule can be set without repeating the others. Of the rules about replies the
//! first one that fits counts. Not here: what a site bears (`queue::sites`), who is asked (`outbound`).

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::parse::{locate, parse};
use super::problem::{PROBLEMS_SHOWN_MAX, Problem};
use super::text::Text;
use super::units::Secs;

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapingFile {
    /// Whether the built-in rules come after these.
    pub defaults: bool,
    /// What sites bear.
    pub site: Vec<SiteRule>,
    /// What their replies come to.
    pub reply: Vec<ReplyRule>,
}

impl Default for ShapingFile {
    fn default() -> Self {
        Self {
            defaults: true,
            site: Vec::new(),
            reply: Vec::new(),
        }
    }
}

/// What sites bear. `None`: another rule or `[outbound]` says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteRule {
    /// Any of these; it must be written.
    pub hosts: Vec<HostPattern>,
    /// Connections, from all cores.
    pub connections_max: Option<u32>,
    /// Connections while nothing is known of it.
    pub connections_at_first: Option<u32>,
    /// Messages in a time, from all cores.
    pub rate: Option<Rate>,
    /// Messages on one connection.
    pub messages_per_connection_max: Option<u32>,
    /// Recipients of one transaction.
    pub recipients_per_transaction_max: Option<u32>,
    /// Whether anything goes without TLS.
    pub tls: Option<TlsNeed>,
    /// How long it is left alone when it could not be reached.
    pub pause_first_secs: Option<Secs>,
    /// The same in the end.
    pub pause_max_secs: Option<Secs>,
}

/// What a reply comes to: all that is said of it must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyRule {
    /// Any of these hosts. Empty: all.
    pub hosts: Vec<HostPattern>,
    /// The reply code.
    pub code: Option<u16>,
    /// The enhanced code.
    pub enhanced: Option<Glob>,
    /// A part of the text.
    pub text: Option<Glob>,
    /// To what it was said.
    pub stage: Option<ReplyStage>,
    /// What is done; it must be written.
    pub action: Option<ReplyAction>,
    /// For how long.
    pub for_secs: Option<Secs>,
}

/// To what a server said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyStage {
    /// To the connection: its greeting, or what it said instead.
    #[serde(alias = "greeting")]
    Connect,
    /// To EHLO or HELO, STARTTLS, AUTH.
    Hello,
    /// To MAIL.
    Mail,
    /// To RCPT.
    Recipient,
    /// To DATA, BDAT or the message.
    Data,
}

/// What is done about a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyAction {
    /// The site is left alone for a time; the recipient waits.
    Pause,
    /// The site gets half of its connections and of its rate for a time; the recipient waits.
    Slow,
    /// The recipient is given up.
    Permanent,
    /// The recipient waits.
    Temporary,
    /// Nothing but what the code says.
    None,
}

/// Whether anything goes without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsNeed {
    /// Nothing.
    Require,
    /// What DANE, MTA-STS and the message leave open.
    Opportunistic,
}

/// Messages in a time: `"100/minute"`; or `"none"`: as many as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many; 0: without a limit.
    pub messages: u32,
    /// In this time.
    pub per: Duration,
}

impl Rate {
    /// Messages in a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.messages) / self.per.as_secs_f64()
    }

    /// For people.
    pub fn words(self) -> String {
        let unit = UNITS.iter().find(|(_, secs)| *secs == self.per.as_secs());
        let unit = unit.map_or("second", |(word, _)| word);
        match self.messages {
            1 => format!("1 message per {unit}"),
            n => format!("{n} messages per {unit}"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            let per = Duration::from_secs(1);
            return Ok(Rate { messages: 0, per });
        }
        let parts = text.split_once('/').and_then(|(number, unit)| {
            let (_, secs) = UNITS.iter().find(|(word, _)| *word == unit.trim())?;
            Some((number.trim().parse().ok()?, *secs))
        });
        match parts {
            Some((messages, secs)) if (1..=RATE_MAX).contains(&messages) => Ok(Rate {
                messages,
                per: Duration::from_secs(secs),
            }),
            _ => Err(format!(
                "{text:?} is no rate: write \"10/second\", \"100/minute\", \"1000/hour\", \"5000/day\" or \"none\""
            )),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, secs)| *secs == self.per.as_secs());
        match (self.messages, unit) {
            (0, _) | (_, None) => f.write_str("none"),
            (messages, Some((word, _))) => write!(f, "{messages}/{word}"),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text in which `*` stands for anything; letters fit in either case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Glob(Box<str>);

impl Glob {
    /// Whether all of a text fits.
    pub fn is(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes())
    }

    /// Whether a part of a text does.
    pub fn is_in(&self, text: &str) -> bool {
        fits(format!("*{}*", self.0).as_bytes(), text.as_bytes())
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_text = |c: char| c.is_ascii() && !c.is_ascii_control();
        match text.is_empty() || text.len() > PATTERN_MAX || !text.chars().all(is_text) {
            true => Err(format!(
                "{text:?} is no pattern: 1 to {PATTERN_MAX} characters of ASCII"
            )),
            false => Ok(Self(text.into())),
        }
    }
}

/// The name of a host, in which `*` stands for anything: `*.example.org` is all below `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPattern(Glob);

impl HostPattern {
    /// Whether a host is meant.
    pub fn fits(&self, host: &str) -> bool {
        self.0.is(host)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-_.*:[]".contains(&b);
        match text.bytes().all(is_host) {
            true => Glob::try_from(text).map(Self),
            false => Err(format!(
                "{text:?} is no pattern of a host: expected mx.example.org, *.example.org, or [192.0.2.1] for an address"
            )),
        }
    }
}

/// One `*` is gone back to, the last: what the others took can stay so.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            back = Some((at, seen));
        } else if pattern
            .get(at)
            .is_some_and(|b| b.eq_ignore_ascii_case(&text[seen]))
        {
            (at, seen) = (at + 1, seen + 1);
        } else if let Some((star, from)) = &mut back {
            *from += 1;
            (at, seen) = (*star, *from);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|b| *b == b'*')
}

/// The rules in force, in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shaping {
    sites: Vec<SiteRule>,
    replies: Vec<Arc<ReplyRule>>,
}

/// What the rules say of one site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteShape {
    /// Each field from the first rule that has it; `hosts` is empty.
    pub rule: SiteRule,
    replies: Vec<Arc<ReplyRule>>,
}

impl Shaping {
    /// The built-in rules alone.
    pub fn built_in() -> Shaping {
        Shaping::of(ShapingFile::default())
    }

    /// Those of a file, before the built-in ones.
    pub fn of(file: ShapingFile) -> Shaping {
        let built_in = file.defaults.then(|| BUILT_IN.clone());
        let files = [Some(file), built_in].into_iter().flatten();
        let mut shaping = Shaping::default();
        for file in files {
            shaping.sites.extend(file.site);
            shaping.replies.extend(file.reply.into_iter().map(Arc::new));
        }
        shaping
    }

    /// Reads and checks a file; adds to `problems` what is wrong with it.
    pub fn read(text: &Text, problems: &mut Vec<Problem>) -> Shaping {
        let Some(file) = parse::<ShapingFile>(text, problems) else {
            return Shaping::default();
        };
        check(text, &file, problems);
        Shaping::of(file)
    }

    /// What they say of the site with these hosts.
    pub fn of_site(&self, hosts: &[&str]) -> SiteShape {
        let is_of = |patterns: &[HostPattern]| {
            let is = |host: &&str| patterns.iter().any(|pattern| pattern.fits(host));
            hosts.iter().any(is)
        };
        let mut shape = SiteShape::default();
        let rule = &mut shape.rule;
        for next in self.sites.iter().filter(|rule| is_of(&rule.hosts)) {
            // Taken apart without `..`, so that a new field is seen to.
            let SiteRule {
                hosts: _,
                connections_max,
                connections_at_first,
                rate,
                messages_per_connection_max,
                recipients_per_transaction_max,
                tls,
                pause_first_secs,
                pause_max_secs,
            } = next;
            rule.connections_max = rule.connections_max.or(*connections_max);
            rule.connections_at_first = rule.connections_at_first.or(*connections_at_first);
            rule.rate = rule.rate.or(*rate);
            rule.messages_per_connection_max = rule
                .messages_per_connection_max
                .or(*messages_per_connection_max);
            rule.recipients_per_transaction_max = rule
                .recipients_per_transaction_max
                .or(*recipients_per_transaction_max);
            rule.tls = rule.tls.or(*tls);
            rule.pause_first_secs = rule.pause_first_secs.or(*pause_first_secs);
            rule.pause_max_secs = rule.pause_max_secs.or(*pause_max_secs);
        }
        let replies = self.replies.iter();
        let meant = replies.filter(|rule| rule.hosts.is_empty() || is_of(&rule.hosts));
        shape.replies = meant.cloned().collect();
        shape
    }
}

impl SiteShape {
    /// Messages in a time, if that is limited.
    pub fn rate(&self) -> Option<Rate> {
        self.rule.rate.filter(|rate| rate.messages > 0)
    }

    /// Whether nothing goes without TLS.
    pub fn requires_tls(&self) -> bool {
        self.rule.tls == Some(TlsNeed::Require)
    }

    /// What is done about a reply, and for how long.
    pub fn reply(
        &self,
        stage: ReplyStage,
        code: u16,
        enhanced: Option<(u8, u16, u16)>,
        text: &str,
    ) -> Option<(ReplyAction, Duration)> {
        let dotted = enhanced.map(|(a, b, c)| format!("{a}.{b}.{c}"));
        let fits = |rule: &&Arc<ReplyRule>| {
            let is_code = rule.code.is_none_or(|wanted| wanted == code);
            let is_enhanced = |glob: &Glob| dotted.as_ref().is_some_and(|dotted| glob.is(dotted));
            is_code
                && rule.stage.is_none_or(|wanted| wanted == stage)
                && rule.enhanced.as_ref().is_none_or(is_enhanced)
                && rule.text.as_ref().is_none_or(|glob| glob.is_in(text))
        };
        let rule = self.replies.iter().find(fits)?;
        let length = rule.for_secs.map_or(FOR, Secs::duration);
        Some((rule.action?, length))
    }
}

fn check(text: &Text, file: &ShapingFile, problems: &mut Vec<Problem>) {
    // What is there and was wrong has been told.
    let is_written = |path: [&str; 3]| locate(&text.content, &path.map(str::to_owned)).1;
    let mut wrong = |path: [&str; 3], message: String, hint: &str| {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let shown = problems.len() < PROBLEMS_SHOWN_MAX;
        let place = shown.then(|| locate(&text.content, &path).0).flatten();
        let problem = Problem {
            place,
            ..Problem::of_file(&text.path, message)
        };
        problems.push(problem.hint(hint));
    };
    for (at, rule) in file.site.iter().enumerate() {
        let at = at.to_string();
        if rule.hosts.is_empty() && !is_written(["site", &at, "hosts"]) {
            let hint = "the hosts that take the mail, as in hosts = [\"*.example.org\"]";
            wrong(
                ["site", &at, "hosts"],
                "missing field \"hosts\"".into(),
                hint,
            );
        }
        let secs = |secs: Option<Secs>| secs.map(|secs| secs.duration().as_secs());
        let number = |number: Option<u32>| number.map(u64::from);
        for (field, value, most) in [
            ("connections_max", number(rule.connections_max), 10_000),
            (
                "connections_at_first",
                number(rule.connections_at_first),
                10_000,
            ),
            (
                "messages_per_connection_max",
                number(rule.messages_per_connection_max),
                1_000_000,
            ),
            (
                "recipients_per_transaction_max",
                number(rule.recipients_per_transaction_max),
                1_000,
            ),
            ("pause_first_secs", secs(rule.pause_first_secs), 86_400),
            ("pause_max_secs", secs(rule.pause_max_secs), 86_400),
        ] {
            if let Some(value) = value.filter(|value| !(1..=most).contains(value)) {
                let message = format!("{field} cannot be {value}");
                wrong(["site", &at, field], message, &format!("from 1 to {most}"));
            }
        }
    }
    for (at, rule) in file.reply.iter().enumerate() {
        let at = at.to_string();
        let acts = matches!(rule.action, Some(ReplyAction::Pause | ReplyAction::Slow));
        if rule.action.is_none() && !is_written(["reply", &at, "action"]) {
            let hint = "\"pause\", \"slow\", \"permanent\", \"temporary\" or \"none\"";
            wrong(
                ["reply", &at, "action"],
                "missing field \"action\"".into(),
                hint,
            );
        }
        if rule.code.is_none() && rule.enhanced.is_none() && rule.text.is_none() {
            let message = "a rule for every reply".to_owned();
            let hint = "code, enhanced or text says which replies are meant";
            wrong(["reply", &at, "action"], message, hint);
        }
        if let Some(code) = rule.code.filter(|code| !(400..600).contains(code)) {
            let message = format!("code cannot be {code}");
            wrong(["reply", &at, "code"], message, "from 400 to 599");
        }
        if rule.for_secs.is_some() && rule.action.is_some() && !acts {
            let message = "for_secs is of no use with this action".to_owned();
            wrong(["reply", &at, "for_secs"], message, "remove it");
        }
        let length = rule.for_secs.map_or(FOR, Secs::duration);
        if length < Duration::from_secs(1) || length > FOR_MAX {
            let message = "for_secs is out of bounds".to_owned();
            wrong(["reply", &at, "for_secs"], message, "from 1s to 7d");
        }
    }
}

/// What comes with the program.
pub const SHIPPED: &str = include_str!("../../config/shaping.toml");

/// A test holds it to the model.
static BUILT_IN: LazyLock<ShapingFile> =
    LazyLock::new(|| toml::from_str(SHIPPED).unwrap_or_default());

const UNITS: [(&str, u64); 4] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
];
const RATE_MAX: u32 = 1_000_000;
const PATTERN_MAX: usize = 256;
/// How long an action lasts that does not say it; and at most.
const FOR: Duration = Duration::from_secs(600);
const FOR_MAX: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Shaping {
        let mut problems = Vec::new();
        let shaping = Shaping::read(&Text::new("shaping.toml", content), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        shaping
    }

    #[test]
    fn the_built_in_rules_are_without_a_mistake() {
        let built_in = read(SHIPPED);
        assert!(built_in.sites.len() > 5 && built_in.replies.len() > 5);
        let google = Shaping::built_in().of_site(&["aspmx.l.google.com"]);
        let stage = ReplyStage::Recipient;
        let said = |code, enhanced, text| google.reply(stage, code, Some(enhanced), text);
        assert_eq!(
            said(421, (4, 7, 28), "Our system has detected an unusual rate").map(|(a, _)| a),
            Some(ReplyAction::Slow)
        );
        let unusual = "Our system has detected an unusual rate of unsolicited mail originating from your IP address.";
        assert_eq!(said(421, (4, 7, 0), unusual).unwrap().1.as_secs(), 3_600);
        assert_eq!(said(550, (5, 1, 1), "no such user"), None);
        let microsoft = Shaping::built_in().of_site(&["a-b.mail.protection.outlook.com"]);
        let text = "RP-001 The mail server IP has exceeded the rate limit allowed.";
        assert!(microsoft.reply(stage, 421, None, text).is_some());
        assert!(google.reply(stage, 421, None, text).is_none());
        let text = "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)";
        let limited = microsoft.reply(stage, 451, Some((4, 7, 650)), text);
        assert_eq!(limited.unwrap().0, ReplyAction::Slow);
        let yahoo = Shaping::built_in().of_site(&["mta5.am0.yahoodns.net"]);
        for text in [
            "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
            "[IPTS04] Messages",
        ] {
            assert_eq!(
                yahoo.reply(stage, 421, None, text).unwrap().0,
                ReplyAction::Pause
            );
        }
        // 421 to a connection is about us; later it may be about one mailbox.
        let gmx = Shaping::built_in().of_site(&["mx00.gmx.net"]);
        assert!(gmx.reply(ReplyStage::Connect, 421, None, "x").is_some());
        assert!(gmx.reply(stage, 421, None, "x").is_none());
    }

    #[test]
    fn a_star_stands_for_anything() {
        let is = |pattern: &str, text| fits(pattern.as_bytes(), text);
        assert!(is("*.google.com", b"aspmx.L.Google.com"));
        assert!(!is("*.google.com", b"google.com"));
        assert!(!is("*.google.com", b"a.google.com.example"));
        assert!(is("mx*.example", b"mx12.example") && is("mx*.example", b"mx.example"));
        assert!(is("a*b*c", b"a-b-b-c") && !is("a*b*c", b"a-b-b"));
        assert!(is("*", b"") && is("**", b"x") && !is("", b"x"));
        let glob = Glob::try_from("rate * exceeded".to_owned()).unwrap();
        assert!(glob.is_in("the Rate limit EXCEEDED here") && !glob.is("the rate limit exceeded"));
    }

    #[test]
    fn the_first_rule_that_has_a_field_counts_for_it() {
        let shaping = read(
            "defaults = false
            [[site]]
            hosts = [\"mx1.example\"]
            rate = \"none\"
            [[site]]
            hosts = [\"*.example\", \"[192.0.2.1]\"]
            connections_max = 3
            rate = \"100/minute\"
            tls = \"require\"
            [[site]]
            hosts = [\"*\"]
            connections_max = 9
            messages_per_connection_max = 10
            ",
        );
        let both = shaping.of_site(&["mx1.example", "mx2.example"]);
        assert_eq!(both.rate(), None);
        assert_eq!(both.rule.connections_max, Some(3));
        assert_eq!(both.rule.messages_per_connection_max, Some(10));
        assert!(both.requires_tls());
        let other = shaping.of_site(&["mx2.example"]);
        assert_eq!(other.rate().unwrap().words(), "100 messages per minute");
        assert!(shaping.of_site(&["[192.0.2.1]"]).requires_tls());
        assert_eq!(shaping.of_site(&["mx.test"]).rule.connections_max, Some(9));
    }

    #[test]
    fn the_first_rule_that_fits_a_reply_counts() {
        let shaping = read(
            "[[reply]]
            hosts = [\"*.google.com\"]
            enhanced = \"4.7.28\"
            action = \"none\"
            [[reply]]
            code = 451
            text = \"greylist*\"
            action = \"pause\"
            for_secs = \"1m\"
            [[reply]]
            enhanced = \"5.7.*\"
            action = \"temporary\"
            ",
        );
        let google = shaping.of_site(&["mx.google.com"]);
        let action = |code, enhanced, text| {
            let reply = google.reply(ReplyStage::Data, code, enhanced, text);
            reply.map(|(action, _)| action)
        };
        assert_eq!(
            action(421, Some((4, 7, 28)), "unusual rate"),
            Some(ReplyAction::None)
        );
        assert_eq!(
            google.reply(ReplyStage::Mail, 451, None, "4.7.1 Greylisted"),
            Some((ReplyAction::Pause, Duration::from_secs(60)))
        );
        assert_eq!(action(450, None, "greylisted"), None);
        assert_eq!(
            action(550, Some((5, 7, 1)), "x"),
            Some(ReplyAction::Temporary)
        );
        assert_eq!(action(550, Some((5, 1, 7)), "x"), None);
    }

    #[test]
    fn a_rule_may_be_for_one_stage() {
        let rule = |stage: &str| {
            read(&format!(
                "defaults = false\n[[reply]]\ncode = 421\nstage = \"{stage}\"\naction = \"slow\"\n"
            ))
        };
        let stages = [
            ("connect", ReplyStage::Connect),
            ("hello", ReplyStage::Hello),
            ("mail", ReplyStage::Mail),
            ("recipient", ReplyStage::Recipient),
            ("data", ReplyStage::Data),
            ("greeting", ReplyStage::Connect),
        ];
        for (word, wanted) in stages {
            let site = rule(word).of_site(&["mx.example"]);
            for (_, stage) in stages {
                let fits = site.reply(stage, 421, None, "later").is_some();
                assert_eq!(fits, stage == wanted, "{word} {stage:?}");
            }
        }
        let mut problems = Vec::new();
        let odd = "[[reply]]\ncode = 421\nstage = \"quit\"\naction = \"slow\"\n";
        Shaping::read(&Text::new("shaping.toml", odd), &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn each_mistake_has_its_line() {
        let content = "[[site]]
connections_max = 0
[[site]]
hosts = [\"mx example\"]
rate = \"many\"
[[reply]]
code = 250
action = \"pause\"
for_secs = \"8d\"
[[reply]]
action = \"permanent\"
for_secs = \"1m\"
[[reply]]
text = \"x\"
action = \"halt\"
";
        let mut problems = Vec::new();
        Shaping::read(&Text::new("shaping.toml", content), &mut problems);
        let mut lines: Vec<_> = problems
            .iter()
            .map(|p| p.place.as_ref().map_or(0, |place| place.line))
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, [1, 2, 4, 5, 7, 9, 11, 12, 15], "{problems:#?}");
        assert!(problems.iter().all(|p| p.hint.is_some()
            || p.message.contains("pattern")
            || p.message.contains("rate")));
    }
}
