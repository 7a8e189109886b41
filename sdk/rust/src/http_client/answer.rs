//! What a cluster answers.

use serde::de::DeserializeOwned;

use crate::{Error, Reply};

/// The answer to a call, with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Any: a 500 is an answer, and a redirect is not followed.
    pub status: u16,
    /// In wire order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of a field, if it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| unreadable(&error))
    }

    /// The body as what its JSON says, whatever its `content-type`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| unreadable(&error))
    }
}

/// A cluster's answer is written as a filter's is, in tests.
impl From<Reply> for Answer {
    fn from(
        Reply {
            status,
            headers,
            body,
        }: Reply,
    ) -> Self {
        let in_lower_case = |(name, value): (String, _)| (name.to_ascii_lowercase(), value);
        Answer {
            status,
            headers: headers.into_iter().map(in_lower_case).collect(),
            body,
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::new(format_args!("cannot read the answer to a call: {error}"))
}
