//! Tests of `command.rs` and `parameters.rs`.

use super::*;
use crate::notification::Notify;
use crate::parameters::BodyKind;

const LENIENT: Grammar = Grammar {
    pedantic: false,
    hello_any: false,
};
const PEDANTIC: Grammar = Grammar {
    pedantic: true,
    hello_any: false,
};
const SUBMISSION: Grammar = Grammar {
    pedantic: false,
    hello_any: true,
};

fn parse(line: &str) -> Result<Command<'_>, CommandError> {
    Command::parse(line.as_bytes(), LENIENT)
}

fn parameters(text: &str) -> Result<MailParameters, CommandError> {
    match Command::parse(format!("MAIL FROM:<a@b.example>{text}").as_bytes(), LENIENT)? {
        Command::Mail(_, parameters) => Ok(parameters),
        other => panic!("{other:?}"),
    }
}

#[test]
fn simple_commands() {
    assert_eq!(parse("DATA"), Ok(Command::Data));
    assert_eq!(parse("data  "), Ok(Command::Data));
    assert_eq!(parse("Quit"), Ok(Command::Quit));
    assert_eq!(parse("RSET"), Ok(Command::Reset));
    assert_eq!(parse("starttls"), Ok(Command::StartTls));
    assert_eq!(parse("NOOP anything at all"), Ok(Command::Noop));
    assert_eq!(parse("VRFY a@b.example"), Ok(Command::Verify));
    assert_eq!(parse("EXPN list"), Ok(Command::Expand));
    assert_eq!(parse("HELP me please"), Ok(Command::Help));
    for bad in [
        "DATA now",
        "QUIT x",
        "RSET x",
        "STARTTLS x",
        "VRFY",
        "EXPN",
        "VRFY ",
    ] {
        assert_eq!(parse(bad), Err(CommandError::Arguments), "{bad}");
    }
    for unknown in [
        "",
        " ",
        "GET / HTTP/1.1",
        "ETRN x",
        "DATAX",
        "MAILFROM:<a@b>",
        "\x16\x03\x01",
    ] {
        assert_eq!(parse(unknown), Err(CommandError::Unknown), "{unknown}");
    }
    assert_eq!(parse("NOOP a\rb"), Err(CommandError::NotText));
    assert_eq!(parse("NOOP \0"), Err(CommandError::NotText));
    assert_eq!(
        Command::parse(b"NOOP \xff", LENIENT),
        Err(CommandError::NotText)
    );
    assert_eq!(
        Command::parse(b"DATA ", PEDANTIC),
        Err(CommandError::Arguments)
    );
    assert_eq!(
        Command::parse(b"NOOP a b", PEDANTIC),
        Err(CommandError::Arguments)
    );
    assert_eq!(Command::parse(b"NOOP \"a b\"", PEDANTIC), Ok(Command::Noop));
}

#[test]
fn hello() {
    let name = |line: &str, grammar| match Command::parse(line.as_bytes(), grammar) {
        Ok(Command::Hello(_, name)) => Ok(name.to_string()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(
        name("EHLO Mail.Example", LENIENT),
        Ok("mail.example".into())
    );
    assert_eq!(name("EHLO [192.0.2.1]", LENIENT), Ok("[192.0.2.1]".into()));
    assert_eq!(
        name("EHLO [192.0.2.1] and more", LENIENT),
        Ok("[192.0.2.1]".into())
    );
    assert_eq!(name("EHLO [IPv6:::1]", LENIENT), Ok("[IPv6:::1]".into()));
    assert_eq!(name("EHLO WIN_1", LENIENT), Ok("win_1".into()));
    for bad in [
        "EHLO",
        "EHLO ",
        "EHLO a b",
        "EHLO ..",
        "EHLO [::1]",
        "EHLO [1.2.3.4",
        "HELO [192.0.2.1]",
        "HELO",
    ] {
        assert_eq!(name(bad, LENIENT), Err(CommandError::Arguments), "{bad}");
    }
    assert_eq!(name("EHLO WIN_1", PEDANTIC), Err(CommandError::Arguments));
    assert_eq!(name("EHLO [::1]", SUBMISSION), Ok("[IPv6:::1]".into()));
    assert_eq!(name("EHLO my laptop!", SUBMISSION), Ok("my laptop!".into()));
    assert_eq!(name("EHLO", SUBMISSION), Ok(String::new()));
    let long = format!("EHLO {}", "ü ".repeat(300));
    assert!(name(&long, SUBMISSION).unwrap().len() <= HELLO_TEXT_MAX);
}

#[test]
fn paths() {
    for good in [
        "MAIL FROM:<>",
        "mail from:<a@b.example>",
        "MAIL FROM: <a@b.example>",
        "MAIL FROM:<a@b.example> ",
    ] {
        assert!(matches!(parse(good), Ok(Command::Mail(..))), "{good}");
    }
    assert_eq!(
        Command::parse(b"MAIL FROM: <>", PEDANTIC),
        Err(CommandError::ReversePath(PathError::Syntax))
    );
    assert_eq!(
        parse("MAIL FROM:a@b.example"),
        Err(CommandError::ReversePath(PathError::Syntax))
    );
    for bad in [
        "MAIL",
        "MAIL FROM",
        "MAIL FROM <a@b>",
        "MAIL  FROM:<a@b>",
        "MAIL FROM:<a@b>SIZE=1",
        "RCPT FROM:<a@b>",
    ] {
        assert_eq!(parse(bad), Err(CommandError::Arguments), "{bad}");
    }
    assert_eq!(
        parse("RCPT TO:<postmaster>"),
        Ok(Command::Recipient(
            ForwardPath::Postmaster,
            RecipientParameters::default()
        ))
    );
    assert_eq!(
        parse("RCPT TO:<>"),
        Err(CommandError::ForwardPath(PathError::Syntax))
    );
}

#[test]
fn recipient_parameters() {
    let parameters = |text: &str| match Command::parse(
        format!("RCPT TO:<a@b.example>{text}").as_bytes(),
        LENIENT,
    )? {
        Command::Recipient(_, parameters) => Ok(parameters),
        other => panic!("{other:?}"),
    };
    assert!(!parameters("").unwrap().uses_dsn());
    let both = parameters(" orcpt=rfc822;Bob@B.example notify=never").unwrap();
    assert_eq!(both.notify, Some(Notify::Never));
    assert_eq!(both.orcpt.unwrap().to_parameter(), "rfc822;Bob@B.example");
    let long = format!(" ORCPT=rfc822;{}", "a".repeat(500));
    for (text, error) in [
        (" NOTIFY=NEVER,DELAY", CommandError::ParameterSyntax),
        (" NOTIFY=", CommandError::ParameterSyntax),
        (" NOTIFY", CommandError::ParameterSyntax),
        (
            " NOTIFY=NEVER NOTIFY=NEVER",
            CommandError::ParameterRepeated,
        ),
        (" ORCPT=bob@b.example", CommandError::ParameterSyntax),
        (" ORCPT=rfc822;a+0D", CommandError::ParameterSyntax),
        (" ORCPT=rfc822;a=b", CommandError::ParameterSyntax),
        (&long, CommandError::ParameterSyntax),
        (" ORCPT=x;1 ORCPT=x;1", CommandError::ParameterRepeated),
        (" RET=FULL", CommandError::ParameterUnknown),
    ] {
        assert_eq!(parameters(text), Err(error), "{text}");
    }
}

#[test]
fn mail_parameters() {
    let all = parameters(" SIZE=500000 BODY=8BITMIME SMTPUTF8 AUTH=e+3Dmc2@example.com").unwrap();
    assert_eq!(
        (all.size, all.body),
        (Some(500000), Some(BodyKind::EightBitMime))
    );
    assert!(all.smtputf8 && all.auth);
    assert_eq!(
        parameters(" body=binarymime").unwrap().body,
        Some(BodyKind::BinaryMime)
    );
    assert_eq!(
        parameters(" SIZE=99999999999999999999").unwrap().size,
        Some(u64::MAX)
    );
    assert!(parameters(" AUTH=<>").unwrap().auth);
    for (text, error) in [
        (" SIZE=1 SIZE=1", CommandError::ParameterRepeated),
        (" SMTPUTF8 SMTPUTF8", CommandError::ParameterRepeated),
        (" SIZE", CommandError::ParameterSyntax),
        (" SIZE=", CommandError::ParameterSyntax),
        (" SIZE=x", CommandError::ParameterSyntax),
        (" SIZE=-1", CommandError::ParameterSyntax),
        (" SIZE=999999999999999999999", CommandError::ParameterSyntax),
        (" SMTPUTF8=1", CommandError::ParameterSyntax),
        (" AUTH=a+3", CommandError::ParameterSyntax),
        (" AUTH=a=b", CommandError::ParameterSyntax),
        (" BODY=9BIT", CommandError::ParameterUnsupported),
        (" RET=ALL", CommandError::ParameterSyntax),
        (" RET=FULL RET=FULL", CommandError::ParameterRepeated),
        (" ENVID=+20+0A", CommandError::ParameterSyntax),
        (" ENVID", CommandError::ParameterSyntax),
        (" REQUIRETLS=1", CommandError::ParameterSyntax),
        (" REQUIRETLS REQUIRETLS", CommandError::ParameterRepeated),
        (" HOLDFOR=1 HOLDFOR=1", CommandError::ParameterRepeated),
        (" HOLDFOR=1000000000", CommandError::ParameterSyntax),
        (
            " HOLDUNTIL=2026-02-30T00:00:00Z",
            CommandError::ParameterSyntax,
        ),
        (" NOTIFY=NEVER", CommandError::ParameterUnknown),
        (" =1", CommandError::Arguments),
        (" -A=1", CommandError::Arguments),
    ] {
        assert_eq!(parameters(text), Err(error), "{text}");
    }
}

#[test]
fn chunks() {
    assert_eq!(
        parse("BDAT 86 LAST"),
        Ok(Command::Chunk {
            size: 86,
            last: true
        })
    );
    assert_eq!(
        parse("bdat 0 last"),
        Ok(Command::Chunk {
            size: 0,
            last: true
        })
    );
    assert_eq!(
        parse("BDAT 18446744073709551615"),
        Ok(Command::Chunk {
            size: u64::MAX,
            last: false
        })
    );
    assert_eq!(
        parse("BDAT 5 LAST x"),
        Ok(Command::MalformedChunk { size: 5 })
    );
    assert_eq!(
        parse("BDAT 5 FIRST"),
        Ok(Command::MalformedChunk { size: 5 })
    );
    for bad in [
        "BDAT",
        "BDAT ",
        "BDAT x",
        "BDAT +5",
        "BDAT -5",
        "BDAT 18446744073709551616",
        "BDAT 5\0",
    ] {
        assert_eq!(parse(bad), Err(CommandError::ChunkSize), "{bad}");
    }
}

#[test]
fn auth() {
    let command = |mechanism, initial| Ok(Command::Auth { mechanism, initial });
    assert_eq!(parse("AUTH PLAIN"), command("PLAIN", None));
    assert_eq!(
        parse("AUTH PLAIN dGVzdA=="),
        command("PLAIN", Some("dGVzdA=="))
    );
    assert_eq!(
        parse("AUTH PLAIN   dGVzdA== "),
        command("PLAIN", Some("dGVzdA=="))
    );
    assert_eq!(parse("AUTH EXTERNAL ="), command("EXTERNAL", Some("=")));
    assert_eq!(parse("AUTH PLAIN "), Err(CommandError::InitialResponse));
    for bad in ["AUTH", "AUTH ", "AUTH PL%IN", "AUTH ABCDEFGHIJKLMNOPQRSTU"] {
        assert_eq!(parse(bad), Err(CommandError::Arguments), "{bad}");
    }
}
