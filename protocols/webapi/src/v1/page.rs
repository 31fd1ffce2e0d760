//! The documentation for people: one page, made from the document, that loads nothing.

use std::fmt::Write;

use serde_json::Value;

use super::problem::Kind;

/// The page that shows a document.
pub fn page(document: &Value) -> String {
    let mut page = Page {
        document,
        html: String::new(),
    };
    page.whole();
    page.html
}

struct Page<'d> {
    document: &'d Value,
    html: String,
}

impl Page<'_> {
    fn whole(&mut self) {
        let info = &self.document["info"];
        let title = text(&info["title"]);
        self.add(&format!("<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><meta name=robots content=\"noindex,nofollow\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"));
        self.add(&format!("<p>{}</p>", prose(&info["description"])));
        self.add("<p>The same for programs: <a href=\"openapi.json\">openapi.json</a>.</p>");
        let mut group = String::new();
        let paths = self.document["paths"].as_object();
        let mut all: Vec<(&String, &String, &Value)> = Vec::new();
        for (path, verbs) in paths.into_iter().flatten() {
            let verbs = verbs.as_object().into_iter().flatten();
            all.extend(verbs.map(|(verb, operation)| (path, verb, operation)));
        }
        all.sort_by_key(|(path, ..)| *path);
        all.sort_by_key(|(.., operation)| operation["tags"][0].to_string());
        for (path, verb, operation) in all {
            let own = text(&operation["tags"][0]);
            if own != group {
                self.add(&format!("<h2>{own}</h2>"));
                group = own;
            }
            self.operation(path, verb, operation);
        }
        self.add("<h2>Problems</h2><p>The <code>type</code> of a problem leads to its line here.</p><dl>");
        for kind in Kind::ALL {
            let (word, status) = (kind.word(), kind.status());
            let (title, advice) = (escaped(kind.title()), escaped(kind.advice()));
            self.add(&format!(
                "<dt id={word}><code>{word}</code>, {status}: {title}</dt><dd>{advice}</dd>"
            ));
        }
        self.add("</dl></body></html>\n");
    }

    fn operation(&mut self, path: &str, verb: &str, operation: &Value) {
        let id = text(&operation["operationId"]);
        self.add(&format!(
            "<details id={id}><summary><code>{} {}</code> {}</summary><p>{}</p>",
            verb.to_ascii_uppercase(),
            escaped(path),
            text(&operation["summary"]),
            prose(&operation["description"]),
        ));
        if let Some(scope) = operation["security"][0]["key"][0].as_str() {
            self.add(&format!(
                "<p>Scope of a key: <code>{}</code></p>",
                escaped(scope)
            ));
        }
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !parameters.is_empty() {
            self.add("<h3>Parameters</h3><table>");
            for parameter in &parameters {
                let kind = self.kind(&parameter["schema"]);
                self.row(
                    &text(&parameter["name"]),
                    &text(&parameter["in"]),
                    &kind,
                    &prose(&parameter["description"]),
                );
            }
            self.add("</table>");
        }
        let body = operation["requestBody"]["content"].as_object();
        for (content_type, content) in body.into_iter().flatten() {
            self.add(&format!(
                "<h3>Body: <code>{}</code></h3>",
                escaped(content_type)
            ));
            self.fields(&content["schema"], 0);
        }
        self.add("<h3>Answers</h3><table>");
        let responses = operation["responses"].as_object();
        let mut schemas = Vec::new();
        for (status, response) in responses.into_iter().flatten() {
            let response = self.resolved(response).clone();
            let content = response["content"].as_object();
            let content_type = content
                .and_then(|c| c.keys().next().cloned())
                .unwrap_or_default();
            let about = prose(&response["description"]);
            self.row(&escaped(status), &escaped(&content_type), "", &about);
            if status.starts_with('2') && content_type == super::operation::JSON {
                schemas.push(response["content"][&content_type]["schema"].clone());
            }
        }
        self.add("</table>");
        for schema in schemas {
            self.fields(&schema, 0);
        }
        self.add("</details>");
    }

    /// The fields of an object, and of those in it.
    fn fields(&mut self, schema: &Value, depth: usize) {
        let schema = self.resolved(schema).clone();
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        self.add("<table>");
        for (name, property) in properties {
            let must = if required.contains(&name.as_str().into()) {
                "required"
            } else {
                ""
            };
            let kind = self.kind(property);
            let about = match property["description"].is_null() {
                true => prose(&self.resolved(property)["description"]),
                false => prose(&property["description"]),
            };
            self.row(&escaped(name), must, &kind, &about);
            if let Some(inner) = self.inner(property).filter(|_| depth < DEPTH_MAX) {
                self.add("<tr><td></td><td colspan=3>");
                self.fields(&inner, depth + 1);
                self.add("</td></tr>");
            }
        }
        self.add("</table>");
    }

    /// The object that a field is, or lists.
    fn inner(&self, schema: &Value) -> Option<Value> {
        let schema = self.resolved(schema);
        let schema = match schema["items"].is_null() {
            true => schema,
            false => self.resolved(&schema["items"]),
        };
        schema["properties"].is_object().then(|| schema.clone())
    }

    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolved(schema);
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<String> = words
                .iter()
                .map(|word| format!("<code>{}</code>", text(word)))
                .collect();
            return words.join(" ");
        }
        if let Some(words) = schema["oneOf"].as_array() {
            let words: Vec<String> = words
                .iter()
                .map(|word| format!("<code>{}</code>", text(&word["const"])))
                .collect();
            return words.join(" ");
        }
        let mut kind = match &schema["type"] {
            Value::Array(types) => types
                .iter()
                .filter(|t| *t != "null")
                .map(text)
                .collect::<Vec<_>>()
                .join(" or "),
            one => text(one),
        };
        if kind == "array" {
            kind = format!("list of {}", self.kind(&schema["items"]));
        }
        match schema["format"].as_str() {
            Some(format) => format!("{kind} ({})", escaped(format)),
            None => kind,
        }
    }

    /// What a reference leads to; of several, of which one is null, the other.
    fn resolved<'v>(&'v self, mut schema: &'v Value) -> &'v Value {
        for _ in 0..DEPTH_MAX {
            let any = schema["anyOf"].as_array();
            if let Some(one) = any.and_then(|any| any.iter().find(|one| one["type"] != "null")) {
                schema = one;
            }
            let reference = schema["$ref"]
                .as_str()
                .and_then(|reference| reference.strip_prefix('#'));
            match reference.and_then(|pointer| self.document.pointer(pointer)) {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }

    fn row(&mut self, name: &str, second: &str, third: &str, about: &str) {
        let _ = write!(
            self.html,
            "<tr><td><code>{name}</code></td><td>{second}</td><td>{third}</td><td>{about}</td></tr>"
        );
    }

    fn add(&mut self, html: &str) {
        self.html.push_str(html);
    }
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// With what stands between backquotes as code.
fn prose(value: &Value) -> String {
    let text = text(value);
    let mut html = String::new();
    for (position, piece) in text.split('`').enumerate() {
        match position % 2 {
            0 => html.push_str(piece),
            _ => {
                let _ = write!(html, "<code>{piece}</code>");
            }
        }
    }
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// How deep objects are shown.
const DEPTH_MAX: usize = 4;

const STYLE: &str = "body{font:16px/1.4 sans-serif;max-width:64rem;margin:auto;padding:1rem}code{background:#8882;padding:0 .2em}\
table{border-collapse:collapse;margin:.5rem 0}td{border:1px solid #8884;padding:.2em .5em;vertical-align:top}summary{cursor:pointer;padding:.3em 0}dt{margin-top:.5em}";

#[cfg(test)]
mod tests {
    use super::super::operations::all;
    use super::*;

    #[test]
    fn every_operation_and_problem_has_its_place() {
        let page = page(&super::super::openapi::document());
        for operation in all() {
            assert!(page.contains(&format!("<details id={}>", operation.id)));
        }
        for kind in Kind::ALL {
            assert!(page.contains(&format!("<dt id={}>", kind.word())));
        }
        // Nothing is loaded.
        assert!(!page.contains("src=") && !page.contains("<script"));
    }
}
