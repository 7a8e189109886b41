//! Where a header ends, and what it says.

use proxy_header::{ParseConfig, ProxyHeader, Tlv};

use super::Introduction;

const V1_PREFIX: &[u8] = b"PROXY ";
/// The longest line that version 1 has.
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Before the part of version 2 whose length it tells.
const V2_FIXED: usize = 16;
/// Version 2 and its command LOCAL: the connection is of the balancer itself.
const V2_LOCAL: u8 = 0x20;
/// Of version 2, which could be four times as long. A certificate fits.
const V2_MAX: usize = 16 * 1024;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// No header.
    Other,
    /// So many of them are of a header that goes on.
    Header(usize),
    /// So many are a whole one.
    Whole(usize),
    /// No header is so long.
    TooLong,
}

/// What these bytes are, the first of a connection.
pub(super) fn begin_of(bytes: &[u8]) -> Begin {
    if begins_alike(bytes, V1_PREFIX) {
        let line = &bytes[..bytes.len().min(V1_MAX)];
        return match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => Begin::Whole(end + 1),
            None if line.len() == V1_MAX => Begin::TooLong,
            None => Begin::Header(line.len()),
        };
    }
    if !begins_alike(bytes, V2_SIGNATURE) {
        return Begin::Other;
    }
    let Some(length) = bytes.get(V2_FIXED - 2..V2_FIXED) else {
        return Begin::Header(bytes.len());
    };
    match V2_FIXED + usize::from(u16::from_be_bytes([length[0], length[1]])) {
        whole if whole > V2_MAX => Begin::TooLong,
        whole if whole > bytes.len() => Begin::Header(bytes.len()),
        whole => Begin::Whole(whole),
    }
}

/// Whether these bytes begin as `start`, of which they may be a part.
fn begins_alike(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// Reads a whole header; `None` for one that breaks a rule.
pub(super) fn parse(header: &[u8]) -> Option<Introduction> {
    let is_v1 = header[0] == V1_PREFIX[0];
    if !is_v1 && header.get(V2_SIGNATURE.len()) == Some(&V2_LOCAL) {
        // Whatever else it says is to be discarded, the family as well.
        return Some(Introduction::new(false, ProxyHeader::with_local()));
    }
    if is_v1 && !has_plain_ports(header) {
        return None;
    }
    let is_whole = |length: usize| length == header.len();
    let (parsed, length) = ProxyHeader::parse(header, ParseConfig::default()).ok()?;
    if !is_whole(length) || !parsed.tlvs().all(|tlv| tlv.is_ok_and(|tlv| is_good(&tlv))) {
        return None;
    }
    Some(Introduction::new(is_v1, parsed))
}

/// Whether the ports of version 1 are digits alone and begin with none too many. Of an
/// unknown protocol nothing is looked at behind its name.
fn has_plain_ports(line: &[u8]) -> bool {
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let is_plain = |port: &[u8]| {
        port.iter().all(u8::is_ascii_digit) && (port.len() == 1 || !port.starts_with(b"0"))
    };
    words.nth(1) == Some(b"UNKNOWN") || words.skip(2).all(is_plain)
}

fn is_good(tlv: &Tlv<'_>) -> bool {
    match tlv {
        Tlv::Ssl(ssl) => ssl.tlvs().all(|tlv| tlv.is_ok()),
        _ => true,
    }
}

// Its place is told, since the fuzz targets have this file alone.
#[cfg(test)]
#[path = "header/tests.rs"]
mod tests;
