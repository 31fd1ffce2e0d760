//! One copy of a message for each address, however often a request names it. Addresses are compared as the queue does it: domains in any of
//! their spellings, localparts as they are (RFC 5321 2.4).

use std::borrow::Cow;
use std::collections::HashMap;

use smtp::Address;

use crate::settings::names::canonical_domain;

/// The copy that each of the addresses gets, numbered from 0 on, and the address of each copy: as it was named first.
pub(super) fn number<'a>(named: impl Iterator<Item = &'a Address>) -> (Vec<u64>, Vec<&'a Address>) {
    let mut known = HashMap::new();
    let mut different = Vec::new();
    let numbers = named.map(|address| {
        let host = address.host.to_string();
        let host = canonical_domain(&host).map_or_else(|| host.clone(), Cow::into_owned);
        let number = known.entry((address.localpart.as_str(), host));
        *number.or_insert_with(|| {
            different.push(address);
            different.len() as u64 - 1
        })
    });
    let numbers = numbers.collect();
    (numbers, different)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_same_as_in_the_queue() {
        let named: Vec<Address> = [
            "ann@a.example",
            "ben@b\u{fc}cher.example",
            "ann@A.Example",
            "\"ann\"@a.example",
            "Ann@a.example",
            "ben@xn--bcher-kva.example",
            "x@[192.0.2.1]",
            "x@[192.0.2.1]",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let (numbers, different) = number(named.iter());
        assert_eq!(numbers, [0, 1, 0, 0, 2, 1, 3, 3]);
        let different: Vec<String> = different.iter().map(ToString::to_string).collect();
        assert_eq!(different[..3], [0, 1, 4].map(|at| named[at].to_string()));
        assert_eq!(different.len(), 4);
    }
}
