//! Binding the sockets that the listeners of the settings name. Not here: what happens on them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

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
                        hostname: hostname.clone(),
                    }),
                    limits.smtp.connections_per_core_max,
                ),
            };
            refuse_shared(endpoint.address)?;
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

/// SO_REUSEPORT lets each core have its own socket, and would let a second server of the same user take half of our connections.
fn refuse_shared(address: SocketAddr) -> Result<(), String> {
    match std::net::TcpListener::bind(address) {
        Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
            Err(rt::BindError { address, source }.to_string())
        }
        // Other errors come back from the real attempt.
        _ => Ok(()),
    }
}

const BACKLOG: i32 = 1024;
