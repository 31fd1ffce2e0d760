//! A connection counts in its networks' limiter as long as its `Admitted` lives, wherever it goes. A panic ends that all the same.

use std::rc::Rc;

use crate::calls::LimitedDoor;
use crate::login::limiter::Networks;
use crate::percore::PerCore;

/// The limiter has counted a connection in; dropping this counts it out.
pub(super) struct Admitted {
    core: Rc<PerCore>,
    networks: Option<Networks>,
}

impl Admitted {
    /// For a connection that is on this core now.
    pub fn new(core: Rc<PerCore>, networks: Networks) -> Admitted {
        Admitted {
            core,
            networks: Some(networks),
        }
    }

    /// It goes on elsewhere, and is counted out there.
    pub fn moved(mut self) {
        self.networks = None;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(networks) = self.networks {
            self.core.release(networks, LimitedDoor::Imap);
        }
    }
}
