//! The fetch of a policy of MTA-STS over HTTPS. RFC 8461 3.3: the certificate must be the policy host's by the authorities, no redirect is
//! followed, all of it has a minute. The policy host is anybody's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dane::tls::{Policy as CertificatePolicy, VerdictCell, Verifier};
use dns::{Name, host_addresses};
use mta_sts::{FetchError, FetchRequest, Policy, Response};
use rustls::RootCertStore;
use rustls::pki_types::{DnsName, ServerName};
use shards::net::{Connection, tls_error};
use shards::rt;

use super::http::Answer;
use crate::lookup::Resolver;

/// Why there is no policy: what it is for reports, and more of it in words for operators.
#[derive(Debug)]
pub(super) struct Failed {
    pub error: FetchError,
    pub words: String,
}

/// What a fetch goes by.
pub(super) struct Way<'a> {
    pub resolver: &'a Resolver,
    pub roots: &'a Arc<RootCertStore>,
    pub port: u16,
    pub limit: Duration,
}

impl Way<'_> {
    /// The policy of a domain, within the limit.
    pub async fn fetch(&self, domain: &Name) -> Result<Policy, Failed> {
        let request = FetchRequest::for_domain(domain.as_str())
            .ok_or_else(|| failed(FetchError::Unreachable, "the name has no room for mta-sts."))?;
        let fetched = rt::timeout(self.limit, self.get(&request)).await;
        fetched.unwrap_or_else(|_| {
            let words = format!("{}: not within {} s", request.url(), self.limit.as_secs());
            Err(failed(FetchError::Timeout, words))
        })
    }

    async fn get(&self, request: &FetchRequest) -> Result<Policy, Failed> {
        let told = |words: String| format!("{}: {words}", request.url());
        let unreachable = |words: String| failed(FetchError::Unreachable, told(words));
        let host = Name::parse(&request.host).map_err(|e| unreachable(e.to_string()))?;
        let found = host_addresses(self.resolver, &host).await;
        let found = found.map_err(|e| unreachable(e.to_string()))?;
        let mut last = unreachable("no address".into());
        for address in found.addresses.iter().take(ADDRESSES_MAX) {
            let to = SocketAddr::new(*address, self.port);
            let mut connection = match Connection::connect(to, CONNECT_LIMIT).await {
                Ok(connection) => connection,
                Err(error) => {
                    last = unreachable(format!("{to}: {error}"));
                    continue;
                }
            };
            self.start_tls(&mut connection, request)
                .await
                .map_err(|(error, words)| failed(error, told(format!("{to}: {words}"))))?;
            let answer = exchange(&mut connection, request, self.port).await;
            rt::spawn(&super::ROOM, async move {
                let _ = rt::timeout(CONNECT_LIMIT, connection.close()).await;
            });
            let answer = answer.map_err(|words| unreachable(format!("{to}: {words}")))?;
            let response = Response {
                status: answer.status,
                content_type: answer.content_type.as_deref(),
                body: &answer.body,
            };
            return response.policy().map_err(|error| {
                let words = told(error.to_string());
                failed(error, words)
            });
        }
        Err(last)
    }

    async fn start_tls(
        &self,
        connection: &mut Connection,
        request: &FetchRequest,
    ) -> Result<(), (FetchError, String)> {
        let unreachable = |words: String| (FetchError::Unreachable, words);
        let name = DnsName::try_from(request.host.clone());
        let name = name.map_err(|_| unreachable("no name that certificates have".into()))?;
        let policy = CertificatePolicy::Pkix { name: name.clone() };
        let cell = VerdictCell::default();
        let verifier = Verifier::new(policy, self.roots.clone(), cell.clone());
        let mut config = verifier
            .into_config()
            .map_err(|e| unreachable(e.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::DnsName(name);
        let started = connection
            .start_client_tls(Arc::new(config), name, self.limit)
            .await;
        match (started, cell.verdict().map(|v| &v.pkix)) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(Err(failure))) => Err((FetchError::Certificate, failure.to_string())),
            (Err(error), _) => Err(unreachable(match tls_error(&error) {
                Some(error) => format!("TLS: {error}"),
                None => error.to_string(),
            })),
        }
    }
}

async fn exchange(
    connection: &mut Connection,
    request: &FetchRequest,
    port: u16,
) -> Result<Answer, String> {
    // RFC 9110 7.2: with the port, unless it is that of the scheme.
    let host = match port {
        443 => request.host.clone(),
        port => format!("{}:{port}", request.host),
    };
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringmail\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
        request.path
    );
    let broke = |e: io::Error| e.to_string();
    connection.write_all(text.as_bytes()).await.map_err(broke)?;
    let mut answer = Answer::new(request.body_max);
    loop {
        let took = connection.read_with(|octets| (octets.is_empty(), answer.receive(octets)));
        match took.await.map_err(broke)? {
            (_, Err(error)) => return Err(error.to_string()),
            (_, Ok(true)) => return Ok(answer),
            (true, _) => return Err("the answer breaks off".into()),
            (false, Ok(false)) => (),
        }
    }
}

fn failed(error: FetchError, words: impl Into<String>) -> Failed {
    let words = words.into();
    Failed { error, words }
}

/// Addresses of a policy host that are tried.
const ADDRESSES_MAX: usize = 4;
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
