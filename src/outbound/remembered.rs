//! Where a message's next attempt goes, by where its earlier ones went: greylisting lets in who comes again the same way, and a blocklist that has
//! our address of one family may not have the other.
//! Called by `connect.rs`. Pure; what is remembered is the recipient's history, in its row. RFC 5321 5.1 (order of hosts), RFC 6647 (greylisting).
//! Not here: connections that there are already, which take whatever message comes next.

use std::net::IpAddr;

use super::destination::Host;
use super::link::parts_of_remote;
use crate::queue::rows::RecipientRow;

/// A server that answered in an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    host: String,
    address: IpAddr,
}

/// Servers that answered a recipient's attempts, the latest last. Bounded by what a row keeps.
pub(super) fn answered(row: &RecipientRow) -> Vec<Answered> {
    let attempts = row.history.iter().filter(|attempt| attempt.code > 0);
    let servers = attempts.filter_map(|attempt| {
        let (host, address) = parts_of_remote(&attempt.remote)?;
        let host = host.to_owned();
        Some(Answered { host, address })
    });
    servers.collect()
}

/// Hosts in the order in which they are tried: of those with the same preference the one first that is to be tried once more.
pub(super) fn hosts<'h>(
    hosts: &'h [Host],
    preferences: &[u16],
    before: &[Answered],
) -> Vec<&'h Host> {
    let again = once_more(before).map(|last| last.host.as_str());
    let place = |at: usize, host: &Host| {
        let preference = preferences.get(at).copied().unwrap_or(0);
        (preference, again != Some(host.words().as_str()))
    };
    let mut all: Vec<(usize, &Host)> = hosts.iter().enumerate().collect();
    // Stable: the others stay as they were.
    all.sort_by_key(|(at, host)| place(*at, host));
    all.into_iter().map(|(_, host)| host).collect()
}

/// Addresses of a host in the order in which they are tried: after an odd number of attempts in one way the same once more, after an even one
/// those of the other family first.
pub(super) fn addresses(host: &Host, found: &[IpAddr], before: &[Answered]) -> Vec<IpAddr> {
    let mut all = found.to_vec();
    let words = host.words();
    let Some(last) = before.last().filter(|last| last.host == words) else {
        return all;
    };
    let is_same_family = |address: &IpAddr| is_v6(*address) == is_v6(last.address);
    match once_more(before) {
        Some(last) => all.sort_by_key(|address| {
            let is_it = address.to_canonical() == last.address;
            (!is_it, !is_same_family(address))
        }),
        None => all.sort_by_key(is_same_family),
    }
    all
}

/// The server that is to be tried once more, unless it has had two attempts in a row by now.
fn once_more(before: &[Answered]) -> Option<&Answered> {
    let last = before.last()?;
    let is_same =
        |other: &&Answered| other.host == last.host && is_v6(other.address) == is_v6(last.address);
    let in_a_row = before.iter().rev().take_while(is_same).count();
    (in_a_row % 2 == 1).then_some(last)
}

fn is_v6(address: IpAddr) -> bool {
    address.to_canonical().is_ipv6()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::Attempt;

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";
    const SIX: &str = "2001:db8::1";

    fn host(name: &str) -> Host {
        Host::Name(dns::Name::parse(name).unwrap())
    }

    fn before(servers: &[(&str, &str)]) -> Vec<Answered> {
        let each = servers.iter().map(|(host, address)| Answered {
            host: (*host).into(),
            address: address.parse().unwrap(),
        });
        each.collect()
    }

    /// The order after these attempts at one host.
    fn order(found: &[&str], tried: &[&str]) -> Vec<String> {
        let found: Vec<IpAddr> = found.iter().map(|a| a.parse().unwrap()).collect();
        let tried: Vec<_> = tried.iter().map(|a| ("mx.example", *a)).collect();
        let order = addresses(&host("mx.example"), &found, &before(&tried));
        order.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_second_attempt_goes_the_same_way_and_the_third_another() {
        let found = [SIX, A, B];
        assert_eq!(order(&found, &[]), [SIX, A, B]);
        assert_eq!(order(&found, &[B]), [B, A, SIX]);
        assert_eq!(order(&found, &[SIX]), [SIX, A, B]);
        assert_eq!(order(&found, &[SIX, SIX]), [A, B, SIX]);
        assert_eq!(order(&found, &[SIX, SIX, B]), [B, A, SIX]);
        assert_eq!(order(&found, &[SIX, SIX, B, B]), [SIX, A, B]);
        // There is no other family; the address of old is gone.
        assert_eq!(order(&[A, B], &[B, B]), [A, B]);
        assert_eq!(order(&[A], &[B]), [A]);
        // Whoever moved on within a family has had two of it.
        assert_eq!(order(&found, &[A, B]), [SIX, A, B]);
    }

    #[test]
    fn a_host_is_tried_once_more_before_others_of_its_preference() {
        let all = [host("a.example"), host("b.example"), host("c.example")];
        let order = |tried: &[(&str, &str)]| {
            let hosts = hosts(&all, &[10, 10, 20], &before(tried));
            let words: Vec<String> = hosts.iter().map(|host| host.words()).collect();
            words.concat().replace(".example", "")
        };
        assert_eq!(order(&[]), "abc");
        assert_eq!(order(&[("b.example", A)]), "bac");
        assert_eq!(order(&[("b.example", A), ("b.example", A)]), "abc");
        // One that was tried since the better ones did not answer does not come before them.
        assert_eq!(order(&[("c.example", A)]), "abc");
        let none = addresses(&all[0], &[A.parse().unwrap()], &before(&[("b.example", B)]));
        assert_eq!(none.len(), 1);
    }

    #[test]
    fn servers_that_answered_are_read_from_the_history() {
        let attempt = |remote: &str, code| Attempt {
            at: 1,
            took_ms: 1,
            remote: remote.into(),
            code,
            enhanced: None,
            text: String::new(),
            stage: None,
        };
        let mut row = RecipientRow::fresh(&crate::queue::rows::tests::message());
        for (remote, code) in [
            ("mx.example [192.0.2.1]:25", 451),
            ("mx.example [2001:db8::1]:25", 0),
            ("", 451),
            ("[192.0.2.2] [192.0.2.2]:2525", 421),
        ] {
            row.record(attempt(remote, code));
        }
        let expected = before(&[("mx.example", A), ("[192.0.2.2]", B)]);
        assert_eq!(answered(&row), expected);
    }
}
