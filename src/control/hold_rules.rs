//! Rules that hold new mail: listed, added, removed, and put in force on every core.

use serde_json::{Value, json};

use super::commands::{BROKEN, Control};
use super::queue;
use super::secrets::configured;
use crate::percore::wall_clock;
use crate::queue::{Deed, Filter, HoldRule, HoldRules};
use crate::settings::DomainName;
use crate::settings::names::NameError;

type Item<'a> = &'a mut dyn FnMut(Value) -> Result<(), String>;

/// One item for each rule.
pub(super) fn list(control: &Control, item: Item<'_>) -> Result<Value, String> {
    for rule in control.server.hold_rules()?.all() {
        item(describe(rule))?;
    }
    Ok(json!({}))
}

/// Adds a rule: durable, then in force on every core, then whoever waits already is held too.
pub(super) fn add(
    control: &Control,
    (account, sender_domain, recipient_domain): (String, &str, &str),
    item: Item<'_>,
) -> Result<Value, String> {
    let domain = |text: &str| match text {
        "" => Ok(String::new()),
        text => text.parse::<DomainName>().map(String::from),
    };
    if !account.is_empty() {
        configured(control, &account)?;
    }
    let wrong = |error: NameError| error.to_string();
    let rule = HoldRule {
        account,
        sender_domain: domain(sender_domain).map_err(wrong)?,
        recipient_domain: domain(recipient_domain).map_err(wrong)?,
        added: wall_clock(),
        ..HoldRule::default()
    };
    let rule = {
        let _one = control.edits.lock().map_err(|_| BROKEN)?;
        let mut rules = control.server.hold_rules()?;
        let rule = rules
            .add(rule)
            .ok_or("there are too many hold rules; remove some")?;
        put_in_force(control, &rules)?;
        rule
    };
    tracing::info!(%rule, "an operator added a hold rule");
    let deed = Deed::HoldBy { rule: rule.clone() };
    let held = queue::change(control, &Filter::default(), &deed, item).map_err(|error| {
        format!("new mail is held by rule {rule}, but not all that waits already: {error}. Hold that with ringmail queue hold")
    })?;
    Ok(json!({"rule": describe(&rule), "held": held["changed"]}))
}

/// Removes a rule. What it holds stays held.
pub(super) fn remove(control: &Control, id: u32) -> Result<Value, String> {
    let _one = control.edits.lock().map_err(|_| BROKEN)?;
    let mut rules = control.server.hold_rules()?;
    let rule = rules.remove(id).ok_or_else(|| {
        format!("there is no hold rule {id}; ringmail queue holdrules list shows them")
    })?;
    put_in_force(control, &rules)?;
    tracing::info!(%rule, "an operator removed a hold rule");
    Ok(json!({"rule": describe(&rule)}))
}

/// Stores rules and puts them in force on every core. The caller holds `edits`.
fn put_in_force(control: &Control, rules: &HoldRules) -> Result<(), String> {
    control.server.store_hold_rules(rules)?;
    control.server.use_hold_rules(rules, true).map_err(|failed| {
        format!("the hold rules are stored, but not in force everywhere before the next start ({failed}); add or remove another one, and all are told again")
    })
}

fn describe(rule: &HoldRule) -> Value {
    json!({
        "id": rule.id,
        "account": rule.account,
        "sender_domain": rule.sender_domain,
        "recipient_domain": rule.recipient_domain,
        "added": rule.added,
    })
}
