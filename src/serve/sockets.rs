//! Binding the sockets that the listeners of the settings name. Not here: what happens on them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::rt;

use super::ROOMS;
use crate::settings::{Door, HttpService, Settings};
use crate::{imap_server, smtp_server, web};

/// A listening socket and what is served on it.
pub(super) struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) service: Serves,
    pub(super) connections_max: u32,
}

#[derive(Clone)]
pub(super) enum Serves {
    Smtp(smtp_server::Endpoint),
    Imap(imap_server::Endpoint),
    Http(web::Endpoint),
}

/// By core.
pub(super) type Sockets = HashMap<u16, Vec<Bound>>;

/// Binds every port, once for each core that accepts on it.
pub(super) fn bind(
    settings: &Settings,
    shard_cores: usize,
) -> Result<(Sockets, Vec<(Door, SocketAddr)>), String> {
    let mut sockets = Sockets::new();
    let mut addresses = Vec::new();
    let limits = &settings.server.limits;
    let mut patience = Patience::default();
    for (position, listener) in settings.server.listener.iter().enumerate() {
        let hostname: Arc<str> = listener
            .hostname
            .as_ref()
            .map_or(settings.server.hostname(), |name| name.as_str())
            .into();
        for endpoint in listener.endpoints() {
            let cores = if matches!(endpoint.door, Door::Http | Door::Https) {
                shard_cores..shard_cores + 1
            } else {
                0..shard_cores
            };
            let (service, connections_max) = match endpoint.door {
                Door::Http | Door::Https => {
                    let implicit_tls = endpoint.door.implicit_tls();
                    let service = if implicit_tls {
                        &listener.https
                    } else {
                        &listener.http
                    };
                    let offers =
                        |what: fn(&HttpService) -> bool| service.as_ref().is_some_and(what);
                    (
                        Serves::Http(web::Endpoint {
                            listener: position,
                            implicit_tls,
                            metrics: offers(|s| s.metrics),
                            health: offers(|s| s.health),
                            webapi: offers(|s| s.webapi),
                            forwarded: offers(|s| s.forwarded),
                            rooms: &ROOMS,
                        }),
                        limits.http.connections_max,
                    )
                }
                Door::Imap | Door::Imaps => (
                    Serves::Imap(imap_server::Endpoint {
                        listener: position,
                        implicit_tls: endpoint.door.implicit_tls(),
                        starttls: endpoint.starttls,
                        allow_plain_auth: endpoint.allow_plain_auth,
                        hostname: hostname.clone(),
                    }),
                    limits.imap.connections_per_core_max,
                ),
                Door::Smtp | Door::Submission | Door::Submissions => (
                    Serves::Smtp(smtp_server::Endpoint {
                        listener: position,
                        delivery: endpoint.door == Door::Smtp,
                        implicit_tls: endpoint.door.implicit_tls(),
                        starttls: endpoint.starttls,
                        allow_plain_auth: endpoint.allow_plain_auth,
                        dsn: endpoint.door != Door::Smtp
                            || listener.smtp.as_ref().is_some_and(|smtp| smtp.dsn),
                        hostname: hostname.clone(),
                    }),
                    limits.smtp.connections_per_core_max,
                ),
            };
            when_free(endpoint.address, || patience.pause(endpoint.address))?;
            for core in cores {
                let socket = rt::listen(endpoint.address, BACKLOG).map_err(|e| e.to_string())?;
                sockets.entry(core as u16).or_default().push(Bound {
                    socket,
                    service: service.clone(),
                    connections_max,
                });
            }
            addresses.push((endpoint.door, endpoint.address));
        }
    }
    Ok((sockets, addresses))
}

/// Waits until nobody listens on a port, as long as `pause` says that there is time. SO_REUSEPORT lets each core have its own socket, and would
/// let a second server of the same user take half of our connections.
fn when_free(address: SocketAddr, mut pause: impl FnMut() -> bool) -> Result<(), String> {
    loop {
        match std::net::TcpListener::bind(address) {
            Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
                if !pause() {
                    return Err(rt::BindError { address, source }.to_string());
                }
            }
            // Other errors come back from the real attempt.
            _ => return Ok(()),
        }
    }
}

/// For all ports together: the kernel lets go of the sockets of a process that was killed a moment after it is gone, since io_uring has them too.
#[derive(Default)]
struct Patience {
    until: Option<Instant>,
}

impl Patience {
    /// Waits a little; false: it was long enough.
    fn pause(&mut self, address: SocketAddr) -> bool {
        let until = *self.until.get_or_insert_with(|| {
            tracing::info!(%address, "the port is taken; if that is by a server that has just ended, it is free in a moment");
            Instant::now() + PATIENCE
        });
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(STEP));
        !left.is_zero()
    }
}

const BACKLOG: i32 = 1024;
/// How long ports may be taken at a start, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_is_let_go_is_taken_and_one_that_is_not_is_told() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let mut left = 3;
        let error = when_free(address, || {
            left -= 1;
            left > 0
        });
        assert_eq!(left, 0);
        let error = error.unwrap_err();
        assert!(error.contains("another program has this port"), "{error}");
        let mut other = Some(other);
        when_free(address, || other.take().is_some()).unwrap();
        assert!(other.is_none());
    }

    #[test]
    fn patience_is_one_for_all_ports_and_ends() {
        let address = SocketAddr::from(([127, 0, 0, 1], 25));
        let mut patience = Patience::default();
        assert!(patience.pause(address));
        patience.until = Some(Instant::now());
        assert!(!patience.pause(address));
    }
}
