//! The fields of a message and the proxy's rules about them.

use crate::{HeadError, field};

/// Fields in wire order, names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head(pub(crate) Vec<(String, Vec<u8>)>);

impl Head {
    pub(crate) fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        self.0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .collect()
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) -> Result<(), HeadError> {
        check(name, value)?;
        self.0
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.push(name, value);
        Ok(())
    }

    pub(crate) fn append(&mut self, name: &str, value: &[u8]) -> Result<(), HeadError> {
        check(name, value)?;
        self.push(name, value);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), HeadError> {
        check(name, b"")?;
        self.0
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Ok(())
    }

    /// Without the rules: what a peer sent.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }
}

pub(super) fn check(name: &str, value: &[u8]) -> Result<(), HeadError> {
    if !field::is_name(name) || !field::is_value(value) {
        return Err(HeadError::Invalid);
    }
    if field::is_owned_by_proxy(name) {
        return Err(HeadError::Forbidden);
    }
    Ok(())
}
