//! What becomes of parts: which are the JSON, which are files, and which are nobody's.

use super::*;

/// Of version 1.
const STRICT: Names = Names {
    json: "message",
    kind_of: |name| (name == "attachment").then_some(UploadKind::Attached),
    is_strict: true,
};

/// Parts, by their attributes and octets.
fn taken(given: &[(&str, &str)], names: Names) -> Result<(String, Vec<(String, String)>), String> {
    let mut body = String::new();
    for (attributes, content) in given {
        let field = format!("Content-Disposition: form-data{attributes}");
        body += &format!("--b\r\n{field}\r\n\r\n{content}\r\n");
    }
    let taken = parts((body + "--b--").into(), b"b", names);
    let (json, uploads) = taken.map_err(|error| error.message)?;
    let text = |octets: &Bytes| String::from_utf8_lossy(octets).into_owned();
    let files = uploads.iter().map(|u| (u.name.clone(), text(&u.content)));
    Ok((text(&json.unwrap_or_default()), files.collect()))
}

const REQUEST: (&str, &str) = ("; name=request", "{}");

#[track_caller]
fn files(given: (&str, &str), expected: &[(&str, &str)]) {
    let (json, files) = taken(&[REQUEST, given], NAMES).unwrap();
    let files: Vec<_> = files
        .iter()
        .map(|(n, c)| (n.as_str(), c.as_str()))
        .collect();
    assert_eq!((&*json, &files[..]), ("{}", expected), "{given:?}");
}

#[test]
fn files_of_version_0() {
    let x = "; name=attachedfile; filename=x";
    files((x, "1"), &[("x", "1")]);
    files((x, ""), &[("x", "")]);
    files(("; name=inlinefile; filename*1=x", "1"), &[("x", "1")]);
    // Octets without a name are a file, nothing at all is none.
    for nameless in ["", "; filename=\"\"", "; filename=\"../\""] {
        let attributes = format!("; name=alternativefile{nameless}");
        files((&attributes, "1"), &[("", "1")]);
        files((&attributes, ""), &[]);
    }
    // Fields that nobody asked for, and a file that nobody chose.
    files(("; name=submit", "Send"), &[]);
    files(("; name=upload; filename=\"\"", ""), &[]);
    files(("", ""), &[]);
}

#[test]
fn nothing_of_version_0_goes_without_a_word() {
    for (given, word) in [
        (
            ("; name=attachment; filename=x", "1"),
            "the file \"attachment\"",
        ),
        (
            ("; name=attachment; filename=x", ""),
            "the file \"attachment\"",
        ),
        (("; filename=x", "1"), "the file \"\""),
        (("; name=request; filename=x", "{}"), "the file \"request\""),
        (("", "1"), "no name"),
        (("; name=\"a", "1"), "not closed"),
    ] {
        let said = taken(&[REQUEST, given], NAMES).unwrap_err();
        assert!(said.contains(word), "{given:?}: {said}");
    }
    let many = vec![("; name=attachedfile", "1"); FILES_MAX + 1];
    assert!(taken(&many, NAMES).unwrap_err().contains("1000 files"));
    let request = ("; name=request; filename=\"\"", "{}");
    assert_eq!(taken(&[request], NAMES).unwrap(), ("{}".into(), Vec::new()));
}

#[test]
fn version_1_takes_what_it_asks_for() {
    let json = ("; name=message; filename=x", "{}");
    let empty = ("; name=attachment; filename=\"\"", "");
    let (said, files) = taken(&[json, empty, ("; name=attachment", "1")], STRICT).unwrap();
    let nameless = |content: &str| (String::new(), content.to_string());
    assert_eq!((&*said, files), ("{}", vec![nameless(""), nameless("1")]));
    for other in [
        "; name=other",
        "; name=other; filename=x",
        "",
        "; name=message",
    ] {
        let said = taken(&[json, (other, "")], STRICT).unwrap_err();
        assert!(said.contains("nobody asked"), "{other}: {said}");
    }
}
