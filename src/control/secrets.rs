//! Passwords and app passwords. Deriving what is stored of them is heavy: one change at a time, on a thread
//! whose place is that of the threads that check passwords.

use sasl::Secret;
use serde_json::{Value, json};

use super::accounts::parse_name;
use super::commands::{BROKEN, Control, OTHER_ANSWER, lost, sessions_left};
use crate::calls::{Answer, Call};
use crate::login::{Scheme, Secrets, Services};
use crate::percore::wall_clock;
use crate::settings::AccountName;

pub(super) fn set_password(control: &Control, name: &str, password: &str) -> Result<Value, String> {
    let name = configured(control, name)?;
    let prepared = prepare(password)?;
    let silent = change(control, name, true, &mut |secrets, scheme| {
        secrets.set_password(&prepared, scheme)
    })?;
    Ok(json!({"name": name.as_str(), "messages": sessions_left(silent)}))
}

/// Answers the new password, for the only time.
pub(super) fn add_app_password(
    control: &Control,
    name: &str,
    label: &str,
    services: &[String],
) -> Result<Value, String> {
    let name = configured(control, name)?;
    if label.is_empty() || label.len() > LABEL_MAX || label.chars().any(char::is_control) {
        return Err(format!(
            "an app password's name has 1 to {LABEL_MAX} octets and no control characters"
        ));
    }
    let services = parse_services(services)?;
    let mut made = None;
    change(control, name, false, &mut |secrets, scheme| {
        if secrets.app_passwords.iter().any(|a| a.name == label) {
            return Err(format!("{name} has an app password {label:?} already"));
        }
        if secrets.app_passwords.len() >= APP_PASSWORDS_MAX {
            return Err(format!(
                "{name} has {APP_PASSWORDS_MAX} app passwords; remove one first"
            ));
        }
        made = Some(secrets.add_app_password(label, services, wall_clock(), scheme)?);
        Ok(())
    })?;
    let password = made.as_ref().and_then(Secret::as_str).unwrap_or_default();
    Ok(json!({"name": label, "password": password}))
}

pub(super) fn remove_app_password(
    control: &Control,
    name: &str,
    label: &str,
) -> Result<Value, String> {
    let name = configured(control, name)?;
    let silent = change(control, name, true, &mut |secrets, _| {
        let before = secrets.app_passwords.len();
        secrets.app_passwords.retain(|a| a.name != label);
        if secrets.app_passwords.len() == before {
            return Err(format!("{name} has no app password {label:?}"));
        }
        Ok(())
    })?;
    Ok(json!({"name": label, "messages": sessions_left(silent)}))
}

pub(super) fn list_app_passwords(
    control: &Control,
    name: &str,
    item: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<Value, String> {
    let name = configured(control, name)?;
    for app in read(control, name)?.unwrap_or_default().app_passwords {
        item(json!({
            "name": app.name,
            "created": app.created,
            "services": app.services.words(),
        }))?;
    }
    Ok(json!({}))
}

fn parse_services(words: &[String]) -> Result<Services, String> {
    let mut services = Services {
        imap: false,
        submission: false,
    };
    for word in words {
        match &**word {
            "imap" => services.imap = true,
            "submission" => services.submission = true,
            other => {
                return Err(format!(
                    "{other:?} is no service; there are imap and submission"
                ));
            }
        }
    }
    Ok(if words.is_empty() {
        Services::ALL
    } else {
        services
    })
}

pub(super) fn configured(control: &Control, name: &str) -> Result<AccountName, String> {
    let name = parse_name(name)?;
    let live = control.server.live();
    live.settings
        .accounts
        .contains_key(&name)
        .then_some(name)
        .ok_or_else(|| {
            format!("there is no account {name}; ringmail account list names those there are")
        })
}

/// RFC 8265 4.2: all spellings of a password that look alike are one. RFC 4616 2: no NUL. NIST SP 800-63B 3.1.1.2 asks for at least 8
/// characters and no rule about kinds of them; they are counted as they are stored: a letter and its accent are one.
fn prepare(password: &str) -> Result<Secret, String> {
    if password.len() > PASSWORD_MAX {
        return Err(format!("the password has more than {PASSWORD_MAX} octets"));
    }
    if password.chars().any(char::is_control) {
        return Err("the password has a control character in it".into());
    }
    let short =
        |length| format!("the password has {length} characters; it needs at least {PASSWORD_MIN}");
    if password.is_empty() {
        return Err(short(0));
    }
    let prepared = sasl::prepare_password(password).map_err(|e| format!("{e} (RFC 8265)"))?;
    let length = prepared.as_str().unwrap_or_default().chars().count();
    match length < PASSWORD_MIN {
        true => Err(short(length)),
        false => Ok(prepared),
    }
}

fn read(control: &Control, name: AccountName) -> Result<Option<Secrets>, String> {
    match call(control, name, Call::Secrets { account: name })? {
        Answer::Secrets(result) => Ok(result.map_err(|e| e.to_string())?.map(|s| *s)),
        _ => Err(OTHER_ANSWER.into()),
    }
}

/// Reads an account's secrets, has them changed, and stores them. `ends_sessions`: what was good to log in with is so no more.
/// Answers how many cores did not say that they ended them.
fn change(
    control: &Control,
    name: AccountName,
    ends_sessions: bool,
    change: &mut (dyn FnMut(&mut Secrets, &Scheme) -> Result<(), String> + Send),
) -> Result<u16, String> {
    let _one = control.secrets.lock().map_err(|_| BROKEN)?;
    if control.is_stopping() {
        return Err("the server is stopping".into());
    }
    for _ in 0..TRIES {
        let from = read(control, name)?;
        let mut to = from.clone().unwrap_or_default();
        let scheme = control.server.scheme();
        let derived = control.server.deriving().run(|| change(&mut to, &scheme));
        derived.map_err(|e| format!("nothing could be derived: {e}"))??;
        let stored = Call::ChangeSecrets {
            account: name,
            from: from.map(Box::new),
            to: Box::new(to),
            ends_sessions,
        };
        match call(control, name, stored)? {
            Answer::Changed(changed) => {
                if let Some(silent) = changed.map_err(|e| e.to_string())? {
                    return Ok(silent);
                }
            }
            _ => return Err(OTHER_ANSWER.into()),
        }
    }
    Err(format!(
        "the secrets of {name} were changed by somebody else at the same time; try again"
    ))
}

fn call(control: &Control, name: AccountName, call: Call) -> Result<Answer, String> {
    let owner = control.server.owner_of(name.as_str());
    let answer = control.server.call(owner, call);
    answer.map_err(|error| lost(owner, error))
}

const TRIES: u32 = 3;
const PASSWORD_MIN: usize = 8;
/// The login of every protocol has room for it.
const PASSWORD_MAX: usize = 512;
/// Octets of an app password's name.
const LABEL_MAX: usize = 100;
/// Each costs a SCRAM or PLAIN login some microseconds.
const APP_PASSWORDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_no_client_could_send_are_refused() {
        assert!(prepare("ringmailringmail").is_ok());
        assert!(prepare("pässwörd").is_ok());
        for wrong in [
            "",
            "short12",
            // Four letters, each with a combining accent.
            "a\u{301}e\u{301}i\u{301}o\u{301}",
            "with\0nul-in-it",
            "line\nbreak",
            "zero\u{200b}width",
            &"x".repeat(513),
        ] {
            assert!(prepare(wrong).is_err(), "{wrong:?}");
        }
    }
}
