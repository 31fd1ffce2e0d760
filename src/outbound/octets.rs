//! The octets of a message on its way over a connection: read when the server is there to take them, and let go of when it has. Called by `carry` and
//! `transaction`. Not here: who gets how much memory (`memory`).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use shards::rt::{self, FairShare};
use shards::storage::StorageError;
use smtp::client::Extensions;

use super::carry::{NoContent, made};
use super::dispatch::Dispatch;

use super::transaction::PIECE;
use crate::queue::retry::Verdict;
use crate::queue::{Content, Message, Phase, Work};
use crate::store::StoreError;

/// The octets of a message, or of what its one recipient gets.
pub(super) struct Octets<'a> {
    dispatch: &'a Dispatch,
    message: Rc<Message>,
    recipients: Vec<u32>,
    /// How far the attempt is.
    pub phase: Phase,
    kept: RefCell<Option<(Rc<Content>, FairShare<u32>)>>,
}

impl<'a> Octets<'a> {
    pub fn of(dispatch: &'a Dispatch, work: &Work) -> Octets<'a> {
        Octets {
            dispatch,
            message: work.message.clone(),
            recipients: work.recipients.clone(),
            phase: work.phase.clone(),
            kept: RefCell::default(),
        }
    }

    /// Whether what is said of the message, or whether it may go to such a server, depends on them.
    pub fn are_wanted_first(&self, offers: &Extensions) -> bool {
        let row = &self.message.row;
        let is_eight_bit = row.eight_bit && !row.binary && !offers.eight_bit_mime;
        row.batch.is_some() || row.smtputf8 || is_eight_bit
    }

    /// Those that were read.
    pub fn at_hand(&self) -> Option<Rc<Content>> {
        let kept = self.kept.borrow();
        kept.as_ref().map(|(content, _)| content.clone())
    }

    /// Reads them, once there is memory.
    pub async fn read(&self) -> Result<Rc<Content>, NoContent> {
        if let Some(content) = self.at_hand() {
            return Ok(content);
        }
        let (core, row) = (&self.dispatch.core, &self.message.row);
        let (most, in_memory_max) = {
            let live = core.live();
            let server = &live.settings.server;
            let in_memory_max = server.storage.body_in_memory_max_bytes.as_usize();
            (server.outbound.memory_max_bytes.as_usize(), in_memory_max)
        };
        let size = usize::try_from(row.size).unwrap_or(usize::MAX);
        // Larger ones are read piece by piece. A piece is there twice: as it is, and as it is written.
        let whole = if size > in_memory_max { 0 } else { size };
        let octets = whole + 2 * size.min(PIECE);
        let account = core.queue.account(&row.account);
        self.phase
            .goes_on("waits for memory for the message, to send it to");
        let held = self.dispatch.memory.take(&account, octets, most);
        let Ok(held) = rt::timeout(PATIENCE, held).await else {
            let text = "this core has no memory for it now".to_owned();
            return Err(NoContent::Over(Verdict::Temporary, (4, 3, 1), text));
        };
        self.phase.goes_on("reads the message, to send it to");
        let content = match (&row.batch, self.recipients.as_slice()) {
            (Some(_), &[index]) => made(core, &self.message, index).await?,
            // They are taken one by one; any others stand in line again.
            (Some(_), _) => return Err(NoContent::Busy),
            (None, _) => match self.message.content().await {
                Ok(content) => content,
                Err(StoreError::Storage(StorageError::Busy)) => return Err(NoContent::Busy),
                Err(error) => {
                    let text = error.to_string();
                    return Err(NoContent::Over(Verdict::Temporary, (4, 3, 0), text));
                }
            },
        };
        *self.kept.borrow_mut() = Some((content.clone(), held));
        Ok(content)
    }

    /// Another connection is not there for them yet.
    pub fn let_go(&self) {
        self.kept.borrow_mut().take();
    }
}

/// How long a server has to wait for a message because this core has no memory for it. RFC 5321 4.5.3.2.7: it waits for five minutes.
const PATIENCE: Duration = Duration::from_secs(120);
