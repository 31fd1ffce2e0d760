//! Header fields that name who sent a message beside its author: a key that may write as some alone has to keep to them there too.
//! RFC 5322 3.6.2 (Sender), 3.6.6 (Resent-From, Resent-Sender).

use message::{Header, from_addresses};
use webapi::v1::{Fault, Kind, Problem};

use super::auth::may_write_as;

/// Those fields of a message, held against the key's list: empty, it has all.
pub(super) fn check<'h>(
    list: &[String],
    fields: impl Iterator<Item = (&'h str, &'h str)>,
) -> Result<(), Problem> {
    let wrong = fields.enumerate().filter(|(_, (name, value))| {
        !list.is_empty() && is_sender(name) && !may_be_named(list, value)
    });
    refused(wrong.map(|(at, (name, _))| {
        let detail = format!("the key may not write as all that {name} names");
        Fault::at(format!("/headers/{at}/value"), detail)
    }))
}

/// The same of a template, which says for each recipient anew whom they name: such a key may have none there.
pub(super) fn check_template<'h>(
    list: &[String],
    names: impl Iterator<Item = &'h str>,
    pointer: impl Fn(usize) -> String,
) -> Result<(), Problem> {
    let wrong = names.enumerate();
    let wrong = wrong.filter(|(_, name)| !list.is_empty() && is_sender(name));
    refused(wrong.map(|(at, name)| {
        let detail = format!("the key may not write as everybody, and {name} may name anybody");
        Fault::at(pointer(at), detail)
    }))
}

fn refused(faults: impl Iterator<Item = Fault>) -> Result<(), Problem> {
    let faults: Vec<Fault> = faults.collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Problem::of_faults(Kind::SenderNotAllowed, faults)),
    }
}

fn is_sender(name: &str) -> bool {
    FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name))
}

/// What readers might understand in more than one way names nobody.
fn may_be_named(list: &[String], value: &str) -> bool {
    if value.contains(char::is_control) {
        return false;
    }
    // It is written like that one, and read as strictly.
    let field = format!("From: {value}\r\n\r\n");
    let named = from_addresses(Header::of_message(field.as_bytes()));
    named.is_ok_and(|named| {
        let mut named = named.iter();
        named.all(|one| may_write_as(list, &format!("{}@{}", one.localpart, one.domain)))
    })
}

const FIELDS: [&str; 3] = ["Sender", "Resent-From", "Resent-Sender"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_named_must_be_in_the_list() {
        let list = ["ann@a.example".to_string(), "b.example".to_string()];
        let faults = |fields: &[(&str, &str)]| match check(&list, fields.iter().copied()) {
            Ok(()) => 0,
            Err(problem) => problem.errors.len(),
        };
        for allowed in [
            "ann@a.example",
            "Ann <ANN@A.example>",
            "x@b.example, Ann <ann@a.example>",
            "\"a, b\" <x@b.example> (office)",
        ] {
            assert_eq!(faults(&[("Resent-From", allowed)]), 0, "{allowed}");
        }
        for refused in [
            "ben@a.example",
            "Ann <ann@a.example>, ben@a.example",
            "ann@a.example <ben@a.example>",
            "list: ann@a.example, ben@a.example;",
            "<@x.example:ann@a.example>",
            "ann",
            "",
            "ann@a.example\r\n\r\nben@a.example",
            "x@b.example@a.example",
        ] {
            assert_eq!(faults(&[("sender", refused)]), 1, "{refused}");
        }
        let two = [
            ("X-Sender", "x@y"),
            ("SENDER", "x@y"),
            ("resent-sender", ""),
        ];
        assert_eq!(faults(&two), 2);
        assert!(check(&[], two.into_iter()).is_ok());
        let names = || two.iter().map(|(name, _)| *name);
        let problem = check_template(&list, names(), |at| at.to_string()).unwrap_err();
        assert_eq!(problem.errors[1].pointer.as_deref(), Some("2"));
        assert!(check_template(&[], names(), |at| at.to_string()).is_ok());
    }
}
