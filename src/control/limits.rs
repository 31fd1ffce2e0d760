//! How much an account may send, and how much it has.

use serde_json::{Value, json};

use super::commands::{Control, OTHER_ANSWER};
use super::secrets::configured;
use crate::calls::{ControlAnswer, ControlCall};

pub(super) fn show(control: &Control, name: &str) -> Result<Value, String> {
    let name = configured(control, name)?;
    let owner = control.server.owner_of(name.as_str());
    let ControlAnswer::SendingUse(used) = control.ask(owner, ControlCall::SendingUse(name))? else {
        return Err(OTHER_ANSWER.into());
    };
    let limit = |most: Option<u32>, used: u64, at: Option<i64>| {
        most.map(|most| {
            json!({
                "per_day": most,
                "used": used,
                "left": u64::from(most).saturating_sub(used),
                "more_at": at,
            })
        })
    };
    let limits = used.limits;
    Ok(json!({
        "name": name.as_str(),
        "messages": limit(limits.messages_per_day, used.messages, used.messages_at),
        "new_recipients": limit(limits.new_recipients_per_day, used.new_recipients, used.new_recipients_at),
        "remembered": used.remembered,
    }))
}
