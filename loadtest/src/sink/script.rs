//! What each destination does: lines of `WHERE RULE ..`, in the order of the script; a later line adds to an earlier one.
//!
//! ```text
//! *                 without=CHUNKING          # every address
//! 127.0.1.7         stall=banner
//! 127.0.1.10-19     slow=200ms rcpt=450/30%   # a range of the last octet
//! ```
//! `usage.txt` lists the rules.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::Failure;

/// Where in a dialog a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On connecting.
    Banner,
    /// At EHLO or HELO.
    Hello,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA, or the first BDAT.
    Data,
    /// After a first part of the message.
    Middle,
    /// After the whole message.
    Dot,
}

/// What happens there instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing more, ever.
    Stall,
    /// The connection is reset.
    Drop,
    /// Octets that are no reply.
    Garbage,
    /// A reply of several lines without its last one, then nothing more.
    Unfinished,
    /// A line that does not end.
    Endless,
    /// A reply with this code, whatever it means there.
    Code(u16),
}

/// What becomes of STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not offered.
    No,
    /// Offered and done, with a certificate made at the start.
    Yes,
    /// Offered, then 454.
    Refuse,
    /// Offered, 220, then octets that are no handshake.
    Break,
}

/// What one destination does.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Nobody listens.
    pub refuse: bool,
    /// Pause before each reply.
    pub slow: Option<Duration>,
    /// 421 to the MAIL after so many messages on a connection.
    pub messages_max: Option<u64>,
    /// 421 to every connection after so many.
    pub connections_total_max: Option<u64>,
    /// 421 to connections above so many at once.
    pub connections_open_max: Option<u64>,
    /// This code to a share of the recipients, in percent.
    pub rcpt: Option<(u16, u64)>,
    /// 451 to a recipient until so long after its first attempt.
    pub greylist: Option<Duration>,
    /// A fault and where.
    pub fault: Option<(Place, Fault)>,
    /// Faults only on so many first connections.
    pub first: Option<u64>,
    /// STARTTLS.
    pub tls: Tls,
    /// AUTH PLAIN is offered, and any password will do.
    pub auth: bool,
    /// SIZE.
    pub size: u64,
    /// What EHLO does not say.
    pub without: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            refuse: false,
            slow: None,
            messages_max: None,
            connections_total_max: None,
            connections_open_max: None,
            rcpt: None,
            greylist: None,
            fault: None,
            first: None,
            tls: Tls::No,
            auth: false,
            size: SIZE,
            without: Vec::new(),
        }
    }
}

impl Rules {
    fn add(&mut self, rule: &str) -> Option<()> {
        let (key, value) = rule.split_once('=').unwrap_or((rule, ""));
        match key {
            "accept" => *self = Self::default(),
            "refuse" => self.refuse = true,
            "slow" => self.slow = Some(duration(value)?),
            "messages-max" => self.messages_max = Some(value.parse().ok()?),
            "connections-total-max" => self.connections_total_max = Some(value.parse().ok()?),
            "connections-max" => self.connections_open_max = Some(value.parse().ok()?),
            "rcpt" => {
                let (code, share) = value.split_once('/').unwrap_or((value, "100%"));
                let share = share.strip_suffix('%')?.parse().ok()?;
                self.rcpt = Some((self::code(code)?, share)).filter(|_| share <= 100);
                self.rcpt?;
            }
            "greylist" if value.is_empty() => self.greylist = Some(Duration::ZERO),
            "greylist" => self.greylist = Some(duration(value)?),
            "stall" => self.fault = Some((place(value)?, Fault::Stall)),
            "drop" => self.fault = Some((place(value)?, Fault::Drop)),
            "garbage" => self.fault = Some((answered(value)?, Fault::Garbage)),
            "unfinished" => self.fault = Some((answered(value)?, Fault::Unfinished)),
            "endless" => self.fault = Some((answered(value)?, Fault::Endless)),
            "code" => {
                let (at, code) = value.split_once('/')?;
                self.fault = Some((answered(at)?, Fault::Code(self::code(code)?)));
            }
            "first" => self.first = Some(value.parse().ok()?),
            "tls" => {
                self.tls = match value {
                    "" | "yes" => Tls::Yes,
                    "no" => Tls::No,
                    "refuse" => Tls::Refuse,
                    "break" => Tls::Break,
                    _ => return None,
                }
            }
            "auth" => self.auth = true,
            "size" => self.size = value.parse().ok()?,
            "without" => self.without.extend(value.split('+').map(str::to_owned)),
            _ => return None,
        }
        Some(())
    }
}

/// Lines of rules.
#[derive(Debug, Clone, Default)]
pub struct Script {
    lines: Vec<(Where, Vec<String>)>,
}

#[derive(Debug, Clone)]
enum Where {
    Everywhere,
    Range(Ipv4Addr, Ipv4Addr),
}

impl Script {
    /// Adds the lines of a text.
    pub fn add(&mut self, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let wrong = |what: &str| Failure::Usage(format!("script: {}: {what}", line.trim()));
            let range = range(first)
                .ok_or_else(|| wrong("begins with *, a loopback address or 127.0.1.2-9"))?;
            let rules: Vec<String> = words.map(str::to_owned).collect();
            let mut tried = Rules::default();
            for rule in &rules {
                let read = tried.add(rule);
                read.ok_or_else(|| wrong(&format!("what is {rule}? See --help")))?;
            }
            self.lines.push((range, rules));
        }
        Ok(())
    }

    /// What an address does.
    pub fn rules(&self, address: Ipv4Addr) -> Rules {
        let mut rules = Rules::default();
        for (at, words) in &self.lines {
            let applies = match at {
                Where::Everywhere => true,
                Where::Range(first, last) => (*first..=*last).contains(&address),
            };
            if applies {
                for word in words {
                    rules.add(word).expect("rules were read when they came");
                }
            }
        }
        rules
    }

    /// The addresses that lines name.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let named = self.lines.iter().filter_map(|(at, _)| match at {
            Where::Everywhere => None,
            Where::Range(first, last) => Some(first.to_bits()..=last.to_bits()),
        });
        let mut all: Vec<u32> = named.flatten().collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(Ipv4Addr::from_bits)
    }
}

fn range(text: &str) -> Option<Where> {
    if text == "*" {
        return Some(Where::Everywhere);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, ""));
    let first: Ipv4Addr = first.parse().ok()?;
    let [a, b, c, d] = first.octets();
    let last = if last.is_empty() {
        d
    } else {
        last.parse().ok()?
    };
    let sound = first.is_loopback() && d <= last;
    sound.then(|| Where::Range(first, Ipv4Addr::new(a, b, c, last)))
}

fn place(word: &str) -> Option<Place> {
    Some(match word {
        "banner" => Place::Banner,
        "ehlo" => Place::Hello,
        "mail" => Place::Mail,
        "rcpt" => Place::Rcpt,
        "data" => Place::Data,
        "middle" => Place::Middle,
        "dot" => Place::Dot,
        _ => return None,
    })
}

/// A place where an answer is due.
fn answered(word: &str) -> Option<Place> {
    place(word).filter(|place| *place != Place::Middle)
}

fn code(text: &str) -> Option<u16> {
    let code = text.parse().ok()?;
    (100..=999).contains(&code).then_some(code)
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(millis.parse().ok()?));
    }
    Some(Duration::from_secs(text.strip_suffix('s')?.parse().ok()?))
}

const SIZE: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        let mut script = Script::default();
        script.add(text).unwrap();
        script.rules(Ipv4Addr::new(127, 0, 1, 7))
    }

    #[test]
    fn later_lines_add_to_earlier_ones() {
        let read = rules(
            "* slow=20ms auth # all\n\n127.0.1.3-7 stall=dot first=2\n127.0.1.8 refuse\n* slow=1s",
        );
        let expected = Rules {
            slow: Some(Duration::from_secs(1)),
            auth: true,
            fault: Some((Place::Dot, Fault::Stall)),
            first: Some(2),
            ..Rules::default()
        };
        assert_eq!(read, expected);
        assert_eq!(rules("* stall=dot\n127.0.1.7 accept"), Rules::default());
        assert_eq!(rules("* rcpt=450/30%").rcpt, Some((450, 30)));
        assert_eq!(
            rules("* code=mail/999").fault,
            Some((Place::Mail, Fault::Code(999)))
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for bad in [
            "10.0.0.1 slow=1s",
            "127.0.1.9-3 slow=1s",
            "somewhere refuse",
            "* slow=5",
            "* stall",
            "* stall=later",
            "* garbage=middle",
            "* rcpt=450/101%",
            "* code=mail/20",
            "* tls=perhaps",
            "* sleep=1s",
        ] {
            assert!(Script::default().add(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn named_addresses_are_listed_once() {
        let mut script = Script::default();
        script
            .add("* auth\n127.0.1.3-4 auth\n127.0.1.4 refuse")
            .unwrap();
        let named: Vec<String> = script.addresses().map(|it| it.to_string()).collect();
        assert_eq!(named, ["127.0.1.3", "127.0.1.4"]);
    }
}
