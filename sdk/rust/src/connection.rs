//! Filters of connections: who may connect, and where an opaque connection goes.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{ConfigErrors, Error, RouteError, host};

/// A filter of connections, with its configuration.
///
/// It is asked once about each connection: when all that the listener can know is
/// known, after a PROXY header and a TLS handshake that ends there, and before
/// anything else. [`export_connection!`](crate::export_connection) makes it the
/// component's filter.
///
/// ```
/// use lockgate_sdk::prelude::*;
/// use lockgate_sdk::{Admission, Connection, ConnectionFilter, ConnectionWants};
///
/// /// Lets nobody in from elsewhere.
/// struct Home;
///
/// impl ConnectionFilter for Home {
///     type Config = ();
///
///     fn create(_: ()) -> Result<Self, ConfigErrors> {
///         Ok(Home)
///     }
///
///     fn wants(&self) -> ConnectionWants {
///         ConnectionWants::facts()
///     }
///
///     fn on_connection(&self, connection: &Connection, _: &[u8]) -> Result<Admission, Error> {
///         match connection.client_address().starts_with("192.168.") {
///             true => Ok(Admission::Next),
///             false => Ok(Admission::deny("not from here")),
///         }
///     }
/// }
///
/// lockgate_sdk::export_connection!(Home, name = "example:home");
/// # fn main() {}
/// ```
pub trait ConnectionFilter: Sized + 'static {
    /// What the operator writes under `config:`, as for a [`Filter`](crate::Filter).
    type Config: DeserializeOwned + JsonSchema;

    /// Check and take a configuration. Report every mistake, not the first.
    fn create(config: Self::Config) -> Result<Self, ConfigErrors>;

    /// What it wants to see, and the clusters that this configuration may name.
    fn wants(&self) -> ConnectionWants;

    /// A connection is there, and these are its first bytes, if any were asked for and
    /// came in time. An error means that the filter failed, and the operator's
    /// `on_error` applies.
    fn on_connection(&self, connection: &Connection, preview: &[u8]) -> Result<Admission, Error>;

    /// The connection is over.
    fn on_done(&self, connection: &Connection) {
        let _ = connection;
    }
}

/// Whether a connection goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// Go on, to the next filter.
    Next,
    /// Close it. The reason is for the log.
    Deny(String),
}

impl Admission {
    /// Close it, for this reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Admission::Deny(reason.into())
    }
}

/// What a filter of connections asks of the proxy before it is ever called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionWants {
    pub(crate) clusters: Vec<String>,
    pub(crate) preview: u32,
    pub(crate) done: bool,
}

impl ConnectionWants {
    /// Only facts, for which nothing is waited.
    pub fn facts() -> Self {
        ConnectionWants::default()
    }

    /// Also the connection's first bytes, so many at most. They are waited for only as
    /// long as the listener's `detection` says. With them the name is known (`tls.sni`)
    /// that a client asks for in TLS which the listener passes on.
    pub fn preview(mut self, bytes: u32) -> Self {
        self.preview = bytes;
        self
    }

    /// Also to be called for [`on_done`](ConnectionFilter::on_done).
    pub fn done(mut self) -> Self {
        self.done = true;
        self
    }

    /// Declare a cluster that this configuration may name. The proxy refuses a
    /// configuration in which it is missing.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !self.clusters.contains(&name) {
            self.clusters.push(name);
        }
        self
    }

    /// Declare clusters.
    pub fn clusters(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        names.into_iter().fold(self, ConnectionWants::cluster)
    }
}

/// The connection for which the filter is being called. It is lent for that call.
pub struct Connection<'a> {
    call: PhantomData<&'a ()>,
}

impl Connection<'_> {
    pub(crate) fn in_call() -> Self {
        Connection { call: PhantomData }
    }

    /// IP address of the client, without a port: the peer, or what a PROXY header from
    /// a trusted hop says.
    pub fn client_address(&self) -> String {
        host::connection::client_address()
    }

    /// A fact by its well-known name (`listener.name`, `destination.address`,
    /// `destination.port`, `tls.sni`, `tls.peer.spiffe`, `proxy_protocol.tlv.ea`, ...) or
    /// one that an earlier filter left.
    pub fn attribute(&self, name: &str) -> Option<String> {
        host::connection::attribute(name)
    }

    /// Leave a fact for later filters, for the exchanges of this connection and for the
    /// access log. The proxy prefixes the name with this filter's name.
    pub fn set_attribute(&self, name: &str, value: &str) {
        host::connection::set_attribute(name, value);
    }

    /// Send an opaque connection to this cluster, which
    /// [`ConnectionWants::cluster`] declared. Where the listener speaks HTTP, it is
    /// [`RouteError::Unsupported`].
    pub fn route_to(&self, cluster: &str) -> Result<(), RouteError> {
        host::connection::route_to(cluster)
    }

    /// Balance by this key: equal keys prefer the same endpoint. It is for clusters that
    /// hash by keys of filters; where there is none, and where the listener speaks HTTP, it is
    /// [`RouteError::Unsupported`].
    pub fn set_hash_key(&self, key: &[u8]) -> Result<(), RouteError> {
        host::connection::set_hash_key(key)
    }
}
