//! One kind of IMAP command, by `--scenario`. Mailboxes are filled before the clock starts; connections are logged in and
//! have selected before it starts, too (but for `login`, which measures just that).
//! An operation is a command; for `flags` and `bodies` a message.

use std::cell::Cell;
use std::rc::Rc;

use crate::control::Control;
use crate::engine::Engine;
use crate::error::Failure;
use crate::imap_traffic::{ImapTraffic, Plan};
use crate::messages::Messages;
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Figures, Meter};
use crate::rounds;
use crate::target::Target;
use crate::tasks::{AppendPlan, Work};

/// Runs all rounds.
pub fn run(options: &Options) -> Result<(), Failure> {
    let scenario = Scenario::of(options)?;
    for target in &options.targets {
        if scenario.size > 0 {
            fill(options, target, &scenario.mailbox, scenario.size)?;
        }
    }
    rounds::run(
        &options.targets,
        options.rounds,
        options.json,
        |target, _| {
            if scenario.name == "append" && options.mailbox.is_none() {
                return in_own_mailbox(options, target, &scenario);
            }
            measure(options, target, &scenario, &scenario.mailbox)
        },
    )
}

/// Appends until the mailbox of each login holds `size` messages.
pub fn fill(options: &Options, target: &Target, mailbox: &str, size: u32) -> Result<(), Failure> {
    let logins = target.logins()?;
    let mut progress = Progress::new(
        format!("{}: mailboxes filled", target.name),
        logins.len() as u64,
    );
    for (done, login) in logins.into_iter().enumerate() {
        progress.at(done as u64);
        let found = Control::open(target, &login)?.messages(mailbox)?;
        if found > size {
            return Err(Failure::Usage(format!(
                "{}: {mailbox} of {} has {found} messages, more than {size}; choose another --mailbox",
                target.name, login.0
            )));
        }
        let missing = u64::from(size - found);
        if missing > 0 {
            let plan = Plan {
                target,
                logins: vec![login],
                mailbox: None,
                source: None,
                work: append(options, mailbox),
                count: missing,
            };
            let mut traffic = ImapTraffic::new(plan);
            traffic.arm();
            let mut engine = Engine::new(&target.name, options.timeout)?;
            for _ in 0..missing.min(FILLERS) {
                engine.add(&mut traffic)?;
            }
            let mut progress = Progress::new(format!("{}: appended", target.name), missing);
            engine.run(&mut traffic, |traffic| {
                progress.at(traffic.operations);
                traffic.operations == missing
            })?;
        }
    }
    Ok(())
}

struct Scenario {
    name: String,
    mailbox: String,
    size: u32,
    count: u64,
    unit: &'static str,
    latency_of: &'static str,
}

impl Scenario {
    fn of(options: &Options) -> Result<Self, Failure> {
        let name = options.scenario.clone().unwrap_or_default();
        let (count, size, unit, latency_of) = match name.as_str() {
            "login" => (1000, 0, "logins", "login"),
            "select" => (1000, 1000, "SELECTs", "SELECT"),
            "flags" => (50, 1000, "messages' flags", "FETCH of all"),
            "bodies" => (5, 1000, "messages", "FETCH of all"),
            "append" => (5000, 0, "messages appended", "APPEND"),
            "search" => (100, 1000, "SEARCHes", "SEARCH"),
            _ => {
                let text = "--scenario login, select, flags, bodies, append or search";
                return Err(Failure::Usage(text.into()));
            }
        };
        Ok(Self {
            mailbox: options.mailbox.clone().unwrap_or_else(|| "INBOX".into()),
            size: options.mailbox_size.unwrap_or(size),
            count: options.count.unwrap_or(count),
            name,
            unit,
            latency_of,
        })
    }

    fn work(&self, options: &Options, mailbox: &str) -> Work {
        match self.name.as_str() {
            "login" => Work::Login,
            "select" => Work::Select(mailbox.to_owned()),
            "flags" => Work::Flags,
            "bodies" => Work::Bodies,
            "append" => append(options, mailbox),
            _ => Work::Search(options.query.clone()),
        }
    }
}

fn append(options: &Options, mailbox: &str) -> Work {
    Work::Append(Rc::new(AppendPlan {
        mailbox: mailbox.to_owned(),
        content: Messages::new(options.size, &super::run_name()),
        next: Cell::new(0),
    }))
}

/// A mailbox that is made for one round and removed after it, so that rounds are alike.
fn in_own_mailbox(
    options: &Options,
    target: &Target,
    scenario: &Scenario,
) -> Result<Figures, Failure> {
    let mailbox = format!("load-{}", super::run_name());
    let logins = target.logins()?;
    for login in &logins {
        Control::open(target, login)?.messages(&mailbox)?;
    }
    let figures = measure(options, target, scenario, &mailbox)?;
    for login in &logins {
        Control::open(target, login)?.delete(&mailbox)?;
    }
    Ok(figures)
}

fn measure(
    options: &Options,
    target: &Target,
    scenario: &Scenario,
    mailbox: &str,
) -> Result<Figures, Failure> {
    let work = scenario.work(options, mailbox);
    let is_login = work.is_login();
    let selects = !is_login && scenario.name != "append";
    let mut traffic = ImapTraffic::new(Plan {
        target,
        logins: target.logins()?,
        mailbox: selects.then(|| mailbox.to_owned()),
        source: None,
        work,
        count: scenario.count,
    });
    let connections = options
        .connections
        .unwrap_or(1)
        .min(scenario.count as usize);
    let mut engine = Engine::new(&target.name, options.timeout)?;
    let mut meter = is_login.then(|| Meter::start(target)).transpose()?;
    for _ in 0..connections {
        engine.add(&mut traffic)?;
    }
    if meter.is_none() {
        engine.run(&mut traffic, |traffic| traffic.ready == connections)?;
        meter = Some(Meter::start(target)?);
        traffic.arm();
        engine.resume(&mut traffic)?;
    }
    let mut progress = Progress::new(format!("{}: commands", target.name), scenario.count);
    engine.run(&mut traffic, |traffic| {
        let done = traffic.latency.len();
        progress.at(done);
        // Logins are over when their LOGOUT is: then no connection is left.
        !is_login && done == scenario.count
    })?;
    let usage = meter.map(Meter::stop).transpose()?.unwrap_or_default();
    Ok(Figures {
        target: target.name.clone(),
        unit: scenario.unit,
        operations: traffic.operations,
        latency_of: scenario.latency_of,
        latency: traffic.latency,
        usage,
        notes: Vec::new(),
    })
}

/// Connections that fill a mailbox.
const FILLERS: u64 = 8;
