//! What the server can, RFC 9051 7.2.2: exactly what works on this connection in this state.

use sasl::Mechanism;

/// Facts that change the list.
pub(super) struct Announced {
    /// Nobody has logged in yet.
    pub before_login: bool,
    /// STARTTLS can be given now.
    pub starttls: bool,
    /// What AUTHENTICATE takes now.
    pub mechanisms: Vec<Mechanism>,
    /// Passwords may be sent now.
    pub passwords: bool,
    /// Largest message of APPEND.
    pub append_limit: u64,
}

impl Announced {
    /// The capabilities, ready to be joined.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = ALWAYS.iter().map(|word| (*word).to_string()).collect();
        // RFC 7889 3: the same limit for all mailboxes.
        words.push(format!("APPENDLIMIT={}", self.append_limit));
        if self.before_login {
            words.push("SASL-IR".into());
            if self.starttls {
                words.push("STARTTLS".into());
            }
            words.extend(self.mechanisms.iter().map(|m| format!("AUTH={m}")));
            if !self.passwords {
                // RFC 9051 6.2.3: LOGIN will fail whatever is said.
                words.push("LOGINDISABLED".into());
            }
        }
        words
    }
}

/// RFC 9051 and 3501, then: 5161, 7888, 2177, 2971, 3691, 4315, 4731, 5182, 6851, 3516, 6855, 5258, 5819, 6154, 2342, 8438, 3502, 7162,
/// 5032, 8514, 3348.
const ALWAYS: [&str; 24] = [
    "IMAP4rev2",
    "IMAP4rev1",
    "ENABLE",
    "LITERAL+",
    "IDLE",
    "ID",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "SEARCHRES",
    "MOVE",
    "BINARY",
    "UTF8=ACCEPT",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "NAMESPACE",
    "STATUS=SIZE",
    "MULTIAPPEND",
    "CONDSTORE",
    "WITHIN",
    "SAVEDATE",
    "CHILDREN",
];
