//! The heads of frames, in bytes as they pass.

const HEAD: usize = 9;
/// Of an error.
const CODE: usize = 4;
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;

/// A frame whose head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    /// Of RST_STREAM.
    code: Option<u32>,
}

impl Frame {
    /// Whether it carries nothing. Heads have limits of their own, and so have streams that
    /// are broken off.
    pub fn is_empty(&self) -> bool {
        match self.kind {
            DATA => self.length == 0 && self.flags & END_STREAM == 0,
            HEADERS | CONTINUATION => false,
            _ => true,
        }
    }

    /// Whether it refuses a stream that nobody has looked at.
    pub fn is_refusal(&self) -> bool {
        self.code == Some(REFUSED_STREAM)
    }
}

/// Finds frames in what passes, however it is cut.
#[derive(Debug)]
pub(super) struct Frames {
    /// Of the preface, or of a frame's payload, what is still to come.
    skip: usize,
    /// A frame's head; of RST_STREAM with its code.
    head: [u8; HEAD + CODE],
    /// How much of it is there.
    have: usize,
    fields: Fields,
    /// Whether the frame or the head that is under way began in what passed last.
    is_fresh: bool,
}

/// The fields of a head, or of trailers: one frame or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fields {
    None,
    /// More frames have to come.
    Open,
    /// They end with the frame that is under way.
    Last,
}

impl Frames {
    /// Of a client.
    pub fn behind_preface() -> Self {
        Self {
            skip: PREFACE,
            ..Self::new()
        }
    }

    pub fn new() -> Self {
        Self {
            skip: 0,
            head: [0; HEAD + CODE],
            have: 0,
            fields: Fields::None,
            is_fresh: false,
        }
    }

    /// Tells `seen` of the frames whose heads end here.
    pub fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Frame)) {
        self.is_fresh = !self.is_midway();
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip == 0 && self.fields == Fields::Last {
                self.fields = Fields::None;
            }
            self.is_fresh |= !self.is_midway();
            if bytes.is_empty() {
                return;
            }
            let (of_head, rest) = bytes.split_at(bytes.len().min(self.wanted() - self.have));
            self.head[self.have..][..of_head.len()].copy_from_slice(of_head);
            self.have += of_head.len();
            bytes = rest;
            if self.have >= HEAD && self.have == self.wanted() {
                seen(self.begin());
            }
        }
    }

    /// Whether a frame's head, or the fields of a request's, have begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.have > 0 || self.fields != Fields::None
    }

    /// Whether those began in what passed last.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// How long the head is, as far as that is known.
    fn wanted(&self) -> usize {
        let has_code = self.have >= HEAD && self.head[3] == RST_STREAM;
        match has_code {
            true => HEAD + CODE.min(self.length()),
            false => HEAD,
        }
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize
    }

    /// A frame whose payload comes now.
    fn begin(&mut self) -> Frame {
        let [_, _, _, kind, flags, .., a, b, c, d] = self.head;
        let frame = Frame {
            length: self.length(),
            kind,
            flags,
            code: (self.have == HEAD + CODE).then(|| u32::from_be_bytes([a, b, c, d])),
        };
        self.skip = frame.length - (self.have - HEAD);
        self.have = 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.fields = match flags & END_HEADERS {
                0 => Fields::Open,
                _ => Fields::Last,
            };
        }
        frame
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
            (RST_STREAM, 0, 4, true),
            (DATA, 0, 0, true),
            (DATA, 1, 0, false),
            (DATA, 0, 100, false),
            (CONTINUATION, 4, 0, false),
            (WINDOW_UPDATE, 0, 4, true),
            (0xff, 0, 0, true),
        ] {
            let frame = frame(kind, flags, length);
            assert_eq!(empty(&mut Frames::new(), &frame), u64::from(is_empty));
            bytes.extend(frame);
        }
        for size in 1..bytes.len() {
            let mut frames = Frames::behind_preface();
            let pieces = bytes.chunks(size);
            let found: u64 = pieces.map(|piece| empty(&mut frames, piece)).sum();
            assert_eq!(found, 5, "in pieces of {size}");
            assert!(!frames.is_midway());
        }
    }

    fn empty(frames: &mut Frames, bytes: &[u8]) -> u64 {
        let mut empty = 0;
        frames.feed(bytes, |frame| empty += u64::from(frame.is_empty()));
        empty
    }

    #[test]
    fn refusals_are_told_from_other_ends_of_streams() {
        let reset =
            |code: u8| [&[0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0][..], &[code]].concat();
        let bytes = [
            reset(7),
            reset(8),
            frame(DATA, 0, 7),
            // Cut short, which is none.
            frame(RST_STREAM, 0, 3),
            frame(RST_STREAM, 0, 0),
            reset(7),
        ]
        .concat();
        for size in 1..bytes.len() {
            let (mut frames, mut refusals) = (Frames::new(), 0);
            for piece in bytes.chunks(size) {
                frames.feed(piece, |frame| refusals += u64::from(frame.is_refusal()));
            }
            assert_eq!(refusals, 2, "in pieces of {size}");
            assert!(!frames.is_midway());
        }
    }

    /// What was fed, whether something is midway then, and whether it began in that.
    #[test]
    fn heads_are_midway_from_their_first_byte_to_their_last() {
        let (whole, open) = (frame(HEADERS, 4, 20), frame(HEADERS, 0, 20));
        let (more, last) = (frame(CONTINUATION, 0, 0), frame(CONTINUATION, 4, 5));
        let body = frame(DATA, 0, 100);
        let mut frames = Frames::new();
        for (bytes, is_midway, is_fresh) in [
            (&whole[..], false, true),
            (&whole[..1], true, true),
            (&whole[1..9], true, false),
            (&whole[9..28], true, false),
            (&whole[28..], false, true),
            (&body[..50], false, true),
            (&body[50..], false, true),
            (&open, true, true),
            (&more, true, false),
            (&last[..13], true, false),
            // One ends and another begins.
            (&[&last[13..], &whole[..10]].concat(), true, true),
            (&whole[10..], false, true),
        ] {
            frames.feed(bytes, |_| {});
            assert_eq!(frames.is_midway(), is_midway, "{bytes:?}");
            assert!(!is_midway || frames.is_fresh() == is_fresh, "{bytes:?}");
        }
    }
}
