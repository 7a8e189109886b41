//! Ranges of IP addresses, as configurations write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address such as `10.1.2.3`, or a range of them such as `10.0.0.0/8`.
///
/// ```
/// use lockgate_sdk::network::Network;
///
/// let office: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(office.contains("10.200.3.4".parse().unwrap()));
/// // However an IPv4 address is written.
/// assert!(office.contains("::ffff:10.200.3.4".parse().unwrap()));
/// assert!(!office.contains("11.0.0.1".parse().unwrap()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// As IPv6, the bits behind the prefix zero.
    first: u128,
    /// Of 128 bits.
    prefix: u32,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNetwork;

impl fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no address and no network such as 10.0.0.0/8")
    }
}

impl std::error::Error for NoNetwork {}

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.prefix) == self.first
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => length,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                let prefix = digits.parse().map_err(|_| NoNetwork)?;
                if prefix > length {
                    return Err(NoNetwork);
                }
                prefix
            }
            Some(_) => return Err(NoNetwork),
        };
        let prefix = prefix + (128 - length);
        let first = bits(address);
        match first & !mask(prefix) {
            0 => Ok(Network { first, prefix }),
            // Whoever writes 10.1.2.3/8 may mean the one or the other.
            _ => Err(NoNetwork),
        }
    }
}

/// IPv4 addresses are those of IPv6 that stand for them.
fn bits(address: IpAddr) -> u128 {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Ipv6Addr::to_bits(address)
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_is_in_them() {
        for (network, address, wanted) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", true),
            ("2001:db8::/32", "2001:db8:5::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                wanted,
                "{network:?} {address}"
            );
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "ten",
            "::/129",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
