//! Files of authorities, of listeners and clusters.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::Checker;
use super::tls::days_left;
use crate::config::authority;
use crate::config::certificate::Unfit;
use crate::config::tls::Ending;

const AUTHORITIES: &str = "certificates in PEM";

/// What the files of one list have given so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) endings: Vec<Ending>,
    /// Those that are not valid now, by where they are named and their file.
    stale: Vec<(String, PathBuf, Unfit)>,
    /// Whether there was a file that gave nothing, which was told.
    is_unread: bool,
}

impl Checker<'_> {
    /// Reads one more; gives the subjects of those in it that say that they are none.
    pub(super) fn authorities(
        &mut self,
        pointer: &str,
        file: &Path,
        now: SystemTime,
        found: &mut Found,
    ) -> Vec<String> {
        let read = |bytes: &[u8]| authority::read(bytes, now);
        let (file, Some(read)) = self.file_of(pointer, file, AUTHORITIES, read) else {
            found.is_unread = true;
            return Vec::new();
        };
        let of = |stale| (pointer.to_owned(), file.clone(), stale);
        found.stale.extend(read.stale.into_iter().map(of));
        found.certificates.extend(read.certificates);
        if let Some((subject, at)) = read.first {
            if let Some(days) = days_left(at, now) {
                let file = file.display();
                let found = format!(
                    "`{file}`, a file that has the certificate of {subject}, which expires in {days} days"
                );
                self.warning(pointer, found, "a new one before that");
            }
            found.endings.push(Ending { file, at });
        }
        read.leaves
    }

    /// Those that are left out are warned of, and refused where none is left.
    pub(super) fn tell_stale(&mut self, found: &Found) {
        let is_none_left = found.certificates.is_empty() && !found.is_unread;
        for (pointer, file, unfit) in &found.stale {
            let told = format!("`{}`, a file that {unfit}", file.display());
            match is_none_left {
                true => self.mistake(pointer, told, "one that is valid now"),
                false => {
                    let told = format!("{told}: nobody is believed for it");
                    self.warning(pointer, told, "one that is valid now");
                }
            }
        }
    }
}
