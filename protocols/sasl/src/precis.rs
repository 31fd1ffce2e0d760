//! Names and passwords made comparable. Input is untrusted; the time is linear in its length.
//! RFC 8265 4.2 (OpaqueString) for passwords. Names are mail addresses, so they keep their case and their width: NFC, no control
//! characters, no more; whether such an address exists is not asked here.
//!
//! The tables are those of the newest Unicode. The registry's (IANA, Unicode 6.3) would refuse every emoji since 2013; RFC 8264 8
//! defines the classes by properties for that reason.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::UnicodeGeneralCategory;
use unicode_properties::{GeneralCategory as Category, GeneralCategoryGroup as Group};
use zeroize::Zeroizing;

use crate::{FIELD_MAX, SaslError, Secret};

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// RFC 8265 4.2.2: no zero-length passwords.
    #[error("the password is empty")]
    Empty,
    /// Over [`FIELD_MAX`] octets, before or after.
    #[error("the password is longer than {FIELD_MAX} octets")]
    TooLong,
    /// RFC 8264 4.3: a control or format character, an invisible or unassigned one, or one out of its context.
    #[error("the password has a character that cannot be typed alike everywhere")]
    Character,
}

/// Prepares a user name: NFC.
pub fn prepare_name(name: &str) -> Result<String, SaslError> {
    if name.is_empty() {
        return Err(SaslError::EmptyField);
    }
    if name.len() > FIELD_MAX {
        return Err(SaslError::FieldTooLong);
    }
    if name.chars().any(is_control) {
        return Err(SaslError::BadName);
    }
    let name: String = name.nfc().collect();
    if name.len() > FIELD_MAX {
        return Err(SaslError::FieldTooLong);
    }
    Ok(name)
}

fn is_control(c: char) -> bool {
    // Line and paragraph separators are controls in all but the name, and break log lines.
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Prepares a password by the profile OpaqueString: other spaces become U+0020, then NFC.
pub fn prepare_password(password: &str) -> Result<Secret, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > FIELD_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return Ok(Secret::from(password.as_bytes()));
    }
    if !is_freeform(password) {
        return Err(PasswordError::Character);
    }
    let spaced = password.chars().map(|c| match c.general_category() {
        Category::SpaceSeparator => ' ',
        _ => c,
    });
    // NFC makes at most three times as many octets of UTF-8; without growth no copy stays behind.
    let mut prepared = Zeroizing::new(String::with_capacity(3 * password.len()));
    prepared.extend(spaced.nfc());
    if prepared.len() > FIELD_MAX {
        return Err(PasswordError::TooLong);
    }
    // RFC 8264 7: what does not stay the same when it is prepared again is refused. U+0387 becomes U+00B7, which needs neighbours.
    if !is_freeform(&prepared) {
        return Err(PasswordError::Character);
    }
    Ok(Secret::from(prepared.as_bytes()))
}

fn is_freeform(text: &str) -> bool {
    let mut chars = Zeroizing::new(Vec::with_capacity(text.len()));
    chars.extend(text.chars());
    (0..chars.len()).all(|at| is_allowed(&chars, at)) && !mixes_digits(&chars)
}

/// The FreeformClass of RFC 8264 4.3, in the order of its section 8.
fn is_allowed(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    let before = at.checked_sub(1).map(|at| chars[at]);
    let after = chars.get(at + 1).copied();
    match c {
        ' '..='~' => true,
        // 9.6, which is RFC 5892 2.6. Digits: see `mixes_digits`.
        '\u{0640}'
        | '\u{07FA}'
        | '\u{302E}'
        | '\u{302F}'
        | '\u{3031}'..='\u{3035}'
        | '\u{303B}' => false,
        // RFC 5892 A.3 to A.7: characters that need a neighbour.
        '\u{00B7}' => before == Some('l') && after == Some('l'),
        '\u{0375}' => after.is_some_and(is_greek),
        '\u{05F3}' | '\u{05F4}' => before.is_some_and(is_hebrew),
        '\u{30FB}' => chars.iter().copied().any(is_japanese),
        // RFC 5892 A.1, A.2.
        '\u{200C}' => follows_virama(before) || joins(chars, at),
        '\u{200D}' => follows_virama(before),
        _ if is_old_hangul(c) || is_ignorable(c) => false,
        _ => {
            matches!(
                c.general_category_group(),
                Group::Letter | Group::Mark | Group::Number | Group::Punctuation | Group::Symbol
            ) || c.general_category() == Category::SpaceSeparator
        }
    }
}

/// RFC 5892 A.8, A.9: the two series of Arabic digits look alike.
fn mixes_digits(chars: &[char]) -> bool {
    chars.iter().any(|c| ('\u{0660}'..='\u{0669}').contains(c))
        && chars.iter().any(|c| ('\u{06F0}'..='\u{06F9}').contains(c))
}

fn follows_virama(before: Option<char>) -> bool {
    before.is_some_and(|c| canonical_combining_class(c) == VIRAMA)
}

/// RFC 5892 A.1 asks for letters that join on both sides, marks aside. We look at the script instead of the letter: the few that
/// do not join are let through, which harms nobody in a password.
fn joins(chars: &[char], at: usize) -> bool {
    let is_base = |c: &&char| c.general_category_group() != Group::Mark;
    let before = chars[..at].iter().rev().find(is_base);
    let after = chars[at + 1..].iter().find(is_base);
    before.is_some_and(|&c| is_cursive(c)) && after.is_some_and(|&c| is_cursive(c))
}

fn is_cursive(c: char) -> bool {
    // Arabic and Syriac, N'Ko, Mandaic and their supplements, Mongolian and Phags-pa, Adlam.
    matches!(c, '\u{0620}'..='\u{08FF}' | '\u{1807}'..='\u{18AA}' | '\u{A840}'..='\u{A872}' | '\u{1E900}'..='\u{1E943}')
        && c.general_category_group() == Group::Letter
}

fn is_greek(c: char) -> bool {
    matches!(c, '\u{0370}'..='\u{03FF}' | '\u{1F00}'..='\u{1FFF}')
}

fn is_hebrew(c: char) -> bool {
    matches!(c, '\u{0591}'..='\u{05F4}' | '\u{FB1D}'..='\u{FB4F}')
}

/// Hiragana, Katakana or Han.
fn is_japanese(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3038}'..='\u{303B}' | '\u{3041}'..='\u{3096}'
        | '\u{309D}'..='\u{309F}' | '\u{30A1}'..='\u{30FA}' | '\u{30FD}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAD9}' | '\u{FF66}'..='\u{FF9D}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// RFC 8264 9.9: Hangul_Syllable_Type is L, V or T.
fn is_old_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97C}' | '\u{D7B0}'..='\u{D7C6}' | '\u{D7CB}'..='\u{D7FB}')
}

/// RFC 8264 9.13: Default_Ignorable_Code_Point, as far as the general category does not refuse it.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The combining class of viramas.
const VIRAMA: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Result<String, PasswordError> {
        prepare_password(text).map(|secret| secret.as_str().unwrap().to_owned())
    }

    #[test]
    fn rfc8265_examples() {
        // Table 3, 12 to 16.
        for (text, prepared) in [
            (
                "correct horse battery staple",
                "correct horse battery staple",
            ),
            (
                "Correct Horse Battery Staple",
                "Correct Horse Battery Staple",
            ),
            ("\u{3c0}\u{df}\u{e5}", "\u{3c0}\u{df}\u{e5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ] {
            assert_eq!(password(text).as_deref(), Ok(prepared));
        }
        // Table 4, 17 and 18.
        assert_eq!(password(""), Err(PasswordError::Empty));
        assert_eq!(password("my cat is a \tby"), Err(PasswordError::Character));
    }

    #[test]
    fn passwords() {
        for (text, prepared) in [
            // Normalized, not folded: neither case nor width nor compatibility.
            ("a\u{308}", "\u{e4}"),
            ("\u{212B}", "\u{c5}"),
            ("\u{FF21}\u{FB01}\u{2168}", "\u{FF21}\u{FB01}\u{2168}"),
            ("\u{a0}\u{3000} x", "   x"),
            // Unicode 8, 13, 17.
            ("\u{1F916}\u{1FAC2}", "\u{1F916}\u{1FAC2}"),
            ("l\u{b7}l", "l\u{b7}l"),
            ("\u{375}\u{3b1}", "\u{375}\u{3b1}"),
            ("\u{5d0}\u{5f3}", "\u{5d0}\u{5f3}"),
            ("\u{30FB}\u{30A2}", "\u{30FB}\u{30A2}"),
            ("\u{661}\u{662}", "\u{661}\u{662}"),
            (
                "\u{915}\u{94d}\u{200d}\u{937}",
                "\u{915}\u{94d}\u{200d}\u{937}",
            ),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}",
                "\u{645}\u{6cc}\u{200c}\u{62e}",
            ),
            ("\u{d55c}", "\u{d55c}"),
        ] {
            assert_eq!(password(text).as_deref(), Ok(prepared), "{text:?}");
        }
        for bad in [
            "\0",
            "a\u{7f}",
            "\u{85}",
            "\u{ad}",
            "\u{200b}",
            "\u{202e}x",
            "\u{2028}",
            "\u{feff}",
            "\u{2764}\u{fe0f}",
            "\u{34f}",
            "\u{3164}",
            "\u{e000}",
            "\u{fffe}",
            "\u{10ffff}",
            "\u{378}",
            "\u{1100}\u{1161}",
            "\u{e0100}",
            "\u{640}",
            "l\u{b7}",
            "\u{b7}",
            "\u{375}a",
            "\u{5f3}",
            "\u{30fb}",
            "\u{661}\u{6f1}",
            "a\u{200d}b",
            "\u{200d}",
            "\u{200c}",
            "a\u{200c}b",
            "\u{387}a",
            "\u{645}\u{200c}",
        ] {
            assert_eq!(password(bad), Err(PasswordError::Character), "{bad:?}");
        }
    }

    #[test]
    fn bounds() {
        assert!(password(&"x".repeat(FIELD_MAX)).is_ok());
        assert_eq!(
            password(&"x".repeat(FIELD_MAX + 1)),
            Err(PasswordError::TooLong)
        );
        // U+1D160 grows from 4 to 12 octets.
        assert!(password(&"\u{1D160}".repeat(FIELD_MAX / 12)).is_ok());
        let growing = "\u{1D160}".repeat(FIELD_MAX / 4);
        assert_eq!(password(&growing), Err(PasswordError::TooLong));
        assert_eq!(prepare_name(&growing), Err(SaslError::FieldTooLong));
        // Marks without end: sorted, not quadratic, and in bounds.
        let marks = format!("a{}", "\u{301}\u{323}".repeat(FIELD_MAX / 4 - 1));
        assert_eq!(
            prepare_name(&marks).unwrap().chars().next(),
            Some('\u{1ea1}')
        );
    }

    #[test]
    fn names() {
        assert_eq!(
            prepare_name("Ju\u{308}rgen@X.example").as_deref(),
            Ok("J\u{fc}rgen@X.example")
        );
        assert_eq!(prepare_name("a b"), Ok("a b".into()));
        assert_eq!(prepare_name(""), Err(SaslError::EmptyField));
        for bad in ["\0", "a\r\nb", "\u{7f}", "\u{9b}", "a\u{2028}"] {
            assert_eq!(prepare_name(bad), Err(SaslError::BadName), "{bad:?}");
        }
        assert!(prepare_name(&"x".repeat(FIELD_MAX)).is_ok());
        assert_eq!(
            prepare_name(&"x".repeat(FIELD_MAX + 1)),
            Err(SaslError::FieldTooLong)
        );
    }

    #[test]
    fn preparing_twice_changes_nothing() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let text: String = (0..1 + state % 7)
                .filter_map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let ranges = [0x80, 0x600, 0x3100, 0x1_1000, 0x11_0000];
                    char::from_u32((state >> 33) as u32 % ranges[(state >> 20) as usize % 5])
                })
                .collect();
            if let Ok(prepared) = password(&text) {
                assert_eq!(password(&prepared).as_ref(), Ok(&prepared), "{text:?}");
            }
            if let Ok(prepared) = prepare_name(&text) {
                assert_eq!(prepare_name(&prepared).as_ref(), Ok(&prepared), "{text:?}");
            }
        }
    }
}
