//! mailbox, flags and the two kinds of dates.

use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser, chars};
use crate::limits::FLAGS_MAX;
use crate::types::{Date, DateTime, Flags, Keyword, MailboxName, StatusItem, SystemFlag};

impl Parser<'_> {
    /// mailbox = "INBOX" / astring
    pub(crate) fn mailbox(&mut self) -> PResult<MailboxName> {
        let octets = self.astring("a mailbox name")?;
        match MailboxName::decode(&octets, self.syntax) {
            Some(name) => Ok(name),
            None => self.expected("a valid mailbox name"),
        }
    }

    /// flag-list = "(" [flag *(SP flag)] ")"
    pub(crate) fn flag_list(&mut self) -> PResult<Flags> {
        let mut flags = Flags::default();
        self.list(("flags", FLAGS_MAX), Empty::Allowed, |parser| {
            parser.flag(&mut flags)
        })?;
        Ok(flags)
    }

    /// ```abnf
    /// flag           = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
    /// flag-extension = "\" atom
    /// ```
    /// `\Recent` and extensions cannot be set and are refused.
    pub(crate) fn flag(&mut self, flags: &mut Flags) -> PResult<()> {
        if self.eat(b'\\') {
            return match SystemFlag::from_name(self.take_while(chars::is_atom)) {
                Some(flag) => {
                    flags.system.insert(flag);
                    Ok(())
                }
                None => self.expected("a flag that can be set"),
            };
        }
        match Keyword::new(self.take_while(chars::is_atom)) {
            Some(keyword) => {
                flags.insert(keyword);
                Ok(())
            }
            None => self.expected("a flag"),
        }
    }

    /// flag-keyword of SEARCH
    pub(crate) fn keyword(&mut self) -> PResult<Keyword> {
        match Keyword::new(self.take_while(chars::is_atom)) {
            Some(keyword) => Ok(keyword),
            None => self.expected("a keyword"),
        }
    }

    /// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
    pub(crate) fn date_time(&mut self) -> PResult<DateTime> {
        self.expect(b'"', "a date and time")?;
        let text = self.take_while(|octet| octet != b'"');
        let Some(moment) = DateTime::parse(text) else {
            return self.expected("a valid date and time");
        };
        self.expect(b'"', "a closing quote")?;
        Ok(moment)
    }

    /// date = date-text / DQUOTE date-text DQUOTE
    pub(crate) fn date(&mut self) -> PResult<Date> {
        let quoted = self.eat(b'"');
        let text = self.take_while(chars::is_word);
        let Some(date) = Date::parse(text) else {
            return self.expected("a valid date");
        };
        if quoted {
            self.expect(b'"', "a closing quote")?;
        }
        Ok(date)
    }

    /// "(" status-att *(SP status-att) ")"
    pub(crate) fn status_items(&mut self) -> PResult<Vec<StatusItem>> {
        let mut items = Vec::new();
        // Items may be repeated but no more often than this.
        self.list(
            ("status items", 4 * StatusItem::ALL.len()),
            Empty::Refused,
            |parser| match StatusItem::from_name(parser.word().as_str()) {
                Some(item) if items.contains(&item) => Ok(()),
                Some(item) => {
                    items.push(item);
                    Ok(())
                }
                None => parser.expected("a status item"),
            },
        )?;
        Ok(items)
    }
}
