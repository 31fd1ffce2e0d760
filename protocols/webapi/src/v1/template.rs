//! Templates of messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message::Header;
use super::problem::Fault;
use super::read::list;
use crate::template;
use crate::time::Time;

/// What a template says. Its texts have places for data, `{{ name }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
    {"required": ["html"], "properties": {"html": {"type": "string", "minLength": 1}}},
]))]
pub struct PutTemplate {
    /// The subject. At most 4 KiB.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub subject: String,
    /// The plain text. This or `html` must be there. At most 200 KiB.
    #[serde(default)]
    #[schemars(length(max = 204800))]
    pub text: Option<String>,
    /// The HTML. At most 200 KiB.
    #[serde(default)]
    #[schemars(length(max = 204800))]
    pub html: Option<String>,
    /// The name of a recipient that has none of his own; empty: none.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub to_name: String,
    /// More header fields, in this order; their values have places too.
    #[serde(default, deserialize_with = "list::<100, _, _>")]
    #[schemars(length(max = 20))]
    pub headers: Vec<Header>,
}

impl PutTemplate {
    /// What is wrong with it. It takes a while.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if is_empty(&self.text) && is_empty(&self.html) {
            faults.push(Fault::at("/text", "text or html must be there"));
        }
        let texts = [&self.text, &self.html].into_iter().flatten();
        let headers = self.headers.iter();
        let headers = headers.map(|field| field.name.len() + field.value.len());
        let octets = self.subject.len()
            + self.to_name.len()
            + texts.map(String::len).sum::<usize>()
            + headers.sum::<usize>();
        if octets > OCTETS_MAX {
            let detail = format!("all of it has {octets} octets, and {OCTETS_MAX} is the most");
            faults.push(Fault::at("", detail));
        }
        for (at, field) in self.headers.iter().enumerate() {
            if field.value.chars().any(char::is_control) {
                let pointer = format!("/headers/{at}/value");
                faults.push(Fault::at(pointer, "it has a control character in it"));
            }
        }
        if !faults.is_empty() {
            return faults;
        }
        let told = |problem: template::Problem| {
            let detail = match problem.line {
                Some(line) => format!("line {line}: {}", problem.reason),
                None => problem.reason,
            };
            Fault::at(problem.pointer, detail)
        };
        match template::Template::check(&self.parts()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(told).collect(),
        }
    }

    fn parts(&self) -> template::Parts {
        let headers = self.headers.iter();
        template::Parts {
            subject: self.subject.clone(),
            text: self.text.clone().unwrap_or_default(),
            html: self.html.clone().unwrap_or_default(),
            to_name: self.to_name.clone(),
            headers: headers
                .map(|field| (field.name.clone(), field.value.clone()))
                .collect(),
        }
    }
}

/// A template.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Template")]
pub struct Template {
    /// Its name.
    pub name: String,
    /// When it was written.
    pub updated: Option<Time>,
    /// What it says.
    pub content: PutTemplate,
}

/// One of a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TemplateName {
    /// Its name.
    pub name: String,
    /// When it was written.
    pub updated: Option<Time>,
    /// Its subject.
    pub subject: String,
}

/// The templates of an account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Templates {
    /// All of them, at most 100, by name.
    pub templates: Vec<TemplateName>,
}

/// Whether a text is a name: 1 to 100 letters of ASCII, digits, `-`, `_` and `.`.
pub fn is_name(text: &str) -> bool {
    let is_fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_fit)
}

/// Whether a template may be written by a name: `.` and `..` are steps of a path to clients, however they are coded. RFC 3986 6.2.2.3.
pub fn is_new_name(text: &str) -> bool {
    is_name(text) && !matches!(text, "." | "..")
}

/// Octets of all that a template says.
const OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_a_text_and_a_bound() {
        let with = |text: &str| PutTemplate {
            text: Some(text.into()),
            ..PutTemplate::default()
        };
        assert!(with("Hi {{ name }}").check().is_empty());
        assert_eq!(with("").check()[0].pointer.as_deref(), Some("/text"));
        let long = "x".repeat(OCTETS_MAX + 1);
        assert_eq!(with(&long).check()[0].pointer.as_deref(), Some(""));
        let wrong = with("Hi\n{{ name").check();
        assert_eq!(wrong[0].pointer.as_deref(), Some("/text"), "{wrong:?}");
        let mut with_field = with("Hi");
        with_field.headers.push(Header {
            name: "X-A".into(),
            value: "a\u{13}".into(),
        });
        let faults = with_field.check();
        assert_eq!(faults[0].pointer.as_deref(), Some("/headers/0/value"));
        assert!(is_name("order-1.v2_x") && !is_name("") && !is_name("a/b") && !is_name("é"));
        for (name, is_new) in [
            ("a", true),
            ("a..", true),
            ("...", true),
            (".", false),
            ("..", false),
        ] {
            assert!(is_name(name) && is_new_name(name) == is_new, "{name}");
        }
    }
}
