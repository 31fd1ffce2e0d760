//! A zone in memory, for tests: what each name has, what of it is authentic, what fails. It answers as a resolver does.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::Name;
use crate::error::{Cause, LookupError};
use crate::limits::RECORDS_MAX;
use crate::lookup::{Lookup, Outcome, Resolved};
use crate::record::{Mx, Record, RecordType, Text, Tlsa};

/// A zone. Names that are not in it do not exist. Texts that are no names or addresses are a mistake in the test, and panic.
#[derive(Default)]
pub struct Mock {
    records: HashMap<Name, Vec<(RecordType, Record)>>,
    failures: HashMap<(Name, RecordType), Cause>,
    authentic: HashSet<Name>,
    all_authentic: bool,
    ttl: Option<u32>,
    asked: Cell<usize>,
}

impl Mock {
    /// An empty one, where nothing is authentic.
    pub fn new() -> Mock {
        Mock::default()
    }

    /// An IPv4 address.
    pub fn with_a(self, name: &str, address: &str) -> Mock {
        let address = address.parse().expect("an IPv4 address");
        self.add(name, RecordType::A, Record::A(address))
    }

    /// An IPv6 address.
    pub fn with_aaaa(self, name: &str, address: &str) -> Mock {
        let address = address.parse().expect("an IPv6 address");
        self.add(name, RecordType::Aaaa, Record::Aaaa(address))
    }

    /// A mail host; `.` for a null MX.
    pub fn with_mx(self, name: &str, preference: u16, exchange: &str) -> Mock {
        let exchange = parsed(exchange);
        let mx = Mx {
            preference,
            exchange,
        };
        self.add(name, RecordType::Mx, Record::Mx(mx))
    }

    /// A text.
    pub fn with_txt(self, name: &str, text: &str) -> Mock {
        self.add(name, RecordType::Txt, Record::Txt(Text(text.into())))
    }

    /// What a name is an alias of.
    pub fn with_cname(self, name: &str, target: &str) -> Mock {
        let record = Record::Cname(parsed(target));
        self.add(name, RecordType::Cname, record)
    }

    /// The name of an address.
    pub fn with_ptr(self, address: &str, host: &str) -> Mock {
        let name = Name::of_address(address.parse().expect("an address"));
        self.add(name.as_str(), RecordType::Ptr, Record::Ptr(parsed(host)))
    }

    /// A certificate's match.
    pub fn with_tlsa(self, name: &str, usage: u8, selector: u8, matching: u8, data: &[u8]) -> Mock {
        let tlsa = Tlsa {
            usage,
            selector,
            matching,
            data: data.to_vec(),
        };
        self.add(name, RecordType::Tlsa, Record::Tlsa(tlsa))
    }

    /// DNSSEC proves what this name has, or that it is not there.
    pub fn authentic(mut self, name: &str) -> Mock {
        self.authentic.insert(parsed(name));
        self
    }

    /// DNSSEC proves everything.
    pub fn all_authentic(mut self) -> Mock {
        self.all_authentic = true;
        self
    }

    /// A question that fails.
    pub fn fails(mut self, name: &str, record_type: RecordType, cause: Cause) -> Mock {
        self.failures.insert((parsed(name), record_type), cause);
        self
    }

    /// Seconds that answers hold; 300 unless it is said.
    pub fn ttl(mut self, seconds: u32) -> Mock {
        self.ttl = Some(seconds);
        self
    }

    /// How many questions were asked.
    pub fn asked(&self) -> usize {
        self.asked.get()
    }

    fn add(mut self, name: &str, record_type: RecordType, record: Record) -> Mock {
        let all = self.records.entry(parsed(name)).or_default();
        all.push((record_type, record));
        self
    }

    fn of(&self, name: &Name, record_type: RecordType) -> Vec<Record> {
        let all = self.records.get(name).into_iter().flatten();
        let of_type = all.filter(|(of, _)| *of == record_type);
        of_type.map(|(_, r)| r.clone()).take(RECORDS_MAX).collect()
    }

    fn find(&self, name: &Name, record_type: RecordType) -> Result<Resolved, Cause> {
        let mut aliases: Vec<Name> = Vec::new();
        let mut authentic = true;
        loop {
            let current = aliases.last().unwrap_or(name);
            if let Some(cause) = self.failures.get(&(current.clone(), record_type)) {
                return Err(cause.clone());
            }
            authentic &= self.all_authentic || self.authentic.contains(current);
            let records = self.of(current, record_type);
            let alias = self.of(current, RecordType::Cname);
            if let ([Record::Cname(target), ..], true) = (alias.as_slice(), records.is_empty()) {
                if target == name || aliases.contains(target) {
                    return Err(Cause::AliasLoop(target.clone()));
                }
                aliases.push(target.clone());
                continue;
            }
            let outcome = match (records.is_empty(), self.records.contains_key(current)) {
                (false, _) => Outcome::Records(records.into()),
                (true, true) => Outcome::NoData,
                (true, false) => Outcome::NxDomain,
            };
            return Ok(Resolved {
                outcome,
                aliases: Rc::from(aliases),
                authentic,
                ttl: self.ttl.unwrap_or(300),
            });
        }
    }
}

impl Lookup for Mock {
    async fn resolve(&self, name: &Name, record_type: RecordType) -> Result<Resolved, LookupError> {
        self.asked.set(self.asked.get() + 1);
        let found = self.find(name, record_type);
        found.map_err(|cause| LookupError {
            name: name.clone(),
            record_type,
            cause,
        })
    }
}

fn parsed(name: &str) -> Name {
    Name::parse(name).expect("a name")
}
