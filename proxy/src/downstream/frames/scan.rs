//! The heads of frames, in bytes as they pass.

const HEAD: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// Finds the heads of frames in what is read, however it is cut.
#[derive(Debug)]
pub(super) struct Frames {
    /// Of the preface, or of a frame's payload, what is still to come.
    skip: usize,
    head: [u8; HEAD],
    /// How much of it is there.
    have: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
        }
    }
}

impl Frames {
    /// How many of the frames whose heads end here carry nothing.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        let mut empty = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return empty;
            }
            let (of_head, rest) = bytes.split_at(bytes.len().min(HEAD - self.have));
            self.head[self.have..][..of_head.len()].copy_from_slice(of_head);
            self.have += of_head.len();
            bytes = rest;
            if self.have == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.have = 0;
                empty += u64::from(is_empty(self.skip, kind, flags));
            }
        }
    }
}

/// Heads have limits of their own, and so have streams that are broken off.
fn is_empty(length: usize, kind: u8, flags: u8) -> bool {
    match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        HEADERS | CONTINUATION => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        // What looks like heads of frames and is none.
        bytes.extend(std::iter::repeat_n(0, length));
        bytes
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, flags, length, is_empty) in [
            (HEADERS, 4, 20, false),
            (PING, 0, 8, true),
            (DATA, 0, 0, true),
            (DATA, 1, 0, false),
            (DATA, 0, 100, false),
            (CONTINUATION, 4, 0, false),
            (WINDOW_UPDATE, 0, 4, true),
            (0xff, 0, 0, true),
        ] {
            let frame = frame(kind, flags, length);
            let mut frames = Frames {
                skip: 0,
                ..Frames::default()
            };
            assert_eq!(frames.feed(&frame), u64::from(is_empty), "{kind} {flags}");
            bytes.extend(frame);
        }
        for size in 1..bytes.len() {
            let mut frames = Frames::default();
            let found: u64 = bytes.chunks(size).map(|piece| frames.feed(piece)).sum();
            assert_eq!(found, 4, "in pieces of {size}");
        }
    }
}
