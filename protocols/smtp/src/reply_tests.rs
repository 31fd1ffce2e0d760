//! Tests of `reply.rs`.

use super::*;

fn written(reply: &Reply, id: &str) -> String {
    let mut output = Vec::new();
    reply.write_to(id, &mut output);
    String::from_utf8(output).unwrap()
}

#[test]
fn single_lines() {
    assert_eq!(written(&Reply::ok(), "abc"), "250 2.0.0 ok\r\n");
    assert_eq!(
        written(&Reply::no_such_user(), "abc"),
        "550 5.1.1 no such user (abc)\r\n"
    );
    assert_eq!(
        written(&Reply::no_such_user(), ""),
        "550 5.1.1 no such user\r\n"
    );
    assert_eq!(written(&Reply::challenge(b""), "abc"), "334 \r\n");
    assert_eq!(
        written(&Reply::challenge(b"Username:"), "abc"),
        "334 VXNlcm5hbWU6\r\n"
    );
    assert_eq!(
        written(&Reply::new(450, (4, 123, 45), "x"), ""),
        "450 4.123.45 x\r\n"
    );
}

#[test]
fn text_is_printable() {
    assert_eq!(
        written(&Reply::ok().with_text("a\r250 b\0\u{e4}"), ""),
        "250 2.0.0 a?250 b???\r\n"
    );
    assert_eq!(
        written(&Reply::ok().with_text("a\r\nb\n\u{e4}"), ""),
        "250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 ?\r\n"
    );
}

#[test]
fn long_lines_are_split() {
    let words = "word ".repeat(300);
    let text = written(&Reply::no_such_user().with_text(words.clone()), "the-id");
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert!(lines.len() > 2);
    assert!(lines.iter().all(|line| line.len() <= REPLY_LINE_MAX));
    assert!(
        lines[..lines.len() - 1]
            .iter()
            .all(|line| line.starts_with("550-5.1.1 word") && line.len() > 400)
    );
    assert!(
        lines[lines.len() - 1].starts_with("550 5.1.1 ")
            && lines[lines.len() - 1].ends_with("(the-id)")
    );
    assert_eq!(text.matches("word").count(), 300);
    let solid = written(&Reply::ok().with_text("x".repeat(2000)), "");
    assert!(solid.lines().all(|line| line.len() <= REPLY_LINE_MAX));
    assert_eq!(solid.matches('x').count(), 2000);
}

#[test]
fn enhanced_status() {
    let split = |text| EnhancedStatus::split(text).map(|(status, rest)| (status.to_string(), rest));
    assert_eq!(split("2.1.5 ok"), Some(("2.1.5".into(), "ok")));
    assert_eq!(split("5.7.139 no"), Some(("5.7.139".into(), "no")));
    assert_eq!(split("4.0.0"), Some(("4.0.0".into(), "")));
    for bad in [
        "",
        "ok",
        "3.1.1 x",
        "2.1 x",
        "2.1.1.1 x",
        "2.1000.1 x",
        "2..1 x",
        "2.-1.0 x",
        "192.0.2.1 x",
    ] {
        assert_eq!(split(bad), None, "{bad}");
    }
}
