//! Questions and answers as octets. RFC 1035 4, RFC 6891 (EDNS), RFC 2308 (negative answers), RFC 8914 (extended errors).
//!
//! hickory-proto reads names and the data of records. Records are walked here, so that one that makes no sense is passed over and harms no
//! other, and so that what nobody asked for is not decoded at all.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as WireName, RData, RecordType as WireType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, Restrict};

use crate::error::{Cause, ExtendedError};
use crate::limits::{DOMAIN_ALIASES_MAX, EXTENDED_TEXT_MAX, RECORDS_MAX, UDP_PAYLOAD_MAX};
use crate::lookup::{Outcome, Resolved};
use crate::record::{Mx, Record, RecordType, Text, Tlsa};
use crate::{Name, name::NameError};

/// A question for a resolver: recursion desired, AD wanted (RFC 6840 5.7), EDNS.
pub fn query(id: u16, name: &Name, record_type: RecordType) -> Vec<u8> {
    write(id, name, record_type, true)
}

/// The same for a server that does not know EDNS (RFC 6891 7: it answers FORMERR or NOTIMP to what has it).
pub fn plain_query(id: u16, name: &Name, record_type: RecordType) -> Vec<u8> {
    write(id, name, record_type, false)
}

fn write(id: u16, name: &Name, record_type: RecordType, with_edns: bool) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    let labels = name.labels().map(str::as_bytes);
    let mut wire = WireName::from_labels(labels)
        .expect("labels of 63 octets and names of 253 are within the bounds of all");
    wire.set_fqdn(true);
    message.add_query(Query::query(wire, wire_type(record_type)));
    if with_edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_MAX);
        message.set_edns(edns);
    }
    message
        .to_vec()
        .expect("one question of at most 255 octets fits into a message")
}

/// What a datagram or message is, to one who asked a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Not an answer to the question: forged, late, or noise. Wait on.
    NotOurs,
    /// RFC 1035 4.2.1: does not fit; ask again by TCP.
    Truncated,
    /// The server cannot say.
    Failed(Cause),
    /// The answer. Authentic is what the server says of it.
    Answered(Resolved),
}

/// Reads what came as the answer to a question.
pub fn read(octets: &[u8], id: u16, name: &Name, record_type: RecordType) -> Reading {
    let Some(header) = Header::of(octets) else {
        return Reading::NotOurs;
    };
    if header.id != id || !header.is_response || header.opcode != 0 {
        return Reading::NotOurs;
    }
    let mut decoder = BinDecoder::new(octets);
    let skipped = decoder.read_slice(HEADER).is_ok();
    // RFC 5452 9.1: the question must be ours. A server that could not read it may leave it out.
    match (header.questions, header.rcode) {
        (1, _) if skipped => match question(&mut decoder) {
            Some((asked, number)) if asked == *name && number == wire_number(record_type) => {}
            _ => return Reading::NotOurs,
        },
        (0, FORMERR | NOTIMP | REFUSED | SERVFAIL) => (),
        _ => return Reading::NotOurs,
    }
    if header.truncated {
        return Reading::Truncated;
    }
    match Sections::read(&mut decoder, &header) {
        Ok(sections) => sections.conclude(&header, name, record_type),
        Err(cause) => Reading::Failed(cause),
    }
}

/// RFC 1035 4.1.1.
struct Header {
    id: u16,
    is_response: bool,
    opcode: u8,
    authoritative: bool,
    truncated: bool,
    recursion_available: bool,
    authentic: bool,
    rcode: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    fn of(octets: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
        let (id, flags) = (word(0)?, word(2)?);
        Some(Header {
            id,
            is_response: flags & 0x8000 != 0,
            opcode: (flags >> 11) as u8 & 15,
            authoritative: flags & 0x0400 != 0,
            truncated: flags & 0x0200 != 0,
            recursion_available: flags & 0x0080 != 0,
            authentic: flags & 0x0020 != 0,
            rcode: flags & 15,
            questions: word(4)?,
            answers: word(6)?,
            authorities: word(8)?,
            additionals: word(10)?,
        })
    }
}

fn question(decoder: &mut BinDecoder<'_>) -> Option<(Name, u16)> {
    let name = own_name(&WireName::read(decoder).ok()?).ok()?;
    let number = decoder.read_u16().map(Restrict::unverified).ok()?;
    let class = decoder.read_u16().map(Restrict::unverified).ok()?;
    (class == CLASS_IN).then_some((name, number))
}

/// What is of interest in a message.
#[derive(Default)]
struct Sections {
    /// Owner, data, seconds. None: of a type we ask for, but it makes no sense.
    answers: Vec<(Name, WireRecord, u32)>,
    /// Seconds that the absence of records holds.
    negative_ttl: Option<u32>,
    has_ns: bool,
    rcode_high: u16,
    extended: Option<ExtendedError>,
}

enum WireRecord {
    Known(Record),
    Malformed(u16),
}

impl Sections {
    fn read(decoder: &mut BinDecoder<'_>, header: &Header) -> Result<Sections, Cause> {
        let mut sections = Sections::default();
        let counts = [header.answers, header.authorities, header.additionals];
        if counts.iter().any(|count| usize::from(*count) > RECORDS_MAX) {
            return Err(Cause::TooManyRecords);
        }
        for _ in 0..header.answers {
            let raw = RawRecord::read(decoder).ok_or(CUT)?;
            sections.answer(&raw, decoder);
        }
        for _ in 0..header.authorities {
            let raw = RawRecord::read(decoder).ok_or(CUT)?;
            sections.authority(&raw, decoder);
        }
        for _ in 0..header.additionals {
            let raw = RawRecord::read(decoder).ok_or(CUT)?;
            sections.additional(&raw);
        }
        Ok(sections)
    }

    fn answer(&mut self, raw: &RawRecord<'_>, decoder: &BinDecoder<'_>) {
        let is_asked = RecordType::ALL
            .iter()
            .any(|t| wire_number(*t) == raw.number);
        if raw.class != CLASS_IN || !is_asked {
            return;
        }
        let Ok(owner) = own_name(&raw.owner) else {
            return;
        };
        let record = match raw.data(decoder).and_then(own_record) {
            Some(record) => WireRecord::Known(record),
            None => WireRecord::Malformed(raw.number),
        };
        self.answers.push((owner, record, raw.ttl));
    }

    fn authority(&mut self, raw: &RawRecord<'_>, decoder: &BinDecoder<'_>) {
        match raw.number {
            NS => self.has_ns = true,
            // RFC 2308 5: the smaller of its own TTL and the last of its fields.
            SOA => {
                if let Some(RData::SOA(soa)) = raw.data(decoder) {
                    self.negative_ttl = Some(raw.ttl.min(sane_ttl(soa.minimum)));
                }
            }
            _ => (),
        }
    }

    fn additional(&mut self, raw: &RawRecord<'_>) {
        if raw.number != OPT {
            return;
        }
        // RFC 6891 6.1.3: the upper bits of the response code.
        self.rcode_high = (raw.raw_ttl >> 24) as u16;
        let mut rest = raw.octets;
        while let [a, b, c, d, data @ ..] = rest {
            let (code, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            let Some((option, after)) = data.split_at_checked(usize::from(length)) else {
                return;
            };
            if let (EXTENDED_ERROR, [a, b, text @ ..]) = (code, option) {
                let error = ExtendedError {
                    code: u16::from_be_bytes([*a, *b]),
                    text: readable(text),
                };
                // Of several the one that says what is wrong with signatures matters.
                if self.extended.is_none() || error.is_bogus() {
                    self.extended = Some(error);
                }
            }
            rest = after;
        }
    }

    fn conclude(self, header: &Header, name: &Name, record_type: RecordType) -> Reading {
        let rcode = self.rcode_high << 4 | header.rcode;
        let failed = match rcode {
            NOERROR | NXDOMAIN => None,
            SERVFAIL => Some(match &self.extended {
                Some(extended) if extended.is_bogus() => Cause::Bogus(extended.clone()),
                _ => Cause::ServFail(self.extended.clone()),
            }),
            REFUSED => Some(Cause::Refused(self.extended.clone())),
            other => Some(Cause::Rcode(other)),
        };
        let concluded = match failed {
            Some(cause) => Err(cause),
            None => self.resolved(header, rcode, name, record_type),
        };
        match concluded {
            Ok(resolved) => Reading::Answered(resolved),
            Err(cause) => Reading::Failed(cause),
        }
    }

    fn resolved(
        &self,
        header: &Header,
        rcode: u16,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Resolved, Cause> {
        let mut ttl = u32::MAX;
        let aliases = match record_type {
            RecordType::Cname => Vec::new(),
            _ => self.aliases(name, &mut ttl)?,
        };
        let owner = aliases.last().unwrap_or(name);
        let number = wire_number(record_type);
        let mut records = Vec::new();
        let mut malformed = false;
        for (_, record, seconds) in self.answers.iter().filter(|(of, ..)| of == owner) {
            match record {
                WireRecord::Known(record) if own_number(record) == number => {
                    records.push(record.clone());
                    ttl = ttl.min(*seconds);
                }
                WireRecord::Malformed(of) if *of == number => malformed = true,
                _ => (),
            }
        }
        let outcome = if !records.is_empty() {
            Outcome::Records(records.into())
        } else if malformed {
            return Err(Cause::Malformed("all of its records are malformed"));
        } else {
            // RFC 2308 2.2: without a SOA it may be a referral, from a server that does not resolve.
            let is_referral = self.has_ns && self.negative_ttl.is_none() && !header.authoritative;
            if rcode == NOERROR && is_referral && !header.recursion_available {
                return Err(Cause::Lame);
            }
            // RFC 2308 5: without a SOA it is not to be cached.
            ttl = ttl.min(self.negative_ttl.unwrap_or(0));
            match rcode {
                NXDOMAIN => Outcome::NxDomain,
                _ => Outcome::NoData,
            }
        };
        Ok(Resolved {
            outcome,
            aliases: aliases.into(),
            authentic: header.authentic,
            ttl,
        })
    }

    /// The aliases that lead on from a name, within this message.
    fn aliases(&self, name: &Name, ttl: &mut u32) -> Result<Vec<Name>, Cause> {
        let mut aliases: Vec<Name> = Vec::new();
        loop {
            let current = aliases.last().unwrap_or(name);
            let next = self
                .answers
                .iter()
                .find_map(|(of, record, seconds)| match record {
                    WireRecord::Known(Record::Cname(target)) if of == current => {
                        Some((target.clone(), *seconds))
                    }
                    _ => None,
                });
            let Some((target, seconds)) = next else {
                return Ok(aliases);
            };
            if target == *name || aliases.contains(&target) {
                return Err(Cause::AliasLoop(target));
            }
            if aliases.len() >= DOMAIN_ALIASES_MAX {
                return Err(Cause::TooManyAliases(target));
            }
            *ttl = (*ttl).min(seconds);
            aliases.push(target);
        }
    }
}

/// A record before its data is looked at. RFC 1035 4.1.3.
struct RawRecord<'a> {
    owner: WireName,
    number: u16,
    class: u16,
    raw_ttl: u32,
    ttl: u32,
    octets: &'a [u8],
    at: usize,
}

impl<'a> RawRecord<'a> {
    fn read(decoder: &mut BinDecoder<'a>) -> Option<RawRecord<'a>> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        let owner = WireName::read(decoder).ok()?;
        let number = decoder.read_u16().ok()?.unverified();
        let class = decoder.read_u16().ok()?.unverified();
        let raw_ttl = decoder.read_u32().ok()?.unverified();
        let length = decoder.read_u16().ok()?.unverified();
        let at = decoder.index();
        let octets = decoder.read_slice(usize::from(length)).ok()?.unverified();
        Some(RawRecord {
            owner,
            number,
            class,
            raw_ttl,
            ttl: sane_ttl(raw_ttl),
            octets,
            at,
        })
    }

    /// Its data; names in it may point back into the message.
    fn data(&self, decoder: &BinDecoder<'_>) -> Option<RData> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        let mut inside = decoder.clone(u16::try_from(self.at).ok()?);
        let length = u16::try_from(self.octets.len()).ok()?;
        RData::read(
            &mut inside,
            WireType::from(self.number),
            Restrict::new(length),
        )
        .ok()
    }
}

fn own_record(data: RData) -> Option<Record> {
    Some(match data {
        RData::A(a) => Record::A(a.0),
        RData::AAAA(aaaa) => Record::Aaaa(aaaa.0),
        RData::CNAME(name) => Record::Cname(own_name(&name.0).ok()?),
        RData::PTR(name) => Record::Ptr(own_name(&name.0).ok()?),
        RData::MX(mx) => Record::Mx(Mx {
            preference: mx.preference,
            exchange: own_name(&mx.exchange).ok()?,
        }),
        RData::TXT(text) => Record::Txt(Text(text.txt_data.concat())),
        RData::TLSA(tlsa) => Record::Tlsa(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data,
        }),
        _ => return None,
    })
}

fn own_name(name: &WireName) -> Result<Name, NameError> {
    Name::from_labels(name.iter())
}

fn own_number(record: &Record) -> u16 {
    wire_number(match record {
        Record::A(_) => RecordType::A,
        Record::Aaaa(_) => RecordType::Aaaa,
        Record::Cname(_) => RecordType::Cname,
        Record::Mx(_) => RecordType::Mx,
        Record::Ptr(_) => RecordType::Ptr,
        Record::Tlsa(_) => RecordType::Tlsa,
        Record::Txt(_) => RecordType::Txt,
    })
}

fn wire_type(record_type: RecordType) -> WireType {
    match record_type {
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Cname => WireType::CNAME,
        RecordType::Mx => WireType::MX,
        RecordType::Ptr => WireType::PTR,
        RecordType::Tlsa => WireType::TLSA,
        RecordType::Txt => WireType::TXT,
    }
}

fn wire_number(record_type: RecordType) -> u16 {
    u16::from(wire_type(record_type))
}

/// RFC 2181 8: with the highest bit set it is zero.
fn sane_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

fn readable(text: &[u8]) -> String {
    let text = &text[..text.len().min(EXTENDED_TEXT_MAX)];
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|c| !c.is_control()).collect()
}

const HEADER: usize = 12;
const CUT: Cause = Cause::Malformed("it breaks off");
const CLASS_IN: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const OPT: u16 = 41;
/// RFC 8914 2.
const EXTENDED_ERROR: u16 = 15;
const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;

#[cfg(test)]
thread_local! {
    /// How often the owner of a record was read, or its data: that is where names are that point back into the message.
    pub(crate) static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
#[path = "wire_tests.rs"]
pub(crate) mod tests;
