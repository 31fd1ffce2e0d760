//! Tests of `address.rs`: RFC examples first, then what must be refused.

use super::*;

fn reverse(text: &str) -> Result<ReversePath, PathError> {
    text.parse()
}

#[test]
fn written_as_it_was() {
    for text in [
        "<>",
        "<userx@y.foo.org>",
        "<e=mc2@example.com>",
        "<\"Joe Smith\"@example.com>",
        "<\"a\\\"b\\\\c\"@example.com>",
        "<\"a@b\"@example.com>",
        "<\"\"@example.com>",
        "<\".a\"@example.com>",
        "<a@[192.0.2.1]>",
        "<a@[IPv6:2001:db8::1]>",
        "<a@[x-tag:some.thing]>",
        "<dörte@sörensen.example>",
        "<用户@例子.广告>",
    ] {
        assert_eq!(reverse(text).unwrap().to_string(), text);
    }
}

#[test]
fn normalised() {
    for (text, written) in [
        ("<Joe.User@EXAMPLE.Com>", "<Joe.User@example.com>"),
        ("<\"simple\"@a.example>", "<simple@a.example>"),
        ("<\"Joe\\,Smith\"@a.example>", "<\"Joe,Smith\"@a.example>"),
        ("<a@ÄÖ.example>", "<a@äö.example>"),
        // RFC 5321 appendix C: the route is ignored.
        ("<@hosta.int,@jkl.org:userc@d.bar.org>", "<userc@d.bar.org>"),
        ("<a@[ipv6:2001:DB8:0::1]>", "<a@[IPv6:2001:db8::1]>"),
    ] {
        assert_eq!(reverse(text).unwrap().to_string(), written);
    }
}

#[test]
fn refused() {
    for text in [
        "",
        "<",
        "<a",
        "<a>",
        "a@b",
        "<@b>",
        "<a@>",
        "<a@b",
        "<a@b>>",
        "<a@b@c>",
        "<a b@c>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a@.b>",
        "<a@b.>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b_c>",
        "<a@b c>",
        "<a@[1.2.3]>",
        "<a@[256.1.1.1]>",
        "<a@[IPv6:xyz]>",
        "<a@[2001:db8::1]>",
        "<a@[]>",
        "<a@[1.2.3.4>",
        "<a@1.2.3.4]>",
        "<\"a@b>",
        "<\"a\\",
        "<\"a\"b@c>",
        "<@a>",
        "<@a:>",
        "<@a,b:c@d>",
        "<@a,:c@d>",
        "<a@[tag-:x]>",
        "<\"\\é\"@x>",
    ] {
        assert!(reverse(text).is_err(), "{text}");
    }
}

#[test]
fn lengths() {
    let address = |localpart: usize, pedantic| {
        path(
            &mut Cursor(&format!("<{}@b.example>", "a".repeat(localpart))),
            pedantic,
        )
        .map(|_| ())
    };
    assert_eq!(address(64, true), Ok(()));
    assert_eq!(address(65, true), Err(PathError::LocalpartTooLong));
    assert_eq!(address(128, false), Ok(()));
    assert_eq!(address(129, false), Err(PathError::LocalpartTooLong));
    let domain = |labels: usize| format!("{}.b", vec!["a".repeat(49); labels].join("."));
    assert!(domain(5).parse::<Domain>().is_ok());
    assert_eq!(domain(6).parse::<Domain>(), Err(PathError::DomainTooLong));
    assert_eq!(
        "a".repeat(64).parse::<Domain>(),
        Err(PathError::DomainTooLong)
    );
    assert_eq!(
        reverse(&format!("<{}@{}>", "a".repeat(10), domain(5))),
        Err(PathError::PathTooLong)
    );
    assert!(reverse(&format!("<{}@{}>", "a".repeat(2), domain(5))).is_ok());
}

#[test]
fn postmaster() {
    let forward = |text: &str| text.parse::<ForwardPath>();
    assert_eq!(
        ForwardPath::Postmaster.to_string().parse(),
        Ok(ForwardPath::Postmaster)
    );
    assert!(forward("<postmaster> ").is_err());
    assert_eq!(forward("<POSTMASTER>"), Ok(ForwardPath::Postmaster));
    assert!(matches!(
        forward("<Postmaster@x.example>"),
        Ok(ForwardPath::Address(_))
    ));
    assert!(forward("<>").is_err());
    assert!(forward("<root>").is_err());
}

#[test]
fn smtputf8_need() {
    let needs = |text: &str| text.parse::<Address>().unwrap().needs_smtputf8();
    assert!(!needs("a@b.example"));
    assert!(needs("ä@b.example"));
    assert!(needs("a@ä.example"));
    assert!("a@b.example ".parse::<Address>().is_err());
    assert!(Localpart::new("a\nb").is_err());
}

#[test]
fn hello_names() {
    assert_eq!(
        Domain::parse_hello("DESKTOP_1.local.").unwrap().as_str(),
        "desktop_1.local"
    );
    assert!(Domain::parse_hello("a..b").is_err());
    assert!(Domain::parse_hello("").is_err());
}
