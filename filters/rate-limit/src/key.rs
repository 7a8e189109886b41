//! What a request is counted by.

use std::fmt::Write;
use std::net::Ipv6Addr;

use lockgate_sdk::prelude::*;
use sha2::{Digest, Sha256};

/// What is longer is kept as its hash: clients choose it, and would fill the
/// store with less.
const MAX_BYTES: usize = 64;

/// All of it together. Without parts, all requests are counted together.
#[derive(Debug, Clone)]
pub struct Key(pub Vec<Part>);

/// What tells clients apart.
#[derive(Debug, Clone)]
pub enum Part {
    /// Of an IPv6 address so many bits.
    Address {
        ipv6_prefix: u8,
    },
    Route,
    /// A field of this name, in lower case.
    Header(String),
    Attribute(String),
}

impl Key {
    /// The fields that it reads.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Header(name) => Some(name.as_str()),
            Part::Address { .. } | Part::Route | Part::Attribute(_) => None,
        })
    }

    /// Different for keys that read something else.
    pub fn name(&self) -> String {
        let names = self.0.iter().map(|part| match part {
            Part::Address { ipv6_prefix } => format!("address/{ipv6_prefix}"),
            Part::Route => "route".to_owned(),
            Part::Header(name) => format!("header {name}"),
            Part::Attribute(name) => format!("attribute {name}"),
        });
        names.collect::<Vec<_>>().join(",")
    }

    /// What this request has there, as the end of a key in the store. `None` when
    /// a part is missing.
    pub fn find(&self, exchange: &Exchange) -> Option<String> {
        match self.0.as_slice() {
            [] => Some(String::new()),
            [part] => part.find(exchange).map(|value| bounded(&value)),
            parts => {
                let mut whole = Vec::new();
                for part in parts {
                    let value = part.find(exchange)?;
                    // No value can end early and go on as the next part.
                    whole.extend((value.len() as u64).to_string().into_bytes());
                    whole.push(b':');
                    whole.extend(value.iter());
                }
                Some(bounded(&whole))
            }
        }
    }
}

impl Part {
    fn find<'a>(&self, exchange: &'a Exchange) -> Option<Cow<'a, [u8]>> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        let value = match self {
            Part::Address { ipv6_prefix } => text(network(exchange.client_address(), *ipv6_prefix)),
            Part::Route => text(exchange.attribute("route.name")?),
            Part::Header(name) => exchange.request().header(name)?,
            Part::Attribute(name) => text(exchange.attribute(name)?),
        };
        (!value.is_empty()).then_some(value)
    }
}

/// A client with IPv6 has a whole network of addresses to send from. One with
/// IPv4 counts the same however its address is written.
fn network(address: String, ipv6_prefix: u8) -> String {
    let Ok(ipv6) = address.parse::<Ipv6Addr>() else {
        return address;
    };
    match ipv6.to_ipv4_mapped() {
        Some(ipv4) => ipv4.to_string(),
        None => {
            let cut = 128 - u32::from(ipv6_prefix);
            let bits = ipv6.to_bits() >> cut << cut;
            Ipv6Addr::from_bits(bits).to_string()
        }
    }
}

/// As it is where that is short text, and no client can name what another's hash
/// is: the first character differs.
fn bounded(value: &[u8]) -> String {
    let short = (value.len() <= MAX_BYTES).then_some(value);
    match short.map(str::from_utf8) {
        Some(Ok(text)) => format!("={text}"),
        Some(Err(_)) | None => {
            let hash = Sha256::digest(value);
            let mut key = String::with_capacity(1 + 2 * hash.len());
            key.push('#');
            for byte in hash {
                write!(key, "{byte:02x}").expect("writing to a string does not fail");
            }
            key
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        check_network("192.0.2.7", 64, "192.0.2.7");
        check_network("::ffff:192.0.2.7", 64, "192.0.2.7");
        check_network("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::");
        check_network("2001:db8:1:2:ffff::", 64, "2001:db8:1:2::");
        check_network("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6");
        check_network("2001:db8:1:ff:3:4:5:6", 56, "2001:db8:1::");
        check_network("ffff::", 1, "8000::");
    }

    fn check_network(address: &str, prefix: u8, wanted: &str) {
        assert_eq!(network(address.to_owned(), prefix), wanted);
    }

    #[test]
    fn long_and_odd_values_are_hashed() {
        assert_eq!(bounded(b"ann"), "=ann");
        assert_eq!(bounded("é".as_bytes()), "=é");
        let longest = "a".repeat(MAX_BYTES);
        assert_eq!(bounded(longest.as_bytes()), format!("={longest}"));

        // FIPS 180-2, appendix B.2: 56 bytes would be short enough.
        let long = [b'a'; 1_000_000];
        let hash = "#cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(bounded(&long), hash);
        assert_eq!(bounded(b"\xff").len(), hash.len());
        assert_ne!(bounded(b"\xff"), bounded(b"\xfe"));
    }
}
