//! Many connections that idle: what each costs in memory, all of them in CPU time while nothing happens, and how long
//! the news of a delivery takes to reach them. The deliveries run in the same engine as the connections that wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::imap::fill;
use crate::engine::{Engine, Opening, Traffic, Turn};
use crate::error::Failure;
use crate::imap_traffic::{self, ImapDialog, ImapTraffic};
use crate::messages::Messages;
use crate::options::Options;
use crate::process::{self, Reading};
use crate::progress::Progress;
use crate::report::{Figures, Meter, Usage, latencies};
use crate::smtp_traffic::{Plan, Sender, SmtpDialog, SmtpTraffic};
use crate::target::{Security, Target, address};
use crate::tasks::{Notices, Work};

/// Runs against each target in turn.
pub fn run(options: &Options) -> Result<(), Failure> {
    for target in &options.targets {
        let idle = Idle::new(options, target)?;
        idle.measure()?;
    }
    Ok(())
}

struct Idle<'a> {
    options: &'a Options,
    target: &'a Target,
    connections: usize,
    notices: Rc<Notices>,
}

impl<'a> Idle<'a> {
    fn new(options: &'a Options, target: &'a Target) -> Result<Self, Failure> {
        let mailboxes = target.logins()?.len();
        Ok(Self {
            options,
            target,
            connections: options.connections.unwrap_or(CONNECTIONS),
            notices: Rc::new(Notices {
                idling: Cell::new(0),
                told: Cell::new(0),
                sent: Rc::new(RefCell::new(vec![None; mailboxes])),
                latency: RefCell::new(latencies()),
            }),
        })
    }

    fn measure(&self) -> Result<(), Failure> {
        let (options, target) = (self.options, self.target);
        fill(options, target, MAILBOX, options.messages_in_mailbox)?;
        thread::sleep(SETTLE);
        let before = target.pid.map(process::read);
        let mut traffic = self.traffic()?;
        let mut engine = Engine::new(&target.name, options.timeout)?;
        let start = Instant::now();
        self.open_all(&mut engine, &mut traffic)?;
        let opening_secs = start.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        let after = target.pid.map(process::read);
        let quiet = self.quiet(&mut engine, &mut traffic)?;
        let cost = Cost {
            connections: self.connections,
            opening_secs,
            memory: before.zip(after),
            quiet,
        };
        let delivery = match options.smtp {
            Some(_) => Some(self.deliver(&mut engine, &mut traffic)?),
            None => None,
        };
        if options.json {
            let delivery = delivery.as_ref().map(Figures::json);
            println!("{}", json!({ "idle": cost.json(), "delivery": delivery }));
        } else {
            print!(
                "{}{}",
                cost.text(),
                delivery.map_or(String::new(), |it| it.text())
            );
        }
        Ok(())
    }

    fn traffic(&self) -> Result<IdleTraffic, Failure> {
        let logins = self.target.logins()?;
        let mut imap = ImapTraffic::new(imap_traffic::Plan {
            target: self.target,
            logins: logins.clone(),
            mailbox: Some(MAILBOX.into()),
            source: self.options.source,
            work: Work::Idle(Rc::clone(&self.notices)),
            count: self.connections as u64,
        });
        imap.arm();
        let mut smtp = None;
        if let Some(text) = &self.options.smtp {
            let recipients: Vec<String> = logins.into_iter().map(|login| login.0).collect();
            let recipients = Plan::recipients(&recipients)?;
            let reached = recipients.len().min(self.connections) as u64;
            let plan = Plan {
                to: address(text, self.options.allow_remote)?,
                security: Security::Plain,
                senders: vec![Sender::new(&self.options.from, None)?],
                recipients,
                rcpts_per_message: 1,
                messages: reached,
                until: None,
                per_connection: u64::MAX,
                content: Messages::new(self.options.size, &super::run_name()),
            };
            let mut traffic = SmtpTraffic::new(plan);
            traffic.sent = Some(Rc::clone(&self.notices.sent));
            smtp = Some(traffic);
        }
        Ok(IdleTraffic {
            imap,
            smtp,
            delivering: false,
        })
    }

    /// A hundred at a time: the backlog of a listener is bounded.
    fn open_all(
        &self,
        engine: &mut Engine<IdleDialog>,
        traffic: &mut IdleTraffic,
    ) -> Result<(), Failure> {
        let idling = &self.notices.idling;
        let mut progress = Progress::new(
            format!("{}: idling", self.target.name),
            self.connections as u64,
        );
        let mut opened = 0;
        while opened < self.connections {
            let batch = (self.connections - opened).min(BATCH);
            for _ in 0..batch {
                engine.add(traffic)?;
            }
            opened += batch;
            engine.run(traffic, |_| {
                progress.at(idling.get() as u64);
                idling.get() == opened
            })?;
        }
        Ok(())
    }

    fn quiet(
        &self,
        engine: &mut Engine<IdleDialog>,
        traffic: &mut IdleTraffic,
    ) -> Result<Usage, Failure> {
        let length = Duration::from_secs(self.options.quiet_secs);
        let mut progress = Progress::new(
            format!("{}: quiet seconds", self.target.name),
            length.as_secs(),
        );
        let meter = Meter::start(self.target)?;
        let start = Instant::now();
        engine.run(traffic, |_| {
            progress.at(start.elapsed().as_secs());
            start.elapsed() >= length
        })?;
        meter.stop()
    }

    /// One message to each mailbox, one after the other; over when each connection has been told.
    fn deliver(
        &self,
        engine: &mut Engine<IdleDialog>,
        traffic: &mut IdleTraffic,
    ) -> Result<Figures, Failure> {
        let told = &self.notices.told;
        let mut progress = Progress::new(
            format!("{}: told", self.target.name),
            self.connections as u64,
        );
        let meter = Meter::start(self.target)?;
        traffic.delivering = true;
        engine.add(traffic)?;
        engine.run(traffic, |_| {
            progress.at(told.get() as u64);
            told.get() >= self.connections
        })?;
        Ok(Figures {
            target: self.target.name.clone(),
            unit: "connections told of a delivery",
            operations: told.get() as u64,
            latency_of: "notice (message sent to EXISTS)",
            latency: self.notices.latency.borrow().clone(),
            usage: meter.stop()?,
            notes: Vec::new(),
        })
    }
}

struct Cost {
    connections: usize,
    opening_secs: f64,
    memory: Option<(Reading, Reading)>,
    quiet: Usage,
}

impl Cost {
    /// Octets per connection: resident, and proportional where it is known.
    fn per_connection(&self) -> Option<(f64, Option<f64>)> {
        let (before, after) = self.memory.as_ref()?;
        let each =
            |before: u64, after: u64| (after as f64 - before as f64) / self.connections as f64;
        let proportional = before.proportional.zip(after.proportional);
        Some((
            each(before.resident, after.resident),
            proportional.map(|(before, after)| each(before, after)),
        ))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} connections idle after {:.2} s\n",
            self.connections, self.opening_secs
        );
        if let Some((resident, proportional)) = self.per_connection() {
            text += &format!(
                "  memory per connection {:.2} KiB resident",
                resident / 1024.0
            );
            if let Some(proportional) = proportional {
                text += &format!(", {:.2} KiB proportional", proportional / 1024.0);
            }
            text.push('\n');
        }
        if let Some(cpu) = self.quiet.cpu_secs {
            text += &format!(
                "  server CPU {cpu:.2} s in {:.0} quiet s\n",
                self.quiet.secs
            );
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let memory = self.per_connection();
        json!({
            "connections": self.connections,
            "opening_secs": self.opening_secs,
            "resident_octets_per_connection": memory.map(|it| it.0),
            "proportional_octets_per_connection": memory.and_then(|it| it.1),
            "quiet_secs": self.quiet.secs,
            "quiet_server_cpu_secs": self.quiet.cpu_secs,
        })
    }
}

/// Connections that wait, and the one that delivers.
struct IdleTraffic {
    imap: ImapTraffic,
    smtp: Option<SmtpTraffic>,
    delivering: bool,
}

enum IdleDialog {
    Imap(Box<ImapDialog>),
    Smtp(Box<SmtpDialog>),
}

impl Traffic for IdleTraffic {
    type Dialog = IdleDialog;

    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<IdleDialog>> {
        if !self.delivering {
            let opening = self.imap.open(slot, now)?;
            return Some(opening.map(|dialog| IdleDialog::Imap(Box::new(dialog))));
        }
        let opening = self.smtp.as_mut()?.open(slot, now)?;
        Some(opening.map(|dialog| IdleDialog::Smtp(Box::new(dialog))))
    }

    fn receive(
        &mut self,
        dialog: &mut IdleDialog,
        input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        match (dialog, &mut self.smtp) {
            (IdleDialog::Imap(dialog), _) => self.imap.receive(dialog, input, output, now),
            (IdleDialog::Smtp(dialog), Some(smtp)) => smtp.receive(dialog, input, output, now),
            (IdleDialog::Smtp(_), None) => Ok(Turn::Close),
        }
    }

    fn waits_for(&self, dialog: &IdleDialog) -> String {
        match (dialog, &self.smtp) {
            (IdleDialog::Imap(dialog), _) => self.imap.waits_for(dialog),
            (IdleDialog::Smtp(dialog), Some(smtp)) => smtp.waits_for(dialog),
            (IdleDialog::Smtp(_), None) => String::new(),
        }
    }
}

const MAILBOX: &str = "INBOX";
const CONNECTIONS: usize = 1000;
const BATCH: usize = 100;
/// After filling and after opening, so that the server has done what it does later.
const SETTLE: Duration = Duration::from_secs(2);
