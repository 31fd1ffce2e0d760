//! Memory that the heads of requests take until these are answered: those of a connection have a bound together, for over HTTP/2 it has a hundred at once, and
//! those of a client's network count in the memory for requests (`percore/request_memory`), as bodies do for their accounts: whose they are is not known
//! yet. RFC 9113 10.5.1.
//! Not here: the bound of a single one (hyper and h2 refuse what is larger).

use std::cell::Cell;
use std::rc::Rc;

use hyper::Request;

use crate::login::limiter::Networks;
use crate::percore::{Holder, MemoryBounds, PerCore};

/// What the heads of a connection's requests have.
#[derive(Clone, Default)]
pub(super) struct Heads(Rc<Cell<usize>>);

/// A head, until it is dropped.
pub(super) struct Head {
    core: Rc<PerCore>,
    heads: Heads,
    holder: Holder,
    octets: usize,
}

impl Heads {
    /// Another one; None: there is no room for it.
    pub(super) fn add<B>(
        &self,
        core: &Rc<PerCore>,
        request: &Request<B>,
        networks: &Networks,
    ) -> Option<Head> {
        let octets = size(request);
        let all = self.0.get() + octets;
        let bounds = MemoryBounds::new(&core.live().settings.server.limits.http);
        let holder = Holder::Network(networks.narrowest());
        let mut memory = core.request_memory.borrow_mut();
        // One alone is no larger than heads may be.
        let fits = all <= HEADS_MAX || all == octets;
        if !fits || !memory.resize(holder, (0, MADE_OF_HEAD * octets), bounds) {
            return None;
        }
        self.0.set(all);
        Some(Head {
            core: core.clone(),
            heads: self.clone(),
            holder,
            octets,
        })
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let Head { core, heads, .. } = self;
        heads.0.set(heads.0.get() - self.octets);
        let mut memory = core.request_memory.borrow_mut();
        memory.resize_anyway(self.holder, (MADE_OF_HEAD * self.octets, 0));
    }
}

/// As RFC 9113 6.5.2 reckons it.
fn size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    authority + target + fields.sum::<usize>()
}

/// Octets of all heads of a connection: eight of the largest, or some 5 KiB for each of as many requests as it may have at once.
const HEADS_MAX: usize = 512 << 10;
/// So many octets of memory an octet of a head comes to. Measured: 1.8.
const MADE_OF_HEAD: usize = 2;
/// What a field has beside its name and value.
const FIELD: usize = 32;
