//! The command line. Every option in one struct: scenarios read what is theirs.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::error::Failure;
use crate::process;
use crate::target::{Security, Target};

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// First word.
    pub command: String,
    /// `--scenario`
    pub scenario: Option<String>,
    /// `--target` and each `--peer`.
    pub targets: Vec<Target>,
    /// `--rounds`
    pub rounds: usize,
    /// `--connections`
    pub connections: Option<usize>,
    /// `--size`, octets.
    pub size: usize,
    /// `--timeout`
    pub timeout: Duration,
    /// `--json`
    pub json: bool,
    /// `--allow-remote`
    pub allow_remote: bool,
    /// `--messages`
    pub messages: u64,
    /// `--per-connection`
    pub per_connection: u64,
    /// `--recipients`
    pub recipients: String,
    /// `--rcpts-per-message`
    pub rcpts_per_message: usize,
    /// `--from`
    pub from: String,
    /// `--auth`
    pub auth: Option<(String, String)>,
    /// `--ledger`
    pub ledger: Option<String>,
    /// `--verify`
    pub verify: Option<String>,
    /// `--count`
    pub count: Option<u64>,
    /// `--mailbox`
    pub mailbox: Option<String>,
    /// `--mailbox-size`
    pub mailbox_size: Option<u32>,
    /// `--query`
    pub query: String,
    /// `--smtp`
    pub smtp: Option<String>,
    /// `--source`: network address.
    pub source: Option<Ipv4Addr>,
    /// `--messages-in-mailbox`
    pub messages_in_mailbox: u32,
    /// `--quiet-secs`
    pub quiet_secs: u64,
    /// `--protocol`
    pub protocol: String,
    /// `--mechanism`
    pub mechanism: Option<String>,
    /// `--cold`
    pub cold: bool,
    /// `--attempts`
    pub attempts: u32,
    /// `--window-secs`
    pub window_secs: u64,
    /// `--pause-micros`
    pub pause_micros: u64,
    /// `--at-most`
    pub at_most: Option<f64>,
    /// `--destinations`
    pub destinations: usize,
    /// `--stalled`
    pub stalled: usize,
    /// `--bars`
    pub bars: bool,
    /// `--seconds`
    pub seconds: Option<u64>,
    /// `--sink-port`
    pub sink_port: u16,
    /// `--hooks-port`
    pub hooks_port: u16,
    /// `--answer-millis`
    pub answer_millis: u64,
    /// `--dns-port`
    pub dns_port: Option<u16>,
    /// `--script`
    pub script: Option<String>,
    /// Each `--rule`.
    pub rules: Vec<String>,
    /// `--threads`
    pub threads: usize,
}

impl Options {
    /// Reads the arguments of this process; `None` when help was asked for.
    pub fn parse() -> Result<Option<Self>, Failure> {
        let usage = |error: lexopt::Error| Failure::Usage(error.to_string());
        let mut parser = Parser::from_env();
        let command = match parser.next().map_err(usage)? {
            Some(Arg::Value(command)) => command.string().map_err(usage)?,
            _ => return Ok(None),
        };
        let mut options = Self::new(command);
        let mut raw = Raw::default();
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long(name) => {
                    let name = name.to_owned();
                    if !raw.switch(&name, &mut options) {
                        let value = parser.value().map_err(usage)?;
                        let value = value.string().map_err(usage)?;
                        options.set(&name, value, &mut raw)?;
                    }
                }
                other => return Err(usage(other.unexpected())),
            }
        }
        raw.targets(&mut options)?;
        Ok(Some(options))
    }

    fn new(command: String) -> Self {
        Self {
            command,
            scenario: None,
            targets: Vec::new(),
            rounds: 1,
            connections: None,
            size: 10 * 1024,
            timeout: Duration::from_secs(600),
            json: false,
            allow_remote: false,
            messages: 10_000,
            per_connection: 100,
            recipients: "u{1..100}@localhost".into(),
            rcpts_per_message: 1,
            from: "load@example.org".into(),
            auth: None,
            ledger: None,
            verify: None,
            count: None,
            mailbox: None,
            mailbox_size: None,
            query: "SUBJECT loadtest".into(),
            smtp: None,
            source: None,
            messages_in_mailbox: 100,
            quiet_secs: 60,
            protocol: "imap".into(),
            mechanism: None,
            cold: false,
            attempts: 2,
            window_secs: 5,
            pause_micros: 2000,
            at_most: None,
            destinations: 100,
            stalled: 0,
            bars: false,
            seconds: None,
            sink_port: 2525,
            hooks_port: 2580,
            answer_millis: 0,
            dns_port: None,
            script: None,
            rules: Vec::new(),
            threads: 1,
        }
    }

    fn set(&mut self, name: &str, value: String, raw: &mut Raw) -> Result<(), Failure> {
        match name {
            "scenario" => self.scenario = Some(value),
            "target" => raw.target = Some(value),
            "peer" => raw.peers.push(value),
            "server-pid" => raw.pid = Some(value),
            "metrics" => raw.metrics = Some(value),
            "user" => raw.user = Some(value),
            "accounts" => {
                raw.user = Some(format!(
                    "u{{1..{}}}@localhost",
                    number::<u32>(name, &value)?
                ))
            }
            "password" => raw.password = Some(value),
            "rounds" => self.rounds = positive(name, &value)?,
            "connections" => self.connections = Some(positive(name, &value)?),
            "size" => self.size = size(&value)?,
            "timeout" => self.timeout = Duration::from_secs(number(name, &value)?),
            "messages" => self.messages = number(name, &value)?,
            "per-connection" => self.per_connection = positive(name, &value)? as u64,
            "recipients" => self.recipients = value,
            "rcpts-per-message" => self.rcpts_per_message = positive(name, &value)?,
            "from" => self.from = value,
            "auth" => self.auth = Some(auth(&value)?),
            "ledger" => self.ledger = Some(value),
            "verify" => self.verify = Some(value),
            "count" => self.count = Some(number(name, &value)?),
            "mailbox" => self.mailbox = Some(value),
            "mailbox-size" => self.mailbox_size = Some(number(name, &value)?),
            "query" => self.query = value,
            "smtp" => self.smtp = Some(value),
            "source" => self.source = Some(network(&value)?),
            "messages-in-mailbox" => self.messages_in_mailbox = number(name, &value)?,
            "quiet-secs" => self.quiet_secs = number(name, &value)?,
            "protocol" => self.protocol = value,
            "mechanism" => self.mechanism = Some(value),
            "attempts" => self.attempts = positive(name, &value)? as u32,
            "window-secs" => self.window_secs = positive(name, &value)? as u64,
            "pause-micros" => self.pause_micros = positive(name, &value)? as u64,
            "at-most" => self.at_most = Some(number(name, &value)?),
            "destinations" => self.destinations = positive(name, &value)?,
            "stalled" => self.stalled = number(name, &value)?,
            "seconds" => self.seconds = Some(positive(name, &value)? as u64),
            "sink-port" => self.sink_port = number(name, &value)?,
            "hooks-port" => self.hooks_port = number(name, &value)?,
            "answer-millis" => self.answer_millis = number(name, &value)?,
            "dns-port" => self.dns_port = Some(number(name, &value)?),
            "script" => self.script = Some(value),
            "rule" => self.rules.push(value),
            "threads" => self.threads = positive(name, &value)?,
            _ => return Err(Failure::Usage(format!("unknown option --{name}"))),
        }
        Ok(())
    }
}

/// What makes up the targets, once all is read.
#[derive(Default)]
struct Raw {
    target: Option<String>,
    peers: Vec<String>,
    security: Option<Security>,
    pid: Option<String>,
    metrics: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

impl Raw {
    /// Options without a value.
    fn switch(&mut self, name: &str, options: &mut Options) -> bool {
        match name {
            "tls" => self.security = Some(Security::Tls),
            "starttls" => self.security = Some(Security::StartTls),
            "json" => options.json = true,
            "cold" => options.cold = true,
            "bars" => options.bars = true,
            "allow-remote" => options.allow_remote = true,
            _ => return false,
        }
        true
    }

    fn targets(self, options: &mut Options) -> Result<(), Failure> {
        let text = self.target.as_deref();
        if options.command == "sink" && text.is_none() {
            return Ok(());
        }
        let text = text.ok_or_else(|| Failure::Usage("--target HOST:PORT is missing".into()))?;
        let mut target = Target::parse(text, "target", options.allow_remote)?;
        target.security = self.security.unwrap_or(target.security);
        if let Some(pid) = &self.pid {
            target.pid = Some(process::find(pid)?);
        }
        target.metrics = self.metrics.or(target.metrics);
        let password = self.password.unwrap_or_else(|| PASSWORD.to_owned());
        options.targets.push(target);
        for text in &self.peers {
            let peer = Target::parse(text, "peer", options.allow_remote)?;
            options.targets.push(peer);
        }
        for target in &mut options.targets {
            target.user = target.user.take().or_else(|| self.user.clone());
            target.password.get_or_insert_with(|| password.clone());
        }
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Failure> {
    let parsed = value.parse();
    parsed.map_err(|_| Failure::Usage(format!("--{name} {value}: not a number that fits")))
}

fn positive(name: &str, value: &str) -> Result<usize, Failure> {
    match number(name, value)? {
        0 => Err(Failure::Usage(format!("--{name} must be at least 1"))),
        value => Ok(value),
    }
}

/// `512`, `10KiB`, `2MiB`; at most 1 GiB.
fn size(text: &str) -> Result<usize, Failure> {
    let (digits, factor) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 1 << 10),
        (_, Some(digits)) => (digits, 1 << 20),
        _ => (text, 1),
    };
    let size = number::<usize>("size", digits)?.checked_mul(factor);
    size.filter(|size| *size <= 1 << 30)
        .ok_or_else(|| Failure::Usage(format!("--size {text} is too large")))
}

fn auth(text: &str) -> Result<(String, String), Failure> {
    let (user, password) = text
        .split_once(':')
        .ok_or_else(|| Failure::Usage("--auth USER:PASSWORD".into()))?;
    Ok((user.to_owned(), password.to_owned()))
}

/// A network of 256 addresses below 127.
fn network(text: &str) -> Result<Ipv4Addr, Failure> {
    let address = text.strip_suffix("/24").and_then(|it| it.parse().ok());
    address
        .filter(Ipv4Addr::is_loopback)
        .ok_or_else(|| Failure::Usage(format!("--source {text}: a network like 127.0.1.0/24")))
}

/// Of the accounts that `ringmail localserve` makes.
const PASSWORD: &str = "ringmailringmail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_networks() {
        assert_eq!(size("10KiB").unwrap(), 10_240);
        assert_eq!(size("2MiB").unwrap(), 2 << 20);
        assert!(size("2GB").is_err() && size("9999MiB").is_err());
        assert_eq!(
            network("127.0.1.0/24").unwrap(),
            Ipv4Addr::new(127, 0, 1, 0)
        );
        assert!(network("10.0.0.0/24").is_err() && network("127.0.0.1").is_err());
    }
}
