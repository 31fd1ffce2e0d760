//! Sites whose limits this core owns: what operators see and change of them, and what is told of what was done.

use std::sync::Arc;

use crate::calls::{ControlAnswer, SiteDeed};
use crate::live::Live;
use crate::metrics::label;
use crate::percore::{PerCore, monotonic};
use crate::queue::sites::member_of_key;

impl PerCore {
    /// Logs and counts what was done about sites since it was told last.
    pub(super) fn tell_of_sites(&self) {
        let news = self.sites.borrow_mut().take_news();
        for news in news {
            let kind = news.kind.word();
            let for_secs = news.length.map(|length| length.as_secs());
            self.metrics
                .count("ringmail_outbound_site_actions_total", label("kind", kind));
            if let Some((pool, member)) = member_of_key(&news.site) {
                tracing::warn!(
                    pool,
                    member,
                    for_secs,
                    cause = news.cause,
                    "an address of a pool rests"
                );
                continue;
            }
            tracing::info!(
                site = news.site,
                kind,
                for_secs,
                cause = news.cause,
                "a site is left alone or given less"
            );
        }
    }

    /// Some transports may be others than before: sites are tried anew by those.
    pub(super) fn transports_changed(&self, before: &Live) {
        let (live, now) = (self.live(), monotonic());
        for (name, files) in &live.transports {
            let same = before.transports.get(name);
            if same.is_none_or(|same| !Arc::ptr_eq(same, files)) {
                self.sites.borrow_mut().transport_changed(name, now);
            }
        }
    }

    /// Does something to sites; answers to how many.
    pub(super) fn change_sites(&self, wanted: Option<&str>, deed: &SiteDeed) -> ControlAnswer {
        let now = monotonic();
        let count = {
            let mut sites = self.sites.borrow_mut();
            match (deed, wanted) {
                (SiteDeed::Resume, wanted) => sites.resume(wanted, now),
                (SiteDeed::Pause { length, why }, Some(site)) => {
                    sites.pause(site, *length, why, now)
                }
                (SiteDeed::Pause { .. }, None) => 0,
            }
        };
        self.tell_of_sites();
        ControlAnswer::Count(count)
    }
}
