//! What a filter asks of the proxy before it is ever called.

use std::collections::HashSet;

/// The phases to be called for, the fields to have at hand, and the names that
/// a configuration may use. A phase that is not asked for costs nothing. Bodies
/// are asked for with a [`Verdict`](crate::Verdict), exchange by exchange.
///
/// ```
/// use lockgate_sdk::Wants;
///
/// let wants = Wants::request()
///     .request_field("authorization")
///     .response()
///     .cluster("checkout-v1");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    pub(crate) request: bool,
    pub(crate) request_trailers: bool,
    pub(crate) response: bool,
    pub(crate) response_trailers: bool,
    pub(crate) done: bool,
    pub(crate) request_fields: Vec<String>,
    pub(crate) response_fields: Vec<String>,
    pub(crate) clusters: Vec<String>,
    pub(crate) retries: Vec<String>,
    pub(crate) routes: Vec<String>,
}

impl Wants {
    /// To be called for no phase, until one is added.
    pub fn nothing() -> Self {
        Wants::default()
    }

    /// To be called for [`on_request`](crate::Filter::on_request).
    pub fn request() -> Self {
        Wants {
            request: true,
            ..Wants::default()
        }
    }

    /// Also for [`on_response`](crate::Filter::on_response).
    pub fn response(mut self) -> Self {
        self.response = true;
        self
    }

    /// Also for [`on_request_trailers`](crate::Filter::on_request_trailers).
    pub fn request_trailers(mut self) -> Self {
        self.request_trailers = true;
        self
    }

    /// Also for [`on_response_trailers`](crate::Filter::on_response_trailers).
    pub fn response_trailers(mut self) -> Self {
        self.response_trailers = true;
        self
    }

    /// Also for [`on_done`](crate::Filter::on_done).
    pub fn done(mut self) -> Self {
        self.done = true;
        self
    }

    /// Have this field of the request at hand in `on_request`, where reading it
    /// then costs nothing. Pseudo-fields (`:method`, `:scheme`, `:authority`,
    /// `:path`) too: they answer `request().method()` and its like.
    pub fn request_field(mut self, name: impl AsRef<str>) -> Self {
        add_field(&mut self.request_fields, name.as_ref());
        self
    }

    /// Have these fields of the request at hand in `on_request`.
    pub fn request_fields(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        names.into_iter().fold(self, Wants::request_field)
    }

    /// Have this field of the response (or `:status`) at hand in `on_response`.
    pub fn response_field(mut self, name: impl AsRef<str>) -> Self {
        add_field(&mut self.response_fields, name.as_ref());
        self
    }

    /// Have these fields of the response at hand in `on_response`.
    pub fn response_fields(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        names.into_iter().fold(self, Wants::response_field)
    }

    /// Declare a cluster that this configuration may name. The proxy refuses a
    /// configuration in which it is missing.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        add(&mut self.clusters, name.into());
        self
    }

    /// Declare clusters.
    pub fn clusters(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        names.into_iter().fold(self, Wants::cluster)
    }

    /// Declare a name that [`set_route`](crate::Exchange::set_route) may be given.
    pub fn route(mut self, name: impl Into<String>) -> Self {
        add(&mut self.routes, name.into());
        self
    }

    /// Declare names of routes.
    pub fn routes(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.routes.extend(names.into_iter().map(Into::into));
        // A router may have ten thousand: no name is looked for among the others.
        let mut seen = HashSet::new();
        self.routes.retain(|name| seen.insert(name.clone()));
        self
    }

    /// Declare a retry policy that [`set_retry`](crate::Exchange::set_retry) may name.
    pub fn retry(mut self, policy: impl Into<String>) -> Self {
        add(&mut self.retries, policy.into());
        self
    }
}

/// Field names are lower case in the contract, and each is handed over once.
fn add_field(fields: &mut Vec<String>, name: &str) {
    add(fields, name.to_ascii_lowercase());
}

fn add(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}
