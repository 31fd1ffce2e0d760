//! The sample files against the model.

use dkim::SignedFields;
use serde_json::{Map, Value, json};

use super::EXAMPLES;
use crate::settings::{
    Account, AccountAddress, Alias, DkimSelector, Domain, Domains, Door, Listener, Oauth,
    PoolMember, Postmaster, Route, Server, Text, Texts, Transport, parse_and_check,
};

fn texts() -> Texts {
    let [server, domains, account] =
        EXAMPLES.map(|example| Text::new(format!("config/{}", example.path), example.content));
    Texts {
        server,
        domains,
        accounts: vec![account],
    }
}

/// The sample with each field that is shown as a comment made real.
fn uncommented(content: &str) -> String {
    content
        .lines()
        .map(|line| shown(line).unwrap_or(line).to_owned() + "\n")
        .collect()
}

fn shown(line: &str) -> Option<&str> {
    line.strip_prefix('#')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

fn full<M: serde::de::DeserializeOwned + serde::Serialize>(content: &str) -> Value {
    let model: M = toml::from_str(&uncommented(content)).unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(model).unwrap()
}

#[test]
fn the_samples_are_settings_without_a_mistake() {
    let settings = parse_and_check(&texts()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.server.data_dir.to_str(), Some("/var/lib/ringmail"));
    assert_eq!(
        settings.server.domains_file.to_str(),
        Some("config/domains.toml")
    );
    assert_eq!(settings.accounts["example"].addresses.len(), 2);
}

#[test]
fn the_samples_with_everything_uncommented_are_right_too() {
    let mut texts = texts();
    for text in [&mut texts.server, &mut texts.domains]
        .into_iter()
        .chain(&mut texts.accounts)
    {
        text.content = uncommented(&text.content);
    }
    parse_and_check(&texts).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn every_field_of_the_model_is_shown() {
    let [server, domains, account] = EXAMPLES.map(|example| example.content);
    let written: Value =
        serde_json::to_value(toml::from_str::<toml::Value>(&uncommented(server)).unwrap()).unwrap();
    let mut model = full::<Server>(server);
    merge_listeners(&mut model);
    let mut written = written;
    merge_listeners(&mut written);
    for server in [&mut model, &mut written] {
        server["transport"] = merged(&server["transport"]);
        server["route"] = server["route"][0].take();
    }
    assert_all_shown(&model, &written, "ringmail.toml");
    assert_all_shown(
        &full::<Domains>(domains),
        &toml_as_json(domains),
        "domains.toml",
    );
    assert_all_shown(&full::<Account>(account), &toml_as_json(account), "account");
}

fn toml_as_json(content: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Value>(&uncommented(content)).unwrap()).unwrap()
}

/// The listeners of the sample show different services: together they show all.
fn merge_listeners(server: &mut Value) {
    let listeners = server["listener"].as_array().unwrap().clone();
    let mut all = Map::new();
    for (key, value) in listeners
        .iter()
        .rev()
        .flat_map(|listener| listener.as_object().unwrap())
    {
        if !value.is_null() {
            all.insert(key.clone(), value.clone());
        }
    }
    assert_eq!(
        all.len(),
        serde_json::to_value(Listener::default())
            .unwrap()
            .as_object()
            .unwrap()
            .len()
    );
    server["listener"] = Value::Object(all);
}

/// The transports of the sample show different kinds: together they show all.
fn merged(transports: &Value) -> Value {
    let mut all = Map::new();
    for (key, value) in transports
        .as_object()
        .unwrap()
        .values()
        .flat_map(|t| t.as_object().unwrap())
    {
        if !value.is_null() || !all.contains_key(key) {
            all.insert(key.clone(), value.clone());
        }
    }
    Value::Object(all)
}

/// Each key of the model stands in the text, and none of the model's values is absent.
fn assert_all_shown(model: &Value, written: &Value, path: &str) {
    assert!(!model.is_null(), "{path} is not shown");
    let Value::Object(fields) = model else { return };
    for (key, value) in fields {
        let path = format!("{path}.{key}");
        // A domain's or member's own table is a field's value, compared like any other.
        let shown = written
            .get(key)
            .unwrap_or_else(|| panic!("{path} is not shown"));
        assert_all_shown(value, shown, &path);
    }
}

#[test]
fn what_is_shown_as_a_default_is_one() {
    let [server, domains, account] = EXAMPLES.map(|example| example.content);
    let full_server = full::<Server>(server);
    let default_server = serde_json::to_value(Server::default()).unwrap();
    compare_shown(server, &full_server, &default_server);
    compare_shown(
        domains,
        &full::<Domains>(domains),
        &json!({ "postmaster": Postmaster::default() }),
    );
    compare_shown(
        account,
        &full::<Account>(account),
        &serde_json::to_value(Account::default()).unwrap(),
    );
    assert_eq!(AccountAddress::default().mailbox.as_str(), "INBOX");
}

/// Walks the commented fields of a sample: the shown value is the default, or the text above says that there is none.
fn compare_shown(content: &str, full: &Value, default: &Value) {
    let mut table: Vec<String> = Vec::new();
    let mut listener = 0;
    let mut remark = String::new();
    let mut compared = 0;
    for line in content.lines() {
        let header = line.trim_start_matches('#');
        if header.starts_with('[') && header.ends_with(']') {
            listener += usize::from(header == "[[listener]]");
            table = header
                .trim_matches(['[', ']'])
                .split('.')
                .map(|part| part.trim_matches('"').to_owned())
                .collect();
            if header.contains("\"example.org\"") {
                table = ["domain", "example.org"]
                    .iter()
                    .map(ToString::to_string)
                    .chain(
                        header
                            .contains("aliases")
                            .then(|| ["aliases", "sales"].map(String::from))
                            .into_iter()
                            .flatten(),
                    )
                    .chain(
                        header
                            .contains("dkim")
                            .then(|| ["dkim", "2026a"].map(String::from))
                            .into_iter()
                            .flatten(),
                    )
                    .collect();
            }
        } else if line.starts_with("# ") {
            remark.push_str(line);
            continue;
        } else if let Some((name, _)) = line
            .strip_prefix('#')
            .and_then(|rest| rest.split_once(" = "))
        {
            let shown = at(full, &table, listener, name);
            let unset = remark.contains("Not set by default")
                || table.first().is_some_and(|t| t == "initial_mailboxes")
                    && default["addresses"].is_array();
            match default_of(default, &table, name) {
                Value::Null => assert!(
                    unset,
                    "{table:?} {name} has no default, and nothing says so"
                ),
                // A list that must be written, or means more than it has.
                Value::Array(known) if known.is_empty() && unset => (),
                known => assert_eq!(shown, known, "{table:?} {name}"),
            }
            compared += 1;
            continue;
        }
        remark.clear();
    }
    assert!(compared > 2, "no field is shown with its default");
}

fn at(full: &Value, table: &[String], listener: usize, name: &str) -> Value {
    let mut value = full;
    for step in table {
        value = &value[step.as_str()];
        if step == "listener" {
            value = &value[listener - 1];
        } else if step == "route" {
            value = &value[0];
        }
    }
    value[name].clone()
}

fn default_of(default: &Value, table: &[String], name: &str) -> Value {
    let steps: Vec<&str> = table.iter().map(String::as_str).collect();
    let model = match steps[..] {
        ["listener"] => serde_json::to_value(Listener::default()).unwrap(),
        ["listener", service] => {
            let doors = [
                Door::Smtp,
                Door::Submission,
                Door::Submissions,
                Door::Imap,
                Door::Imaps,
                Door::Http,
                Door::Https,
            ];
            if let Some(door) = doors
                .iter()
                .find(|door| door.as_str() == service && name == "port")
            {
                return door.standard_port().into();
            }
            let listener: Listener = toml::from_str(&format!("[{service}]")).unwrap();
            serde_json::to_value(listener).unwrap()[service].clone()
        }
        ["transport", _] => serde_json::to_value(Transport::default()).unwrap(),
        ["pool", _, "member", _] => serde_json::to_value(PoolMember::default()).unwrap(),
        ["route"] => serde_json::to_value(Route::default()).unwrap(),
        ["oauth"] => serde_json::to_value(Oauth::default()).unwrap(),
        ["domain", _] => serde_json::to_value(Domain::default()).unwrap(),
        ["domain", _, "aliases", _] => serde_json::to_value(Alias::default()).unwrap(),
        ["domain", _, "dkim", _] => {
            let mut selector = serde_json::to_value(DkimSelector::default()).unwrap();
            selector["key"] = Value::Null;
            let fields = SignedFields::default();
            selector["sealed_fields"] = fields.sealed().collect();
            selector["signed_fields"] = fields.signed().collect();
            selector
        }
        _ => steps
            .iter()
            .fold(default.clone(), |value, step| value[*step].clone()),
    };
    model[name].clone()
}
