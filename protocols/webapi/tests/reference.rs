//! docs/API-v1.md against the table of operations and the OpenAPI document: what stands below its line is made from them, and the examples above it fit.
//! With `WRITE_DOCS=1` in the environment what is below the line is written anew.

use std::fmt::Write;
use std::path::Path;

use ringmail_webapi::v1::openapi::document;
use ringmail_webapi::v1::{ALL, Access, Kind, Operation, Route, Takes, Verb, find};
use serde_json::Value;

const LINE: &str = "\n---\n";

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/API-v1.md")
}

#[test]
fn the_reference_says_what_the_document_says() {
    let text = std::fs::read_to_string(path()).unwrap();
    let (above, below) = text.split_once(LINE).unwrap();
    let made = Reference::new().written();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(path(), format!("{above}{LINE}{made}")).unwrap();
        return;
    }
    let mut lines = below.lines().zip(made.lines());
    let first = lines.find(|(is, should)| is != should);
    assert!(
        below == made,
        "docs/API-v1.md is not what the document says; first: {first:#?}\nWRITE_DOCS=1 cargo test -p ringmail-webapi --test reference"
    );
}

#[test]
fn the_examples_fit() {
    let text = std::fs::read_to_string(path()).unwrap();
    let (above, _) = text.split_once(LINE).unwrap();
    let reference = Reference::new();
    let mut count = 0;
    for example in above.split("```\n").skip(1).step_by(2) {
        let (request, answer) = example.split_once("\n\n").unwrap();
        let (head, body) = request.split_once('\n').unwrap_or((request, ""));
        let (method, path) = head.split_once(' ').unwrap();
        let Route::To(operation, _) = find(method, path) else {
            panic!("{head}");
        };
        let said = &reference.document["paths"][operation.path][method.to_lowercase()];
        if !body.is_empty() {
            let schema = &said["requestBody"]["content"]["application/json"]["schema"];
            reference.must_fit(schema, &serde_json::from_str(body).unwrap(), head);
        }
        let (status, body) = answer.split_once('\n').unwrap();
        let schema = match status.starts_with('2') {
            true => &said["responses"][status]["content"]["application/json"]["schema"],
            false => &reference.document["components"]["schemas"]["Problem"],
        };
        reference.must_fit(schema, &serde_json::from_str(body).unwrap(), head);
        count += 1;
    }
    assert!(count > 5, "the examples were not found");
}

struct Reference {
    document: Value,
    /// Types that were told of, or are to be, in the order in which they were named.
    named: Vec<String>,
}

impl Reference {
    fn new() -> Reference {
        Reference {
            document: document(),
            named: Vec::new(),
        }
    }

    /// Each group: its operations, and the types that they are the first to name.
    fn written(mut self) -> String {
        let mut text = String::new();
        let every = self.common(|_| true);
        let with_login = self.common(|o| o.access != Access::Anybody);
        let scoped = self.common(|o| matches!(o.access, Access::Scope(_)));
        let changes = self.common(|o| o.verb != Verb::Get);
        let bodies = self.common(|o| !matches!(o.takes, Takes::Nothing));
        text.push_str(
            "\n## Problems\n\nWhat is wrong is `application/problem+json` (RFC 9457), [Problem](#type-problem). Its `type` is `/webapi/v1/problems/` and a word:\n\n",
        );
        text.push_str("| word | status | means | what to do |\n|---|---|---|---|\n");
        for kind in Kind::ALL {
            let (word, status) = (kind.word(), kind.status());
            let (title, advice) = (kind.title(), kind.advice());
            let _ = writeln!(text, "| `{word}` | {status} | {title} | {advice} |");
        }
        let mut common = Vec::new();
        text.push('\n');
        for (of, kinds) in [
            ("All operations may answer", every),
            ("Those with a login also", with_login),
            ("Those with a scope also", scoped),
            ("All but GET also", changes),
            ("Those with a body also", bodies),
        ] {
            let new: Vec<Kind> = kinds.into_iter().filter(|k| !common.contains(k)).collect();
            let _ = writeln!(text, "- {of} {}.", words(&new));
            common.extend(new);
        }
        text.push_str("\nOperations below name the others. Those with 429 and 503 say in `Retry-After` how many seconds to wait, where waiting helps.\n");
        self.name("Problem");
        let mut told = self.types(0, &mut text);
        for group in ALL {
            let _ = writeln!(text, "\n## {}", group[0].group);
            for operation in *group {
                self.operation(operation, &common, &mut text);
            }
            told = self.types(told, &mut text);
        }
        text
    }

    /// What can be wrong with all of these.
    fn common(&self, of: impl Fn(&Operation) -> bool) -> Vec<Kind> {
        let mut all = ALL.iter().copied().flatten().filter(|o| of(o));
        let mut kinds = all.next().unwrap().all_problems();
        all.for_each(|o| kinds.retain(|kind| o.all_problems().contains(kind)));
        kinds
    }

    fn operation(&mut self, operation: &Operation, common: &[Kind], text: &mut String) {
        let verb = operation.verb.as_str();
        let said = self.document["paths"][operation.path][verb.to_lowercase()].clone();
        let (path, summary) = (operation.path, operation.summary);
        let said_of_it = format!("{summary}. {}", operation.about);
        let _ = writeln!(text, "\n### {verb} {path}\n\n{}\n", said_of_it.trim_end());
        let scope = match operation.access {
            Access::Anybody => "Without a login.".to_owned(),
            Access::Login => "Any login.".to_owned(),
            Access::Scope(scope) => format!("Scope `{}`.", scope.as_str()),
        };
        let _ = writeln!(text, "- {scope} Name in the document: `{}`", operation.id);
        for parameter in said["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let (place, must) = match parameter["in"].as_str().unwrap() {
                "path" => ("Path", ""),
                "query" => ("Query", ", may be left out"),
                _ => ("Header field", ", may be left out"),
            };
            let kind = self.kind(&parameter["schema"]);
            let about = about(parameter);
            let _ = writeln!(text, "- {place} `{name}`{must}: {kind}. {about}");
        }
        for (content_type, content) in said["requestBody"]["content"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let kind = match content["schema"]["$ref"].is_string() {
                true => self.kind(&content["schema"]),
                false => self.parts(&content["schema"]),
            };
            let _ = writeln!(text, "- Body, `{content_type}`: {kind}");
        }
        for answer in operation.answers {
            let body = &said["responses"][answer.status.to_string()]["content"];
            let body = match answer.content_type {
                "" => "no body. ".to_owned(),
                "application/json" => self.kind(&body[answer.content_type]["schema"]) + ": ",
                other => format!("`{other}`: "),
            };
            let _ = writeln!(text, "- {}: {body}{}", answer.status, answer.about);
        }
        let mut own = operation.all_problems();
        own.retain(|kind| !common.contains(kind));
        if !own.is_empty() {
            let _ = writeln!(text, "- Problems: {}", words(&own));
        }
    }

    /// Those of a form.
    fn parts(&mut self, form: &Value) -> String {
        let properties = form["properties"].as_object().unwrap();
        let part = |(name, schema): (&String, &Value)| match schema["$ref"].is_string() {
            true => format!("`{name}` is the JSON ({})", self.kind(schema)),
            false => {
                let about = about(schema);
                format!("`{name}`, any number: {}", about.trim_end_matches('.'))
            }
        };
        let parts: Vec<String> = properties.iter().map(part).collect();
        parts.join("; ")
    }

    /// Tells of those that were named since; they may name more.
    fn types(&mut self, mut told: usize, text: &mut String) -> usize {
        while let Some(name) = self.named.get(told).cloned() {
            told += 1;
            let schema = self.document["components"]["schemas"][&name].clone();
            let _ = writeln!(text, "\n#### Type {name}\n\n{}\n", about(&schema));
            match schema["properties"].is_object() {
                true => self.fields(&schema, text),
                false => each_word(&schema, text),
            }
        }
        told
    }

    /// Those that must be there first, in their order.
    fn fields(&mut self, schema: &Value, text: &mut String) {
        let properties = schema["properties"].as_object().unwrap();
        let must = schema["required"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<&str> = must.iter().filter_map(Value::as_str).collect();
        let others = properties.keys().map(String::as_str);
        names.extend(others.filter(|name| !must.iter().any(|must| must == name)));
        let is_request = schema["additionalProperties"] == false;
        text.push_str(match is_request {
            true => "| field | type | default | means |\n|---|---|---|---|\n",
            false => "| field | type | means |\n|---|---|---|\n",
        });
        for name in names {
            let property = &properties[name];
            let (kind, about) = (self.kind(property), about(property));
            let has_to_be = must.iter().any(|must| must == name);
            let default = match (&property["default"], has_to_be) {
                (_, true) => "must be there".to_owned(),
                (Value::Null, _) => "none".to_owned(),
                (Value::Array(list), _) if list.is_empty() => "none".to_owned(),
                (Value::Object(map), _) if map.is_empty() => "none".to_owned(),
                (Value::String(text), _) if text.is_empty() => "none".to_owned(),
                (value, _) => format!("`{value}`"),
            };
            let _ = match (is_request, has_to_be) {
                (true, _) => writeln!(text, "| `{name}` | {kind} | {default} | {about} |"),
                (_, true) => writeln!(text, "| `{name}` | {kind} | {about} |"),
                _ => writeln!(text, "| `{name}` | {kind}; may be left out | {about} |"),
            };
        }
    }

    fn name(&mut self, name: &str) {
        if !self.named.iter().any(|named| named == name) {
            self.named.push(name.to_owned());
        }
    }

    /// In words, with its bounds.
    fn kind(&mut self, schema: &Value) -> String {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            self.name(name);
            return format!("[{name}](#type-{})", name.to_lowercase());
        }
        if let Some(any) = schema["anyOf"]
            .as_array()
            .filter(|_| schema["type"].is_null())
        {
            let any: Vec<String> = any.iter().map(|one| self.kind(one)).collect();
            return any.join(" or ");
        }
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<String> = words.iter().map(word).collect();
            return format!("one of {}", words.join(", "));
        }
        let types = match &schema["type"] {
            Value::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        let kinds = types.iter().map(|kind| match kind.as_str().unwrap() {
            "string" => text_kind(schema),
            "integer" => format!(
                "number{}",
                in_brackets([bounds(schema, ("minimum", "maximum"), "")])
            ),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => {
                let of = self.kind(&schema["items"]);
                let bounds = bounds(schema, ("minItems", "maxItems"), "");
                format!("list{} of {of}", in_brackets([bounds]))
            }
            "object" => match schema["additionalProperties"]["type"].as_str() {
                Some(_) => "object of texts".to_owned(),
                None => "object".to_owned(),
            },
            "null" => "`null`".to_owned(),
            other => panic!("{other}"),
        });
        kinds.collect::<Vec<_>>().join(" or ")
    }

    /// What a value has, its type has too, and the other way round.
    fn must_fit(&self, schema: &Value, value: &Value, place: &str) {
        let mut schema = schema;
        loop {
            let any = schema["anyOf"]
                .as_array()
                .filter(|_| schema["type"].is_null());
            if let Some(any) = any {
                let fits = |one: &&Value| one["type"] != "null" || value.is_null();
                schema = any.iter().find(fits).unwrap();
            }
            let Some(reference) = schema["$ref"].as_str() else {
                break;
            };
            schema = self
                .document
                .pointer(reference.trim_start_matches('#'))
                .unwrap();
        }
        let is = |kind: &str| {
            let given = &schema["type"];
            *given == kind
                || given
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == kind))
        };
        match value {
            Value::Null => assert!(is("null"), "{place}: null"),
            Value::Bool(_) => assert!(is("boolean"), "{place}"),
            Value::Number(_) => assert!(is("integer"), "{place}"),
            Value::String(text) => {
                let of = schema["oneOf"].as_array().into_iter().flatten();
                let is_word = of.into_iter().any(|one| one["const"] == text.as_str());
                assert!(is("string") || is_word, "{place}: {text}");
            }
            Value::Array(list) => {
                assert!(is("array"), "{place}");
                for one in list {
                    self.must_fit(&schema["items"], one, place);
                }
            }
            Value::Object(map) => {
                assert!(is("object"), "{place}");
                // Of names of one's own choice.
                let is_open = schema["properties"].is_null();
                let place = |name: &str| format!("{place} {name}");
                for name in schema["required"].as_array().into_iter().flatten() {
                    let name = name.as_str().unwrap();
                    assert!(map.contains_key(name), "{}", place(name));
                }
                for (name, value) in map {
                    let one = &schema["properties"][name];
                    match one.is_null() {
                        true => assert!(is_open, "{}", place(name)),
                        false => self.must_fit(one, value, &place(name)),
                    }
                }
            }
        }
    }
}

fn words(kinds: &[Kind]) -> String {
    let word = |kind: &Kind| format!("`{}` ({})", kind.word(), kind.status());
    let words: Vec<String> = kinds.iter().map(word).collect();
    words.join(", ")
}

fn about(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

fn word(value: &Value) -> String {
    format!("`{}`", value.as_str().unwrap_or("null"))
}

fn each_word(schema: &Value, text: &mut String) {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    for one in one_of {
        let _ = writeln!(text, "- {}: {}", word(&one["const"]), about(one));
    }
    let words: Vec<String> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .map(word)
        .collect();
    if !words.is_empty() {
        let _ = writeln!(text, "{}", words.join(", "));
    }
}

fn text_kind(schema: &Value) -> String {
    let kind = match schema["format"].as_str() {
        Some("date-time") => "time",
        Some("idn-email") => "address",
        Some("uri") => "URL",
        Some("uri-reference") => "path of a URL",
        Some(other) => panic!("{other}"),
        None if schema["contentEncoding"] == "base64" => return "text in base64".to_owned(),
        None => "text",
    };
    let pattern = match schema["pattern"].as_str().unwrap_or_default() {
        r"^[^\x00-\x1f\x7f-\x9f]*$" => "no control characters",
        r"^[^\x00]*$" => "no NUL",
        "^[ -~]*$" | "^[ -~]+$" => "of printable ASCII",
        "^<[ -~]+>$" => "of printable ASCII, in `<` and `>`",
        "^[!-9;-~]+$" => "of ASCII without spaces and colon",
        "^[0-9a-f]{16}$" => "16 hexadecimal digits",
        // The words beside it say it.
        _ => "",
    };
    let length = bounds(schema, ("minLength", "maxLength"), " characters");
    kind.to_owned() + &in_brackets([length, pattern.to_owned()])
}

fn in_brackets<const COUNT: usize>(bounds: [String; COUNT]) -> String {
    let bounds: Vec<String> = bounds.into_iter().filter(|one| !one.is_empty()).collect();
    match bounds.is_empty() {
        true => String::new(),
        false => format!(" ({})", bounds.join(", ")),
    }
}

/// From and to. Neither what the type alone bounds nor a least of nothing is said.
fn bounds(schema: &Value, (least, most): (&str, &str), of: &str) -> String {
    let of_type = [0xff, 0xffff, 0xffff_ffff, (1 << 53) - 1, u64::MAX];
    let is_said = |bound: &u64| most != "maximum" || !of_type.contains(bound);
    let least = schema[least].as_u64().filter(|least| *least > 0);
    match (least, schema[most].as_u64().filter(is_said)) {
        (None, None) => String::new(),
        (Some(least), None) => format!("{least}{of} at least"),
        (None, Some(most)) => format!("{most}{of} at most"),
        (Some(least), Some(most)) => format!("{least} to {most}{of}"),
    }
}
