//! sequence-set and mod-sequences.

use crate::command::CommandError;
use crate::grammar::{PResult, Parser};
use crate::limits::SEQUENCE_RANGES_MAX;
#[cfg(test)]
use crate::types::NameSyntax;
use crate::types::{ModSeq, SequenceRange, SequenceSet};

impl Parser<'_> {
    /// ```abnf
    /// sequence-set  = (seq-number / seq-range) ["," sequence-set]
    /// sequence-set =/ seq-last-command           ; "$", RFC 5182
    /// seq-range     = seq-number ":" seq-number
    /// seq-number    = nz-number / "*"
    /// ```
    pub(crate) fn sequence_set(&mut self) -> PResult<SequenceSet> {
        if self.eat(b'$') {
            return Ok(SequenceSet::SavedResult);
        }
        let mut ranges: Vec<SequenceRange> = Vec::new();
        loop {
            let first = self.sequence_number()?;
            let last = if self.eat(b':') {
                self.sequence_number()?
            } else {
                first
            };
            push_range(&mut ranges, SequenceRange::new(first, last));
            if ranges.len() > SEQUENCE_RANGES_MAX {
                return Err(CommandError::Limit("ranges in a sequence set"));
            }
            if !self.eat(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
        }
    }

    fn sequence_number(&mut self) -> PResult<Option<u32>> {
        if self.eat(b'*') {
            Ok(None)
        } else {
            self.nz_number().map(Some)
        }
    }

    /// known-uids of RFC 7162 7: a sequence-set without `*` and `$`
    pub(crate) fn known_set(&mut self) -> PResult<SequenceSet> {
        let set = self.sequence_set()?;
        if set.has_star() || set == SequenceSet::SavedResult {
            self.expected("a set without * and $")
        } else {
            Ok(set)
        }
    }

    /// mod-sequence-valzer = "0" / mod-sequence-value
    pub(crate) fn mod_seq(&mut self) -> PResult<ModSeq> {
        let number = self.number64()?;
        match ModSeq::new(number) {
            Some(mod_seq) => Ok(mod_seq),
            None => self.expected("a mod-sequence"),
        }
    }
}

/// Lists such as `1,2,3` become one range while they are read.
fn push_range(ranges: &mut Vec<SequenceRange>, range: SequenceRange) {
    if let (Some(kept), Some(first), Some(last)) = (ranges.last_mut(), range.first, range.last)
        && kept.first.is_some()
        && kept.last.and_then(|kept_last| kept_last.checked_add(1)) == Some(first)
    {
        kept.last = Some(last);
    } else {
        ranges.push(range);
    }
}

/// A sequence-set that stands alone.
#[cfg(test)]
pub(crate) fn parse_sequence_set(text: &[u8]) -> Option<SequenceSet> {
    let mut parser = Parser::new(text, NameSyntax::Utf8);
    let set = parser.sequence_set().ok()?;
    parser.at_end().then_some(set)
}
