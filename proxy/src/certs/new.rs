//! What is to replace something: roots, or the proxy's own certificate.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::authority;
use crate::config::certificate::{self, Unfit};
use crate::config::{Certificate, Roots};

/// What is new.
#[derive(Debug, Clone)]
pub enum New {
    /// Who may vouch for endpoints, and for clients.
    Roots(Roots),
    /// What the proxy shows to endpoints.
    Certificate(Box<Certificate>),
}

#[derive(Debug, thiserror::Error)]
#[error("`{}` is a file that {unfit}", file.display())]
pub struct NewError {
    file: PathBuf,
    unfit: Unfit,
}

/// Reads a file: a certificate with its key, in it or in a file of its own, or roots.
pub fn read(file: &Path, key: Option<&Path>) -> Result<New, NewError> {
    let wrong = |unfit| NewError {
        file: file.to_owned(),
        unfit,
    };
    let pem = certificate::read_bytes(file).map_err(wrong)?;
    let found = match key {
        None => certificate::read_key(&pem),
        Some(key) => {
            let read = certificate::read_bytes(key);
            let read = read.and_then(|pem| certificate::read_key(&pem));
            let wrong = |unfit| NewError {
                file: key.to_owned(),
                unfit,
            };
            Ok(read.map_err(wrong)?)
        }
    };
    match found {
        Ok(key) => {
            let chain = certificate::read_certificates(&pem).map_err(wrong)?;
            let facts = certificate::look(&chain, SystemTime::now()).map_err(wrong)?;
            let own = certificate::pair(file.to_owned(), chain, facts, &key, None);
            Ok(New::Certificate(Box::new(own.map_err(wrong)?)))
        }
        Err(Unfit::NoKey) => {
            let read = authority::read(&pem, SystemTime::now()).map_err(wrong)?;
            let mut stale = read.stale.into_iter();
            let none = || wrong(stale.next().unwrap_or(Unfit::NoCertificate));
            let roots = Roots::new(read.certificates, Vec::new());
            roots.map(New::Roots).ok_or_else(none)
        }
        Err(unfit) => Err(wrong(unfit)),
    }
}
