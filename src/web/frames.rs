//! Where frames of HTTP/2 begin and end in what a client sends, and what small ones cost. RFC 9113 3.4, 4.1. Called by `stream`. Pure. Input is untrusted.
//!
//! h2 keeps DATA frames until their streams' tasks read them, and closes the connection once so many small ones wait that they take much more memory
//! than their octets (ENHANCE_YOUR_CALM, "too_many_data_frames"; its bound follows from the connection's window, and hyper can set no other). Clients that
//! write their bodies in small pieces are no attack: of these no more is read than h2 may keep, until what is there has been read.
//! Not here: what frames say (h2).

/// What has been seen of them.
#[derive(Default)]
pub(super) struct Frames {
    /// Octets of the preface, and then of the next frame's head, that were there.
    begun: [u8; HEAD],
    length: usize,
    is_past_preface: bool,
    /// Octets of the current frame's payload that are still to come.
    left: usize,
}

impl Frames {
    /// How much may be read at once: the rest of a frame, and only few of small ones.
    pub(super) fn room(&self) -> usize {
        self.left + SMALL_AT_ONCE
    }

    /// What the small DATA frames cost that begin here.
    pub(super) fn take(&mut self, mut octets: &[u8]) -> usize {
        let mut cost = 0;
        loop {
            let skipped = self.left.min(octets.len());
            self.left -= skipped;
            octets = &octets[skipped..];
            let Some((first, rest)) = octets.split_first() else {
                return cost;
            };
            octets = rest;
            if !self.is_past_preface {
                // That begins here, and is no frame.
                self.is_past_preface = true;
                self.left = PREFACE - 1;
                continue;
            }
            self.begun[self.length] = *first;
            self.length += 1;
            if self.length == HEAD {
                self.length = 0;
                let [a, b, c, kind, flags, ..] = self.begun;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                if kind == DATA {
                    // What a padded one has in it is not known yet.
                    let is_padded = flags & PADDED != 0;
                    cost += SMALL.saturating_sub(if is_padded { 0 } else { self.left });
                }
            }
        }
    }
}

/// Of a frame.
const HEAD: usize = 9;
/// RFC 9113 3.4.
const PREFACE: usize = 24;
/// RFC 9113 6.1.
const DATA: u8 = 0;
const PADDED: u8 = 8;
/// Below so many octets h2 counts what a frame lacks of them.
const SMALL: usize = 256;
/// Octets that are read at once where frames are small: they cost 26 KiB at most.
const SMALL_AT_ONCE: usize = 1 << 10;
/// What may wait at once; with what is read then it is less than h2's bound, half of the connection's window.
pub(super) const WAITING_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut octets = (length as u32).to_be_bytes()[1..].to_vec();
        octets.extend([kind, flags, 0, 0, 0, 1]);
        octets.extend(std::iter::repeat_n(0, length));
        octets
    }

    #[test]
    fn small_frames_of_data_cost_what_they_lack() {
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, length) in [(4, 0), (1, 30), (0, 50), (0, 16_384), (0, 0), (0, 255)] {
            octets.extend(frame(kind, 0, length));
        }
        octets.extend(frame(DATA, PADDED, 257));
        for size in [1, 7, 1000, octets.len()] {
            let mut frames = Frames::default();
            let cost: usize = octets.chunks(size).map(|some| frames.take(some)).sum();
            assert_eq!(cost, 206 + 256 + 1 + 256, "{size}");
            assert_eq!(frames.room(), SMALL_AT_ONCE);
        }
    }

    #[test]
    fn of_a_long_frame_all_is_read_at_once() {
        let mut frames = Frames {
            is_past_preface: true,
            ..Frames::default()
        };
        assert_eq!(frames.take(&frame(0, 0, 16_384)[..1009]), 0);
        assert_eq!(frames.room(), 15_384 + SMALL_AT_ONCE);
    }
}
