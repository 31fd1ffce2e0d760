//! Connections from a listening socket to their door, counted while they last.

use std::rc::Rc;

use shards::net::Connection;
use shards::rt::{self, Listener};

use super::sockets::{Bound, Serves};
use crate::percore::PerCore;
use crate::{imap_server, smtp_server, web};

/// Accepts on a socket until the core stops.
pub(super) fn accept(core: &Rc<PerCore>, bound: Bound) {
    let listener = Listener::new(bound.socket);
    let core = core.clone();
    rt::spawn(&crate::percore::ROOM, async move {
        // Health is told from the start.
        if bound.service.door() != HTTP {
            futures_lite::future::or(core.prepared(), core.drained()).await;
        }
        loop {
            let next = async { Some(listener.accept().await) };
            let stop = async {
                core.drained().await;
                None
            };
            let Some(accepted) = futures_lite::future::or(next, stop).await else {
                return;
            };
            match accepted {
                Ok(stream)
                    if core.door_connections[bound.service.door()].get()
                        >= bound.connections_max as usize =>
                {
                    // Too many for a polite word; the kernel says it.
                    core.count("ringmail_connections_refused_total", "core_full");
                    drop(stream);
                }
                Ok(stream) => serve(&core, stream, bound.service.clone()),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed; raise LimitNOFILE if files ran out")
                }
            }
        }
    });
}

fn serve(core: &Rc<PerCore>, stream: rt::Stream, service: Serves) {
    match service {
        Serves::Smtp(endpoint) => count(core, &smtp_server::ROOM, SMTP, async move |core| {
            if let Ok(connection) = Connection::new(stream) {
                smtp_server::serve(core, connection, endpoint).await;
            }
        }),
        Serves::Imap(endpoint) => count(core, &imap_server::ROOM, IMAP, async move |core| {
            let keepalive = core.live().settings.server.limits.imap.keepalive_secs;
            stream.keep_alive(keepalive.duration());
            if let Ok(connection) = Connection::new(stream) {
                imap_server::serve(core, connection, endpoint).await;
            }
        }),
        Serves::Http(endpoint) => count(core, &web::ROOM, HTTP, async move |core| {
            if let Ok(connection) = Connection::new(stream) {
                web::serve(core, connection, endpoint).await;
            }
        }),
    }
}

/// Runs a connection's task and counts it while it runs, whatever becomes of it.
pub(super) fn count(
    core: &Rc<PerCore>,
    room: &'static rt::Room,
    door: usize,
    task: impl AsyncFnOnce(Rc<PerCore>) + 'static,
) {
    let counted = Counted(core.clone(), door);
    core.connections.set(core.connections.get() + 1);
    core.door_connections[door].set(core.door_connections[door].get() + 1);
    rt::spawn(room, async move { task(counted.0.clone()).await });
}

/// A connection of a door.
struct Counted(Rc<PerCore>, usize);

impl Drop for Counted {
    fn drop(&mut self) {
        let Counted(core, door) = self;
        core.connections.set(core.connections.get() - 1);
        core.door_connections[*door].set(core.door_connections[*door].get() - 1);
    }
}

/// Positions in [`PerCore::door_connections`].
pub(super) const SMTP: usize = 0;
pub(super) const IMAP: usize = 1;
pub(super) const HTTP: usize = 2;

impl Serves {
    fn door(&self) -> usize {
        match self {
            Serves::Smtp(_) => SMTP,
            Serves::Imap(_) => IMAP,
            Serves::Http(_) => HTTP,
        }
    }
}
