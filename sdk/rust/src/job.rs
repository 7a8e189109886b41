//! Work between exchanges.

use std::time::Duration;

use crate::{Error, Filter};

/// Work that a filter does between exchanges: refresh a key set, report, clean up.
///
/// Each configuration of the filter has a job, in an instance of its own and away
/// from the request path: it sees no exchange, and shares no variable with the
/// filter. What it learns reaches that through [`shared`](crate::shared); it may
/// [wait for calls](crate::http_client). [`export!`](crate::export) takes its type
/// beside the filter's.
///
/// ```
/// use lockgate_sdk::http_client::Call;
/// use lockgate_sdk::prelude::*;
/// use lockgate_sdk::{Job, Rest, shared};
///
/// /// Keeps the list at hand.
/// struct Refresh;
///
/// impl Job for Refresh {
///     type Filter = Listed;
///
///     fn create(_: ()) -> Result<Self, Error> {
///         Ok(Refresh)
///     }
///
///     fn run(&mut self) -> Result<Rest, Error> {
///         let answer = Call::get("/list").send("lists")?;
///         match answer.status {
///             200 => shared::set("list", &answer.body, None)?,
///             status => return Err(Error::new(format!("the list: status {status}"))),
///         }
///         Ok(Rest::For(Duration::from_secs(60)))
///     }
/// }
/// # struct Listed;
/// # impl Filter for Listed {
/// #     type Config = ();
/// #     fn create(_: ()) -> Result<Self, ConfigErrors> { Ok(Listed) }
/// #     fn wants(&self) -> Wants { Wants::request() }
/// # }
///
/// lockgate_sdk::export!(Listed, job = Refresh);
/// # fn main() {}
/// ```
pub trait Job: Sized + 'static {
    /// The filter whose configurations it works for.
    type Filter: Filter;

    /// Take a configuration, which the filter's own `create` has accepted. An error
    /// is logged and counted, and tried again later.
    fn create(config: <Self::Filter as Filter>::Config) -> Result<Self, Error>;

    /// Work, and say how long to rest. The first run ends before the configuration
    /// is published, or is waited for no longer than its limit. An error is logged
    /// and counted, and the run is tried again, later each time.
    fn run(&mut self) -> Result<Rest, Error>;
}

/// How long a job rests after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// So long; the proxy makes it a tenth of a second at least.
    For(Duration),
    /// Until the configuration changes.
    ForGood,
}
