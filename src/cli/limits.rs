//! `ringmail account limits`.

use serde_json::Value;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, date, print};
use crate::control::protocol::Request;

pub(super) fn show(arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::AccountLimits {
        name: arguments.rest[0].clone(),
    };
    let mut open = Which::of(arguments)?.open_to_read()?;
    let found = open.request(&request, &mut |_| Ok(()))?;
    match arguments.json {
        true => print(&format!("{found}\n")),
        false => print(&lines(&found)),
    }
}

fn lines(found: &Value) -> String {
    let mut text = String::new();
    for (field, what) in [
        ("messages", "messages"),
        ("new_recipients", "new recipients"),
    ] {
        let limit = &found[field];
        if limit.is_null() {
            text.push_str(&format!("{what}: no limit\n"));
            continue;
        }
        text.push_str(&format!(
            "{what}: {} of {} in 24 hours, {} left",
            limit["used"], limit["per_day"], limit["left"]
        ));
        if !limit["more_at"].is_null() {
            text.push_str(&format!(", more from {} on", date(&limit["more_at"])));
        }
        text.push('\n');
    }
    if found["remembered"].as_u64() > Some(0) {
        let remembered = &found["remembered"];
        text.push_str(&format!("recipients that are not new: {remembered}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_what_is_left_and_when_there_is_more() {
        let mut found =
            serde_json::json!({"messages": null, "new_recipients": null, "remembered": 0});
        let nothing = "messages: no limit\nnew recipients: no limit\n";
        assert_eq!(lines(&found), nothing);
        found["messages"] =
            serde_json::json!({"per_day": 10, "used": 10, "left": 0, "more_at": 3600});
        found["new_recipients"] =
            serde_json::json!({"per_day": 5, "used": 2, "left": 3, "more_at": null});
        found["remembered"] = 7.into();
        let expected = "\
messages: 10 of 10 in 24 hours, 0 left, more from Thu, 1 Jan 1970 01:00:00 +0000 on
new recipients: 2 of 5 in 24 hours, 3 left
recipients that are not new: 7
";
        assert_eq!(lines(&found), expected);
    }
}
