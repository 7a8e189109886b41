//! Names of Unix sockets in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::config::{Account, SocketFileRules, is_abstract, unix_name};

#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    #[error("cannot make the socket `{}`: {reason}", unix_name(path))]
    Failed { path: PathBuf, reason: io::Error },
    #[error("the socket `{}` belongs to a running process", path.display())]
    InUse { path: PathBuf },
    #[error("`{}` is not a socket, so it is not replaced by one", path.display())]
    NotASocket { path: PathBuf },
    #[error("{file} has no `{name}`")]
    Unknown { file: &'static str, name: String },
}

/// A listening socket under this name. In the file system it is made under another one,
/// so that under its own it is open to those alone that it is for from the first moment,
/// and replaces what a dead process left.
pub fn bind_unix(
    path: &Path,
    backlog: u32,
    rules: &SocketFileRules,
) -> Result<(RawSocket, Option<SocketFile>), UnixError> {
    let failed = |reason| UnixError::Failed {
        path: path.to_owned(),
        reason,
    };
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    if is_abstract(path) {
        let socket = bound(path).map_err(failed)?;
        socket.listen(backlog).map_err(failed)?;
        return Ok((socket, None));
    }
    check_free(path)?;
    let owner = number_of(rules.owner.as_ref(), "/etc/passwd")?;
    let group = number_of(rules.group.as_ref(), "/etc/group")?;
    let bind = || {
        let draft = draft_of(path);
        let draft = &*draft;
        remove_if_there(draft)?;
        let socket = bound(draft)?;
        let file = SocketFile::of(draft, draft)?;
        if owner.is_some() || group.is_some() {
            lchown(draft, owner, group)?;
        }
        fs::set_permissions(draft, Permissions::from_mode(rules.mode))?;
        // Not before: whoever connects meanwhile is refused.
        socket.listen(backlog)?;
        fs::rename(draft, path)?;
        Ok((socket, Some(file.renamed(path))))
    };
    bind().map_err(failed)
}

/// The name that a socket is made under.
pub fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    PathBuf::from(draft)
}

fn bound(path: &Path) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// By the machine's own files: name services are not asked.
fn number_of(account: Option<&Account>, file: &'static str) -> Result<Option<u32>, UnixError> {
    let name = match account {
        None => return Ok(None),
        Some(Account::Number(number)) => return Ok(Some(*number)),
        Some(Account::Name(name)) => name,
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1)?.parse().ok().filter(|_| is_it)
    });
    let unknown = || UnixError::Unknown {
        file,
        name: name.clone(),
    };
    number.map(Some).ok_or_else(unknown)
}

fn check_free(path: &Path) -> Result<(), UnixError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(UnixError::NotASocket { path }),
        Ok(_) if is_answered(&path) => Err(UnixError::InUse { path }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(UnixError::Failed { path, reason }),
    }
}

/// Whatever is not plainly dead may be alive: its queue may just be full, for which a
/// socket that blocks would wait.
fn is_answered(path: &Path) -> bool {
    let probe = || {
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match probe() {
        Ok(()) => true,
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
    /// To remove.
    is_ours: AtomicBool,
}

impl SocketFile {
    fn of(draft: &Path, path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(draft)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            is_ours: AtomicBool::new(true),
        })
    }

    fn renamed(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The name of a socket that was passed with it. It stays the other process's until
    /// that one lets go.
    pub fn passed(path: &Path) -> io::Result<Self> {
        let file = Self::of(path, path)?;
        file.leave();
        Ok(file)
    }

    /// From now on it is this process's to remove.
    pub fn own(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    /// Leaves the name to a process that goes on with the same socket.
    pub fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if is_ours && *self.is_ours.get_mut() {
            // A socket file that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
