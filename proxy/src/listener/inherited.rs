//! Sockets that the process was started with, as systemd passes them
//! (sd_listen_fds(3)), and as the process does that this one takes the place of: bound
//! and listening before the first line of ours ran, so that no connection is refused
//! while a process starts or is replaced.
//!
//! The protocol is three variables. No crate reads them as is wanted here: those there
//! are leave out the names, or take whatever numbers the environment tells for
//! descriptors of theirs.

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Socket as RawSocket, Type};

use super::unix::draft_of;
use crate::config::ListenAddress;

/// Standard input, output and error come before.
pub const FIRST_PASSED: RawFd = 3;

/// Says whose child it was passed to, by that process's id: nobody knows a child's own
/// id, which `LISTEN_PID` would tell, before it is there.
pub const PREDECESSOR: &str = "LOCKGATE_PREDECESSOR";

/// Before the name of a listener, so that no name of systemd's is the same.
pub const OF_LISTENER: &str = "/listener/";

/// The name of a socket whose path is its owner's to remove.
/// No listener can be called so.
pub const WITH_PATH: &str = "/path";

/// More is a mistake of whoever passes them.
pub const MOST_PASSED: usize = 65_536;

/// What was passed and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Mutex<Vec<Passed>>);

/// A socket that was passed.
#[derive(Debug)]
pub struct Taken {
    pub socket: RawSocket,
    /// Its path is ours to remove.
    pub has_path: bool,
}

#[derive(Debug)]
struct Passed {
    socket: RawSocket,
    name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error("`LISTEN_FDS` is `{0}` and not a number from 0 to {MOST_PASSED}")]
    Count(String),
    #[error("descriptor {0} is told by `LISTEN_FDS` and was not passed")]
    Missing(RawFd),
    #[error("descriptor {0}, passed by `LISTEN_FDS`, cannot be kept from child processes")]
    Unsealed(RawFd, #[source] io::Error),
}

impl Inherited {
    /// What the environment tells to be this process's. What was taken once is not
    /// found again.
    pub fn from_environment() -> Result<Self, InheritError> {
        let told = |name| std::env::var(name).ok();
        let is = |name, id: u32| told(name).is_some_and(|told| told == id.to_string());
        if !is("LISTEN_PID", std::process::id()) && !is(PREDECESSOR, parent_id()) {
            return Ok(Self::default());
        }
        let count = told("LISTEN_FDS").unwrap_or_default();
        let parsed = count.parse().ok();
        let count: RawFd = parsed
            .filter(|count| (0..=MOST_PASSED as RawFd).contains(count))
            .ok_or(InheritError::Count(count))?;
        let names = told("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned);
        let names = names.chain(std::iter::repeat(String::new()));
        let passed: Result<Vec<_>, _> = (FIRST_PASSED..FIRST_PASSED + count)
            .zip(names)
            .map(|(number, name)| Ok((own(number)?, name)))
            .collect();
        Ok(Self::of(passed?))
    }

    /// These, each with its name.
    pub fn of(passed: Vec<(OwnedFd, String)>) -> Self {
        let passed = passed.into_iter().map(|(socket, name)| Passed {
            socket: socket.into(),
            name,
        });
        Self(Mutex::new(passed.collect()))
    }

    /// The sockets of a listener: those of its address, or of the name that its
    /// address tells. Where any port will do, those of its own name.
    pub fn take(&self, listener: &str, address: &ListenAddress) -> Vec<Taken> {
        let is_wanted = |passed: &Passed| match (address, passed.listens_at()) {
            (_, None) => false,
            (ListenAddress::Systemd(name), Some(_)) => passed.name == **name,
            (ListenAddress::Tcp(wanted), Some(ListenAddress::Tcp(bound))) if wanted.port() == 0 => {
                let is_ours = passed.name.strip_prefix(OF_LISTENER) == Some(listener);
                (is_ours || passed.name == listener) && bound.ip() == wanted.ip()
            }
            // What we made ourselves bears the name that it was made under.
            (ListenAddress::Unix(wanted), Some(ListenAddress::Unix(bound))) => {
                *wanted == bound || draft_of(wanted) == bound
            }
            (wanted, Some(bound)) => *wanted == bound,
        };
        let taken = self.take_if(is_wanted).into_iter();
        let taken = taken.map(|Passed { socket, name }| Taken {
            socket,
            has_path: name == WITH_PATH,
        });
        taken.collect()
    }

    /// What was passed under this name, and is no socket of a listener.
    pub fn take_other(&self, name: &str) -> Option<OwnedFd> {
        let mut taken = self.take_if(|passed| passed.name == name);
        taken.pop().map(|passed| passed.socket.into())
    }

    /// Closes what nobody has taken, and tells what it was.
    pub fn close_rest(&self) -> Vec<String> {
        let rest = self.take_if(|_| true);
        rest.iter().map(ToString::to_string).collect()
    }

    fn take_if(&self, wanted: impl Fn(&Passed) -> bool) -> Vec<Passed> {
        self.locked()
            .extract_if(.., |passed| wanted(passed))
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Passed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    /// Where it listens for connections, if it does.
    fn listens_at(&self) -> Option<ListenAddress> {
        let is_stream = self.socket.r#type().ok()? == Type::STREAM;
        let is_listening = is_stream && self.socket.is_listener().ok()?;
        bound_to(&self.socket)
            .ok()
            .flatten()
            .filter(|_| is_listening)
    }
}

/// The address of a socket, where it is of a kind that is served.
pub fn bound_to(socket: &RawSocket) -> io::Result<Option<ListenAddress>> {
    let address = socket.local_addr()?;
    if let Some(address) = address.as_socket() {
        return Ok(Some(ListenAddress::Tcp(address)));
    }
    let path = address.as_pathname().map(Path::to_owned).or_else(|| {
        let name = [b"\0", address.as_abstract_namespace()?].concat();
        Some(PathBuf::from(OsString::from_vec(name)))
    });
    Ok(path.map(ListenAddress::Unix))
}

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.name {
            "" => f.write_str("without a name")?,
            name => write!(f, "`{name}`")?,
        }
        match self.listens_at() {
            Some(address) => write!(f, " at {address}"),
            None => f.write_str(", which does not listen for connections"),
        }
    }
}

/// Takes a descriptor that was passed, and keeps it from children.
#[allow(unsafe_code, reason = "descriptors are passed as numbers")]
fn own(number: RawFd) -> Result<OwnedFd, InheritError> {
    // SAFETY: asks about a number, and touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // A process's own descriptors are closed on exec, as all that the standard library
    // opens are, so one that is not came through an exec. This is no other's then.
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return Err(InheritError::Missing(number));
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        let error = io::Error::last_os_error();
        return Err(InheritError::Unsealed(number, error));
    }
    // SAFETY: it is open, was passed to be ours, and from here on bears the mark by
    // which a second call leaves it alone, so that it has this one owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use socket2::Domain;

    use super::*;

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn named(name: &str) -> ListenAddress {
        ListenAddress::Systemd(name.into())
    }

    #[test]
    fn a_socket_is_found_by_its_address_or_its_name_and_once() {
        let (one, address) = listening();
        let (other, _) = listening();
        let copy = other.try_clone().unwrap();
        let passed = vec![
            (one.into(), String::new()),
            (other.into(), "web".to_owned()),
            (copy.into(), "web".to_owned()),
        ];
        let inherited = Inherited::of(passed);
        assert!(inherited.take("web", &named("other")).is_empty());
        assert_eq!(inherited.take("web", &named("web")).len(), 2);
        assert!(inherited.take("web", &named("web")).is_empty());
        assert_eq!(inherited.take("x", &ListenAddress::Tcp(address)).len(), 1);
        assert!(inherited.close_rest().is_empty());
    }

    #[test]
    fn any_port_is_one_of_the_listeners_own_name() {
        let (one, _) = listening();
        let inherited = Inherited::of(vec![(one.into(), "web".to_owned())]);
        let any = |address: &str| ListenAddress::Tcp(address.parse().unwrap());
        assert!(inherited.take("api", &any("127.0.0.1:0")).is_empty());
        assert!(inherited.take("web", &any("127.0.0.2:0")).is_empty());
        assert_eq!(inherited.take("web", &any("127.0.0.1:0")).len(), 1);
    }

    #[test]
    fn what_is_left_is_told() {
        let (one, address) = listening();
        let (pipe, _) = std::io::pipe().unwrap();
        let idle = RawSocket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let passed = vec![
            (one.into(), "web".to_owned()),
            (OwnedFd::from(pipe), String::new()),
            (OwnedFd::from(idle), "dns".to_owned()),
        ];
        let inherited = Inherited::of(passed);
        assert!(inherited.take("dns", &named("dns")).is_empty());
        let wanted = [
            format!("`web` at {address}"),
            "without a name, which does not listen for connections".to_owned(),
            "`dns`, which does not listen for connections".to_owned(),
        ];
        assert_eq!(inherited.close_rest(), wanted);
    }

    #[test]
    fn unix_sockets_are_found_by_their_names() {
        for path in ["/nowhere/x.sock", "\0lockgate-inherited-test"] {
            let rules = crate::config::SocketFileRules::private();
            let folder =
                std::env::temp_dir().join(format!("lockgate-passed-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let path = match path.strip_prefix('/') {
                Some(_) => folder.join("x.sock"),
                None => PathBuf::from(format!("{path}-{}", std::process::id())),
            };
            let (socket, _file) = super::super::unix::bind_unix(&path, 8, &rules).unwrap();
            let inherited = Inherited::of(vec![(socket.into(), String::new())]);
            let address = ListenAddress::Unix(path);
            assert_eq!(inherited.take("web", &address).len(), 1, "{address}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}
