//! The decoder against a slow reference that sees the whole stream at once, for every mix of the dangerous octets and for
//! every way to cut them.

use super::body::{Decoder, Defect};
use super::config::{Config, Kind};
use crate::parameters::BodyKind;

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Option<Vec<u8>>,
    octets: u64,
    defect: Option<Defect>,
    /// Octets up to the end of data, if it was there.
    used: Option<usize>,
}

fn config(kind: Kind, size_max: u64) -> Config {
    Config {
        size_max,
        ..Config::new("mx.example", kind)
    }
}

/// Feeds `stream` cut at `cuts`.
fn decode(mut decoder: Decoder, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut content = Vec::new();
    let mut used = 0;
    let mut ended = false;
    let ends = cuts.iter().copied().chain([stream.len()]);
    'pieces: for end in ends {
        while used < end {
            let step = decoder.step(&stream[used..end]);
            assert!(step.used > 0 && used + step.used <= end);
            used += step.used;
            content.extend_from_slice(step.content);
            if step.end {
                ended = true;
                break 'pieces;
            }
        }
    }
    if !ended {
        decoder.finish_chunks();
    }
    let defect = decoder.defect();
    Outcome {
        content: defect.is_none().then_some(content),
        octets: decoder.octets(),
        defect,
        used: ended.then_some(used),
    }
}

/// RFC 5321 4.1.1.4 and 4.5.2 to the letter: find CRLF.CRLF in the stream after the CRLF of the command, then look at each
/// line. Returns `None` without an end of data.
fn reference(
    kind: Kind,
    size_max: u64,
    stream: &[u8],
) -> Option<(Option<Vec<u8>>, Option<Defect>, usize)> {
    let whole = [b"\r\n", stream].concat();
    let end = whole.windows(5).position(|window| window == b"\r\n.\r\n")?;
    // With the CRLF of the command and that of the last line.
    let text = &whole[2..(end + 2).max(2)];
    let mut content = Vec::new();
    let mut defect = None;
    for at in 0..text.len() {
        let before = if at == 0 { b'\n' } else { text[at - 1] };
        let two_before = if at < 2 {
            [b'\r', b'\n'][at]
        } else {
            text[at - 2]
        };
        let after = text.get(at + 1).copied();
        match text[at] {
            b'.' if at == 0 || (before == b'\n' && two_before == b'\r' && at >= 2) => {}
            b'\r' if after != Some(b'\n') => defect = defect.or(Some(Defect::BareCr)),
            b'\n' if at == 0 || before != b'\r' => {
                if kind == Kind::Delivery {
                    defect = defect.or(Some(Defect::BareLf));
                }
                content.extend_from_slice(b"\r\n");
            }
            0 => {
                defect = defect.or(Some(Defect::Nul));
                content.push(0);
            }
            octet => content.push(octet),
        }
    }
    let defect = if defect.is_none() && content.len() as u64 > size_max {
        Some(Defect::TooBig)
    } else {
        defect
    };
    Some((defect.is_none().then_some(content), defect, end + 5 - 2))
}

fn check(kind: Kind, size_max: u64, stream: &[u8], cuts: &[usize]) {
    let config = config(kind, size_max);
    let outcome = decode(Decoder::data(&config), stream, cuts);
    let whole = decode(Decoder::data(&config), stream, &[]);
    assert_eq!(
        outcome,
        whole,
        "{kind:?} {:?} cut at {cuts:?}",
        stream.escape_ascii().to_string()
    );
    let Some((content, defect, used)) = reference(kind, size_max, stream) else {
        assert_eq!(
            outcome.used,
            None,
            "{:?}",
            stream.escape_ascii().to_string()
        );
        return;
    };
    assert_eq!(
        outcome.used,
        Some(used),
        "{kind:?} {:?}",
        stream.escape_ascii().to_string()
    );
    // Over-size wins over bare octets; how much is counted of a defective message is nobody's business.
    if outcome.defect != Some(Defect::TooBig) || defect.is_none() {
        assert_eq!(
            outcome.defect,
            defect,
            "{kind:?} {:?}",
            stream.escape_ascii().to_string()
        );
    }
    assert_eq!(
        outcome.content,
        content,
        "{kind:?} {:?}",
        stream.escape_ascii().to_string()
    );
}

#[test]
fn every_short_stream_every_cut() {
    // All streams of up to six of CR, LF, dot, letter, NUL; each with its end, whole and octet by octet.
    for length in 0..=6u32 {
        for number in 0..5u32.pow(length) {
            let mut stream: Vec<u8> = (0..length)
                .map(|at| b"\r\n.a\0"[(number / 5u32.pow(at) % 5) as usize])
                .collect();
            stream.extend_from_slice(b"\r\n.\r\n");
            let all: Vec<usize> = (1..stream.len()).collect();
            for kind in [Kind::Delivery, Kind::Submission] {
                check(kind, 100, &stream, &all);
                if length <= 4 {
                    for cut in 1..stream.len() {
                        check(kind, 100, &stream, &[cut]);
                        check(kind, 3, &stream, &[cut]);
                    }
                }
            }
        }
    }
}

#[test]
fn smuggling_sequences() {
    // None of these ends data.
    for before in ["\r\n", "\n", "\r", "\r\r\n", "\0", "\n\r"] {
        for after in ["\r\n", "\n", "\r", "\r\r\n", "\0", "\n\r"] {
            let stream = format!("a{before}.{after}b\r\n.\r\n");
            let real = before.ends_with("\r\n") && after == "\r\n";
            for kind in [Kind::Delivery, Kind::Submission] {
                let outcome = decode(Decoder::data(&config(kind, 100)), stream.as_bytes(), &[]);
                let end = if real {
                    1 + before.len() + 3
                } else {
                    stream.len()
                };
                assert_eq!(outcome.used, Some(end), "{stream:?}");
            }
        }
    }
}

#[test]
fn examples() {
    let outcome = |kind, stream: &str| {
        let outcome = decode(Decoder::data(&config(kind, 20)), stream.as_bytes(), &[]);
        (
            outcome
                .content
                .map(|content| String::from_utf8(content).unwrap()),
            outcome.defect,
        )
    };
    assert_eq!(outcome(Kind::Delivery, ".\r\n"), (Some("".into()), None));
    assert_eq!(
        outcome(Kind::Delivery, "a\r\n..b\r\n.\r\n"),
        (Some("a\r\n.b\r\n".into()), None)
    );
    assert_eq!(
        outcome(Kind::Delivery, ".a\r\n.\r\n"),
        (Some("a\r\n".into()), None)
    );
    assert_eq!(
        outcome(Kind::Delivery, "a\nb\r\n.\r\n"),
        (None, Some(Defect::BareLf))
    );
    assert_eq!(
        outcome(Kind::Submission, "a\nb\r\n.\r\n"),
        (Some("a\r\nb\r\n".into()), None)
    );
    assert_eq!(
        outcome(Kind::Submission, "a\rb\r\n.\r\n"),
        (None, Some(Defect::BareCr))
    );
    assert_eq!(
        outcome(Kind::Submission, "a\0b\r\n.\r\n"),
        (None, Some(Defect::Nul))
    );
    assert_eq!(
        outcome(Kind::Delivery, "123456789012345678\r\n.\r\n").1,
        None
    );
    assert_eq!(
        outcome(Kind::Delivery, "1234567890123456789\r\n.\r\n").1,
        Some(Defect::TooBig)
    );
}

#[test]
fn chunks_of_text_and_binary() {
    let chunks = |kind, body, stream: &[u8]| {
        let config = config(kind, 100);
        let all: Vec<usize> = (1..stream.len()).collect();
        let whole = decode(Decoder::chunks(&config, body), stream, &[]);
        assert_eq!(decode(Decoder::chunks(&config, body), stream, &all), whole);
        (whole.content, whole.defect)
    };
    let dots = b"a\r\n.\r\n..b\r\n";
    assert_eq!(
        chunks(Kind::Delivery, None, dots),
        (Some(dots.to_vec()), None)
    );
    assert_eq!(
        chunks(Kind::Delivery, None, b"a\nb"),
        (None, Some(Defect::BareLf))
    );
    assert_eq!(
        chunks(Kind::Delivery, None, b"a\r"),
        (None, Some(Defect::BareCr))
    );
    assert_eq!(
        chunks(Kind::Submission, None, b"a\nb"),
        (Some(b"a\r\nb".to_vec()), None)
    );
    let octets: Vec<u8> = b"\r\n\n\r.\r\0".iter().copied().chain(200..=255).collect();
    assert_eq!(
        chunks(Kind::Delivery, Some(BodyKind::BinaryMime), &octets),
        (Some(octets.clone()), None)
    );
}
