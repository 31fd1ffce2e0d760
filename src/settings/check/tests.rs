//! Mistakes that only show when all files are seen together, each with its place.

use super::*;

const SERVER: &str = "
data_dir = \"data\"
hostname = \"mail.example.org\"
[[listener]]
name = \"public\"
addresses = [\"192.0.2.1\", \"2001:db8::1\"]
tls.certificates = [{ cert = \"tls/c.pem\", key = \"/k.pem\" }]
smtp = {}
submission = {}
submissions = {}
imap = {}
imaps = {}
";

const DOMAINS: &str = "
[postmaster]
account = \"anna\"
[domain.\"example.org\"]
separators = [\"+\"]
";

const ANNA: &str = "addresses = [\"anna@example.org\"]\n";

fn texts(server: &str, domains: &str, accounts: &[(&str, &str)]) -> Texts {
    let accounts = accounts
        .iter()
        .map(|(file, content)| Text::new(format!("/etc/accounts/{file}"), *content));
    Texts {
        server: Text::new("/etc/ringmail.toml", server),
        domains: Text::new("/etc/domains.toml", domains),
        accounts: accounts.collect(),
    }
}

/// File name, line and message of each mistake.
fn mistakes(server: &str, domains: &str, accounts: &[(&str, &str)]) -> Vec<String> {
    let problems = parse_and_check(&texts(server, domains, accounts))
        .map_or_else(|problems| problems.0, |_| Vec::new());
    let line = |p: &Problem| {
        let file = p.file.file_name().unwrap().to_str().unwrap();
        format!(
            "{file}:{}: {}",
            p.place.as_ref().map_or(0, |place| place.line),
            p.message
        )
    };
    problems.iter().map(line).collect()
}

fn server_mistakes(server: &str) -> Vec<String> {
    mistakes(server, DOMAINS, &[("anna.toml", ANNA)])
}

fn domains_mistakes(domains: &str) -> Vec<String> {
    mistakes(
        SERVER,
        &format!("{DOMAINS}{domains}"),
        &[("anna.toml", ANNA)],
    )
}

#[test]
fn dns_servers_are_some_and_addresses() {
    let with = |dns: &str| {
        server_mistakes(&SERVER.replace("[[listener]]", &format!("[dns]\n{dns}\n[[listener]]")))
    };
    assert!(with("servers = [\"127.0.0.1\", \"[::1]:5353\"]").is_empty());
    assert_eq!(
        with("servers = []"),
        ["ringmail.toml:5: there are 0 DNS servers"]
    );
    let nine = ["\"192.0.2.1\""; 9].join(", ");
    assert_eq!(
        with(&format!("servers = [{nine}]")),
        ["ringmail.toml:5: there are 9 DNS servers"]
    );
    let wrong = with("servers = [\"localhost\"]");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].starts_with("ringmail.toml:5: \"localhost\" is no DNS server"),
        "{wrong:?}"
    );
    assert_eq!(
        with("ttl_min_secs = \"2d\"\ntries = 0\ntry_timeout_secs = 0"),
        [
            "ringmail.toml:6: dns.tries cannot be 0",
            "ringmail.toml:7: dns.try_timeout_secs cannot be 0: everybody would be too late",
            "ringmail.toml:5: ttl_min_secs is longer than ttl_max_secs"
        ]
    );
}

#[test]
fn right_files_become_settings_with_paths_from_their_directory() {
    let settings = parse_and_check(&texts(SERVER, DOMAINS, &[("anna.toml", ANNA)])).unwrap();
    assert_eq!(settings.server.data_dir, Path::new("/etc/data"));
    assert_eq!(settings.server.accounts_dir, Path::new("/etc/accounts"));
    let pair = &settings.server.listener[0]
        .tls
        .as_ref()
        .unwrap()
        .certificates[0];
    assert_eq!(
        (pair.cert.as_path(), pair.key.as_path()),
        (Path::new("/etc/tls/c.pem"), Path::new("/k.pem"))
    );
    assert_eq!(settings.server.listener[0].endpoints().len(), 10);
    assert_eq!(settings.fingerprints.len(), 3);
}

#[test]
fn mistakes_of_all_files_come_together() {
    let found = mistakes(
        "hostname = 5\n[[listener]]\nname = \"a\"\naddresses = []\n",
        "[domain.\"example.org\"]\nnonsense = 1\n",
        &[
            (
                "anna.toml",
                "addresses = [\"anna@example.com\"]\nfull_nam = 1\n",
            ),
            ("Bob.toml", ""),
        ],
    );
    assert_eq!(
        found,
        [
            "ringmail.toml:1: invalid type: integer `5`, expected text in quotes",
            "domains.toml:2: unknown field \"nonsense\"",
            "anna.toml:2: unknown field \"full_nam\"",
            "Bob.toml:0: 'B' cannot be in an account name: only a-z, 0-9, '.', '_' and '-'",
            "ringmail.toml:0: missing field \"data_dir\"",
            "ringmail.toml:4: the listener has no address to listen on",
            "domains.toml:0: missing field \"postmaster\"",
            "anna.toml:1: anna@example.com: the domain example.com is not ours",
        ]
    );
}

#[test]
fn empty_files_say_what_is_missing() {
    let found = mistakes("", "", &[]);
    let missing = |field: &str| {
        found
            .iter()
            .any(|m| m.ends_with(&format!("missing field {field:?}")))
    };
    assert!(
        ["data_dir", "hostname", "listener", "postmaster"]
            .into_iter()
            .all(missing),
        "{found:?}"
    );
}

#[test]
fn two_services_cannot_have_one_socket() {
    let more = |listener: &str| {
        server_mistakes(&format!(
            "{SERVER}[[listener]]\nname = \"other\"\n{listener}"
        ))
    };
    assert_eq!(more("addresses = [\"127.0.0.1\"]\nsmtp = {}\n"), [""; 0]);
    assert_eq!(
        more("addresses = [\"192.0.2.1\"]\nsmtp = {}\n"),
        ["ringmail.toml:16: 192.0.2.1:25 is taken by smtp of listener \"public\""]
    );
    assert_eq!(
        more("addresses = [\"0.0.0.0\"]\nhttp = { port = 25 }\n"),
        ["ringmail.toml:16: 0.0.0.0:25 is taken by smtp of listener \"public\""]
    );
    assert_eq!(
        more("addresses = [\"::\"]\nhttp = { port = 25 }\n"),
        ["ringmail.toml:16: [::]:25 is taken by smtp of listener \"public\""]
    );
    assert_eq!(
        more("addresses = [\"127.0.0.1\"]\nhttp = { port = 25 }\nsmtp = { enabled = false }\n"),
        [""; 0]
    );
    assert_eq!(
        more("addresses = [\"127.0.0.1\"]\nhttp = {}\nsmtp = { port = 80 }\n"),
        ["ringmail.toml:16: 127.0.0.1:80 is taken by smtp of listener \"other\""]
    );
    assert_eq!(
        more("addresses = [\"127.0.0.1\"]\nhttp = { port = 0 }\n"),
        ["ringmail.toml:16: port 0 cannot be listened on"]
    );
    let twice = server_mistakes(&format!(
        "{SERVER}[[listener]]\nname = \"public\"\naddresses = [\"127.0.0.1\"]\n"
    ));
    assert_eq!(
        twice,
        ["ringmail.toml:14: there is another listener \"public\""]
    );
}

#[test]
fn a_host_has_a_name_that_others_take_in_a_greeting() {
    let named = |name: &str| {
        server_mistakes(&format!(
            "data_dir = \"d\"\nhostname = \"{name}\"\n[[listener]]\nname = \"l\"\naddresses = [\"127.0.0.1\"]\nsmtp = {{}}\n"
        ))
    };
    for right in ["h", "mail.example.org", "m-1.example.org", "bücher.example"] {
        assert_eq!(named(right), [""; 0], "{right}");
    }
    for wrong in ["mail_1.example.org", "m_.example.org"] {
        let expected = format!("ringmail.toml:2: {wrong:?} cannot be the name of a host");
        assert_eq!(named(wrong), [expected]);
    }
    let listener = named(
        "h\"\n[[listener]]\nname = \"m\"\naddresses = [\"::1\"]\nsmtp = {}\nhostname = \"a_b",
    );
    assert_eq!(
        listener,
        ["ringmail.toml:7: \"a_b\" cannot be the name of a host"]
    );
}

#[test]
fn tls_needs_certificates_and_passwords_need_tls() {
    let with = |services: &str| {
        let server = format!(
            "data_dir = \"d\"\nhostname = \"h\"\n[[listener]]\nname = \"l\"\naddresses = [\"127.0.0.1\"]\n{services}\n"
        );
        server_mistakes(&server)
    };
    assert_eq!(with("smtp = {}"), [""; 0]);
    assert_eq!(
        with("imaps = {}"),
        ["ringmail.toml:6: imaps needs a certificate: TLS begins with the first octet"]
    );
    assert_eq!(
        with("submissions = {}"),
        ["ringmail.toml:6: submissions needs a certificate: TLS begins with the first octet"]
    );
    assert_eq!(with("submissions = { enabled = false }"), [""; 0]);
    assert_eq!(
        with("smtp = { starttls = \"required\" }"),
        ["ringmail.toml:6: smtp requires STARTTLS, but the listener has no certificate"]
    );
    assert_eq!(
        with("imap = {}"),
        [
            "ringmail.toml:6: nobody could log in at imap: there is no TLS, and passwords may not travel without"
        ]
    );
    assert_eq!(with("imap = { allow_plain_auth = true }"), [""; 0]);
    assert_eq!(
        with("tls.certificates = [{ cert = \"c\" }]"),
        ["ringmail.toml:6: missing field \"key\""]
    );
}

#[test]
fn numbers_that_would_stop_all_mail_are_refused() {
    let with = |table: &str, field: &str| server_mistakes(&format!("{SERVER}[{table}]\n{field}\n"));
    assert_eq!(
        with("limits.smtp", "recipients_max = 0"),
        ["ringmail.toml:14: limits.smtp.recipients_max cannot be 0"]
    );
    assert_eq!(
        with("limits.smtp", "command_line_max_bytes = 511"),
        ["ringmail.toml:14: limits.smtp.command_line_max_bytes cannot be 511"]
    );
    assert_eq!(
        with("storage", "segment_size_bytes = \"1MiB\""),
        ["ringmail.toml:13: storage.body_in_memory_max_bytes cannot be 1048576"]
    );
    assert_eq!(
        with("cores", "ring_depth = 40000"),
        ["ringmail.toml:14: cores.ring_depth cannot be 40000"]
    );
    assert_eq!(with("storage", "segment_size_bytes = \"16MiB\""), [""; 0]);
}

#[test]
fn an_address_belongs_to_one_account() {
    let accounts = [
        ("anna.toml", ANNA),
        (
            "bob.toml",
            "addresses = [\n\"bob@example.org\",\n\"ANNA@Example.Org\",\n\"bob@example.org\",\n\"a+b@example.org\"]\n",
        ),
    ];
    assert_eq!(
        mistakes(SERVER, DOMAINS, &accounts),
        [
            "bob.toml:3: ANNA@example.org belongs to account anna already",
            "bob.toml:4: bob@example.org belongs to account bob already",
            "bob.toml:5: a+b@example.org has the separator \"+\" of its domain in it",
        ]
    );
    let sensitive = format!("{DOMAINS}localpart_case_sensitive = true\n");
    assert_eq!(
        mistakes(
            SERVER,
            &sensitive,
            &[
                ("anna.toml", ANNA),
                ("b.toml", "addresses = [\"ANNA@example.org\"]")
            ]
        ),
        [""; 0]
    );
    assert_eq!(
        mistakes(SERVER, DOMAINS, &[("anna.toml", ANNA), ("b.toml", "")]),
        ["b.toml:0: missing field \"addresses\""]
    );
}

#[test]
fn the_domains_file_names_accounts_that_exist() {
    assert_eq!(
        domains_mistakes("catchall = \"ana\"\npostmaster = \"zoe\"\n"),
        [
            "domains.toml:6: there is no account \"ana\"",
            "domains.toml:7: there is no account \"zoe\""
        ]
    );
    let problems = parse_and_check(&texts(
        SERVER,
        &format!("{DOMAINS}catchall = \"ana\"\n"),
        &[("anna.toml", ANNA)],
    ))
    .unwrap_err();
    assert_eq!(problems.0[0].hint.as_deref(), Some("did you mean anna?"));
    assert_eq!(
        mistakes(SERVER, DOMAINS, &[]),
        ["domains.toml:3: there is no account \"anna\""]
    );
    assert_eq!(
        mistakes(SERVER, "[postmaster]\nmailbox = \"X\"\n", &[]),
        ["domains.toml:1: missing field \"account\""]
    );
}

#[test]
fn an_alias_leads_to_addresses_of_accounts() {
    assert_eq!(
        domains_mistakes("aliases.team = { members = [\"Anna@example.org\"] }\n"),
        [""; 0]
    );
    assert_eq!(
        domains_mistakes(
            "aliases.team = { members = [\"bob@example.org\", \"x@example.com\", \"anna@example.org\", \"ANNA@example.org\"] }\n"
        ),
        [
            "domains.toml:6: bob@example.org is not an address of any account",
            "domains.toml:6: x@example.com is not an address of any account",
            "domains.toml:6: ANNA@example.org is a member twice",
        ]
    );
    assert_eq!(
        domains_mistakes("aliases.team = {}\n"),
        ["domains.toml:6: missing field \"members\""]
    );
    assert_eq!(
        domains_mistakes("aliases.anna = { members = [\"anna@example.org\"] }\n"),
        ["domains.toml:6: anna@example.org belongs to account anna already"]
    );
    assert_eq!(
        domains_mistakes(
            "aliases.x = { members = [\"anna@example.org\"] }\naliases.X = { members = [\"anna@example.org\"] }\n"
        ),
        ["domains.toml:7: x@example.org belongs to another alias already"]
    );
    assert_eq!(
        domains_mistakes("aliases.\"a+b\" = { members = [\"anna@example.org\"] }\n"),
        ["domains.toml:6: the alias has the separator \"+\" of its domain in it"]
    );
}

#[test]
fn what_follows_from_a_mistake_is_not_reported_as_another() {
    let domains = format!("{DOMAINS}aliases.team = {{ members = [\"bob@example.org\"] }}\n");
    let accounts = [
        ("anna.toml", ANNA),
        ("bob.toml", "addresses = [\"bob@example.org\"\n"),
    ];
    let found = mistakes(SERVER, &domains, &accounts);
    assert!(
        !found.is_empty() && found.iter().all(|m| m.starts_with("bob.toml:")),
        "{found:?}"
    );
}

#[test]
fn many_mistakes_are_counted_and_some_are_shown() {
    let contents: Vec<(String, String)> = (0..5000)
        .map(|n| {
            (
                format!("u{n}.toml"),
                format!("addresses = [\"u{n}@elsewhere.example\"]"),
            )
        })
        .collect();
    let mut accounts: Vec<(&str, &str)> = contents
        .iter()
        .map(|(file, content)| (file.as_str(), content.as_str()))
        .collect();
    accounts.push(("anna.toml", ANNA));
    let problems = parse_and_check(&texts(SERVER, DOMAINS, &accounts)).unwrap_err();
    assert_eq!(problems.0.len(), 5000);
    assert!(
        problems
            .to_string()
            .ends_with("5000 mistakes in the settings, the first 200 are shown")
    );
}

#[test]
fn times_of_nothing_are_refused_where_they_mean_nothing() {
    let limits = |text: &str| server_mistakes(&format!("{SERVER}[limits]\n{text}\n"));
    assert_eq!(
        limits("smtp.command_timeout_secs = 0\nhttp.idle_timeout_secs = \"0s\""),
        [
            "ringmail.toml:14: limits.smtp.command_timeout_secs cannot be 0: everybody would be too late",
            "ringmail.toml:15: limits.http.idle_timeout_secs cannot be 0: everybody would be too late",
        ]
    );
    // No delay, no keep-alive, no cache.
    let off = "smtp.slow_delay_secs = 0\nsmtp.unknown_recipient_delay_secs = 0\nimap.slow_delay_secs = 0\n\
               imap.keepalive_secs = 0\nauth.cache_secs = 0\nsmtp.write_timeout_secs = \"500ms\"";
    assert_eq!(limits(off), [""; 0]);
}

#[test]
fn a_listener_needs_an_address() {
    let none = SERVER.replace("[\"192.0.2.1\", \"2001:db8::1\"]", "[]");
    assert_eq!(
        server_mistakes(&none),
        ["ringmail.toml:6: the listener has no address to listen on"]
    );
    // A wrong one is one mistake.
    let wrong = SERVER.replace("[\"192.0.2.1\", \"2001:db8::1\"]", "5");
    assert_eq!(server_mistakes(&wrong).len(), 1);
}

#[test]
fn modules_of_the_log_are_known() {
    let modules = |text: &str| server_mistakes(&format!("{SERVER}[log.modules]\n{text}\n"));
    let right = "smtp_server = \"debug\"\n\"store::add\" = \"trace\"\nrustls = \"debug\"\nlsm_tree = \"debug\"\n\"shards::rt\" = \"warn\"";
    assert_eq!(modules(right), [""; 0]);
    assert_eq!(
        modules("smtp_serve = \"debug\"\n\"nope::a\" = \"debug\""),
        [
            "ringmail.toml:15: there is no module \"nope\"",
            "ringmail.toml:14: there is no module \"smtp_serve\"",
        ]
    );
    // No room of ours is missing in the list.
    let rooms = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    for room in rooms {
        let path = room.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !["lib", "main"].contains(&name) {
            let right = format!("{name} = \"info\"");
            assert_eq!(modules(&right), [""; 0], "{name}");
        }
    }
}

#[test]
fn whose_tokens_log_in_is_said_in_full() {
    let oauth = |text: &str| server_mistakes(&format!("{SERVER}[oauth]\n{text}\n"));
    let issuer = "issuer = \"https://id.example.org\"\n";
    let both = "issuer = \"https://id.example.org\"\naudiences = [\"ringmail\"]\n";
    let ask = format!("{issuer}check = \"introspection\"\n");
    for right in [
        both.to_owned(),
        format!("{ask}client_id = \"a\"\nclient_secret_file = \"s\""),
    ] {
        assert_eq!(oauth(&right), [""; 0], "{right}");
    }
    let missing = |field: &str| format!("ringmail.toml:13: missing field {field:?}");
    for (text, wrong) in [
        ("", vec![missing("issuer"), missing("audiences")]),
        (issuer, vec![missing("audiences")]),
        (
            &ask,
            vec![missing("client_id"), missing("client_secret_file")],
        ),
    ] {
        assert_eq!(oauth(text), wrong, "{text}");
    }
    for (line, words) in [
        ("address_claim = \"\"", "\"\" cannot be the name of a claim"),
        ("algorithms = []", "algorithms is empty"),
        ("algorithms = [\"HS256\"]", "unknown value \"HS256\""),
        ("algorithms = [\"none\"]", "unknown value \"none\""),
        ("check = \"jwk\"", "unknown value \"jwk\""),
        ("client_secret = \"x\"", "unknown field \"client_secret\""),
        ("timeout_secs = 0", "oauth.timeout_secs cannot be 0"),
        ("keys_keep_secs = 60", "oauth.keys_keep_secs cannot be 60"),
        ("keys_max = 0", "oauth.keys_max cannot be 0"),
    ] {
        let expected = format!("ringmail.toml:16: {words}");
        assert_eq!(oauth(&format!("{both}{line}")), [expected], "{line}");
    }
    let http = oauth("issuer = \"http://id.example.org\"\naudiences = [\"\"]");
    assert_eq!(http.len(), 2, "{http:?}");
    assert!(http[0].starts_with("ringmail.toml:14: \"http://id.example.org\" is not a URL"));
    assert!(http[1].starts_with("ringmail.toml:15: \"\" cannot be an audience"));
}

#[test]
fn selectors_of_dkim_are_right_or_told() {
    let with =
        |table: &str| domains_mistakes(&format!("[domain.\"example.org\".dkim.2026a]\n{table}\n"));
    assert_eq!(with("key = \"k\""), [""; 0]);
    assert_eq!(
        with("sign = false"),
        ["domains.toml:6: missing field \"key\""]
    );
    for (table, line, message) in [
        ("sealed_fields = []", 8, "From must be signed"),
        ("signed_fields = [\"from\"]", 8, "from stands there twice"),
        (
            "sealed_fields = [\"From\"]\nsigned_fields = [\"To\", \"FROM\"]",
            9,
            "FROM stands there twice",
        ),
        (
            "sealed_fields = [\"From\", \"Received\"]",
            8,
            "Received must not be signed, it changes on the way",
        ),
        (
            "signed_fields = [\"a b\"]",
            8,
            "\"a b\" is not the name of a header field",
        ),
        ("canonicalization = \"nofws\"", 8, "unknown value \"nofws\""),
        (
            "expiration_secs = \"500ms\"",
            8,
            "a signature that holds for 500ms ends before some mail arrives",
        ),
    ] {
        let found = with(&format!("key = \"k\"\n{table}"));
        assert_eq!(
            found,
            [format!("domains.toml:{line}: {message}")],
            "{table}"
        );
    }
    for right in [
        "expiration_secs = 0",
        "expiration_secs = \"1h\"",
        "canonicalization = \"simple/relaxed\"",
        "sealed_fields = []\nsigned_fields = [\"From\"]",
        "sealed_fields = [\"From\", \"X-Own\"]",
    ] {
        assert_eq!(with(&format!("key = \"k\"\n{right}")), [""; 0], "{right}");
    }
    let table = |name: &str| format!("[domain.\"example.org\".dkim.\"{name}\"]\nkey = \"k\"\n");
    assert_eq!(
        domains_mistakes(&(table("2026A") + &table("2026a"))),
        ["domains.toml:6: 2026a is there twice, written in two ways"]
    );
    let found = domains_mistakes(&table("a b"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("\"a b\" is no selector"), "{found:?}");
    let label = "l".repeat(60);
    let long = [label.as_str(); 4].join(".");
    assert_eq!(
        domains_mistakes(&table(&long)),
        ["domains.toml:6: the selector and the domain are too long for a name in DNS"]
    );
    let nine: String = (0..9).map(|n| table(&format!("s{n}"))).collect();
    assert_eq!(
        domains_mistakes(&nine),
        ["domains.toml:6: 9 selectors sign, more than 8"]
    );
}

#[test]
fn keys_lie_beside_the_domains_file() {
    let domains =
        format!("{DOMAINS}[domain.\"example.org\".dkim]\na.key = \"dkim/a\"\nb.key = \"/b\"\n");
    let settings = parse_and_check(&texts(SERVER, &domains, &[("anna.toml", ANNA)])).unwrap();
    let selectors = &settings.domains.domain["example.org"].dkim;
    let keys: Vec<&Path> = selectors.values().map(|s| s.key.as_path()).collect();
    assert_eq!(keys, [Path::new("/etc/dkim/a"), Path::new("/b")]);
    let default = selectors.values().next().unwrap();
    assert_eq!(default.expiration(), Some(72 * 3600));
    assert_eq!(default.fields(), Ok(None));
}

#[test]
fn a_way_out_must_be_one() {
    let way = |fields: &str| {
        server_mistakes(&format!(
            "{SERVER}\n[transport.x]\nkind = \"direct\"\n{fields}\n"
        ))
    };
    assert_eq!(way("source_addresses = [\"192.0.2.1\", \"::1\"]"), [""; 0]);
    for (fields, told) in [
        (
            "source_addresses = [\"192.0.2.1\", \"192.0.2.2\"]",
            "16: more than one address of a family",
        ),
        (
            "source_addresses = [\"0.0.0.0\"]",
            "16: nobody can send from 0.0.0.0",
        ),
        (
            "source_addresses = [\"192.0.2.1\"]\nipv4 = false",
            "16: no address of a family that is used",
        ),
        (
            "proxy = \"192.0.2.1:1080\"\nsource_addresses = [\"::1\"]",
            "17: no address of the family of the proxy",
        ),
        (
            "proxy_user = \"x\"\nproxy_password_file = \"y\"",
            "16: proxy_user without a proxy",
        ),
        (
            "proxy = \"192.0.2.1:1080\"\nproxy_user = \"x\"",
            "17: a login at a proxy is a user and a password",
        ),
        (
            "proxy = \"192.0.2.1:1080\"\nproxy_user = \"\"\nproxy_password_file = \"y\"",
            "17: proxy_user cannot be that",
        ),
    ] {
        let mistakes = way(fields);
        let first = mistakes.first().map(String::as_str).unwrap_or_default();
        assert_eq!(first, format!("ringmail.toml:{told}"), "{fields}");
    }
    // A proxy's idea of this machine is another one: a password would go there.
    let local = "[transport.x]\nkind = \"smarthost\"\nhost = \"localhost\"\ntls = \"none\"\nuser = \"u\"\npassword_file = \"p\"\nmechanisms = [\"PLAIN\"]\n";
    assert_eq!(server_mistakes(&format!("{SERVER}\n{local}")), [""; 0]);
    let far = format!("{SERVER}\n{local}proxy = \"127.0.0.1:1080\"\n");
    assert_eq!(
        server_mistakes(&far),
        ["ringmail.toml:20: none of these works without verified TLS"]
    );
}

#[test]
fn a_smarthost_can_be_reached_and_logged_in_to() {
    let smarthost = |more: &str| {
        let kind = "kind = \"smarthost\"\nhost = \"mail.example.org\"";
        server_mistakes(&format!("{SERVER}\n[transport.x]\n{kind}\n{more}\n"))
    };
    assert_eq!(
        smarthost("port = 0"),
        ["ringmail.toml:17: port cannot be 0"]
    );
    let login = "user = \"u\"\npassword_file = \"p\"\nmechanisms = []";
    assert_eq!(
        smarthost(login),
        ["ringmail.toml:19: without a mechanism nobody can log in"]
    );
}

#[test]
fn pools_must_have_addresses_of_their_own() {
    let pools = |text: &str| {
        server_mistakes(&format!(
            "{SERVER}\n[transport.x]\nkind = \"direct\"\npool = \"a\"\n{text}\n"
        ))
    };
    let one = "[pool.a.member.one]\naddresses = [\"192.0.2.31\", \"2001:db8::31\"]\n";
    assert_eq!(pools(one), [""; 0]);
    for (text, told) in [
        ("", "16: there is no pool \"a\""),
        ("[pool.a]", "17: no address that mail could leave from"),
        (
            "[pool.a.member.one]\nweight = 0\naddresses = [\"192.0.2.31\"]",
            "17: no address that mail could leave from",
        ),
        ("[pool.a.member.one]", "17: no address"),
        (
            "[pool.a.member.one]\naddresses = [\"::\"]",
            "18: nobody can send from ::",
        ),
        (
            "[pool.a.member.one]\naddresses = [\"192.0.2.1\"]\nweight = 1001",
            "19: weight is out of bounds",
        ),
        (
            "[pool.a.member.one]\naddresses = [\"192.0.2.1\"]\nconnections_max = 0",
            "19: connections_max is out of bounds",
        ),
        (
            &format!("{one}[pool.b.member.two]\naddresses = [\"192.0.2.31\"]"),
            "20: 192.0.2.31 is an address of [pool.a.member.one] too",
        ),
        (
            &format!("source_addresses = [\"192.0.2.1\"]\n{one}"),
            "17: pool and source_addresses at once",
        ),
        (
            &format!("proxy = \"192.0.2.1:1080\"\n{one}"),
            "17: pool and proxy at once",
        ),
        (
            &format!("{one}[warm_up]\ngrowth_percent = 100"),
            "20: warm_up.growth_percent cannot be 100",
        ),
        (
            &format!("{one}[warm_up]\nper_day_max = 10"),
            "20: warm_up.per_day_max cannot be 10",
        ),
    ] {
        let mistakes = pools(text);
        let told = format!("ringmail.toml:{told}");
        assert!(mistakes.contains(&told), "{text}: {mistakes:?}");
    }
}

#[test]
fn unique_mail_from_names_addresses_that_reports_come_back_to() {
    let with = |domains: &str, list: &str| {
        let anna = format!("{ANNA}unique_mail_from = [{list}]\nkeep_retired_secs = \"1d\"\n");
        mistakes(SERVER, domains, &[("anna.toml", &anna)])
    };
    assert!(with(DOMAINS, "\"Anna@example.org\"").is_empty());
    assert_eq!(
        with(
            DOMAINS,
            "\"anna@example.org\", \"bert@example.org\", \"anna@else.example\""
        ),
        [
            "anna.toml:2: bert@example.org is not an address of the account",
            "anna.toml:2: anna@else.example: the domain else.example is not ours",
        ]
    );
    let without = DOMAINS.replace("separators = [\"+\"]", "");
    assert_eq!(
        with(&without, "\"anna@example.org\""),
        ["anna.toml:2: anna@example.org: its domain has no separator"]
    );
    let list = "unique_mail_from = [\"anna@example.org\"]\n";
    let anna = format!("{ANNA}{list}");
    let nothing = "anna@example.org: reports would find nothing, for the account keeps no recipients that are over";
    assert_eq!(
        mistakes(SERVER, DOMAINS, &[("anna.toml", &anna)]),
        [format!("anna.toml:2: {nothing}")]
    );
    let server = SERVER.replace(
        "[[listener]]",
        "[queue]\nkeep_retired_secs = \"1d\"\n[[listener]]",
    );
    assert!(mistakes(&server, DOMAINS, &[("anna.toml", &anna)]).is_empty());
    let anna = format!("{anna}keep_retired_secs = 0\n");
    assert_eq!(
        mistakes(&server, DOMAINS, &[("anna.toml", &anna)]),
        [format!("anna.toml:2: {nothing}")]
    );
}
