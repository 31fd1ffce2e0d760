//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 9051 6.3.4 to 6.3.8, RFC 6154 3.

use imap::response::Code;
use imap::types::{MailboxName, SpecialUse as Use};

use super::client::Client;
use super::responses::{Done, Refusal, Trouble};
use crate::store::SpecialUse;

impl Client {
    pub(super) async fn create(
        &mut self,
        mailbox: &MailboxName,
        uses: &[Use],
    ) -> Result<Done, Trouble> {
        // RFC 9051 6.3.4: a delimiter at the end only announces children.
        let mailbox = mailbox.without_trailing('/');
        check(&mailbox)?;
        let special_use = special_use(uses)?;
        self.account.create(mailbox.as_str(), special_use).await?;
        Ok(Done::ok("CREATE done"))
    }

    pub(super) async fn delete(&mut self, mailbox: &MailboxName) -> Result<Done, Trouble> {
        let children = format!("{mailbox}/");
        let infos = self.account.mailboxes();
        if infos.iter().any(|info| info.name.starts_with(&children)) && !mailbox.is_inbox() {
            return Err(Refusal::no(
                Some(Code::HasChildren),
                "the mailbox has children; delete them first",
            )
            .into());
        }
        self.account.delete(mailbox.as_str()).await?;
        Ok(Done::ok("DELETE done"))
    }

    pub(super) async fn rename(
        &mut self,
        mailbox: &MailboxName,
        new_name: &MailboxName,
    ) -> Result<Done, Trouble> {
        let new_name = new_name.without_trailing('/');
        check(&new_name)?;
        self.account
            .rename(mailbox.as_str(), new_name.as_str())
            .await?;
        Ok(Done::ok("RENAME done"))
    }

    /// RFC 9051 6.3.7: the mailbox need not exist.
    pub(super) async fn subscribe(
        &mut self,
        mailbox: &MailboxName,
        on: bool,
    ) -> Result<Done, Trouble> {
        let mailbox = mailbox.without_trailing('/');
        check(&mailbox)?;
        self.account.subscribe(mailbox.as_str(), on).await?;
        Ok(Done::ok(if on {
            "SUBSCRIBE done"
        } else {
            "UNSUBSCRIBE done"
        }))
    }
}

fn check(mailbox: &MailboxName) -> Result<(), Trouble> {
    match mailbox.fault() {
        Some(fault) => Err(Refusal::no(Some(Code::Cannot), fault.to_string()).into()),
        None => Ok(()),
    }
}

/// RFC 6154 3: a use that the server can't give means the mailbox is not made.
fn special_use(uses: &[Use]) -> Result<SpecialUse, Trouble> {
    let mut special_use = SpecialUse::default();
    for wanted in uses {
        match wanted {
            Use::Archive => special_use.archive = true,
            Use::Drafts => special_use.drafts = true,
            Use::Junk => special_use.junk = true,
            Use::Sent => special_use.sent = true,
            Use::Trash => special_use.trash = true,
            Use::All | Use::Flagged | Use::Important => {
                return Err(
                    Refusal::no(Some(Code::UseAttr), "no mailbox can have that use").into(),
                );
            }
        }
    }
    Ok(special_use)
}
