//! Which fields of a header a list of names stands for, and their canonical octets.
//! Used by signing and verification. Header and list are untrusted: the cost is n log n in their sizes. RFC 6376 3.5 (h=), 3.7, 5.4.2.
//! Not here: the canonical form of one field (`canonical.rs`).

use std::cmp::Ordering;
use std::collections::HashMap;

use message::{Header, HeaderField};

use crate::canonical::Canonicalization;

/// The fields of one header, to be found by name.
pub(crate) struct Fields<'a> {
    fields: Vec<HeaderField<'a>>,
    /// Places in `fields`, in order of name and then from the top.
    by_name: Vec<usize>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(header: &'a [u8]) -> Self {
        let fields: Vec<HeaderField> = Header::of_section(header).fields().collect();
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by(|a, b| compare(fields[*a].name, fields[*b].name));
        Self { fields, by_name }
    }

    pub(crate) fn all(&self) -> &[HeaderField<'a>] {
        &self.fields
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        let (start, end) = self.range(name);
        end - start
    }

    fn range(&self, name: &str) -> (usize, usize) {
        let of = |wanted: Ordering| {
            move |place: &usize| compare(self.fields[*place].name, name.as_bytes()) <= wanted
        };
        let start = self.by_name.partition_point(of(Ordering::Less));
        let end = self.by_name.partition_point(of(Ordering::Equal));
        (start, end)
    }

    /// Appends the canonical fields that `names` stands for, each with its line end, without the one at place `own`.
    pub(crate) fn canonicalize<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        own: Option<usize>,
        canonicalization: Canonicalization,
        output: &mut Vec<u8>,
    ) {
        // RFC 6376 5.4.2: each further mention of a name is the field above; mentions without a field add nothing (3.5).
        let mut used: HashMap<usize, usize> = HashMap::new();
        for name in names {
            let (start, end) = self.range(name);
            let used = used.entry(start).or_insert(0);
            while *used < end - start {
                *used += 1;
                let place = self.by_name[end - *used];
                if Some(place) != own {
                    canonicalization.field(self.fields[place].raw, output);
                    output.extend_from_slice(b"\r\n");
                    break;
                }
            }
        }
    }
}

/// Without case. Lengths first, which settles most comparisons.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        let a = a.iter().map(u8::to_ascii_lowercase);
        a.cmp(b.iter().map(u8::to_ascii_lowercase))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"Received: <A>\r\nReceived: <B>\r\nFrom: x\r\nRECEIVED: <C>\r\nReceived-SPF: no\r\n\r\n";

    fn taken(names: &[&str], own: Option<usize>) -> String {
        let mut output = Vec::new();
        let fields = Fields::of(HEADER);
        fields.canonicalize(
            names.iter().copied(),
            own,
            Canonicalization::Relaxed,
            &mut output,
        );
        String::from_utf8(output).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn the_last_field_comes_first() {
        // RFC 6376 5.4.2
        let all = "received:<C>|received:<B>|";
        assert_eq!(taken(&["Received", "received"], None), all);
        assert_eq!(taken(&["received"], None), "received:<C>|");
        let more = ["received"; 5];
        assert_eq!(
            taken(&more, None),
            "received:<C>|received:<B>|received:<A>|"
        );
    }

    #[test]
    fn the_order_is_that_of_the_names_and_missing_fields_are_nothing() {
        assert_eq!(
            taken(&["to", "from", "from", "received"], None),
            "from:x|received:<C>|"
        );
        assert_eq!(Fields::of(HEADER).count("Received"), 3);
        assert_eq!(Fields::of(HEADER).count("receive"), 0);
    }

    #[test]
    fn the_own_field_is_never_taken() {
        assert_eq!(
            taken(&["received", "received"], Some(1)),
            "received:<C>|received:<A>|"
        );
        assert_eq!(
            taken(&["received", "received"], Some(3)),
            "received:<B>|received:<A>|"
        );
    }
}
