//! Templates of messages, in the shard of their account: `Y` name NUL template. What they say is the API's; here they are texts.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shards::rt::Turns;
use shards::storage::{Batch, Shard};

use super::rows::{decode, encode};
use super::{StoreError, keys};

/// A template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRow {
    /// When it was written, seconds since 1970.
    pub updated: i64,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// The name of a recipient that has none of his own.
    pub to_name: String,
    /// More header fields.
    pub headers: Vec<(String, String)>,
}

/// One of an account.
pub async fn template(
    shard: &Rc<Shard>,
    account: &str,
    name: &str,
) -> Result<Option<TemplateRow>, StoreError> {
    let row = shard.get(keys::template(account, name)).await?;
    row.map(|row| decode(&row, what)).transpose()
}

/// All of an account, by name: with subjects, without what else they say.
pub async fn templates(
    shard: &Rc<Shard>,
    account: &str,
) -> Result<Vec<(String, TemplateRow)>, StoreError> {
    let prefix = keys::templates(account);
    let (mut all, mut from) = (Vec::new(), Vec::new());
    // A few at a time: they are long.
    loop {
        let found = shard.scan(prefix.clone(), from, SLICE).await?;
        let Some((last, _)) = found.last() else {
            return Ok(all);
        };
        from = [last.as_slice(), &[0]].concat();
        for (key, row) in found {
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let row: TemplateRow = decode(&row, what)?;
            all.push((
                name,
                TemplateRow {
                    updated: row.updated,
                    subject: row.subject,
                    ..TemplateRow::default()
                },
            ));
        }
    }
}

/// Writes or removes one; answers whether it was there.
pub async fn put_template(
    shard: &Rc<Shard>,
    account: &str,
    name: &str,
    row: Option<&TemplateRow>,
) -> Result<bool, StoreError> {
    let _turn = CHANGES.with(Rc::clone).take(1).await;
    let key = keys::template(account, name);
    let was = shard.get(key.clone()).await?.is_some();
    if row.is_none() && !was {
        return Ok(false);
    }
    if row.is_some() && !was {
        let all = shard
            .scan(keys::templates(account), Vec::new(), TEMPLATES_MAX)
            .await?;
        if all.len() >= TEMPLATES_MAX {
            return Err(StoreError::Limit(
                "the account has as many templates as it may",
            ));
        }
    }
    let row = row.map(encode);
    let octets = row.as_ref().map_or(0, Vec::len) + 128;
    let permit = shard.permit(octets, false, PATIENCE).await?;
    let mut batch = Batch::default();
    match row {
        Some(row) => batch.put(key, row),
        None => batch.delete(key),
    }
    shard.commit(permit, batch).await?;
    Ok(was)
}

fn what() -> String {
    "a template".into()
}

thread_local! {
    /// Changes on this core: one at a time, for each is made from what was read before.
    static CHANGES: Rc<Turns> = Rc::default();
}

/// Templates of an account.
const TEMPLATES_MAX: usize = 100;
/// Templates that are read at a time.
const SLICE: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);
