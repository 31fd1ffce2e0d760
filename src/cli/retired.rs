//! `ringmail queue retired`.

use serde_json::Value;

use super::arguments::Arguments;
use super::options::Opt;
use super::selection::filter;
use super::which::Which;
use super::{Failure, date, print};
use crate::control::protocol::{PAGE_MAX, Request};
use crate::queue::retired::RetiredFilter;

pub(super) fn list(arguments: &Arguments) -> Result<(), Failure> {
    let result = arguments.text(Opt::Result).map(|text| {
        let word = Value::String(text.to_string());
        serde_json::from_value(word).map_err(|_| {
            Failure::Usage(format!(
                "--result RESULT: {text:?} is none of delivered, relayed, failed, dropped, suppressed"
            ))
        })
    });
    let others = filter(arguments, &[])?;
    let filter = RetiredFilter {
        account: others.account,
        from: others.from,
        to: others.to,
        domain: others.domain,
        result: result.transpose()?,
        accepted_before: others.accepted_before,
        accepted_after: others.accepted_after,
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let request = |after| Request::RetiredList {
        after,
        limit: PAGE_MAX,
        filter: Box::new(filter.clone()),
    };
    let count = open.pages(request, |item| line(item, arguments.json))?;
    match count == 0 && !arguments.json {
        true => print("None is kept that fits.\n"),
        false => Ok(()),
    }
}

fn line(item: &Value, json: bool) -> String {
    if json {
        return format!("{item}\n");
    }
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let from = match text("reverse_path") {
        "" => "<>",
        address => address,
    };
    let mut line = format!(
        "{}  {}  {:<10} {} to {}: {} after {} attempt{}",
        item["id"],
        date(&item["at"]),
        text("account"),
        from,
        text("recipient"),
        text("result"),
        item["attempts"],
        if item["attempts"] == 1 { "" } else { "s" },
    );
    if !text("class").is_empty() {
        line.push_str(&format!(", {}", text("class")));
    }
    // Others' words: without control characters, in quotes.
    if !text("text").is_empty() {
        line.push_str(&format!(": {:?}", text("text")));
    }
    line.push('\n');
    for result in item["returned"].as_array().into_iter().flatten() {
        line.push_str(&came_back(result));
    }
    line
}

/// A line about what came back later.
fn came_back(result: &Value) -> String {
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let mut line = format!(
        "    {}  came back: {}, found by {}",
        date(&result["at"]),
        text("kind"),
        text("by"),
    );
    if !text("reporting_mta").is_empty() {
        line.push_str(&format!(", of {:?}", text("reporting_mta")));
    }
    if result["code"] != 0 {
        line.push_str(&format!(", {}", result["code"]));
    }
    for words in [text("enhanced"), text("class")] {
        if !words.is_empty() {
            line.push_str(&format!(", {words}"));
        }
    }
    if !text("text").is_empty() {
        line.push_str(&format!(": {:?}", text("text")));
    }
    line.push('\n');
    line
}
