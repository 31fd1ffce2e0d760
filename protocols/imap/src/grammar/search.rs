//! SEARCH, RFC 9051 6.4.4, RFC 4731, RFC 5182, RFC 5032, RFC 7162 3.1.5, RFC 8514.

use crate::command::CommandError;
use crate::grammar::parser::Empty;
use crate::grammar::{PResult, Parser};
use crate::limits::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use crate::types::{Date, Numbering, Search, SearchKey, SearchReturn, SystemFlag};

/// ```abnf
/// search             = "SEARCH" [search-return-opts] SP search-program
/// search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"
/// search-program     = ["CHARSET" SP charset SP] search-key *(SP search-key)
/// ```
pub(super) fn search(parser: &mut Parser<'_>, numbering: Numbering) -> PResult<Search> {
    parser.space()?;
    let mut options = None;
    if parser.eat_word("RETURN") {
        parser.space()?;
        options = Some(return_options(parser)?);
        parser.space()?;
    }
    if parser.eat_word("CHARSET") {
        parser.space()?;
        charset(parser, options.is_some_and(|options| options.save))?;
        parser.space()?;
    }
    let mut budget = Budget {
        keys: SEARCH_KEYS_MAX,
        depth: SEARCH_DEPTH_MAX,
    };
    let mut keys = vec![key(parser, &mut budget)?];
    while parser.eat(b' ') && !parser.at_end() {
        keys.push(key(parser, &mut budget)?);
    }
    Ok(Search {
        numbering,
        options,
        key: join(keys),
    })
}

/// search-return-opt = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE"
fn return_options(parser: &mut Parser<'_>) -> PResult<SearchReturn> {
    let mut options = SearchReturn::default();
    parser.list(("search return options", 16), Empty::Allowed, |parser| {
        match parser.word().as_str() {
            "MIN" => options.min = true,
            "MAX" => options.max = true,
            "ALL" => options.all = true,
            "COUNT" => options.count = true,
            "SAVE" => options.save = true,
            _ => return parser.expected("MIN, MAX, ALL, COUNT or SAVE"),
        }
        Ok(())
    })?;
    // RFC 4731 3.1: () is (ALL).
    options.all |= options == SearchReturn::default();
    Ok(options)
}

/// charset = atom / quoted. UTF-8 contains US-ASCII, so both are read alike.
fn charset(parser: &mut Parser<'_>, save: bool) -> PResult<()> {
    let charset = parser.astring("a charset")?;
    let known = [b"US-ASCII".as_slice(), b"UTF-8"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&charset));
    if known {
        Ok(())
    } else {
        Err(CommandError::Charset { save })
    }
}

/// What is left of keys and of nesting.
struct Budget {
    keys: usize,
    depth: usize,
}

fn join(mut keys: Vec<SearchKey>) -> SearchKey {
    if keys.len() == 1
        && let Some(key) = keys.pop()
    {
        return key;
    }
    SearchKey::And(keys)
}

fn nested(parser: &mut Parser<'_>, budget: &mut Budget) -> PResult<SearchKey> {
    budget.depth = budget
        .depth
        .checked_sub(1)
        .ok_or(CommandError::Limit("nesting of search keys"))?;
    let key = key(parser, budget);
    budget.depth += 1;
    key
}

/// search-key, as listed at [`SearchKey`]; also sequence-set and "(" search-key *(SP search-key) ")"
fn key(parser: &mut Parser<'_>, budget: &mut Budget) -> PResult<SearchKey> {
    budget.keys = budget
        .keys
        .checked_sub(1)
        .ok_or(CommandError::Limit("search keys"))?;
    match parser.peek() {
        Some(b'(') => {
            let mut keys = Vec::new();
            parser.list(("search keys", SEARCH_KEYS_MAX), Empty::Refused, |parser| {
                keys.push(nested(parser, budget)?);
                Ok(())
            })?;
            return Ok(join(keys));
        }
        Some(b'0'..=b'9' | b'*' | b'$') => return parser.sequence_set().map(SearchKey::Sequence),
        _ => {}
    }
    let word = parser.word();
    match word.as_str() {
        "NOT" => {
            parser.space()?;
            Ok(SearchKey::Not(Box::new(nested(parser, budget)?)))
        }
        "OR" => {
            parser.space()?;
            let one = nested(parser, budget)?;
            parser.space()?;
            Ok(SearchKey::Or(Box::new((one, nested(parser, budget)?))))
        }
        name => match plain(name) {
            Some(key) => Ok(key),
            None => with_argument(parser, name),
        },
    }
}

/// Keys of one word.
fn plain(name: &str) -> Option<SearchKey> {
    Some(match name {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(SystemFlag::Answered),
        "DELETED" => SearchKey::Flag(SystemFlag::Deleted),
        "DRAFT" => SearchKey::Flag(SystemFlag::Draft),
        "FLAGGED" => SearchKey::Flag(SystemFlag::Flagged),
        "SEEN" => SearchKey::Flag(SystemFlag::Seen),
        "UNANSWERED" => SearchKey::NotFlag(SystemFlag::Answered),
        "UNDELETED" => SearchKey::NotFlag(SystemFlag::Deleted),
        "UNDRAFT" => SearchKey::NotFlag(SystemFlag::Draft),
        "UNFLAGGED" => SearchKey::NotFlag(SystemFlag::Flagged),
        "UNSEEN" => SearchKey::NotFlag(SystemFlag::Seen),
        "NEW" => SearchKey::New,
        "OLD" => SearchKey::Old,
        "RECENT" => SearchKey::Recent,
        "SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        _ => return None,
    })
}

/// Keys with an argument behind a space.
fn with_argument(parser: &mut Parser<'_>, name: &str) -> PResult<SearchKey> {
    if let Some(make) = date_key(name) {
        parser.space()?;
        return parser.date().map(make);
    }
    if let Some(make) = text_key(name) {
        parser.space()?;
        return parser.text("words to search").map(make);
    }
    match name {
        "KEYWORD" => after_space(parser, Parser::keyword).map(SearchKey::Keyword),
        "UNKEYWORD" => after_space(parser, Parser::keyword).map(SearchKey::NotKeyword),
        "LARGER" => after_space(parser, Parser::number64).map(SearchKey::Larger),
        "SMALLER" => after_space(parser, Parser::number64).map(SearchKey::Smaller),
        // RFC 5032 3: OLDER and YOUNGER take an nz-number of seconds.
        "OLDER" => after_space(parser, Parser::nz_number).map(SearchKey::Older),
        "YOUNGER" => after_space(parser, Parser::nz_number).map(SearchKey::Younger),
        "UID" => after_space(parser, Parser::sequence_set).map(SearchKey::Uid),
        "HEADER" => {
            let field_name = after_space(parser, |parser| parser.text("a header field name"))?;
            let words = after_space(parser, |parser| parser.text("words to search"))?;
            Ok(SearchKey::Header(field_name, words))
        }
        "MODSEQ" => after_space(parser, mod_seq),
        _ => parser.expected("a search key"),
    }
}

fn after_space<'a, T>(
    parser: &mut Parser<'a>,
    rule: impl FnOnce(&mut Parser<'a>) -> PResult<T>,
) -> PResult<T> {
    parser.space()?;
    rule(parser)
}

fn date_key(name: &str) -> Option<fn(Date) -> SearchKey> {
    Some(match name {
        "BEFORE" => SearchKey::Before,
        "ON" => SearchKey::On,
        "SINCE" => SearchKey::Since,
        "SENTBEFORE" => SearchKey::SentBefore,
        "SENTON" => SearchKey::SentOn,
        "SENTSINCE" => SearchKey::SentSince,
        "SAVEDBEFORE" => SearchKey::SavedBefore,
        "SAVEDON" => SearchKey::SavedOn,
        "SAVEDSINCE" => SearchKey::SavedSince,
        _ => return None,
    })
}

fn text_key(name: &str) -> Option<fn(String) -> SearchKey> {
    Some(match name {
        "BCC" => SearchKey::Bcc,
        "BODY" => SearchKey::Body,
        "CC" => SearchKey::Cc,
        "FROM" => SearchKey::From,
        "SUBJECT" => SearchKey::Subject,
        "TEXT" => SearchKey::Text,
        "TO" => SearchKey::To,
        _ => return None,
    })
}

/// ```abnf
/// search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer
/// entry-name         = DQUOTE "/flags/" attr-flag DQUOTE
/// entry-type-req     = "priv" / "shared" / "all"
/// ```
fn mod_seq(parser: &mut Parser<'_>) -> PResult<SearchKey> {
    if parser.peek() == Some(b'"') {
        let entry = parser.string("an entry name")?;
        if !entry.to_ascii_lowercase().starts_with(b"/flags/") {
            return parser.expected("an entry name that begins with /flags/");
        }
        parser.space()?;
        if !matches!(parser.word().as_str(), "PRIV" | "SHARED" | "ALL") {
            return parser.expected("priv, shared or all");
        }
        parser.space()?;
    }
    parser.mod_seq().map(SearchKey::ModSeq)
}
