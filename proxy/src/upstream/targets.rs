//! The addresses of a target that a client asks for, if it may.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use super::worker_cluster::WorkerCluster;
use crate::cluster::resolve::look_up_target;
use crate::cluster::target::{Host, Target, is_listed, leads_back, may_stand_for};
use crate::config::Targets;
use crate::error::{ErrorKind, ProxyError};

/// An address that a name stands for.
pub(super) struct Resolved {
    address: IpAddr,
    /// It is one of this machine's own.
    is_here: bool,
}

/// Blocks.
pub(super) fn look_up(name: &str) -> io::Result<Vec<Resolved>> {
    let found = look_up_target(name)?.into_iter();
    let found = found.map(|address| Resolved {
        address,
        is_here: is_of_this_machine(address),
    });
    Ok(found.collect())
}

impl WorkerCluster {
    /// Those to try, in this order. `own` is where this proxy listens, where nobody goes.
    pub async fn addresses_of(
        &self,
        target: &Target,
        own: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, ProxyError> {
        let found = self.find(target, own).await;
        // As if it had been asked for: it counts as a request of this cluster.
        found.inspect_err(|error| {
            self.stats().requests.add(1);
            self.stats().errors(error.kind as usize).add(1);
        })
    }

    async fn find(
        &self,
        target: &Target,
        own: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, ProxyError> {
        let allowed = &self.cluster().config.targets;
        let allowed = allowed.as_ref().ok_or(ErrorKind::NoEndpoint)?;
        target.check(allowed)?;
        match &target.host {
            Host::Address(address) => {
                let to = SocketAddr::new(address.to_canonical(), target.port);
                refuse_own(own, to)?;
                Ok(vec![to])
            }
            Host::Name(name) => {
                let addresses = self.look_up(name).await?;
                go_on(&addresses, target.port, allowed, own)
            }
        }
    }

    async fn look_up(&self, name: &str) -> Result<Arc<[Resolved]>, ProxyError> {
        let config = &self.cluster().config;
        let names = self.names.as_ref().ok_or(ErrorKind::NoEndpoint)?;
        let finding = names.find(name, config.resolve_every);
        match tokio::time::timeout(config.timeouts.connect, finding).await {
            Ok(found) => found.map_err(|error| ProxyError::with(ErrorKind::LookupFailed, error)),
            Err(_) => Err(ErrorKind::LookupTimeout.into()),
        }
    }
}

/// Those that the name may stand for. One that may not is passed over as long as there are
/// others.
fn go_on(
    addresses: &[Resolved],
    port: u16,
    allowed: &Targets,
    own: &[SocketAddr],
) -> Result<Vec<SocketAddr>, ProxyError> {
    let mut refused = None;
    let mut good = Vec::with_capacity(addresses.len());
    for Resolved { address, is_here } in addresses {
        let to = SocketAddr::new(*address, port);
        let may = match is_here {
            true => is_listed(&allowed.networks, *address),
            false => may_stand_for(*address, allowed),
        };
        let checked = match may {
            true => refuse_own(own, to),
            false => Err(refuse(format!(
                "its name stands for {address}, which is of this machine or not of the internet, and in none of `networks`"
            ))),
        };
        match checked {
            Ok(()) => good.push(to),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok(good),
    }
}

fn refuse_own(own: &[SocketAddr], to: SocketAddr) -> Result<(), ProxyError> {
    match leads_back(own, to, is_of_this_machine) {
        true => Err(refuse(format!("{to} is where this proxy listens itself"))),
        false => Ok(()),
    }
}

fn refuse(why: String) -> ProxyError {
    ProxyError::with(ErrorKind::AddressRefused, why)
}

/// Asked of the kernel: what can be bound to is of this machine, where no other addresses
/// can be (`ip_nonlocal_bind`), and so is what comes from itself. Where it cannot be asked,
/// any may be.
fn is_of_this_machine(address: IpAddr) -> bool {
    const OF_NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OF_NOBODY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let nobody = match address {
        IpAddr::V4(_) => OF_NOBODY,
        IpAddr::V6(_) => OF_NOBODY_V6,
    };
    address.is_loopback()
        || address.is_unspecified()
        || match (can_bind(address), can_bind(nobody)) {
            (Ok(can), Ok(can_any)) => can && !can_any,
            (Err(_), _) | (_, Err(_)) => true,
        }
        || source_toward(address) == Some(address)
}

fn can_bind(address: IpAddr) -> io::Result<bool> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        // There is no IPv6 here.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The address of this machine from which another is spoken to. Nothing is sent.
fn source_toward(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostPattern, Network};

    fn allowed(networks: &[(&str, u8)]) -> Targets {
        let network = |(address, prefix): &(&str, u8)| Network {
            address: address.parse().unwrap(),
            prefix: *prefix,
        };
        Targets {
            hosts: vec![HostPattern::Every],
            networks: networks.iter().map(network).collect(),
            ports: vec![80],
        }
    }

    /// Of a name that stands for these.
    fn check(addresses: &[&str], allowed: &Targets, own: &[&str]) -> Result<Vec<String>, String> {
        let resolved = |text: &&str| Resolved {
            address: text.parse().unwrap(),
            is_here: *text == "9.9.9.9",
        };
        let addresses: Vec<_> = addresses.iter().map(resolved).collect();
        let own: Vec<SocketAddr> = own.iter().map(|one| one.parse().unwrap()).collect();
        match go_on(&addresses, 80, allowed, &own) {
            Ok(good) => Ok(good.iter().map(ToString::to_string).collect()),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::AddressRefused);
                Err(error.source.unwrap().to_string())
            }
        }
    }

    #[test]
    fn a_name_that_is_turned_to_this_machine_is_refused() {
        let none = allowed(&[]);
        for address in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::"] {
            let why = check(&[address], &none, &[]).unwrap_err();
            assert!(why.contains(address), "{why}");
        }
        let both = ["127.0.0.1", "8.8.8.8"];
        assert_eq!(check(&both, &none, &[]).unwrap(), ["8.8.8.8:80"]);
        let why = check(&["9.9.9.9"], &none, &[]).unwrap_err();
        assert!(why.contains("of this machine"), "{why}");
        let own = allowed(&[("9.9.9.0", 24)]);
        assert!(check(&["9.9.9.9"], &own, &[]).is_ok());
        let here = allowed(&[("127.0.0.0", 8)]);
        let good = check(&both, &here, &[]).unwrap();
        assert_eq!(good, ["127.0.0.1:80", "8.8.8.8:80"]);
    }

    #[test]
    fn nobody_goes_to_the_proxy_itself() {
        let here = allowed(&[("127.0.0.0", 8), ("0.0.0.0", 8), ("::1", 128)]);
        for (address, own) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("127.0.0.1", "0.0.0.0:80"),
            ("127.0.0.3", "0.0.0.0:80"),
            ("0.0.0.0", "0.0.0.0:80"),
            ("0.0.0.0", "127.0.0.1:80"),
            ("127.0.0.1", "[::]:80"),
            ("::1", "[::]:80"),
        ] {
            let why = check(&[address], &here, &[own]).unwrap_err();
            assert!(why.contains("listens itself"), "{address} {own}: {why}");
        }
        assert!(check(&["127.0.0.1"], &here, &["0.0.0.0:81"]).is_ok());
        assert!(check(&["8.8.8.8"], &here, &["0.0.0.0:80"]).is_ok());
    }

    #[test]
    fn addresses_of_nobody_are_not_of_this_machine() {
        for (address, wanted) in [
            ("127.0.0.2", true),
            ("192.0.2.1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(
                is_of_this_machine(address.parse().unwrap()),
                wanted,
                "{address}"
            );
        }
    }
}
