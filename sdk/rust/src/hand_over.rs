//! What is shared, from one version of a filter to the next.

use crate::Error;

/// How a version of a filter takes over what is [`shared`](crate::shared), where an
/// older one kept it in another form.
///
/// Before the version takes its first exchange, the proxy brings every entry that is
/// there into the new form, each under its key and with the time it has left. The
/// version before goes on with its own. [`export!`](crate::export) takes the type,
/// most often the filter's own.
///
/// ```
/// use lockgate_sdk::prelude::*;
/// use lockgate_sdk::{HandOver, Stored};
///
/// /// Counts visits: at first in a counter, and since then with the day of the last.
/// struct Visits;
///
/// impl HandOver for Visits {
///     const FORMAT: u32 = 1;
///
///     fn migrate(from: u32, _key: &str, stored: Stored) -> Result<Option<Stored>, Error> {
///         match (from, stored) {
///             (0, Stored::Counter(count)) => {
///                 let unknown_day = 0;
///                 Ok(Some(format!("{count} {unknown_day}").into_bytes().into()))
///             }
///             (from, _) => Err(Error::new(format!("the form {from} is none of mine"))),
///         }
///     }
/// }
/// # impl Filter for Visits {
/// #     type Config = ();
/// #     fn create(_: ()) -> Result<Self, ConfigErrors> { Ok(Visits) }
/// #     fn wants(&self) -> Wants { Wants::request() }
/// # }
///
/// lockgate_sdk::export!(Visits, hand_over = Visits);
/// # fn main() {}
/// ```
pub trait HandOver: 'static {
    /// The form that this version reads and writes. Of a filter without a `HandOver`
    /// it is 0.
    const FORMAT: u32;

    /// Bring one entry from another form to this one; `None` drops it. An error
    /// refuses the version and is its reason, and the one before goes on. There is no
    /// exchange, no configuration, and nothing that is shared can be seen or changed.
    fn migrate(from: u32, key: &str, stored: Stored) -> Result<Option<Stored>, Error>;
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// By [`shared::set`](crate::shared::set) and its like.
    Bytes(Vec<u8>),
    /// By [`shared::add`](crate::shared::add).
    Counter(i64),
}

impl From<Vec<u8>> for Stored {
    fn from(bytes: Vec<u8>) -> Self {
        Stored::Bytes(bytes)
    }
}

#[cfg(test)]
mod tests;
