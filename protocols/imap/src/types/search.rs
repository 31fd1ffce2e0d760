//! SEARCH, RFC 9051 6.4.4, with SEARCHRES (RFC 5182), MODSEQ (RFC 7162), WITHIN (RFC 5032) and SAVEDATE (RFC 8514).

use super::{Date, Keyword, ModSeq, Numbering, SequenceSet, SystemFlag};

/// A SEARCH or UID SEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What the numbers of the answer are. Numbers among the keys are sequence numbers all the same, unless in UID.
    pub numbering: Numbering,
    /// The RETURN options; `None` when there was no RETURN (and then IMAP4rev1 expects the old answer).
    pub options: Option<SearchReturn>,
    /// The program; several keys are one [`SearchKey::And`]. Nested at most [`crate::limits::SEARCH_DEPTH_MAX`] deep.
    pub key: SearchKey,
}

/// `search-return-opts`. `RETURN ()` is `all`, RFC 4731 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SearchReturn {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
    /// SAVE
    pub save: bool,
}

/// `search-key`. Words of text are UTF-8 whatever the CHARSET was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// ALL
    All,
    /// ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
    Flag(SystemFlag),
    /// UNANSWERED, UNDELETED, UNDRAFT, UNFLAGGED, UNSEEN
    NotFlag(SystemFlag),
    /// KEYWORD
    Keyword(Keyword),
    /// UNKEYWORD
    NotKeyword(Keyword),
    /// RFC 3501: NEW, that is recent and unseen.
    New,
    /// RFC 3501: OLD, that is not recent.
    Old,
    /// RFC 3501: RECENT
    Recent,
    /// BCC
    Bcc(String),
    /// CC
    Cc(String),
    /// FROM
    From(String),
    /// TO
    To(String),
    /// SUBJECT
    Subject(String),
    /// BODY
    Body(String),
    /// TEXT
    Text(String),
    /// HEADER: field name and words; no words ask only whether the field is there.
    Header(String, String),
    /// BEFORE: internal date earlier than
    Before(Date),
    /// ON
    On(Date),
    /// SINCE: on that day or later
    Since(Date),
    /// SENTBEFORE
    SentBefore(Date),
    /// SENTON
    SentOn(Date),
    /// SENTSINCE
    SentSince(Date),
    /// SAVEDBEFORE
    SavedBefore(Date),
    /// SAVEDON
    SavedOn(Date),
    /// SAVEDSINCE
    SavedSince(Date),
    /// SAVEDATESUPPORTED
    SaveDateSupported,
    /// LARGER: more octets than
    Larger(u64),
    /// SMALLER: fewer octets than
    Smaller(u64),
    /// OLDER: internal date so many seconds ago or more
    Older(u32),
    /// YOUNGER: internal date less than so many seconds ago
    Younger(u32),
    /// MODSEQ: that mod-sequence or a higher one. Entry name and type (RFC 7162 3.1.5) are read and dropped: we keep one
    /// mod-sequence a message.
    ModSeq(ModSeq),
    /// Message sequence numbers
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// NOT
    Not(Box<SearchKey>),
    /// OR
    Or(Box<(SearchKey, SearchKey)>),
    /// Several keys, all of which must match
    And(Vec<SearchKey>),
}

impl SearchKey {
    /// Whether the test holds for this key or one within it.
    pub fn any(&self, test: &mut impl FnMut(&SearchKey) -> bool) -> bool {
        test(self)
            || match self {
                Self::Not(key) => key.any(test),
                Self::Or(keys) => keys.0.any(test) || keys.1.any(test),
                Self::And(keys) => keys.iter().any(|key| key.any(test)),
                _ => false,
            }
    }
}
