//! Character classes of RFC 9051 9 as one table.

const ATOM: u8 = 1;
const ASTRING: u8 = 2;
const LIST: u8 = 4;
const TAG: u8 = 8;
const WORD: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0x21;
    // ATOM-CHAR: any CHAR except atom-specials, that is ( ) { SP CTL % * DQUOTE \ ]
    while octet < 0x7f {
        let class = match octet as u8 {
            b'(' | b')' | b'{' | b'"' | b'\\' => 0,
            b'%' | b'*' => LIST,
            b']' => ASTRING | LIST | TAG,
            b'+' => ATOM | ASTRING | LIST,
            _ => ATOM | ASTRING | LIST | TAG,
        };
        table[octet] |= class;
        if (octet as u8).is_ascii_alphanumeric() || matches!(octet as u8, b'.' | b'-' | b'+' | b'_')
        {
            table[octet] |= WORD;
        }
        octet += 1;
    }
    table
}

/// ATOM-CHAR
pub(crate) fn is_atom(octet: u8) -> bool {
    CLASS[usize::from(octet)] & ATOM != 0
}

/// ASTRING-CHAR
pub(crate) fn is_astring(octet: u8) -> bool {
    CLASS[usize::from(octet)] & ASTRING != 0
}

/// list-char
pub(crate) fn is_list(octet: u8) -> bool {
    CLASS[usize::from(octet)] & LIST != 0
}

/// ASTRING-CHAR except `+`
pub(crate) fn is_tag(octet: u8) -> bool {
    CLASS[usize::from(octet)] & TAG != 0
}

/// Letters, digits and `.-+_`: the characters of the names that the grammar itself spells out.
pub(crate) fn is_word(octet: u8) -> bool {
    CLASS[usize::from(octet)] & WORD != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_in_no_class() {
        for octet in (0..=0x20).chain(0x7f..=0xff) {
            assert_eq!(CLASS[usize::from(octet as u8)], 0, "{octet}");
        }
        assert!(
            is_atom(b'[') && !is_atom(b']') && is_astring(b']') && is_list(b'%') && !is_tag(b'+')
        );
    }
}
