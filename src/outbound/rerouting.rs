//! New routes for mail that waits: who is taken out of a line is held against the routes then, but a line whose host can't be had, or is left alone, gives
//! nobody up for as long as that lasts. So those who stand there are looked at when routes change, and who comes to stand there later, for a while.
//! Called by `dispatch`. Not here: which way a recipient goes (`queue::route`).

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use shards::rt;

use super::ROOM;
use super::destination::Hop;
use super::dispatch::{Dispatch, Known};
use crate::percore::monotonic;

impl Dispatch {
    /// Holds all who wait in vain against the routes, which have changed.
    pub fn reroute(self: &Rc<Self>) {
        let mine = self.reroutings.get() + 1;
        self.reroutings.set(mine);
        let dispatch = self.clone();
        rt::spawn(&ROOM, async move {
            let queue = &dispatch.core.queue;
            let began = monotonic();
            // How many stood in a line that was looked at who go this way still.
            let mut looked: HashMap<Rc<str>, usize> = HashMap::new();
            let mut pause = PAUSE_FIRST;
            let is_over = || {
                let is_old = dispatch.reroutings.get() != mine || began.elapsed() > LOOKS_FOR;
                is_old || dispatch.core.draining.get()
            };
            while !is_over() {
                let mut took = Duration::ZERO;
                for line in queue.lines_in_use() {
                    rt::yield_if_needed().await;
                    let is_known = looked.get(&line) == Some(&queue.ready_in(&line));
                    if is_known || !dispatch.is_left_alone(&line) {
                        continue;
                    }
                    let now = monotonic();
                    let left = queue.reroute(&line).await;
                    took += now.elapsed();
                    looked.insert(line, left);
                }
                let rest = pause.max(took * RESTS_TIMES);
                or(async { rt::sleep(rest).await }, dispatch.core.drained()).await;
                pause = (pause * 2).min(PAUSE_MOST);
                looked.retain(|line, _| queue.ready_in(line) > 0);
            }
        });
    }

    /// Whether nobody takes mail of a line: its site has no connection that a server has let in.
    fn is_left_alone(&self, line: &Rc<str>) -> bool {
        let site = match self.lines.borrow().get(line) {
            Some(Known::Failed { .. }) => return true,
            Some(Known::Found(Hop::Server(destination), _)) => destination.site.clone(),
            _ => return false,
        };
        let site = self.sites.borrow().get(&site).cloned();
        site.is_none_or(|site| site.links.get() == 0)
    }
}

/// Between two looks at all lines: the first, and the most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(32);
/// How long all rest, compared with what it took to look at them.
const RESTS_TIMES: u32 = 32;
/// How long those are looked at who come to stand in line: by then all have been tried.
const LOOKS_FOR: Duration = Duration::from_secs(86_400);
