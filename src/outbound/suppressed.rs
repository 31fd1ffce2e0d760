//! Recipients on the suppression list of the account that writes to them: given up before an attempt. docs/QUEUE.md.

use std::collections::HashMap;
use std::rc::Rc;

use super::outcome;
use crate::percore::PerCore;
use crate::queue::Work;
use crate::settings::AccountName;
use crate::store::StoreError;

/// Gives up those that are suppressed, and answers the others. If that can't be found out now, all stand in line again.
pub(super) async fn sift(core: &Rc<PerCore>, mut work: Work) -> Option<Work> {
    let account: Option<AccountName> = work.message.row.account.parse().ok();
    let Some(account) = account.filter(|a| core.queue.interest(a.as_str()).is_some()) else {
        return Some(work);
    };
    let asked = ask(core, account, &work).await;
    core.queue.lists.looked_at(account.as_str(), asked.is_ok());
    let reasons = match asked {
        Ok(reasons) => reasons,
        Err(error) => {
            tracing::warn!(%account, message = work.message.body.0, %error, "the suppression list can't be looked at now: its mail is tried again in a minute");
            return None;
        }
    };
    if let Some(out) = work.take_out(|index| reasons.contains_key(&index)) {
        outcome::suppress(core, out, reasons).await;
    }
    (!work.recipients.is_empty()).then_some(work)
}

async fn ask(
    core: &Rc<PerCore>,
    account: AccountName,
    work: &Work,
) -> Result<HashMap<u32, String>, StoreError> {
    core.know_suppressions(account).await?;
    let address = |index: u32| work.message.row.recipients[index as usize].address.clone();
    let is_listed = |index: &u32| {
        let lists = &core.queue.lists;
        lists.may_have(account.as_str(), &address(*index))
    };
    let listed: Vec<u32> = work.recipients.iter().copied().filter(is_listed).collect();
    if listed.is_empty() {
        return Ok(HashMap::new());
    }
    let addresses = listed.iter().map(|index| address(*index)).collect();
    let reasons = core.ask_suppressed(account, addresses).await?;
    let found = listed.into_iter().zip(reasons);
    Ok(found
        .filter_map(|(index, reason)| Some((index, reason?)))
        .collect())
}
