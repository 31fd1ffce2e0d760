//! The OpenAPI 3.1 document: made from the table of operations and the types that they take and answer.

use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use super::operation::{Access, Answer, JSON, Named, Operation, Takes};
use super::operations::all;
use super::problem::{Kind, Problem};

/// The type of problems. RFC 9457 6.1.
pub const PROBLEM: &str = "application/problem+json";

/// The whole document.
pub fn document() -> Value {
    let mut made = Maker::new();
    let mut paths = Map::new();
    for operation in all() {
        let described = made.operation(operation);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.verb.as_str().to_ascii_lowercase()] = described;
    }
    made.answers.subschema_for::<Problem>();
    let mut schemas = made.answers.take_definitions(true);
    // A type that is both taken and answered: what it takes holds for both.
    schemas.extend(made.requests.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "The sending API of ringmail",
            "version": "1",
            "description": ABOUT,
        },
        "servers": [{"url": super::MOUNT}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "password": {"type": "http", "scheme": "basic", "description": "A login address and its password. All scopes."},
            },
        },
    })
}

/// Schemas of what comes in and of what goes out: the same type may have fields that only one must have.
struct Maker {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Maker {
    fn new() -> Maker {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.contract = contract;
            settings.meta_schema = None;
            SchemaGenerator::new(settings)
        };
        Maker {
            requests: generator(Contract::Deserialize),
            answers: generator(Contract::Serialize),
        }
    }

    fn operation(&mut self, operation: &Operation) -> Value {
        let mut described = json!({
            "operationId": operation.id,
            "tags": [operation.group],
            "summary": operation.summary,
            "responses": self.responses(operation),
        });
        if !operation.about.is_empty() {
            described["description"] = operation.about.into();
        }
        let parameters = self.parameters(operation);
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(body) = self.body(operation.takes) {
            described["requestBody"] = json!({"required": true, "content": body});
        }
        let scopes = match operation.access {
            Access::Anybody => None,
            Access::Login => Some(json!([])),
            Access::Scope(scope) => Some(json!([scope])),
        };
        if let Some(scopes) = scopes {
            described["security"] = json!([{"key": scopes}, {"password": []}]);
        }
        described
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let mut parameters = Vec::new();
        let mut add = |named: &Named, place: &str, schema: Value| {
            let required = place == "path";
            parameters.push(json!({
                "name": named.name, "in": place, "required": required, "description": named.about, "schema": schema,
            }));
        };
        for named in operation.path_parameters {
            add(named, "path", (named.schema)(&mut self.requests).into());
        }
        for named in operation.headers {
            add(named, "header", (named.schema)(&mut self.requests).into());
        }
        if let Some(query) = operation.query {
            let schema: Value = query(&mut self.requests).into();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                let (about, schema) = without_description(schema.clone());
                parameters.push(json!({
                    "name": name, "in": "query", "required": required.iter().any(|r| r == name),
                    "description": about, "schema": schema,
                }));
            }
        }
        parameters
    }

    fn body(&mut self, takes: Takes) -> Option<Value> {
        Some(match takes {
            Takes::Nothing => return None,
            Takes::Json(schema) => {
                let schema = schema(&mut self.requests);
                json!({JSON: {"schema": schema}})
            }
            Takes::JsonOrFiles(schema, form) => {
                let schema = schema(&mut self.requests);
                let mut properties = json!({form.json: schema});
                for (name, about) in form.files {
                    let file =
                        json!({"type": "string", "contentMediaType": "application/octet-stream"});
                    properties[*name] =
                        json!({"type": "array", "items": file, "description": about});
                }
                let parts = json!({
                    "type": "object", "properties": properties, "required": [form.json], "additionalProperties": false,
                });
                let encoding = json!({form.json: {"contentType": JSON}});
                json!({
                    JSON: {"schema": schema},
                    "multipart/form-data": {"schema": parts, "encoding": encoding},
                })
            }
        })
    }

    fn responses(&mut self, operation: &Operation) -> Value {
        let mut responses = Map::new();
        for answer in operation.answers {
            let mut described = json!({"description": answer.about});
            if let Some(content) = self.content(answer) {
                described["content"] = json!({answer.content_type: content});
            }
            responses.insert(answer.status.to_string(), described);
        }
        for kind in operation.all_problems() {
            let name = kind.status().to_string();
            let reference = format!("#/components/responses/{name}");
            responses.insert(name, json!({"$ref": reference}));
        }
        responses.into()
    }

    fn content(&mut self, answer: &Answer) -> Option<Value> {
        if answer.content_type.is_empty() {
            return None;
        }
        let schema = match answer.schema {
            Some(schema) => schema(&mut self.answers).into(),
            None => json!({"type": "string"}),
        };
        Some(json!({"schema": schema}))
    }
}

fn without_description(mut schema: Value) -> (Value, Value) {
    let about = schema
        .as_object_mut()
        .and_then(|map| map.remove("description"));
    let about = about.unwrap_or_else(|| "".into());
    // What is not said is left out; nothing in a query is null.
    if let Some(map) = schema.as_object_mut() {
        map.retain(|key, value| key != "default" || !value.is_null());
    }
    if let Some(Value::Array(types)) = schema.get("type").cloned() {
        let mut types = types.into_iter().filter(|t| t != "null");
        schema["type"] = types.next().unwrap_or_default();
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(any)) = schema.get("anyOf").cloned() {
        let mut any = any.into_iter().filter(|one| one["type"] != "null");
        schema = any.next().unwrap_or_default();
    }
    (about, schema)
}

/// One for each status: all are of one form.
fn problems() -> Value {
    let mut responses = Map::new();
    for kind in Kind::ALL {
        let status = kind.status();
        let kinds: Vec<String> = Kind::ALL
            .into_iter()
            .filter(|other| other.status() == status)
            .map(|other| format!("{}: `{}`.", other.title(), other.type_uri()))
            .collect();
        let header =
            |about: &str, kind: &str| json!({"description": about, "schema": {"type": kind}});
        let mut described = json!({
            "description": kinds.join(" "),
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        match status {
            401 => {
                described["headers"] =
                    json!({"WWW-Authenticate": header("RFC 6750 3, RFC 7617 2.", "string")})
            }
            429 | 503 => {
                described["headers"] =
                    json!({"Retry-After": header("Seconds to wait, if waiting helps.", "integer")})
            }
            _ => (),
        }
        responses.insert(status.to_string(), described);
    }
    responses.into()
}

const ABOUT: &str = "Programs send mail with it, learn what became of it, and keep the list of addresses that get nothing. \
Log in with an API key (`Authorization: Bearer rmk_...`) or with a login address and its password (Basic). \
Bodies are JSON; a field that is not known is an error. Times are those of RFC 3339. What is wrong is told as a problem of RFC 9457, which names the field. \
Lists come in pages: `next_cursor` of one is the `cursor` of the next. \
A page ends before `limit` where its entries are long: after some 2 KiB for each that was asked for, but not before 128 KiB.";

#[cfg(test)]
mod tests {
    use super::super::operation::Verb;
    use super::*;

    fn has(document: &Value, verb: Verb, path: &str) -> bool {
        !document["paths"][path][verb.as_str().to_ascii_lowercase()].is_null()
    }

    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.push(reference);
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => (),
        }
    }

    #[test]
    fn it_has_every_operation_and_no_other_and_every_reference_leads_somewhere() {
        let document = document();
        let mut count = 0;
        for operation in all() {
            count += 1;
            assert!(
                has(&document, operation.verb, operation.path),
                "{}",
                operation.id
            );
        }
        let paths = document["paths"].as_object().unwrap();
        let verbs: usize = paths
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(verbs, count);
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_the_server_refuses_is_said() {
        let document = document();
        let schema = |name: &str, field: &str| {
            document["components"]["schemas"][name]["properties"][field].clone()
        };
        for (name, field, key, value) in [
            ("Mailbox", "address", "format", json!("idn-email")),
            ("Named", "address", "format", json!("idn-email")),
            ("BatchRecipient", "address", "maxLength", json!(320)),
            (
                "TemplateHeaderField",
                "name",
                "pattern",
                json!("^[!-9;-~]+$"),
            ),
            ("PutWebhook", "url", "format", json!("uri")),
            ("PutWebhook", "concurrency", "maximum", json!(32)),
            ("NewMessage", "message_id", "maxLength", json!(900)),
            ("NewMessage", "metadata", "maxProperties", json!(1000)),
            ("PutTemplate", "headers", "maxItems", json!(20)),
            ("PutSuppression", "expires", "format", json!("date-time")),
        ] {
            assert_eq!(schema(name, field)[key], value, "{name} {field}");
        }
        let parameter = |path: &str, verb: &str, name: &str| {
            let all = document["paths"][path][verb]["parameters"].as_array();
            let found = all.and_then(|all| all.iter().find(|one| one["name"] == name));
            found.map(|one| one["schema"].clone()).unwrap_or_default()
        };
        assert_eq!(parameter("/queue/{id}", "delete", "id")["minimum"], 1);
        assert!(parameter("/messages", "get", "cursor")["pattern"].is_string());
        assert_eq!(
            parameter("/suppressions/{address}", "get", "address")["format"],
            "idn-email"
        );
        // Nothing in a query is null.
        let page = parameter("/messages", "get", "limit");
        assert!(page["type"] == "integer" && page.get("default").is_none());
        let about = schema("NewMessage", "metadata")["description"].clone();
        assert!(about.as_str().unwrap().contains("octets"), "{about}");
        // What can be made can be addressed; what was made before can be read and removed all the same.
        let name = |verb| parameter("/templates/{name}", verb, "name")["pattern"].clone();
        assert_ne!(name("put"), name("get"));
        assert_eq!(name("delete"), name("get"));
        let states = |path| {
            parameter(path, "get", "state")["enum"]
                .as_array()
                .map(Vec::len)
        };
        assert_eq!(states("/queue"), Some(5));
    }
}
