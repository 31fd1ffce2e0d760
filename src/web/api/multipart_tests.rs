//! What programs write, what breaks off, then hostile bodies and random changes. RINGMAIL_FUZZ_SECS (default 2) bounds the random part, RINGMAIL_FUZZ_SEED repeats a run.

use std::time::{Duration, Instant};

use super::*;

fn all(body: impl AsRef<[u8]>) -> Result<Vec<Part>, Broken> {
    let mut parts = Parts::of(Bytes::copy_from_slice(body.as_ref()), b"b")?;
    let mut all = Vec::new();
    while let Some(part) = parts.next()? {
        all.push(part);
    }
    Ok(all)
}

#[test]
fn parts_are_what_stands_between_delimiters() {
    let body = "before\r\n--b \t\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--\r\ntwo\r\n--b\r\n\r\nno header\r\n--b\r\n\
        content-disposition: form-data; filename=\"x\\\"y;\u{e4}\" ; name = f\r\nContent-Type: text/x\r\nCONTENT-ID: <1>\r\n\r\n\r\n--b--\r\n--b\r\nafter";
    let parts = all(body).unwrap();
    let contents: Vec<&[u8]> = parts.iter().map(|part| &part.content[..]).collect();
    assert_eq!(contents, [&b"one\r\n--\r\ntwo"[..], b"no header", b""]);
    assert_eq!((parts[0].name.as_str(), &parts[0].file_name), ("a", &None));
    assert_eq!((parts[1].name.as_str(), &parts[1].file_name), ("", &None));
    let last = &parts[2];
    assert_eq!(last.file_name.as_deref(), Some("x\"y;\u{e4}"));
    let said = (&*last.name, &*last.content_type, &*last.content_id);
    assert_eq!(said, ("f", "text/x", "<1>"));
    assert_eq!(all("--b--").unwrap(), []);
    assert_eq!(all("--b\r\n\r\nx\r\n--b--").unwrap().len(), 1);
}

#[test]
fn what_breaks_off_is_no_form() {
    for body in [
        "",
        "--c\r\n\r\nx\r\n--c--",
        "--b",
        "--b\r\n",
        "--b\r\n\r\n",
        "--b\r\n\r\nx",
        "--b\r\nA: b\r\nx\r\n--b--",
        "--b x\r\n\r\nx\r\n--b--",
        "--b\r\n\r\nx\r\n--b",
        "--b\r\nno field\r\n\r\nx\r\n--b--",
        "--b\r\n folded: at once\r\n\r\nx\r\n--b--",
        "--b\r\nA: b\r\nno field\r\n\r\nx\r\n--b--",
        "--b\r\nA: \0\r\n\r\nx\r\n--b--",
        "--b\r\nA: b\rc\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--b--",
        "--b\r\n\r\nx\r\n--b\rc",
        "--bc\r\n\r\nx\r\n--bc--",
    ] {
        assert!(all(body).is_err(), "{body:?}");
    }
}

/// The octets of each part.
fn contents(body: &str) -> Vec<Vec<u8>> {
    let parts = all(body).unwrap().into_iter();
    parts.map(|part| part.content.to_vec()).collect()
}

#[test]
fn lines_may_end_with_lf_alone() {
    let body =
        "before\n--b \nContent-Disposition: form-data;\n\tname=a\n\none\r\n\n--b\n\n\r\n--b--\n";
    let parts = all(body).unwrap();
    let said: Vec<_> = parts.iter().map(|p| (&*p.name, &p.content[..])).collect();
    assert_eq!(said, [("a", &b"one\r\n"[..]), ("", b"\r")]);
    // Of a form with CRLF an LF within a file is the file's.
    let body = "--b\r\nA: b\n\r\nx\n--b\ny\n\r\n--b--";
    assert_eq!(contents(body), [b"x\n--b\ny\n"]);
}

#[test]
fn headers_are_such_as_mail_has() {
    let many = "X-More: 1\r\n".repeat(1000);
    let body = format!(
        "--b\r\n{many}Content-Disposition : form-data;\r\n name=\"a\";\r\n\tfilename=\"x\r\n y\"\r\nContent-Type:a/b;\r\n c=d\r\n\r\n1\r\n--b--"
    );
    let part = &all(&body).unwrap()[0];
    let file_name = part.file_name.as_deref();
    assert_eq!((&*part.name, file_name), ("a", Some("x y")));
    assert_eq!(part.content_type, "a/b; c=d");
    let long = format!("--b\r\nA: {}\r\n\r\n1\r\n--b--", "x".repeat(HEADER_MAX));
    assert!(all(&long).is_err_and(|why| why.contains("16384")));
}

#[test]
fn a_longer_boundary_is_another_one_and_parts_may_be_empty() {
    assert_eq!(
        contents("--b\r\n\r\nx\r\n--bc\r\n--b-\r\n--b--"),
        [b"x\r\n--bc\r\n--b-"]
    );
    assert_eq!(contents("--bc\r\n\r\n--b\r\n\r\nx\r\n--b--"), [b"x"]);
    assert_eq!(contents("--b\r\nA: b\r\n\r\n--b\r\n\r\n--b--"), [b"", b""]);
    assert_eq!(contents("--b\nA: b\n\n--b\n\n--b--"), [b"", b""]);
    assert_eq!(contents("--b\r\n\r\n--bc\r\n--b--"), [b"--bc"]);
}

#[test]
fn quoted_printable_is_undone() {
    let with = |encoding: &str| {
        let body =
            format!("--b\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n=41=\r\nB \r\n--b--");
        contents(&body).remove(0)
    };
    assert_eq!(with("Quoted-Printable"), b"AB");
    for encoding in ["", "base64", "binary"] {
        assert_eq!(with(encoding), b"=41=\r\nB ", "{encoding}");
    }
}

/// What takes long if anything is looked at again and again; quadratic work on a megabyte takes hours.
#[test]
fn hostile_bodies_take_no_time() {
    let header = "--b\r\nContent-Disposition: form-data; filename=\"";
    for piece in [
        "--b",
        "\r\n--b",
        "\n--b",
        "\n--b ",
        "\r\n--b-",
        "--b\r\n",
        "--b\r\n\r\n",
        "--b\n\n",
        "\n",
        "\r",
        "\r\n ",
        "A: b\r\n",
        "\"",
        "\\\"",
        "\\\"; ",
        "\"=\"",
        "\" ",
        "; a=\"",
        "; a=\"\\\"",
        "*0=\"\"; filename",
        "%",
        "'",
        "=\r\n",
        ";",
    ] {
        let filled = piece.repeat((1 << 20) / piece.len());
        for before in ["", "--b\r\n", "--b\n", "--b\r\n\r\n", "--b\n\n", header] {
            let _ = all(format!("{before}{filled}"));
            let short = &filled[..filled.len().min(HEADER_MAX / 2)];
            let _ = all(format!("{before}{short}\"\r\n\r\n\r\n--b--"));
        }
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn text(&mut self, of: &[&[u8]], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        let mut text = Vec::new();
        (0..count).for_each(|_| text.extend_from_slice(self.one_of(of)));
        text
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeded(mut run: impl FnMut(&mut Random)) {
    let seed = from_environment("RINGMAIL_FUZZ_SEED").unwrap_or(0x5eed_0fa1_1a1b_2c3d);
    println!("RINGMAIL_FUZZ_SEED={seed}");
    let mut random = Random(seed.max(1));
    let secs = from_environment("RINGMAIL_FUZZ_SECS").unwrap_or(2);
    let until = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < until {
        (0..100).for_each(|_| run(&mut random));
    }
}

const IN_FILES: [&[u8]; 13] = [
    b"x",
    b"\r",
    b"\n",
    b"\r\n",
    b"--",
    b"\n--",
    b"\r\n--",
    b"\r\n--bc",
    b"\r\n--b-x",
    b"\0",
    b"\xe9",
    b"=41",
    b": ",
];

const IN_NAMES: [&[u8]; 16] = [
    b"x",
    b"\xe9",
    b"\xc3\xa9",
    b"\\",
    b"/",
    b"\"",
    b";",
    b"=",
    b"'",
    b"%",
    b" ",
    b".",
    b"\x95\\",
    b"*",
    b"name",
    b"(",
];

/// A file's name as some program writes it, and whether it has one.
fn written(name: &[u8], random: &mut Random) -> Vec<u8> {
    let escaped: Vec<u8> = name
        .iter()
        .flat_map(|octet| match octet {
            b'"' | b'\\' => vec![b'\\', *octet],
            octet => vec![*octet],
        })
        .collect();
    let percent: String = name.iter().map(|octet| format!("%{octet:02x}")).collect();
    let percent = percent.as_bytes();
    // Without what a program that escapes nothing leaves open.
    let plain: Vec<u8> = name.iter().copied().filter(|o| *o != b'"').collect();
    match random.below(6) {
        0 => [b"filename=\"", &escaped[..], b"\""].concat(),
        1 => [b"filename=\"", &plain[..], b"\""].concat(),
        2 => [b"filename*=utf-8''", percent].concat(),
        3 => [b"filename*=\"Shift_JIS'ja'", percent, b"\""].concat(),
        4 => [
            b"filename*0*=''",
            percent,
            b";\r\n filename*1=\"",
            &escaped[..],
            b"\"",
        ]
        .concat(),
        _ => [b"filename=\"x\"; filename*=", percent].concat(),
    }
}

/// Whatever files there are, and however they are named, their octets come out, and they are known as files.
#[test]
fn what_is_put_in_comes_out() {
    seeded(|random| {
        let is_lf = random.below(3) == 0;
        let line_end: &[u8] = if is_lf { b"\n" } else { b"\r\n" };
        let (mut body, mut expected) = (random.text(&[b"before", line_end], 2), Vec::new());
        if !body.is_empty() {
            body.extend_from_slice(line_end);
        }
        for _ in 0..random.below(4) {
            let content = random.text(&IN_FILES, 8);
            let name = random.text(&IN_NAMES, 6);
            let mut attributes =
                [&b"name=attachedfile"[..], &written(&name, random)].map(<[u8]>::to_vec);
            if random.below(2) == 0 {
                attributes.reverse();
            }
            let field = [
                b"Content-Disposition: form-data; ",
                &attributes.join(&b"; "[..])[..],
            ]
            .concat();
            body.extend(
                [
                    "--b".as_bytes(),
                    line_end,
                    &field,
                    line_end,
                    line_end,
                    &content,
                    line_end,
                ]
                .concat(),
            );
            expected.push(Bytes::from(content));
        }
        body.extend_from_slice(b"--b--");
        let found = all(&body).unwrap_or_else(|why| panic!("{why}: {}", body.escape_ascii()));
        assert!(
            found
                .iter()
                .all(|p| p.name == "attachedfile" && p.file_name.is_some()),
            "{}",
            body.escape_ascii()
        );
        let found: Vec<Bytes> = found.into_iter().map(|part| part.content).collect();
        assert_eq!(found, expected, "{}", body.escape_ascii());
    });
}

const PIECES: [&[u8]; 18] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"--b\r\n",
    b"\r\n--b",
    b"--b--",
    b"\r\n\r\n",
    b"\"",
    b"\\",
    b"; filename*1=",
    b"; filename=\"",
    b"*0*=",
    b"utf-16''",
    b"%ff",
    b"\0",
    b"\xe9",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"=",
];

/// Nothing panics, and no more comes out than was put in.
#[test]
fn random_changes() {
    let source = "--b\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data;\r\n name=\"attachedfile\"; \
        filename*0*=utf-8''%c3; filename*1=x\r\nContent-Type: a/b\r\n\r\nfile\r\n--b\r\nContent-Disposition: form-data; name=\"attachedfile\"; filename=\"C:\\x\\\"\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--b--\r\n";
    seeded(|random| {
        let mut body = source.as_bytes().to_vec();
        for _ in 0..=random.below(8) {
            let at = random.below(body.len() + 1);
            match random.below(4) {
                0 if at < body.len() => body[at] = random.below(256) as u8,
                1 => drop(body.drain(at..body.len().min(at + random.below(40)))),
                2 => {
                    let copy = body[at..body.len().min(at + random.below(200))].to_vec();
                    let to = random.below(body.len() + 1);
                    body.splice(to..to, copy);
                }
                _ => drop(body.splice(at..at, random.one_of(&PIECES).iter().copied())),
            }
        }
        let Ok(parts) = all(&body) else { return };
        let octets: usize = parts.iter().map(|part| part.content.len()).sum();
        assert!(
            octets + parts.len() * 3 <= body.len(),
            "{}",
            body.escape_ascii()
        );
        let named = parts
            .iter()
            .map(|part| part.file_name.as_ref().map_or(0, String::len));
        assert!(
            named.sum::<usize>() <= 3 * body.len(),
            "{}",
            body.escape_ascii()
        );
    });
}
