//! The socket of the admin address.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::access::Via;
use crate::config::AdminAddress;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {}", explain(reason))]
    Tcp {
        address: SocketAddr,
        reason: io::Error,
    },
    #[error("cannot make the admin socket `{}`: {reason}", path.display())]
    Unix { path: PathBuf, reason: io::Error },
    #[error("the admin socket `{}` belongs to a running process", path.display())]
    InUse { path: PathBuf },
    #[error("`{}` is not a socket, so it is not replaced by the admin socket", path.display())]
    NotASocket { path: PathBuf },
}

/// As a listener's address that is taken is told.
fn explain(reason: &io::Error) -> String {
    match reason.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use (is another Lockgate running?)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => reason.to_string(),
    }
}

#[derive(Debug)]
pub enum AdminListener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Held to be dropped with the listener.
        _file: SocketFile,
    },
}

/// A client's connection, and the way it came.
pub enum Accepted {
    Tcp(TcpStream, Via),
    Unix(UnixStream),
}

impl AdminListener {
    /// Needs a tokio runtime with I/O.
    pub fn bind(address: &AdminAddress) -> Result<Self, BindError> {
        match address {
            AdminAddress::Tcp(address) => {
                let address = *address;
                bind_tcp(address)
                    .map(Self::Tcp)
                    .map_err(|reason| BindError::Tcp { address, reason })
            }
            AdminAddress::Unix(path) => bind_unix(path),
        }
    }

    /// Where it listens, if on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let own: IpAddr = stream.local_addr()?.ip().to_canonical();
                Ok(Accepted::Tcp(stream, Via::Tcp(own)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The socket is made under another name, so that under its own it is closed to
/// others from the first moment, and replaces what a dead process left.
fn bind_unix(path: &Path) -> Result<AdminListener, BindError> {
    check_free(path)?;
    let bind = || {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        remove_if_there(Path::new(&draft))?;
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        let _file = SocketFile::of(Path::new(&draft), path)?;
        fs::rename(&draft, path)?;
        Ok(AdminListener::Unix { listener, _file })
    };
    bind().map_err(|reason| BindError::Unix {
        path: path.to_owned(),
        reason,
    })
}

fn check_free(path: &Path) -> Result<(), BindError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(BindError::NotASocket { path }),
        Ok(_) if is_answered(&path) => Err(BindError::InUse { path }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(BindError::Unix { path, reason }),
    }
}

/// Whatever is not plainly dead may be alive: its queue may just be full.
fn is_answered(path: &Path) -> bool {
    match Probe::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of a bound socket in the file system, removed when dropped unless
/// another process has taken it over.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(draft: &Path, path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(draft)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if is_ours {
            // A socket file that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
