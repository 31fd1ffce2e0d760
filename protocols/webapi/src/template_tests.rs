use super::*;

fn parts(text: &str) -> Parts {
    Parts {
        text: text.into(),
        ..Parts::default()
    }
}

fn data(own: &str) -> Data {
    let defaults = Defaults::read(r#"{"shop": "Corner & Co", "city": "Bonn"}"#).unwrap();
    Data::read(&defaults, own, ("ann@example.net", "Ann")).unwrap()
}

fn rendered(text: &str, own: &str) -> Result<String, RenderError> {
    let template = Template::check(&parts(text)).map_err(|mut p| RenderError::Wrong(p.remove(0)));
    let rendered = template?.render(&data(own), Effort::Full)?;
    Ok(rendered.text)
}

#[test]
fn each_part_is_rendered_with_the_recipients_data_and_html_is_escaped() {
    let parts = Parts {
        subject: "Order {{ order.id }}".into(),
        text: "Dear {{ recipient.name }},\n{% for i in order.items %}- {{ i }}\n{% endfor %}{{ shop }}, {{ city }}".into(),
        html: "<b>{{ shop }}</b> {{ city }}".into(),
        to_name: "{{ first }} {{ last | default('') }}".into(),
        headers: vec![("X-Order".into(), "{{ order.id }}".into())],
    };
    let template = Template::check(&parts).unwrap();
    let own =
        r#"{"order": {"id": 17, "items": ["tea", "milk"]}, "city": "K\u00f6ln", "first": "Ann"}"#;
    for effort in [Effort::Quick, Effort::Full] {
        let made = template.render(&data(own), effort).unwrap();
        assert_eq!(made.subject, "Order 17");
        assert_eq!(made.text, "Dear Ann,\n- tea\n- milk\nCorner & Co, Köln");
        assert_eq!(made.html, "<b>Corner &amp; Co</b> Köln");
        assert_eq!(made.to_name, "Ann ");
        assert_eq!(made.headers, [("X-Order".into(), "17".into())]);
    }
    let names: Vec<&str> = template.variables().iter().map(String::as_str).collect();
    assert_eq!(names, ["city", "first", "last", "order", "shop"]);
    assert_eq!(data(own).lacks(template.variables()), ["last"]);
}

#[test]
fn what_is_wrong_is_told_with_its_part_and_line() {
    let wrong = Parts {
        subject: "{{ a".into(),
        text: "one\n{% if x %}\n".into(),
        headers: vec![
            ("X-A".into(), "fine".into()),
            ("X-B".into(), "{{ b | nonsense }}".into()),
        ],
        ..Parts::default()
    };
    let Err(problems) = Template::check(&wrong) else {
        panic!("it is wrong");
    };
    let pointers: Vec<&str> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(pointers[..2], ["/subject", "/text"], "{problems:?}");
    assert!(problems[1].line.is_some_and(|line| line >= 2));
    let late = rendered("one\n{{ nobody.name }}", "{}");
    let Err(RenderError::Wrong(problem)) = late else {
        panic!("{late:?}");
    };
    assert_eq!((problem.pointer.as_str(), problem.line), ("/text", Some(2)));
    let none = Template::check(&Parts::default()).map(|_| ()).unwrap_err();
    assert_eq!(none[0].pointer, "/text");
}

#[test]
fn numbers_are_reckoned_with() {
    for (text, made) in [
        (
            "{{ 1 + n }} {{ n + 1 }} {{ n - 1 }} {{ n|plus(n) }} {{ n|times(3) }}",
            "8 8 6 14 21",
        ),
        (
            "{{ p|times(2) }} {{ p|plus(n) }} {{ (p|times(n))|round(1) }}",
            "5.0 9.5 17.5",
        ),
    ] {
        assert_eq!(rendered(text, r#"{"n": 7, "p": 2.5}"#), Ok(made.into()));
    }
    for wrong in [
        "{{ n + n }}",
        "{{ n * 2 }}",
        "{{ 'a'|times(3) }}",
        "{{ [1]|plus([1]) }}",
        "{{ n|times(9223372036854775807) }}",
    ] {
        assert!(rendered(wrong, r#"{"n": 7}"#).is_err(), "{wrong}");
    }
}

#[test]
fn no_header_field_gets_a_line_of_its_own() {
    for (value, fine) in [
        ("{{ x }}", false),
        ("{{ y }}", true),
        ("a\nb", false),
        ("{{ \"\\r\" }}", false),
        ("\u{7f}", false),
        ("\u{85}", false),
    ] {
        for at in 0..3 {
            let mut parts = parts("text");
            match at {
                0 => parts.subject = value.into(),
                1 => parts.to_name = value.into(),
                _ => parts.headers = vec![("X-A".into(), value.into())],
            }
            let template = Template::check(&parts).unwrap();
            let own = r#"{"x": "a\r\nBcc: eve@example.org", "y": "Umlaut \u00e4"}"#;
            let made = template.render(&data(own), Effort::Full);
            assert_eq!(made.is_ok(), fine, "{value:?} {made:?}");
        }
    }
}

/// Lists that exist in name only, and those that have others in them, cost the engine nothing until it walks over them.
#[test]
fn no_lists_are_put_together() {
    for text in [
        "{{ [1] * 99999999 }}",
        "{{ l * 99999999 }}",
        "{{ l + l }}",
        "{{ l + 1|list + l }}",
        "{{ l + l.0 + l }}",
        "{{ l|chain(l) }}",
        "{{ l|zip(l) }}",
        "{{ l|sum }}",
        "{{ l|batch(1) }}",
        "{{ l|slice(1) }}",
        "{{ l|map('upper') }}",
        "{{ l|groupby(0) }}",
        "{{ l|reverse }}",
        "{{ l[1:] }}",
        "{{ l[::2] }}",
        "{% set a = [l, l] %}",
        "{% set a = [l] %}",
        "{% set a = (l, l) %}",
        "{% set a = l, l %}",
        "{% set a = {'x': l} %}",
        "{% for a in [l, l] %}{% endfor %}",
        "{% for a in l, l %}{% endfor %}",
        "{% for a in (l, l) %}{% endfor %}",
        "{% if l in [l] %}{% endif %}",
        "{% if l in (l, l) %}{% endif %}",
        "{% if not (l, l) %}{% endif %}",
        "{{ 'x' if (l, l) else (l, l) }}",
        "{{ dict(a=l) }}",
        "{{ namespace(a=l) }}",
        "{{ range(*l) }}",
        "{{ range(**l) }}",
        "{% filter (l, l) %}{% endfilter %}",
    ] {
        let outcome = rendered(text, r#"{"l": [1, 2]}"#);
        assert!(
            matches!(outcome, Err(RenderError::Wrong(_))),
            "{text} {outcome:?}"
        );
    }
    // What is left of them.
    for (text, made) in [
        (
            "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
            "a=1;b=2;",
        ),
        (
            "{% for k in d|dictsort %}{{ k[0] }}{{ k.1 }}{% endfor %}",
            "a1b2",
        ),
        (
            "{{ l[0] }}{{ d['a'] }}{{ (d).b }} {{ l|join(', ') }}",
            "312 3, 1",
        ),
        (
            "{% for i in range(1, 4) %}{{ loop.cycle('a', 'b') }}{% endfor %}",
            "aba",
        ),
        (
            "{{ 'a,b'.split is undefined }}{{ 'yes' if 1 in l and 3 not in l else 'no' }}",
            "Trueno",
        ),
    ] {
        let outcome = rendered(text, r#"{"l": [3, 1], "d": {"a": 1, "b": 2}}"#);
        assert_eq!(outcome.as_deref().ok(), Some(made), "{text} {outcome:?}");
    }
}

/// Each is stopped soon, and long before it has filled the memory.
#[test]
fn templates_that_would_never_end_are_stopped() {
    let doubling = "{% set a = a ~ a %}".repeat(60);
    let captured = "{% set a %}{{ a }}{{ a }}{% endset %}".repeat(60);
    let nested = "{% for i in range(99999) %}".repeat(20) + "x" + &"{% endfor %}".repeat(20);
    let upper = format!("{{{{ '<'{} }}}}", "|upper|e".repeat(10_000));
    let hostile = [
        ["{% set a = 'xxxxxxxxxxxxxxxx' %}", &doubling, "{{ a|length }}"].concat(),
        ["{% set a = 'xxxxxxxxxxxxxxxx' %}", &captured, "{{ a|length }}"].concat(),
        nested,
        upper,
        "{{ ('x'|replace('x', 'yyyyyyyyyy'))|replace('y', 'z'|replace('z', '0123456789'))|indent(999999) }}".into(),
        "{{ '%99999999s'|format('x') }}".into(),
        "{{ '%*d'|format(99999999, 1) }}".into(),
        "{{ '%.99999999f'|format(1.5) }}".into(),
        "{{ 'a\\nb'|indent(99999999) }}".into(),
        "{{ range(100000)|join('0123456789') }}".into(),
        "{{ range(99999)|list|sort|string }}".into(),
        "{{ range(99999) }}{{ range(99999) ~ range(99999) }}".into(),
        "{{ 10 ** 99999999 }}{{ 1.5 ** 99999999 }}{{ 1.5|round(99999999) }}{{ range(0, 99999999) }}".into(),
        "{% set ns = namespace(a='x') %}{% for i in range(9999) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}".into(),
        "{% for i in range(99999) recursive %}{{ loop([i]) }}{% endfor %}".into(),
        "{% for i in range(99999) %}0123456789012345678901234567890123456789012345678901234567890123456789{% endfor %}".into(),
        ["{% set a = 'x y' %}", &"{% set a = a|split|join(a) %}".repeat(60), "{{ a }}"].concat(),
        ["{% set a = 'x y'|split %}", &"{% set a = a|list|sort|unique|list %}".repeat(5_000), "{{ a }}"].concat(),
        ["{% set a = d %}", &"{% set a = a|items|list %}".repeat(5_000), "{{ a }}"].concat(),
        ["{% set a = d %}", &"{% set a = a|dictsort|list %}".repeat(5_000), "{{ a }}"].concat(),
    ];
    for text in hostile {
        let short: String = text.chars().take(60).collect();
        match rendered(&text, r#"{"d": {"a": 1, "b": {"c": 1}}}"#) {
            Err(_) => (),
            Ok(made) => assert!(made.len() <= MADE_MAX, "{short}: {} octets", made.len()),
        }
    }
}

/// However many parts a template has, a message takes no more than one part alone may.
#[test]
fn all_parts_share_what_a_message_may_take() {
    for (rounds, effort) in [(5_000, Effort::Full), (250, Effort::Quick)] {
        let heavy = format!("{{% for i in range({rounds}) %}}{{% endfor %}}x");
        let render = |count: usize| {
            let mut parts = parts("text");
            parts.headers = vec![("X-A".into(), heavy.clone()); count];
            let template = Template::check(&parts).unwrap();
            template.render(&data("{}"), effort)
        };
        let one = render(1);
        assert_eq!(one.as_ref().map(|made| made.headers[0].1.as_str()), Ok("x"));
        let many = render(HEADERS_MAX);
        let Err(RenderError::TooMuch(problem)) = many else {
            panic!("{effort:?} {many:?}");
        };
        assert!(problem.pointer.starts_with("/headers/"), "{problem}");
    }
}

#[test]
fn the_subject_is_rendered_alone() {
    let mut parts =
        parts("{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}");
    parts.subject = "Order {{ order }}".into();
    let template = Template::check(&parts).unwrap();
    let data = data(r#"{"order": 17}"#);
    assert!(template.render(&data, Effort::Full).is_err());
    let subject = template.render_subject(&data, Effort::Quick);
    assert_eq!(subject.as_deref(), Ok("Order 17"));
    for wrong in ["{{ order }", "{{ \"\\n\" }}", "{{ nothing }}"] {
        parts.subject = wrong.into();
        let rendered = Template::check(&parts).map(|t| t.render_subject(&data, Effort::Quick));
        assert!(!matches!(rendered, Ok(Ok(_))), "{wrong}");
    }
    parts.subject.clear();
    let template = Template::check(&parts).unwrap();
    assert_eq!(
        template.render_subject(&data, Effort::Quick),
        Ok(String::new())
    );
}

#[test]
fn templates_nested_too_deep_are_refused() {
    for deep in [
        "{% if x %}".repeat(5_000),
        format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(20_000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("{{{{ {}x }}}}", "not ".repeat(20_000)),
    ] {
        let outcome = Template::check(&parts(&deep)).map(|_| ());
        assert!(outcome.is_err(), "{:.40}", deep);
    }
    let wide = format!("{{{{ x{} }}}}", ".a".repeat(50_000));
    assert!(rendered(&wide, r#"{"x": 1}"#).is_err());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let defaults = Defaults::read("").unwrap();
    let json = format!(r#"{{"a": {deep}}}"#);
    assert!(Data::read(&defaults, &json, ("a@b.example", "")).is_err());
}

#[test]
fn nothing_else_is_read_and_data_are_objects() {
    for text in [
        "{% include 'html' %}",
        "{% extends 'text' %}",
        "{% import 'text' as t %}",
        "{% macro a() %}{% endmacro %}",
        "{{ debug() }}",
    ] {
        assert!(rendered(text, "{}").is_err(), "{text}");
    }
    let defaults = Defaults::read("").unwrap();
    for (own, fine) in [
        ("", true),
        ("{}", true),
        ("[]", false),
        ("7", false),
        ("{", false),
    ] {
        let read = Data::read(&defaults, own, ("a@b.example", ""));
        assert_eq!(read.is_ok(), fine, "{own}");
    }
    assert!(Defaults::read("null").is_err());
}

#[test]
fn more_than_a_part_may_have_is_refused() {
    let long = "x".repeat(TEXT_MAX + 1);
    assert!(Template::check(&parts(&long)).is_err());
    let mut many = parts("x");
    many.headers = vec![("X-A".into(), "y".into()); HEADERS_MAX + 1];
    let problems = Template::check(&many).map(|_| ()).unwrap_err();
    assert_eq!(problems[0].pointer, "/headers");
    many.headers.truncate(1);
    many.headers[0].1 = "{{ range(2000)|join('-') }}".into();
    let template = Template::check(&many).unwrap();
    assert!(template.render(&data("{}"), Effort::Full).is_err());
    // What is too much where others wait may still be done elsewhere.
    let slow = Template::check(&parts("{% for i in range(2000) %}{{ i }},{% endfor %}")).unwrap();
    let quick = slow.render(&data("{}"), Effort::Quick);
    assert!(matches!(quick, Err(RenderError::TooMuch(_))), "{quick:?}");
    assert!(slow.render(&data("{}"), Effort::Full).is_ok());
}

/// Whatever octets come, there is an answer. SplitMix64 chooses among pieces of the language.
#[test]
fn random_texts_do_not_break_the_engine() {
    const PIECES: [&str; 32] = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " if ",
        " for i in ",
        " endfor ",
        " endif ",
        " set ",
        "a",
        "=",
        "~",
        "*",
        "9",
        "(",
        ")",
        "[",
        "]",
        "|upper",
        "|join",
        "'",
        "\"",
        ".",
        "\n",
        " range",
        " in ",
        " is defined",
        "\u{e4}",
        "-",
        ":",
    ];
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed >> 32
    };
    for _ in 0..3_000 {
        let length = next() % 24;
        let text: String = (0..length)
            .map(|_| PIECES[next() as usize % PIECES.len()])
            .collect();
        let _ = rendered(&text, r#"{"a": "b", "i": [1, 2]}"#);
    }
}

#[test]
fn who_gets_a_message_is_nothing_that_data_say() {
    let text = "{{ recipient.name }} {{ recipient.address }}";
    for own in [
        "{}",
        r#"{"recipient": {"name": "Eve"}}"#,
        r#"{"recipient": "x"}"#,
    ] {
        assert_eq!(rendered(text, own).unwrap(), "Ann ann@example.net", "{own}");
    }
    let defaults = Defaults::read(r#"{"recipient": "x"}"#).unwrap();
    let data = Data::read(&defaults, "{}", ("ann@example.net", "Ann")).unwrap();
    let made = Template::check(&parts(text))
        .unwrap()
        .render(&data, Effort::Full);
    assert_eq!(made.unwrap().text, "Ann ann@example.net");
}

#[test]
fn names_of_fields_are_such() {
    for (name, is_one) in [
        ("X-A", true),
        ("!", true),
        ("", false),
        ("X A", false),
        ("X:", false),
        ("X\u{e4}", false),
        (&"x".repeat(76), true),
        (&"x".repeat(77), false),
    ] {
        let parts = Parts {
            text: "t".into(),
            headers: vec![("X-B".into(), "b".into()), (name.into(), "a".into())],
            ..Parts::default()
        };
        let wrong = Template::check(&parts).err().unwrap_or_default();
        let pointers: Vec<&str> = wrong.iter().map(|p| p.pointer.as_str()).collect();
        let expected: &[&str] = if is_one { &[] } else { &["/headers/1/name"] };
        assert_eq!(pointers, expected, "{name:?}");
    }
}
