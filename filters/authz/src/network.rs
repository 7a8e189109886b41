//! Ranges of addresses.

use std::net::{IpAddr, Ipv6Addr};

/// A network, or an address alone.
#[derive(Debug)]
pub struct Network {
    /// IPv4 as IPv6 has it (RFC 4291, section 2.5.5.2).
    first: u128,
    bits: u32,
}

impl Network {
    /// `None` for what is none, or does not begin where its length says.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u32 = match length {
            None => longest,
            Some(length) if is_number(length) => length.parse().ok()?,
            Some(_) => return None,
        };
        let bits = 128 - longest.checked_sub(length)?;
        let first = number(address);
        (first & !mask(bits) == 0).then_some(Self { first, bits })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        number(address) & mask(self.bits) == self.first
    }
}

fn number(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.into()
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_as_they_do() {
        let check = |network: &str, good: &[&str], bad: &[&str]| {
            let network = Network::read(network).unwrap();
            for (addresses, wanted) in [(good, true), (bad, false)] {
                for address in addresses {
                    let is_in = network.contains(address.parse().unwrap());
                    assert_eq!(is_in, wanted, "{address}");
                }
            }
        };
        check(
            "10.0.0.0/8",
            &["10.1.2.3", "::ffff:10.1.2.3"],
            &["11.0.0.0", "::1"],
        );
        check("10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]);
        check("0.0.0.0/0", &["1.2.3.4"], &["2001:db8::1"]);
        check("::/0", &["1.2.3.4", "::1"], &[]);
        check("fd00::/8", &["fd12::1"], &["fc00::1"]);
        for bad in [
            "",
            "a",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "::/129",
            "/8",
        ] {
            assert!(Network::read(bad).is_none(), "{bad}");
        }
    }
}
