//! docs/rfc.md against the code: a standard that the table calls done or partly done is cited somewhere in the code.

use std::collections::BTreeSet;
use std::path::Path;

fn cited(directory: &Path, found: &mut BTreeSet<u32>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            cited(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            // Lists go on with a comma or "and": RFC 4422, 4616.
            for (at, _) in text.match_indices("RFC ") {
                let rest = text[at + 4..]
                    .split(|c: char| !(c.is_ascii_alphanumeric() || " ,./:()".contains(c)));
                let list = rest
                    .take(1)
                    .flat_map(|part| part.split([' ', ',', '(', ')', '.', ':']));
                found.extend(
                    list.filter_map(|word| word.parse::<u32>().ok())
                        .filter(|n| (700..10_000).contains(n)),
                );
            }
        }
    }
}

#[test]
fn the_table_and_the_code_agree() {
    let mut in_code = BTreeSet::new();
    for directory in ["src", "shards/src", "protocols"] {
        cited(Path::new(directory), &mut in_code);
    }
    let text = std::fs::read_to_string("docs/rfc.md").unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let number: u32 = cells.next()?.parse().ok()?;
        Some((number, cells.nth(1)?.to_string()))
    });
    let rows: Vec<(u32, String)> = rows.collect();
    assert!(rows.len() > 40, "the table was not understood");
    let uncited: Vec<u32> = rows
        .iter()
        .filter(|(n, state)| state != "planned" && !in_code.contains(n))
        .map(|(n, _)| *n)
        .collect();
    assert!(
        uncited.is_empty(),
        "in docs/rfc.md, but not cited in the code: {uncited:?}"
    );
    for (number, state) in &rows {
        assert!(
            ["yes", "partial", "planned"].contains(&state.as_str()),
            "RFC {number}: {state}?"
        );
    }
}
