//! Plays connections through a filter of them.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::{Exchange, LogLine};
use crate::config;
use crate::host::simulated::{Phase, Simulated, with};
use crate::{Admission, ConfigErrors, Connection, ConnectionFilter, ConnectionWants, Error, Wants};

/// One filter of connections with its configuration. As a
/// [`Harness`](super::Harness), one at a time in a thread.
pub struct Gate<F: ConnectionFilter> {
    filter: F,
    not_send: PhantomData<*const ()>,
}

/// What a filter of connections did.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// What it answered.
    pub admission: Result<Admission, Error>,
    /// Where it sent the connection.
    pub cluster: Option<String>,
    /// What `set_hash_key` set.
    pub hash_key: Option<Vec<u8>>,
    /// What `set_attribute` left, by the filter's own names.
    pub attributes: BTreeMap<String, String>,
    /// What was logged during this call.
    pub logs: Vec<LogLine>,
}

impl<F: ConnectionFilter> Gate<F> {
    /// Create the filter with this configuration, through its JSON.
    pub fn new(config: serde_json::Value) -> Result<Self, ConfigErrors> {
        with(|simulated| *simulated = Simulated::default());
        let filter = F::create(config::decode(&config.to_string())?)?;
        with(|simulated| simulated.wants = Wants::nothing().clusters(filter.wants().clusters));
        Ok(Gate {
            filter,
            not_send: PhantomData,
        })
    }

    /// What the filter asked for.
    pub fn wants(&self) -> ConnectionWants {
        self.filter.wants()
    }

    /// The number that the proxy's generator gives from now on.
    pub fn set_random(&mut self, seed: u64) {
        with(|simulated| simulated.random = seed);
    }

    /// A client connects from this address; these facts are known of it.
    pub fn connect(&mut self, client: &str, attributes: &[(&str, &str)]) -> Admitted {
        self.connect_saying(client, attributes, b"")
    }

    /// The same, and these are its first bytes.
    pub fn connect_saying(
        &mut self,
        client: &str,
        attributes: &[(&str, &str)],
        bytes: &[u8],
    ) -> Admitted {
        let begun = Exchange::get("/").client(client);
        let known = attributes.iter();
        let connection = known.fold(begun, |begun, (name, value)| begun.attribute(name, value));
        with(|simulated| {
            simulated.exchange = connection.state;
            simulated.phase = Phase::Request;
            simulated.logs.clear();
        });
        let shown = &bytes[..bytes.len().min(self.wants().preview as usize)];
        let admission = self.filter.on_connection(&Connection::in_call(), shown);
        with(|simulated| {
            simulated.phase = Phase::Outside;
            Admitted {
                admission,
                cluster: simulated.exchange.cluster.clone(),
                hash_key: simulated.exchange.hash_key.clone(),
                attributes: simulated.exchange.set_attributes.clone(),
                logs: std::mem::take(&mut simulated.logs),
            }
        })
    }
}
