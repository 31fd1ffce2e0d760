//! From one text to one model, with every mistake of that text.
//! serde stops at the first mistake, so the entry it names is taken out of the parsed tree and the rest is tried again until nothing
//! is wrong: what remains is a model, and all mistakes have been seen. A text without mistakes takes the short way.
//! Not here: rules that need a second field or file (`check.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use super::text::Text;

/// Reads a model, adding to `problems` whatever is wrong. `None` when not even a part of it can be read.
pub(super) fn parse<M: DeserializeOwned>(text: &Text, problems: &mut Vec<Problem>) -> Option<M> {
    if let Ok(model) = toml::from_str(&text.content) {
        return Some(model);
    }
    let (tree, syntax) = DeTable::parse_recoverable(&text.content);
    if !syntax.is_empty() {
        // After a syntax error the tree may lack half the file: what follows from that would be noise.
        problems.extend(
            syntax
                .iter()
                .take(SYNTAX_PROBLEMS_MAX)
                .map(|e| problem(text, e)),
        );
        return None;
    }
    read_leniently(text, tree, problems)
}

fn read_leniently<M: DeserializeOwned>(
    text: &Text,
    mut tree: Spanned<DeTable<'_>>,
    problems: &mut Vec<Problem>,
) -> Option<M> {
    for _ in 0..PROBLEMS_PER_FILE_MAX {
        let error = match M::deserialize(toml::de::Deserializer::from(tree.clone())) {
            Ok(model) => return Some(model),
            Err(error) => error,
        };
        problems.push(problem(text, &error));
        if !error
            .span()
            .is_some_and(|span| remove_from_table(tree.get_mut(), &span))
        {
            return None;
        }
    }
    None
}

/// Removes the innermost entry whose key or value is at the span.
fn remove_from_table(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let mut hit = None;
    for (key, value) in table.iter_mut() {
        let here = covers(&key.span(), span) || covers(&value.span(), span);
        if remove_from_value(value.get_mut(), span) {
            return true;
        }
        if here {
            hit = Some(key.clone());
        }
    }
    hit.is_some_and(|key| table.remove(&key).is_some())
}

fn remove_from_value(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => remove_from_table(table, span),
        DeValue::Array(elements) => {
            if elements
                .iter_mut()
                .any(|element| remove_from_value(element.get_mut(), span))
            {
                return true;
            }
            let hit = elements
                .iter()
                .position(|element| covers(&element.span(), span));
            let Some(hit) = hit else { return false };
            *elements = elements
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != hit)
                .map(|(_, kept)| kept.clone())
                .collect();
            true
        }
        _ => false,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && outer.start < outer.end
}

fn problem(text: &Text, error: &toml::de::Error) -> Problem {
    let (message, hint) = reword(error.message());
    let place = error
        .span()
        .map(|span| Place::of_offset(&text.content, span.start));
    Problem {
        awaits_account: false,
        file: text.path.clone(),
        place,
        message,
        hint,
    }
}

/// serde's message in the operator's words, with a hint where there is one.
fn reword(message: &str) -> (String, Option<String>) {
    for (prefix, noun) in [("unknown field `", "field"), ("unknown variant `", "value")] {
        if let Some((found, expected)) = message
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once('`'))
        {
            let allowed: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let list = allowed.join(", ");
            let hint = match nearest(found, &allowed) {
                Some(near) => format!("did you mean {near}? Allowed here: {list}"),
                None => format!("allowed here: {list}"),
            };
            return (format!("unknown {noun} {found:?}"), Some(hint));
        }
    }
    if message == "invalid IP address syntax" {
        let hint = "an address as in \"192.0.2.1\" or \"2001:db8::1\", \"0.0.0.0\" and \"::\" for all; names are not looked up";
        return (message.into(), Some(hint.into()));
    }
    if let Some((found, expected)) = message.split_once(", expected ")
        && let Some((_, words)) = RUST_TYPES.iter().find(|(name, _)| *name == expected)
    {
        return (format!("{found}, expected {words}"), None);
    }
    (message.trim_end().replace('\n', "; "), None)
}

/// The nearest of some words, if it is near enough to be a slip.
pub(super) fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let (distance, near) = words
        .iter()
        .map(|known| (edit_distance(word, known), *known))
        .min()?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(near)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.chars().take(WORD_MAX).collect(),
        b.chars().take(WORD_MAX).collect(),
    );
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The place of an entry, by its path of keys and indices; the innermost part that exists. The flag says whether all of it does.
pub(super) fn locate(content: &str, path: &[String]) -> (Option<Place>, bool) {
    let (tree, _) = DeTable::parse_recoverable(content);
    let root = DeValue::Table(tree.into_inner());
    let mut value = &root;
    let mut offset = None;
    for step in path {
        let next = match value {
            DeValue::Table(table) => table
                .iter()
                .find(|(key, _)| same_key(key.get_ref(), step))
                .map(|(k, v)| (k.span().start, v)),
            DeValue::Array(elements) => step
                .parse()
                .ok()
                .and_then(|at: usize| elements.get(at))
                .map(|v| (v.span().start, v)),
            _ => None,
        };
        let Some((start, inner)) = next else {
            return (offset.map(|at| Place::of_offset(content, at)), false);
        };
        offset = Some(start);
        value = inner.get_ref();
    }
    (offset.map(|at| Place::of_offset(content, at)), true)
}

// Keys that are names of mail stand in the model in their canonical form.
fn same_key(written: &str, step: &str) -> bool {
    written == step || super::names::canonical_domain(written).is_some_and(|name| name == step)
}

/// Reads a map whose keys have a canonical form, refusing two keys that become one.
pub(super) fn unique_map<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct UniqueMap<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> de::Visitor<'de>
        for UniqueMap<K, V>
    {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key::<K>()? {
                if map.contains_key(&key) {
                    return Err(de::Error::custom(format!(
                        "{key} is there twice, written in two ways"
                    )));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(UniqueMap(PhantomData))
}

/// What serde calls a type, and what an operator calls it.
const RUST_TYPES: [(&str, &str); 6] = [
    ("u8", "a number from 0 to 255"),
    ("u16", "a number from 0 to 65535"),
    ("u32", "a number from 0 to 4294967295"),
    ("u64", "a number that is not negative"),
    ("a string", "text in quotes"),
    ("a boolean", "true or false"),
];

/// Mistakes sought in one file.
const PROBLEMS_PER_FILE_MAX: usize = 100;
/// Syntax errors shown of one file: the first few matter, the others follow from them.
const SYNTAX_PROBLEMS_MAX: usize = 5;
/// Characters of a word that are compared.
const WORD_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::{Account, Domains, Server};
    use super::*;

    fn problems_of<M: DeserializeOwned>(content: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        parse::<M>(&Text::new("f.toml", content), &mut problems);
        problems
    }

    fn one_problem<M: DeserializeOwned>(content: &str) -> Problem {
        let mut problems = problems_of::<M>(content);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn an_address_that_is_none_has_a_hint() {
        let problem =
            one_problem::<crate::settings::Server>("[[listener]]\naddresses = [\"localhost\"]\n");
        assert!(problem.hint.unwrap().ends_with("names are not looked up"));
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let problem = one_problem::<Server>("hostname = \"a.org\"\n[cores]\nring_dept = 5\n");
        let place = problem.place.unwrap();
        assert_eq!(
            (place.line, place.column, place.text.as_str()),
            (3, 1, "ring_dept = 5")
        );
        assert_eq!(problem.message, "unknown field \"ring_dept\"");
        assert!(
            problem
                .hint
                .unwrap()
                .starts_with("did you mean ring_depth? Allowed here: shards, http, ")
        );
    }

    #[test]
    fn every_mistake_of_a_file_is_found() {
        let content = "
hostnam = \"mail.example.org\"
[log]
level = \"loud\"
[cores]
shards = []
ring_depth = \"many\"
[[listener]]
name = \"public\"
addresses = [\"192.0.2.1\", \"192.0.2.256\"]
[listener.smtp]
port = 70000
enabld = true
[limits.smtp]
command_timeout_secs = \"5 minutes\"
connections_open_max = [30, 90]
";
        let mut lines: Vec<usize> = problems_of::<Server>(content)
            .into_iter()
            .map(|p| p.place.unwrap().line)
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, [2, 4, 6, 7, 10, 12, 13, 15, 16]);
    }

    #[test]
    fn what_is_right_is_read_beside_what_is_wrong() {
        let mut problems = Vec::new();
        let server: Server = parse(
            &Text::new("f.toml", "hostname = \"a.org\"\nnonsense = 1\n"),
            &mut problems,
        )
        .unwrap();
        assert_eq!(server.hostname(), "a.org");
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn values_say_what_is_allowed() {
        assert_eq!(
            one_problem::<Server>("[log]\nformat = \"jsn\"")
                .hint
                .unwrap(),
            "did you mean json? Allowed here: logfmt, json"
        );
        assert_eq!(
            one_problem::<Server>("[cores]\nring_depth = -1").message,
            "invalid value: integer `-1`, expected a number from 0 to 4294967295"
        );
        assert_eq!(
            one_problem::<Server>("data_dir = 5").message,
            "invalid type: integer `5`, expected path string"
        );
        assert!(
            one_problem::<Server>("quota_bytes = \"lots\"")
                .message
                .contains("64KiB")
        );
        assert!(
            one_problem::<Account>("login_disabled = \"\"")
                .message
                .contains("1 to 256")
        );
        assert!(
            one_problem::<Account>("addresses = [\"anna\"]")
                .message
                .contains("localpart@domain")
        );
        assert_eq!(
            one_problem::<Account>("addresses = [{ address = \"a@b\", mailbx = \"x\" }]").message,
            "unknown field \"mailbx\""
        );
        assert!(
            one_problem::<Domains>("[domain.\"a.org\"]\nseparators = [\"a\"]")
                .message
                .contains("not a separator")
        );
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let problems = problems_of::<Server>("hostname = \"a.org\n[log]\n");
        assert_eq!(problems[0].place.as_ref().unwrap().line, 1);
        assert_eq!(
            problems_of::<Server>("a = 1\na = 2\n")[0]
                .place
                .as_ref()
                .unwrap()
                .line,
            2
        );
    }

    #[test]
    fn one_domain_cannot_be_written_in_two_ways() {
        let problem = one_problem::<Domains>("[domain.\"a.org\"]\n[domain.\"A.org\"]\n");
        assert!(
            problem.message.contains("a.org is there twice"),
            "{problem}"
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let sample = "[domain.\"a.org\"]\nseparators = [\"+\"]\naliases.x = { members = [\"a@a.org\"] }\n[postmaster]\naccount = \"a\"\n";
        for cut in 0..sample.len() {
            problems_of::<Domains>(&sample[..cut]);
            problems_of::<Domains>(&sample.replacen(&sample[cut..=cut], "=", 1));
            problems_of::<Domains>(&sample.replacen(&sample[cut..=cut], "[", 1));
        }
    }

    #[test]
    fn the_nearest_word_is_a_slip_away_or_none() {
        assert_eq!(nearest("adress", &["address", "mailbox"]), Some("address"));
        assert_eq!(nearest("emd", &["end", "med"]), Some("end"));
        assert_eq!(nearest("colour", &["address", "mailbox"]), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
