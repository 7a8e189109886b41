//! A secret that is configured, and its present value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Value;
use crate::config::{self, Name, SecretBytes, SecretSource};

/// A secret by its name. Generations that agree about where it comes from share it.
pub struct Secret {
    name: Name,
    source: SecretSource,
    value: ArcSwap<Value>,
}

impl Secret {
    pub fn new(configured: &config::Secret) -> Arc<Self> {
        Arc::new(Self {
            name: configured.name.clone(),
            source: configured.source.clone(),
            value: ArcSwap::from_pointee(Value::first(configured.bytes.clone())),
        })
    }

    /// In the place of one that has a mistake, in a configuration that never runs.
    pub fn stand_in(name: &Name) -> Arc<Self> {
        Self::new(&config::Secret {
            name: name.clone(),
            source: SecretSource::Value,
            bytes: SecretBytes::stand_in(),
        })
    }

    /// Whether it is this one. Of a file the bytes do not count: they are read again.
    pub fn is(&self, configured: &config::Secret) -> bool {
        let same_bytes = || *self.value.load().bytes() == *configured.bytes;
        self.name == configured.name
            && self.source == configured.source
            && (self.file().is_some() || same_bytes())
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            SecretSource::File(file) => Some(file),
            SecretSource::Env(_) | SecretSource::Value => None,
        }
    }

    pub fn value(&self) -> Arc<Value> {
        self.value.load_full()
    }

    /// Reads its file, if it has one, for whoever uses it from now on. Where that
    /// gives no secret, the last good one stays. For one thread at a time.
    pub fn read_again(&self) {
        let Some(file) = self.file() else {
            return;
        };
        let (secret, shown) = (&*self.name, file.display());
        let before = self.value.load();
        match SecretBytes::read(file) {
            Ok(bytes) if *bytes == *before.bytes() => {}
            Ok(bytes) => {
                self.value.store(Arc::new(before.followed_by(bytes)));
                tracing::info!(secret, file = %shown, "a secret was read again");
            }
            Err(error) => tracing::warn!(
                secret,
                file = %shown,
                %error,
                "the file of a secret is none, and its last good value stays"
            ),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of_file(file: &Path) -> config::Secret {
        config::Secret {
            name: "key".into(),
            source: SecretSource::File(file.to_owned()),
            bytes: SecretBytes::read(file).unwrap(),
        }
    }

    #[test]
    fn a_good_value_stays_until_there_is_another() {
        let folder = std::env::temp_dir().join(format!("lockgate-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key");
        fs::write(&file, "one\n").unwrap();
        let secret = Secret::new(&of_file(&file));
        let check = |wanted: &[u8]| {
            secret.read_again();
            assert_eq!(secret.value().bytes(), wanted);
        };
        check(b"one");
        fs::write(&file, "two\r\n").unwrap();
        check(b"two");
        for bad in ["", "\n", &"x".repeat(65 << 10)] {
            fs::write(&file, bad).unwrap();
            check(b"two");
        }
        fs::remove_file(&file).unwrap();
        check(b"two");
        fs::create_dir(&file).unwrap();
        check(b"two");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "three\n\n").unwrap();
        check(b"three\n");
        assert!(secret.is(&of_file(&file)));
        fs::write(&file, "four").unwrap();
        assert!(secret.is(&of_file(&file)), "it will be read again");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_comes_from_elsewhere_is_another() {
        let configured = |name: &str, source: SecretSource, bytes: &[u8]| config::Secret {
            name: name.into(),
            source,
            bytes: SecretBytes::new(bytes).unwrap(),
        };
        let first = configured("key", SecretSource::Value, b"one");
        let secret = Secret::new(&first);
        assert!(secret.is(&first));
        assert!(!secret.is(&configured("key", SecretSource::Value, b"two")));
        assert!(!secret.is(&configured("yek", SecretSource::Value, b"one")));
        let env = SecretSource::Env("KEY".into());
        assert!(!secret.is(&configured("key", env, b"one")));
        assert!(!format!("{secret:?} {first:?} {:?}", secret.value()).contains("one"));
    }
}
