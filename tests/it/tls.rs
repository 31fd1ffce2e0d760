//! TLS on every door: STARTTLS and from the start, what is sent ahead of it, certificates that are replaced.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ringmail::settings::Door;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::server::TestServer;
use crate::smtp::numbers;

/// Takes any certificate and remembers it.
#[derive(Debug)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a client shows of itself, DER.
pub struct ClientCertificate {
    pub certificate: Vec<u8>,
    private: Vec<u8>,
}

impl ClientCertificate {
    pub fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> ClientCertificate {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut params = rcgen::CertificateParams::default();
        // Expired long ago: only the key counts.
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let certificate = params.self_signed(&pair).unwrap();
        ClientCertificate {
            certificate: certificate.der().to_vec(),
            private: pair.serialize_der(),
        }
    }
}

/// A client over TLS, line by line.
pub struct Client {
    pub talk: BufReader<StreamOwned<ClientConnection, Steady>>,
    certificate: Vec<u8>,
}

/// A socket whose reads go on after a signal: the executors of a server in the same process interrupt those of other threads.
pub struct Steady(pub TcpStream);

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => (),
                result => return result,
            }
        }
    }
}

impl Write for Steady {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Client {
    /// Shakes hands.
    pub fn over(
        stream: TcpStream,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<Client> {
        Client::with_key(stream, versions, None)
    }

    /// Shakes hands, and shows a certificate if it is asked for one.
    pub fn with_key(
        stream: TcpStream,
        versions: &[&'static rustls::SupportedProtocolVersion],
        key: Option<&ClientCertificate>,
    ) -> std::io::Result<Client> {
        Client::shake(stream, versions, key, &[])
    }

    /// The same, and names what it speaks. RFC 7301.
    pub fn speaking(stream: TcpStream, protocols: &[&str]) -> std::io::Result<Client> {
        Client::shake(stream, rustls::ALL_VERSIONS, None, protocols)
    }

    /// All of these together.
    pub fn shake(
        stream: TcpStream,
        versions: &[&'static rustls::SupportedProtocolVersion],
        key: Option<&ClientCertificate>,
        protocols: &[&str],
    ) -> std::io::Result<Client> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Seen(seen.clone())));
        let mut config = match key {
            None => config.with_no_client_auth(),
            Some(key) => config
                .with_client_auth_cert(
                    vec![key.certificate.clone().into()],
                    PrivateKeyDer::Pkcs8(key.private.clone().into()),
                )
                .unwrap(),
        };
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("mail.example.test").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, Steady(stream));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let certificate = seen.lock().unwrap().clone();
        Ok(Client {
            talk: BufReader::new(stream),
            certificate,
        })
    }

    fn implicit(server: &TestServer, door: Door) -> Client {
        Client::over(server.connect(door), rustls::ALL_VERSIONS).unwrap()
    }

    /// STARTTLS of SMTP.
    fn starttls(server: &TestServer, door: Door) -> Client {
        let mut plain = BufReader::new(Steady(server.connect(door)));
        until(&mut plain, "220 ");
        plain
            .get_mut()
            .write_all(b"EHLO client.example\r\n")
            .unwrap();
        assert!(until(&mut plain, "250 ").contains("250-STARTTLS\r\n"));
        plain.get_mut().write_all(b"STARTTLS\r\n").unwrap();
        until(&mut plain, "220 ");
        Client::over(plain.into_inner().0, rustls::ALL_VERSIONS).unwrap()
    }

    /// What a login may be bound to. RFC 9266 for TLS 1.3; RFC 5929 4: our test certificates are signed with SHA-256.
    pub fn bindings(&self) -> sasl::ChannelBindings {
        let connection = &self.talk.get_ref().conn;
        let is_13 = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let export = || {
            connection
                .export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b""))
                .unwrap()
        };
        let hash = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        sasl::ChannelBindings {
            exporter: is_13.then(export),
            server_end_point: Some(hash.as_ref().to_vec()),
        }
    }

    pub fn write(&mut self, text: &str) {
        self.talk.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn read_line(&mut self, line: &mut String) -> usize {
        self.talk.read_line(line).unwrap()
    }

    /// Writes in one go (one record, if it is short) and reads lines until one begins with `end`.
    pub fn say(&mut self, text: &str, end: &str) -> String {
        self.talk.get_mut().write_all(text.as_bytes()).unwrap();
        until(&mut self.talk, end)
    }
}

fn until(talk: &mut impl BufRead, end: &str) -> String {
    let mut all = String::new();
    loop {
        let start = all.len();
        let read = talk.read_line(&mut all).unwrap();
        assert!(read > 0, "closed before {end:?}: {all}");
        if all[start..].starts_with(end) {
            return all;
        }
    }
}

/// The rest, until the server closes; with or without a word of TLS.
fn rest(mut talk: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = talk.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes `cert.pem` and `key.pem`; answers the certificate.
pub fn certificate(directory: &Path) -> Vec<u8> {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["mail.example.test".to_string()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    let key = pem("PRIVATE KEY", &pair.serialize_der());
    std::fs::write(directory.join("key.pem"), key).unwrap();
    let chain = pem("CERTIFICATE", certificate.der());
    std::fs::write(directory.join("cert.pem"), chain).unwrap();
    certificate.der().to_vec()
}

/// RFC 7468 2.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn server() -> (TestServer, tempfile::TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let der = certificate(directory.path());
    (TestServer::with_tls(directory.path()), directory, der)
}

const MESSAGE: &str = "From: anna@example.test\r\nSubject: x\r\n\r\nhello\r\n.\r\n";
/// anna@example.test, anna-password: RFC 4616.
const PLAIN: &str = "AUTH PLAIN AGFubmFAZXhhbXBsZS50ZXN0AGFubmEtcGFzc3dvcmQ=\r\n";

fn send(client: &mut Client, sender: &str) {
    client.say(&format!("MAIL FROM:<{sender}>\r\n"), "250 ");
    client.say("RCPT TO:<bert@example.test>\r\n", "250 ");
    client.say("DATA\r\n", "354 ");
    client.say(MESSAGE, "250 ");
}

#[test]
fn a_message_over_each_door_with_tls() {
    let (server, _directory, der) = server();
    let mut smtp = Client::starttls(&server, Door::Smtp);
    assert_eq!(smtp.certificate, der);
    // RFC 3207 4.2: what was said before TLS is forgotten, the greeting too.
    assert!(
        smtp.say("MAIL FROM:<a@example.org>\r\n", "503")
            .starts_with("503")
    );
    let greeting = smtp.say("EHLO client.example\r\n", "250 ");
    assert!(!greeting.contains("STARTTLS"), "{greeting}");
    send(&mut smtp, "a@example.org");
    for client in [
        Client::starttls(&server, Door::Submission),
        Client::implicit(&server, Door::Submissions),
    ] {
        let mut client = client;
        client.say("EHLO client.example\r\n", "250 ");
        client.say(PLAIN, "235 ");
        send(&mut client, "anna@example.test");
    }
    assert_eq!(numbers(&server, "bert").0, 3);
    // RFC 3848: how each came.
    let mut imap = Client::implicit(&server, Door::Imaps);
    let text = imap.say(
        "a LOGIN bert@example.test bert-password\r\nb SELECT INBOX\r\nc FETCH 1:3 BODY.PEEK[HEADER.FIELDS (RECEIVED)]\r\n",
        "c OK",
    );
    let text = text.replace("\r\n\t", " ");
    assert_eq!(text.matches("with ESMTPSA ").count(), 2, "{text}");
    assert_eq!(text.matches("with ESMTPS ").count(), 1, "{text}");
}

#[test]
fn plain_text_sent_ahead_of_the_handshake_has_no_effect() {
    let (server, _directory, _) = server();
    // RFC 3207 4.2, RFC 9051 11.3: whoever sits between could put commands there.
    for (door, prelude, command) in [
        (
            Door::Smtp,
            "EHLO x.example\r\n",
            "STARTTLS\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<bert@example.test>\r\n",
        ),
        (
            Door::Submission,
            "EHLO x.example\r\n",
            "STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n",
        ),
        (
            Door::Imap,
            "",
            "a STARTTLS\r\nb LOGIN bert@example.test bert-password\r\n",
        ),
    ] {
        let mut stream = server.connect(door);
        stream.write_all(prelude.as_bytes()).unwrap();
        let mut plain = BufReader::new(Steady(stream));
        until(&mut plain, if prelude.is_empty() { "* OK" } else { "250 " });
        plain.get_mut().write_all(command.as_bytes()).unwrap();
        let answer = rest(plain);
        assert!(!answer.contains("b OK"), "{door:?}: {answer}");
        assert!(!answer.contains("250 2.1"), "{door:?}: {answer}");
        assert!(
            answer.starts_with("* BYE")
                || answer.starts_with('5')
                || answer.starts_with('4')
                || answer.is_empty(),
            "{door:?}: {answer}"
        );
    }
}

#[test]
fn commands_behind_the_login_in_the_same_record_are_answered_by_the_owner() {
    let (server, _directory, _) = server();
    // Names of several cores; one of them at least is not the core that accepted.
    for name in ["anna", "bert", "dora"] {
        for starttls in [false, true] {
            let mut client = if starttls {
                let mut plain = BufReader::new(Steady(server.connect(Door::Imap)));
                assert!(until(&mut plain, "* OK").contains("STARTTLS"));
                plain.get_mut().write_all(b"s STARTTLS\r\n").unwrap();
                until(&mut plain, "s OK");
                Client::over(plain.into_inner().0, rustls::ALL_VERSIONS).unwrap()
            } else {
                let mut client = Client::implicit(&server, Door::Imaps);
                until(&mut client.talk, "* OK");
                client
            };
            let text = client.say(
                &format!(
                    "a LOGIN {name}@example.test {name}-password\r\nb SELECT INBOX\r\nc STATUS INBOX (MESSAGES)\r\nd APPEND INBOX {{8+}}\r\nA: b\r\n\r\n\r\ne NOOP\r\n"
                ),
                "e OK",
            );
            for tag in ["a OK", "b OK", "c OK", "d OK"] {
                assert_eq!(
                    text.matches(&format!("\n{tag}")).count() + usize::from(text.starts_with(tag)),
                    1,
                    "{text}"
                );
            }
            // And a second round, over the session that moved.
            assert!(client.say("f IDLE\r\n", "+ ").starts_with("+ "));
            client.say("DONE\r\n", "f OK");
            client.say("g LOGOUT\r\n", "g OK");
        }
    }
}

#[test]
fn versions_before_the_oldest_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    let server = TestServer::with_tls(directory.path());
    let newer: &[&'static rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    assert!(Client::over(server.connect(Door::Imaps), newer).is_ok());
    let mut settings = server.server().live().settings.clone();
    for listener in &mut settings.server.listener {
        if let Some(tls) = &mut listener.tls {
            tls.min_version = ringmail::settings::TlsVersion::V1_3;
        }
    }
    server.server().reload(settings).unwrap();
    assert!(Client::over(server.connect(Door::Imaps), newer).is_err());
    Client::implicit(&server, Door::Imaps);
}

#[test]
fn a_replaced_certificate_is_used_and_a_broken_one_is_not() {
    let (server, directory, first) = server();
    let mut old = Client::implicit(&server, Door::Imaps);
    assert_eq!(old.certificate, first);
    let second = certificate(directory.path());
    assert_eq!(Client::implicit(&server, Door::Imaps).certificate, first);
    assert_eq!(
        server.server().reload_certificates(),
        Ok(Vec::new()),
        "nothing is kept"
    );
    for door in [Door::Imaps, Door::Submissions] {
        assert_eq!(Client::implicit(&server, door).certificate, second);
    }
    assert_eq!(Client::starttls(&server, Door::Smtp).certificate, second);
    // Who came before goes on.
    old.say("a NOOP\r\n", "a OK");
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB!\n-----END CERTIFICATE-----\n";
    std::fs::write(directory.path().join("cert.pem"), broken).unwrap();
    let kept = server.server().reload_certificates().unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].contains("cert.pem"), "{kept:?}");
    assert!(
        kept[0].ends_with("the certificate in use is kept"),
        "{kept:?}"
    );
    assert_eq!(Client::implicit(&server, Door::Imaps).certificate, second);
    // A key that belongs to another certificate is no better.
    certificate(directory.path());
    std::fs::write(
        directory.path().join("cert.pem"),
        pem("CERTIFICATE", &second),
    )
    .unwrap();
    let kept = server.server().reload_certificates().unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(Client::implicit(&server, Door::Imaps).certificate, second);
}

#[test]
fn handshakes_beyond_the_bound_wait_for_those_before() {
    let (server, _directory, _) = server();
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.tls.handshakes_per_core_max = 1;
    server.server().reload(settings).unwrap();
    for door in [Door::Imaps, Door::Submissions] {
        // So many that each core has one; they begin (RFC 8446 5.1) and do not go on.
        let begin = |_| {
            let mut stream = server.connect(door);
            stream.write_all(&[22, 3, 1]).unwrap();
            stream
        };
        let resting: Vec<TcpStream> = (0..64).map(begin).collect();
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                Client::implicit(&server, door);
            });
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(!waiting.is_finished(), "{door:?}: it waits");
            drop(resting);
            waiting.join().expect("and then gets its turn");
        });
    }
}

/// A connection from another address of this machine.
fn connect_from(source: &str, to: std::net::SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    // Less than a handshake that rests has.
    let limit = std::time::Duration::from_secs(40);
    stream.set_read_timeout(Some(limit)).unwrap();
    stream
}

/// A client of a server with TLS, which it trusts whoever it is.
fn handshake() -> ClientConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Seen(Arc::default())))
        .with_no_client_auth();
    let name = ServerName::try_from("mail.example.test").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

fn hello() -> Vec<u8> {
    let mut hello = Vec::new();
    handshake().write_tls(&mut hello).unwrap();
    hello
}

/// The first line that the server says within TLS.
fn greeting(source: &str, to: std::net::SocketAddr) -> std::io::Result<String> {
    let stream = StreamOwned::new(handshake(), Steady(connect_from(source, to)));
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map(|_| line)
}

fn with_turns(directory: &std::path::Path, turns: u32) -> TestServer {
    certificate(directory);
    let server = TestServer::with_tls(directory);
    let mut settings = server.server().live().settings.clone();
    settings.server.limits.tls.handshakes_per_core_max = turns;
    server.server().reload(settings).unwrap();
    server
}

#[test]
fn handshakes_that_rest_at_many_addresses_hold_up_nobody_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_turns(directory.path(), 16);
    let to = server.address(Door::Imaps);
    let hello = hello();
    // More than all turns of each core, in one /26: without an end to them each lasts a minute.
    let resting: Vec<TcpStream> = (0..120)
        .map(|number| {
            let mut stream = connect_from(&format!("127.0.3.{}", number % 12 + 1), to);
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    // From far away and from nearby.
    for source in ["127.1.0.1", "127.0.3.60"] {
        assert!(greeting(source, to).unwrap().starts_with("* OK"));
    }
    drop(resting);
}

#[test]
fn handshakes_that_rest_hold_up_nobody_of_another_address_and_silence_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_turns(directory.path(), 16);
    let to = server.address(Door::Imaps);
    // A ClientHello without what follows it; and nothing at all.
    let hello = hello();
    let resting: Vec<TcpStream> = (0..40)
        .map(|number| {
            let mut stream = connect_from("127.0.3.1", to);
            if number % 2 == 0 {
                stream.write_all(&hello).unwrap();
            }
            stream
        })
        .collect();
    assert!(greeting("127.0.4.1", to).unwrap().starts_with("* OK"));
    // From there too, once they are gone.
    drop(resting);
    assert!(greeting("127.0.3.1", to).unwrap().starts_with("* OK"));
    let silent: Vec<TcpStream> = (0..40).map(|_| connect_from("127.0.3.1", to)).collect();
    assert!(greeting("127.0.3.1", to).unwrap().starts_with("* OK"));
    drop(silent);
}
