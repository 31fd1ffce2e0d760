//! What the owner of a domain does as time passes, with a DNS server on a thread and no policy host.

use std::net::UdpSocket;
use std::thread;

use mta_sts::{Fetched, RecordId};

use super::*;
use crate::lookup::ResolverOptions;
use crate::settings::{Dns, DnsServer, Secs};
use crate::store::tests::{Context, store};

const START: u64 = 1_767_225_600;
const DAY: u64 = 86_400;

/// Says that each domain has a record of version 2, and that policy hosts are this host.
fn resolver() -> Resolver {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 600];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
            let (number, data) = match query[end - 3] {
                16 => (16, b"\x0fv=STSv1; id=v2;".to_vec()),
                // Of those that begin so nobody is at home.
                1 if query[12..end].windows(4).any(|w| w == b"free") => (1, vec![127, 0, 0, 2]),
                1 => (1, vec![127, 0, 0, 1]),
                _ => (0, Vec::new()),
            };
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(number > 0), 0, 0, 0, 0]);
            answer.extend(&query[12..end]);
            if number > 0 {
                answer.extend([0xc0, 12, 0, number, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
                answer.extend(data);
            }
            socket.send_to(&answer, peer).unwrap();
        }
    });
    let settings = Dns {
        servers: Some(vec![DnsServer(address)]),
        ..Dns::default()
    };
    Resolver::new(ResolverOptions::of(&settings))
}

fn ways(context: &Context, resolver: &Resolver, now: fn() -> i64) -> Ways {
    // A port that is taken and where nobody listens, so that nobody else does.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    Ways {
        resolver: resolver.clone(),
        roots: Arc::new(RootCertStore::empty()),
        settings: TlsPolicy {
            mta_sts_port: port,
            fetch_timeout_secs: Secs::new(20),
            ..TlsPolicy::default()
        },
        shard: context.shards[0].clone(),
        now,
        account: String::new(),
    }
}

fn domain(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Stores a policy that was fetched and used at the start, as version 1.
async fn stored(context: &Context, name: &str, max_age_secs: u64) {
    let text = format!("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: {max_age_secs}\n");
    let entry = Entry {
        fetched: Some(Fetched {
            policy: Policy::parse(text.as_bytes()).unwrap(),
            record_id: RecordId::new("v1").unwrap(),
            fetched_secs: START,
        }),
        used_secs: START,
        ..Entry::default()
    };
    sts_rows::save(&context.shards[0], &domain(name), &entry)
        .await
        .unwrap();
}

async fn names(context: &Context) -> Vec<String> {
    let (found, _) = stored_policies(&context.shards[0], None, 100)
        .await
        .unwrap();
    found.into_iter().map(|policy| policy.domain).collect()
}

fn fetches(owner: &StsOwner) -> u64 {
    let samples = owner.durations().samples();
    samples.iter().map(|(_, buckets)| buckets.count()).sum()
}

#[test]
fn rows_are_refreshed_used_and_forgotten() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let resolver = resolver();
        stored(&context, "short.example", DAY / 2).await;
        stored(&context, "week.example", 7 * DAY).await;
        stored(&context, "year.example", 365 * DAY).await;
        // Young: nobody is asked.
        let owner = StsOwner::default();
        owner
            .sweep(|| ways(&context, &resolver, || START as i64 + 60))
            .await
            .unwrap();
        assert_eq!((fetches(&owner), names(&context).await.len()), (0, 3));
        // A day later one is over, and the others are fetched again, which fails: they hold all the same.
        let later: fn() -> i64 = || (START + DAY + 1) as i64;
        owner
            .sweep(|| ways(&context, &resolver, later))
            .await
            .unwrap();
        while fetches(&owner) < 2 {
            rt::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(names(&context).await, ["week.example", "year.example"]);
        let answer = owner
            .ask(
                ways(&context, &resolver, later),
                &domain("week.example"),
                Purpose::Use,
            )
            .await;
        let StsAnswer::Policy(policy, Some(problem)) = answer else {
            panic!("{answer:?}")
        };
        assert!(policy.matches("a.example"));
        assert!(
            problem.reason.ends_with("+fallback-to-cached-policy"),
            "{problem:?}"
        );
        assert_eq!(fetches(&owner), 2);
        // After a restart: what holds is in the rows, and the new version is fetched before mail goes by the old one.
        let owner = StsOwner::default();
        let answer = owner
            .ask(
                ways(&context, &resolver, later),
                &domain("year.example"),
                Purpose::Use,
            )
            .await;
        assert!(
            matches!(answer, StsAnswer::Policy(_, Some(_))),
            "{answer:?}"
        );
        assert_eq!(fetches(&owner), 1);
        // It fails a moment after: not again so soon, but anew for mail that is about to fail.
        let soon: fn() -> i64 = || (START + DAY + 20) as i64;
        owner
            .ask(
                ways(&context, &resolver, soon),
                &domain("year.example"),
                Purpose::Use,
            )
            .await;
        owner
            .ask(
                ways(&context, &resolver, soon),
                &domain("year.example"),
                Purpose::Anew,
            )
            .await;
        assert_eq!(fetches(&owner), 1);
        let much_later: fn() -> i64 = || (START + DAY + 600) as i64;
        owner
            .ask(
                ways(&context, &resolver, much_later),
                &domain("year.example"),
                Purpose::Anew,
            )
            .await;
        assert_eq!(fetches(&owner), 2);
        // The week is over, and no mail has needed the other for half a year.
        let owner = StsOwner::default();
        owner
            .sweep(|| ways(&context, &resolver, || (START + 200 * DAY) as i64))
            .await
            .unwrap();
        assert_eq!(names(&context).await, [""; 0]);
    });
    store.close();
}

#[test]
fn no_more_are_kept_than_may_be() {
    let (_directory, store) = store();
    store.run(|context| async move {
        let resolver = resolver();
        let with = |most: u32| {
            let mut ways = ways(&context, &resolver, || START as i64);
            ways.settings.policies_per_shard_max = most;
            ways
        };
        stored(&context, "one.example", DAY).await;
        let owner = StsOwner::default();
        owner.sweep(|| with(2)).await.unwrap();
        let keep = async |name: &str| {
            let mut known = Known::of(None);
            let text = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 100\n";
            let policy = Policy::parse(text.as_bytes()).unwrap();
            let id = RecordId::new("v2").unwrap();
            known.entry.fetch(id, Ok(policy), START);
            owner.save(&with(2), &domain(name), &mut known, true).await;
        };
        keep("two.example").await;
        keep("three.example").await;
        assert_eq!(names(&context).await, ["one.example", "two.example"]);
        let lost: i64 = owner
            .metrics()
            .samples()
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!(lost, 1);
        // Room again.
        let removed = owner.remove(&with(2).shard, &domain("one.example")).await;
        assert!(removed.unwrap());
        let removed = owner.remove(&with(2).shard, &domain("one.example")).await;
        assert!(!removed.unwrap());
        keep("three.example").await;
        assert_eq!(names(&context).await, ["three.example", "two.example"]);
    });
    store.close();
}

#[test]
fn policy_hosts_that_say_nothing_hold_up_no_other_accounts_mail() {
    let (_directory, store) = store();
    store.run(|context| async move {
        // It lets everybody in, and never says anything.
        let tarpit = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tarpit.local_addr().unwrap().port();
        let resolver = resolver();
        let with = |account: &str| {
            let mut ways = ways(&context, &resolver, || START as i64);
            ways.settings.mta_sts_port = port;
            ways.settings.fetch_timeout_secs = Secs::new(3600);
            ways.settings.fetches_per_core_max = 4;
            ways.account = account.to_owned();
            ways
        };
        let owner = StsOwner::default();
        let begun = Rc::new(Cell::new(0));
        for n in 0..FLIGHTS_MAX {
            let (owner, ways, begun) = (owner.clone(), with("bulk"), begun.clone());
            rt::spawn(&super::super::ROOM, async move {
                let name = domain(&format!("d{n}.example"));
                begun.set(begun.get() + 1);
                let answer = owner.ask(ways, &name, Purpose::Use).await;
                assert!(!matches!(answer, StsAnswer::Policy(..)), "{answer:?}");
            });
        }
        while begun.get() < FLIGHTS_MAX {
            rt::sleep(std::time::Duration::from_millis(5)).await;
        }
        // Half of what may be looked at, and half of the fetches, are left to others.
        let of_bulk = || owner.0.of_account.borrow().get("bulk").copied();
        assert_eq!(owner.0.flights.count(), FLIGHTS_MAX / 2);
        assert_eq!(of_bulk(), Some(FLIGHTS_MAX / 2));
        let other = domain("free.example");
        let asked = owner.ask(with("other"), &other, Purpose::Use);
        let asked = rt::timeout(std::time::Duration::from_secs(120), asked).await;
        assert!(matches!(asked, Ok(StsAnswer::None(Some(_)))), "{asked:?}");
        assert_eq!((fetches(&owner), of_bulk()), (1, Some(FLIGHTS_MAX / 2)));
        // All come to an end with the tarpit.
        let ends = thread::spawn(move || {
            tarpit.set_nonblocking(true).unwrap();
            while let Ok(_peer) = tarpit.accept() {}
        });
        while owner.0.flights.count() > 0 {
            rt::sleep(std::time::Duration::from_millis(5)).await;
        }
        ends.join().unwrap();
        assert!(owner.0.of_account.borrow().is_empty());
    });
    store.close();
}
