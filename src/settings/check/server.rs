//! The static file: what must be there, ranges, listeners that are in each other's way. A part of `check.rs`.
//! RFC 8314 3.3 (no passwords without TLS), RFC 5321 4.5.3.1 (sizes).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::Check;
use crate::settings::dns::DNS_SERVERS_MAX;
use crate::settings::listener::{Door, Listener, Service, StartTls};
use crate::settings::parse::{locate, nearest};
use crate::settings::server::Server;
use crate::settings::units::Secs;

impl Check<'_> {
    pub(super) fn server(&mut self) {
        let (server, text) = (&self.settings.server, &self.texts.server);
        if server.data_dir.as_os_str().is_empty() {
            self.missing(
                text,
                &["data_dir"],
                "the directory of all data, such as \"/var/lib/ringmail\"",
            );
        }
        if server.hostname.is_none() {
            self.missing(
                text,
                &["hostname"],
                "the full name of this host, such as \"mail.example.org\"",
            );
        }
        if let Some(name) = &server.hostname
            && !is_host_name(name.as_str())
        {
            self.not_a_host(&["hostname"], name.as_str());
        }
        if let Some(url) = &server.public_url
            && !is_origin(url)
        {
            self.report(
                text,
                &["public_url"],
                format!("{url:?} is not where a server can be found"),
                "\"https://\", a name, a port if it is not the usual one, and nothing behind it, as in \"https://mail.example.org\"",
            );
        }
        if server.listener.is_empty() {
            self.missing(
                text,
                &["listener"],
                "at least one [[listener]] says where the server listens",
            );
        }
        self.in_ranges(&ranges(server));
        self.oauth();
        self.outbound();
        self.pools();
        self.timeouts();
        self.dns();
        self.log_modules();
        for (at, listener) in server.listener.iter().enumerate() {
            self.listener(&at.to_string(), listener);
        }
        self.listener_names();
        self.sockets();
    }

    fn not_a_host(&mut self, path: &[&str], name: &str) {
        self.report(
            &self.texts.server,
            path,
            format!("{name:?} cannot be the name of a host"),
            "letters, digits, hyphens and dots, as in \"mail.example.org\"",
        );
    }

    pub(super) fn in_ranges(&mut self, rows: &[(&str, u64, u64, u64)]) {
        for &(path, value, least, most) in rows {
            if !(least..=most).contains(&value) {
                let steps: Vec<&str> = path.split('.').collect();
                let hint = if most == u64::MAX {
                    format!("at least {least}")
                } else {
                    format!("from {least} to {most}")
                };
                self.report(
                    &self.texts.server,
                    &steps,
                    format!("{path} cannot be {value}"),
                    &hint,
                );
            }
        }
    }

    /// Of those that are there; one that could not be read has been reported.
    fn timeouts(&mut self) {
        let waits = &self.settings.server.queue.retry_secs;
        if waits.is_empty() || waits.len() > 100 || waits.iter().any(|wait| wait.0.is_zero()) {
            self.report(
                &self.texts.server,
                &["queue", "retry_secs"],
                "1 to 100 waits of a second or more are needed".to_owned(),
                "leave it out for the default",
            );
        }
        let waits = &self.settings.server.webhooks.retry_secs;
        if waits.len() > 100 || waits.iter().any(|wait| wait.0.is_zero()) {
            self.report(
                &self.texts.server,
                &["webhooks", "retry_secs"],
                "at most 100 waits, each of a second or more".to_owned(),
                "leave it out for the default",
            );
        }
        for (path, value) in timeouts(&self.settings.server) {
            if value.0.is_zero() {
                let steps: Vec<&str> = path.split('.').collect();
                self.report(
                    &self.texts.server,
                    &steps,
                    format!("{path} cannot be 0: everybody would be too late"),
                    "a time such as \"30s\" or \"5m\"",
                );
            }
        }
        for (at, listener) in self.settings.server.listener.iter().enumerate() {
            if listener
                .tls
                .as_ref()
                .is_some_and(|t| t.reread_secs.0.is_zero())
            {
                self.report(
                    &self.texts.server,
                    &["listener", &at.to_string(), "tls", "reread_secs"],
                    "reread_secs cannot be 0".to_owned(),
                    "a time such as \"30s\" or \"5m\"",
                );
            }
        }
    }

    fn dns(&mut self) {
        let (dns, text) = (&self.settings.server.dns, &self.texts.server);
        // An element that could not be read has been reported, and is not among them.
        let first = ["dns", "servers", "0"].map(str::to_owned);
        let has_elements = locate(&text.content, &first).1;
        if let Some(servers) = &dns.servers
            && (servers.is_empty() && !has_elements || servers.len() > DNS_SERVERS_MAX)
        {
            self.report(
                text,
                &["dns", "servers"],
                format!("there are {} DNS servers", servers.len()),
                &format!("1 to {DNS_SERVERS_MAX}, or no such field: then those of /etc/resolv.conf are asked"),
            );
        }
        if dns.ttl_min_secs > dns.ttl_max_secs {
            self.report(
                text,
                &["dns", "ttl_min_secs"],
                "ttl_min_secs is longer than ttl_max_secs".to_owned(),
                "",
            );
        }
    }

    /// The first part of a name, which is a room of ours or a library; what lies in it may change from version to version.
    fn log_modules(&mut self) {
        for name in self.settings.server.log.modules.keys() {
            let room = name.split("::").next().unwrap_or_default();
            if MODULES.contains(&room) {
                continue;
            }
            let hint = match nearest(room, &MODULES) {
                Some(near) => format!("did you mean {near}? Known are {}", MODULES.join(", ")),
                None => format!("known are {}, and what lies in them", MODULES.join(", ")),
            };
            self.report(
                &self.texts.server,
                &["log", "modules", name],
                format!("there is no module {room:?}"),
                &hint,
            );
        }
    }

    /// `addresses = []`. One whose elements could not be read has been reported.
    fn empty_list(&mut self, at: &str) {
        let steps = |more: &[&str]| -> Vec<String> {
            let all = [&["listener", at, "addresses"], more].concat();
            all.iter().map(|step| (*step).to_owned()).collect()
        };
        let content = &self.texts.server.content;
        let (place, there) = locate(content, &steps(&[]));
        let reported = self.problems.iter().any(|p| {
            p.file == self.texts.server.path
                && p.place.as_ref().map(|p| p.line) == place.as_ref().map(|p| p.line)
        });
        if there && !reported && !locate(content, &steps(&["0"])).1 {
            self.report(
                &self.texts.server,
                &["listener", at, "addresses"],
                "the listener has no address to listen on".to_owned(),
                ADDRESSES_HINT,
            );
        }
    }

    fn listener(&mut self, at: &str, listener: &Listener) {
        let text = &self.texts.server;
        if listener.name.is_empty() {
            self.missing(
                text,
                &["listener", at, "name"],
                "a word for logs and metrics, such as \"public\"",
            );
        }
        if let Some(name) = &listener.hostname
            && !is_host_name(name.as_str())
        {
            self.not_a_host(&["listener", at, "hostname"], name.as_str());
        }
        if listener.addresses.is_empty() {
            self.missing(text, &["listener", at, "addresses"], ADDRESSES_HINT);
            self.empty_list(at);
        }
        for (n, pair) in listener
            .tls
            .iter()
            .flat_map(|tls| &tls.certificates)
            .enumerate()
        {
            let n = n.to_string();
            for (field, path) in [("cert", &pair.cert), ("key", &pair.key)] {
                if path.as_os_str().is_empty() {
                    self.missing(
                        text,
                        &["listener", at, "tls", "certificates", &n, field],
                        "the path of a PEM file",
                    );
                }
            }
        }
        for service in listener.services() {
            self.service(&["listener", at, service.door.as_str()], listener, service);
        }
        let http = listener.http.as_ref().filter(|http| http.enabled);
        if http.is_some_and(|http| http.webapi && !http.allow_plain_auth) {
            // RFC 8314 3.3: passwords travel over TLS only.
            let message = "nobody could log in to the API at http: there is no TLS, and passwords may not travel without";
            let hint = "set webapi = true at [listener.https], or allow_plain_auth = true here on a network you trust";
            self.report(
                text,
                &["listener", at, "http", "webapi"],
                message.to_owned(),
                hint,
            );
        }
    }

    fn service(&mut self, path: &[&str], listener: &Listener, service: Service) {
        let text = &self.texts.server;
        let Service {
            door,
            port,
            starttls,
            allow_plain_auth,
        } = service;
        if port == 0 {
            let steps: Vec<&str> = path.iter().copied().chain(["port"]).collect();
            self.report(
                text,
                &steps,
                "port 0 cannot be listened on".to_owned(),
                "a port from 1 to 65535",
            );
        }
        let without_tls = !listener.has_certificates();
        if door.implicit_tls() && without_tls {
            let message = format!(
                "{} needs a certificate: TLS begins with the first octet",
                door.as_str()
            );
            self.report(text, path, message, CERTIFICATES_HINT);
        }
        if starttls == StartTls::Required && without_tls {
            let message = format!(
                "{} requires STARTTLS, but the listener has no certificate",
                door.as_str()
            );
            self.report(text, path, message, CERTIFICATES_HINT);
        }
        let for_users = matches!(door, Door::Submission | Door::Imap);
        if for_users && !allow_plain_auth && (without_tls || starttls == StartTls::Off) {
            // RFC 8314 3.3: passwords travel over TLS only.
            let message = format!(
                "nobody could log in at {}: there is no TLS, and passwords may not travel without",
                door.as_str()
            );
            self.report(text, path, message, "add certificates and STARTTLS, or set allow_plain_auth = true on a network you trust");
        }
    }

    fn listener_names(&mut self) {
        let mut seen = HashMap::new();
        for (at, listener) in self.settings.server.listener.iter().enumerate() {
            if !listener.name.is_empty() && seen.insert(listener.name.as_str(), at).is_some() {
                let message = format!("there is another listener {:?}", listener.name);
                self.report(
                    &self.texts.server,
                    &["listener", &at.to_string(), "name"],
                    message,
                    "",
                );
            }
        }
    }

    /// Two services cannot have one socket; an unspecified address has all of its family.
    fn sockets(&mut self) {
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        for (at, listener) in self.settings.server.listener.iter().enumerate() {
            for endpoint in listener
                .endpoints()
                .iter()
                .filter(|e| e.address.port() != 0)
            {
                let clash = taken
                    .iter()
                    .find(|(address, _)| same_socket(*address, endpoint.address));
                if let Some((_, holder)) = clash {
                    let message = format!("{} is taken by {holder}", endpoint.address);
                    self.report(
                        &self.texts.server,
                        &["listener", &at.to_string(), endpoint.door.as_str()],
                        message,
                        "another port, or another address",
                    );
                }
                taken.push((
                    endpoint.address,
                    format!("{} of listener {:?}", endpoint.door.as_str(), listener.name),
                ));
            }
        }
    }
}

fn same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    let any_of_family = |x: IpAddr, y: IpAddr| x.is_unspecified() && x.is_ipv4() == y.is_ipv4();
    a.port() == b.port()
        && (a.ip() == b.ip() || any_of_family(a.ip(), b.ip()) || any_of_family(b.ip(), a.ip()))
}

/// RFC 5321 4.1.2: a domain is made of letters, digits and hyphens. Others refuse a greeting with more (RFC 5321 2.3.5).
/// RFC 6454 6.2: scheme, host and port alone.
fn is_origin(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.filter(|_| url.len() <= ORIGIN_MAX) else {
        return false;
    };
    match rest.rsplit_once(':') {
        Some((host, port)) => is_host_name(host) && port.parse::<u16>().is_ok_and(|p| p > 0),
        None => is_host_name(rest),
    }
}

/// Octets of a URL's origin.
const ORIGIN_MAX: usize = 300;

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let inside = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inside && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label)
}

/// Numbers with bounds of their own: field, value, least, most. What would stop all mail, or break a promise of an RFC, is refused.
#[rustfmt::skip] // a table
fn ranges(server: &Server) -> Vec<(&'static str, u64, u64, u64)> {
    const ANY: u64 = u64::MAX;
    let (cores, storage, limits) = (&server.cores, &server.storage, &server.limits);
    let (smtp, imap, http, auth) = (&limits.smtp, &limits.imap, &limits.http, &limits.auth);
    let queue = &server.queue;
    let hooks = &server.webhooks;
    vec![
        // io_uring: IORING_MAX_ENTRIES is 32768.
        ("cores.ring_depth", cores.ring_depth.into(), 64, 32_768),
        ("cores.spin_before_park_us", cores.spin_before_park_us.into(), 0, 10_000),
        ("cores.io_memory_bytes", cores.io_memory_bytes.0, 16 << 10, 1 << 30),
        ("cores.pool_threads", cores.pool_threads.unwrap_or(1).into(), 1, 256),
        ("cores.pool_jobs_max", cores.pool_jobs_max.into(), 1, 1 << 20),
        ("cores.render_threads", cores.render_threads.into(), 1, 256),
        ("cores.lane_calls_max", cores.lane_calls_max.into(), 16, 1 << 20),
        ("cores.call_timeout_secs", cores.call_timeout_secs.0.as_secs(), 1, 3600),
        ("storage.shards", storage.shards.unwrap_or(1).into(), 1, 1024),
        ("storage.segment_size_bytes", storage.segment_size_bytes.0, 1 << 20, 4 << 30),
        ("storage.group_batches_max", storage.group_batches_max.into(), 1, 1 << 16),
        ("storage.group_bytes_max", storage.group_bytes_max.0, 64 << 10, 1 << 30),
        ("storage.commit_timeout_secs", storage.commit_timeout_secs.0.as_secs(), 1, 3600),
        ("storage.body_in_memory_max_bytes", storage.body_in_memory_max_bytes.0, 4 << 10, storage.segment_size_bytes.0 / 2),
        ("storage.body_memory_budget_bytes", storage.body_memory_budget_bytes.0, storage.body_in_memory_max_bytes.0, ANY),
        ("storage.compaction_dead_percent", storage.compaction_dead_percent.into(), 5, 95),
        ("storage.compaction_rate_bytes", storage.compaction_rate_bytes.0, 64 << 10, ANY),
        ("dns.tries", server.dns.tries.into(), 1, 10),
        ("dns.questions_per_core_max", server.dns.questions_per_core_max.into(), 1, 10_000),
        ("dns.cache_entries_max", server.dns.cache_entries_max.into(), 0, 10_000_000),
        // RFC 5321 4.5.3.1.7: at least 64K octets.
        ("limits.smtp.message_size_max_bytes", smtp.message_size_max_bytes.0, 64 << 10, 1 << 40),
        ("limits.smtp.recipients_max", smtp.recipients_max.into(), 1, 1 << 20),
        // RFC 5321 4.5.3.1.4: at least 512 octets.
        ("limits.smtp.command_line_max_bytes", smtp.command_line_max_bytes.0, 512, 1 << 20),
        ("limits.smtp.auth_line_max_bytes", smtp.auth_line_max_bytes.0, 512, 1 << 20),
        ("limits.smtp.received_fields_max", smtp.received_fields_max.into(), 1, 10_000),
        ("limits.smtp.connections_per_core_max", smtp.connections_per_core_max.into(), 1, ANY),
        ("limits.smtp.bad_commands_max", smtp.bad_commands_max.into(), 1, ANY),
        ("limits.smtp.auth_failures_max", smtp.auth_failures_max.into(), 1, ANY),
        ("limits.smtp.bad_transactions_max", smtp.bad_transactions_max.into(), 1, ANY),
        ("limits.smtp.unknown_recipients_max", smtp.unknown_recipients_max.into(), 1, ANY),
        ("limits.imap.line_max_bytes", imap.line_max_bytes.0, 1 << 10, 1 << 24),
        ("limits.imap.literal_max_bytes", imap.literal_max_bytes.0, 1 << 10, 1 << 30),
        ("limits.imap.literals_max_bytes", imap.literals_max_bytes.0, imap.literal_max_bytes.0, 1 << 32),
        ("limits.imap.literals_max", imap.literals_max.into(), 2, 1 << 20),
        ("limits.imap.message_size_max_bytes", imap.message_size_max_bytes.0, 64 << 10, 1 << 40),
        // Else some messages could be stored but not read.
        ("limits.imap.message_memory_max_bytes", imap.message_memory_max_bytes.0, imap.message_size_max_bytes.0.max(8 << 20), ANY),
        ("limits.imap.connections_per_core_max", imap.connections_per_core_max.into(), 1, ANY),
        ("limits.imap.bad_commands_max", imap.bad_commands_max.into(), 1, ANY),
        ("limits.imap.auth_failures_max", imap.auth_failures_max.into(), 1, ANY),
        ("limits.http.header_max_bytes", http.header_max_bytes.0, 8 << 10, 1 << 24),
        ("limits.http.connections_max", http.connections_max.into(), 1, ANY),
        ("limits.http.batch_recipients_max", http.batch_recipients_max.into(), 1, 1 << 14),
        ("limits.tls.handshakes_per_core_max", limits.tls.handshakes_per_core_max.into(), 1, ANY),
        ("limits.auth.checks_waiting_max", auth.checks_waiting_max.into(), 1, 1 << 20),
        ("limits.auth.account_failures_per_hour_max", auth.account_failures_per_hour_max.into(), 1, ANY),
        // RFC 9106 3.1: memory is at least 8 KiB for each lane; below 7 MiB argon2id no longer protects.
        ("limits.auth.argon2_memory_bytes", auth.argon2_memory_bytes.0, 8 << 10, 4 << 30),
        // RFC 7677 4: at least 4096. A client that computes for minutes gives up.
        ("limits.auth.scram_sha256_iterations", auth.scram_sha256_iterations.into(), 4096, 100_000_000),
        ("limits.auth.scram_sha1_iterations", auth.scram_sha1_iterations.into(), 4096, 100_000_000),
        ("limits.auth.refusals_per_second_max", auth.refusals_per_second_max.into(), 1, 1_000_000),
        ("tls_policy.mta_sts_port", server.tls_policy.mta_sts_port.into(), 1, 65_535),
        ("tls_policy.fetches_per_core_max", server.tls_policy.fetches_per_core_max.into(), 1, 1000),
        ("tls_policy.policies_per_shard_max", server.tls_policy.policies_per_shard_max.into(), 100, 10_000_000),
        ("tls_policy.fetch_timeout_secs", server.tls_policy.fetch_timeout_secs.0.as_secs(), 1, 300),
        // RFC 8460 4.1: a report is about a day, and may be tried for another.
        ("tls_policy.results_kept_days", server.tls_policy.results_kept_days.into(), 3, 366),
        ("tls_policy.results_domains_per_day_max", server.tls_policy.results_domains_per_day_max.into(), 100, 1_000_000),
        ("queue.give_up_after_secs", queue.give_up_after_secs.0.as_secs(), 60, 60 * 86_400),
        ("queue.delay_notice_after_secs", queue.delay_notice_after_secs.0.as_secs(), 60, ANY),
        // RFC 4865 3: nine digits.
        ("queue.hold_max_secs", queue.hold_max_secs.0.as_secs(), 0, 999_999_999),
        ("queue.fresh_memory_bytes", queue.fresh_memory_bytes.0, 0, ANY),
        ("queue.account_messages_per_core_max_bytes", queue.account_messages_per_core_max_bytes.0, 1 << 20, ANY),
        ("queue.keep_retired_secs", queue.keep_retired_secs.0.as_secs(), 0, 3660 * 86_400),
        ("webhooks.timeout_secs", hooks.timeout_secs.0.as_secs(), 1, 600),
        ("webhooks.connect_timeout_secs", hooks.connect_timeout_secs.0.as_secs(), 1, 600),
        ("webhooks.calls_per_core_max", hooks.calls_per_core_max.into(), 2, 10_000),
        ("webhooks.calls_per_account_max", hooks.calls_per_account_max.into(), 1, 10_000),
        ("webhooks.payload_memory_max_bytes", hooks.payload_memory_max_bytes.0, 1 << 20, 1 << 40),
        ("webhooks.pending_per_account_max", hooks.pending_per_account_max, 1, 100_000_000),
        // One webhook about a message that came may say 4 MiB.
        ("webhooks.pending_per_account_max_bytes", hooks.pending_per_account_max_bytes.0, 4 << 20, 1 << 50),
        ("webhooks.keep_webhooks_secs", hooks.keep_webhooks_secs.0.as_secs(), 0, 3660 * 86_400),
        ("webhooks.disable_after_secs", hooks.disable_after_secs.0.as_secs(), 1, 3660 * 86_400),
        ("webhooks.give_up_after_secs", hooks.give_up_after_secs.0.as_secs(), 1, 3660 * 86_400),
        ("queue.recipients_per_core_max", queue.recipients_per_core_max.into(), 1, 100_000_000),
        ("queue.account_recipients_per_core_max", queue.account_recipients_per_core_max.into(), 1, 100_000_000),
        ("limits.auth.argon2_passes", auth.argon2_passes.into(), 1, 64),
        ("limits.auth.records_kept_days", auth.records_kept_days.into(), 1, 3650),
        ("limits.auth.records_max", auth.records_max.into(), 20, 1_000_000),
    ]
}

/// Times in which a peer has to do something.
#[rustfmt::skip] // a table
fn timeouts(server: &Server) -> [(&'static str, Secs); 17] {
    let limits = &server.limits;
    let (smtp, imap, http) = (&limits.smtp, &limits.imap, &limits.http);
    [
        ("limits.smtp.command_timeout_secs", smtp.command_timeout_secs),
        ("limits.smtp.data_block_timeout_secs", smtp.data_block_timeout_secs),
        ("limits.smtp.data_timeout_secs", smtp.data_timeout_secs),
        ("limits.smtp.write_timeout_secs", smtp.write_timeout_secs),
        ("limits.imap.inactive_timeout_secs", imap.inactive_timeout_secs),
        ("limits.imap.login_timeout_secs", imap.login_timeout_secs),
        ("limits.imap.literal_timeout_secs", imap.literal_timeout_secs),
        ("limits.imap.write_timeout_secs", imap.write_timeout_secs),
        ("limits.imap.login_write_timeout_secs", imap.login_write_timeout_secs),
        ("limits.imap.bye_timeout_secs", imap.bye_timeout_secs),
        ("limits.http.header_timeout_secs", http.header_timeout_secs),
        ("limits.http.idle_timeout_secs", http.idle_timeout_secs),
        ("limits.http.request_timeout_secs", http.request_timeout_secs),
        ("limits.http.body_timeout_secs", http.body_timeout_secs),
        ("limits.http.response_timeout_secs", http.response_timeout_secs),
        ("dns.try_timeout_secs", server.dns.try_timeout_secs),
        ("limits.tls.handshake_timeout_secs", limits.tls.handshake_timeout_secs),
    ]
}

/// What may stand in `[log.modules]`: our rooms and crates, and libraries that log.
#[rustfmt::skip] // a list
const MODULES: [&str; 44] = [
    "calls", "cli", "client_tls", "control", "directory", "handle", "hooks", "imap_server", "inbound", "live", "login", "lookup", "metrics", "outbound", "percore", "queue", "recipes", "sendmail",
    "serve",
    "settings", "signing", "smtp_server", "store", "telemetry", "tls_policy", "web", //
    "shards", "smtp", "imap", "message", "sasl", "dns", "dsn", "dkim", "mta_sts", "dane", "tls_rpt", "webapi", //
    "rustls", "fjall", "lsm_tree", "glommio", "hyper", "mio",
];
const ADDRESSES_HINT: &str = "addresses to listen on, such as [\"192.0.2.1\", \"2001:db8::1\"]";
const CERTIFICATES_HINT: &str =
    "[listener.tls] with certificates = [{ cert = \"chain.pem\", key = \"key.pem\" }]";
