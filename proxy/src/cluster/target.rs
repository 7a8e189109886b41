//! Where a client wants to go that says so itself, and whether it may. Pure.
//!
//! Names are judged by themselves, and the addresses that they stand for once more: whoever
//! has a name may let it stand for anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::uri::Authority;

use crate::config::{HostPattern, Network, Targets, is_host};
use crate::error::{ErrorKind, ProxyError};
use crate::http::forwarded;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// In lower case and without a dot at the end.
    Name(String),
}

impl Target {
    /// Each host has one spelling, and what some read as an address is no name: `127.1`,
    /// `0x7f000001`.
    pub fn read(authority: &Authority, default_port: Option<u16>) -> Result<Self, ProxyError> {
        let bad = |why| ProxyError::because(ErrorKind::BadTarget, why);
        // One that a filter set may have anything else before its host, or behind it.
        let text = authority.host();
        let port = match authority.as_str().strip_prefix(text) {
            Some("") => default_port,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()),
            None => None,
        };
        let port = port.filter(|port| *port > 0);
        let port = port.ok_or_else(|| bad("no host and port"))?;
        let bracketed = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let host = match bracketed {
            Some(text) => text.parse().map(|v6: Ipv6Addr| Host::Address(v6.into())),
            None => {
                let text = text.strip_suffix('.').unwrap_or(text);
                text.parse()
                    .map(|v4: Ipv4Addr| Host::Address(v4.into()))
                    .or_else(|error| match is_name(text) {
                        true => Ok(Host::Name(text.to_ascii_lowercase())),
                        false => Err(error),
                    })
            }
        };
        let host = host.map_err(|_| bad("neither the name of a host nor an address"))?;
        Ok(Self { host, port })
    }

    /// In its one spelling. `default_port` goes without saying.
    pub fn authority(&self, default_port: Option<u16>) -> Option<Authority> {
        let host = match &self.host {
            Host::Address(IpAddr::V4(v4)) => v4.to_string(),
            Host::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
            Host::Name(name) => name.clone(),
        };
        let text = match Some(self.port) == default_port {
            true => host,
            false => format!("{host}:{}", self.port),
        };
        text.parse().ok()
    }

    /// Whether clients may ask for it. What a name stands for is another question.
    pub fn check(&self, allowed: &Targets) -> Result<(), ProxyError> {
        let refused = |why| Err(ProxyError::because(ErrorKind::TargetRefused, why));
        if !allowed.ports.contains(&self.port) {
            return refused("its port is not among `ports`");
        }
        match &self.host {
            Host::Address(address) if is_listed(&allowed.networks, *address) => Ok(()),
            Host::Address(_) => refused("its address is in none of `networks`"),
            Host::Name(name) if allowed.hosts.iter().any(|host| host.fits(name)) => Ok(()),
            Host::Name(_) => refused("its name is not among `hosts`"),
        }
    }
}

/// Of the dot at its end, one at most was taken already.
fn is_name(text: &str) -> bool {
    is_host(text) && !text.ends_with('.') && !ends_in_number(text)
}

/// As resolvers read addresses, an octal or hexadecimal number among them. No name of the
/// internet ends so.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl HostPattern {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Every => true,
            Self::One(one) => name == one,
            Self::Below(above) => {
                let label = name.strip_suffix(&**above);
                label.is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            }
        }
    }
}

/// Whether a name may stand for this address: it is one of the internet, or listed.
pub fn may_stand_for(address: IpAddr, allowed: &Targets) -> bool {
    special(meant(address)).is_none() || is_listed(&allowed.networks, address)
}

/// Addresses that are not of the internet are listed by a network of none but their like:
/// who lists all of the internet means no metadata of a cloud.
pub fn is_listed(networks: &[Network], address: IpAddr) -> bool {
    let address = meant(address);
    let narrow = special(address).unwrap_or(0);
    let mut networks = networks.iter();
    networks.any(|network| {
        network.prefix >= narrow && forwarded::contains(std::slice::from_ref(network), address)
    })
}

/// The address of IPv4 that one of IPv6 leads to, whoever translates it: mapped, compatible
/// (RFC 4291 section 2.5.5), of NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let bits = v6.to_bits();
    let low = || Ipv4Addr::from_bits(bits as u32).into();
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, ..] if bits > 1 => low(),
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => low(),
        [0x2002, ..] => Ipv4Addr::from_bits((bits >> 80) as u32).into(),
        _ => address,
    }
}

/// The range of an address that is not anybody's on the internet, by the length of its
/// prefix (the registries of RFC 6890; Azure's metadata are at an address of their own).
fn special(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(v4) => Some(match v4.octets() {
            [0 | 10 | 127, ..] => 8,
            [224..=255, ..] => 4,
            [169, 254, ..] | [192, 168, ..] => 16,
            [100, 64..=127, ..] => 10,
            [172, 16..=31, ..] => 12,
            [198, 18 | 19, ..] => 15,
            [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => 24,
            [168, 63, 129, 16] => 32,
            _ => return None,
        }),
        // What is given out is below 2000::/3; of that, protocols have 2001::/23, and
        // documents the rest.
        IpAddr::V6(v6) => Some(match v6.segments() {
            [0x2001, 0..=0x01ff, ..] => 23,
            [0x2001, 0x0db8, ..] => 32,
            [0x3fff, 0..=0x0fff, ..] => 20,
            [first, ..] if first & 0xe000 == 0x2000 => return None,
            [first, ..] if first & 0xfe00 == 0xfc00 => 7,
            [first, ..] if first & 0xffc0 == 0xfe80 => 10,
            [first, ..] if first & 0xff00 == 0xff00 => 8,
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => 128,
            _ => 4,
        }),
    }
}

/// Whether a connection to `address` would come back to one of these, where the proxy
/// listens itself.
pub fn leads_back(
    own: &[SocketAddr],
    address: SocketAddr,
    is_of_this_machine: impl Fn(IpAddr) -> bool,
) -> bool {
    let ip = meant(address.ip());
    own.iter()
        .filter(|own| own.port() == address.port())
        .any(|own| match own.ip() {
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && is_of_this_machine(ip),
            IpAddr::V6(any) if any.is_unspecified() => is_of_this_machine(ip),
            // Nobody listens at none, which the kernel takes for this machine.
            one => one.to_canonical() == ip || ip.is_unspecified(),
        })
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
