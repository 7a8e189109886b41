//! From the trait [`Filter`] to the exports of a component.

use crate::prefetch::Prefetch;
use crate::{
    Body, BodyVerdict, ConfigErrors, ConnectionFilter, Error, Exchange, Filter, Verdict, Wants,
    config,
};

#[cfg(target_arch = "wasm32")]
pub(crate) mod component;

/// What the manifest says besides the schema. [`export!`](crate::export)
/// implements it.
pub trait Exported: Filter {
    /// The filter's name.
    const NAME: &'static str;
    /// The filter's version.
    const VERSION: &'static str;
}

/// The same of a filter of connections.
/// [`export_connection!`](crate::export_connection) implements it.
pub trait ExportedConnection: ConnectionFilter {
    /// The filter's name.
    const NAME: &'static str;
    /// The filter's version.
    const VERSION: &'static str;
}

/// Make this type the component's filter of connections. Name and version are those of
/// the package; another name can be given with `name = "..."`. See
/// [`ConnectionFilter`].
#[macro_export]
macro_rules! export_connection {
    ($filter:ty $(, name = $name:expr)?) => {
        impl $crate::ExportedConnection for $filter {
            const NAME: &'static str = $crate::export!(@name $($name)?);
            const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::ConnectionComponent<$filter>;
    $crate::bindings::connection::__export_connection!(
        Component with_types_in $crate::bindings::connection
    );
        };
    };
}

/// Make this type the filter of the component. Name and version are those of
/// the package; another name can be given with `name = "..."`, and after it, in this
/// order, the filter's [`Job`](crate::Job) with `job = ...` and its
/// [`HandOver`](crate::HandOver) with `hand_over = ...`.
///
/// Expands to exports on wasm32 only, so that the crate builds and tests
/// natively.
///
/// ```
/// # use lockgate_sdk::prelude::*;
/// # struct Stamp;
/// # impl Filter for Stamp {
/// #     type Config = ();
/// #     fn create(_: ()) -> Result<Self, ConfigErrors> { Ok(Stamp) }
/// #     fn wants(&self) -> Wants { Wants::request() }
/// # }
/// lockgate_sdk::export!(Stamp, name = "example:stamp");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    (@name) => {
        ::std::env!("CARGO_PKG_NAME")
    };
    (@name $name:expr) => {
        $name
    };
    (
        $filter:ty
        $(, name = $name:expr)?
        $(, job = $job:ty)?
        $(, hand_over = $hand_over:ty)?
    ) => {
        impl $crate::Exported for $filter {
            const NAME: &'static str = $crate::export!(@name $($name)?);
            const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::Component<$filter>;
    $crate::bindings::__export_component!(Component with_types_in $crate::bindings);
        };

        $(
            const _: () = {
                const fn is_its_job<J: $crate::Job<Filter = $filter>>() {}
                is_its_job::<$job>();
            };

            #[cfg(target_arch = "wasm32")]
            const _: () = {
                type Component = $crate::JobComponent<$job>;
        $crate::bindings::job::__export_job!(Component with_types_in $crate::bindings::job);
            };
        )?

        $(
            const _: () = {
                const fn hands_over<H: $crate::HandOver>() {}
                hands_over::<$hand_over>();
            };

            #[cfg(target_arch = "wasm32")]
            const _: () = {
                type Component = $crate::HandOverComponent<$hand_over>;
        $crate::bindings::hand_over::__export_hand_over!(
            Component with_types_in $crate::bindings::hand_over
        );
            };
        )?
    };
}

/// A filter and what it asked for, which tells how the packed fields are to be
/// read.
pub struct Instance<F> {
    filter: F,
    wants: Wants,
}

impl<F: Filter> Instance<F> {
    pub(crate) fn create(json: &str) -> Result<Self, ConfigErrors> {
        let filter = F::create(config::decode(json)?)?;
        let wants = filter.wants();
        Ok(Instance { filter, wants })
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn filter(&self) -> &F {
        &self.filter
    }

    pub(crate) fn wants(&self) -> &Wants {
        &self.wants
    }

    pub(crate) fn on_request(&self, packed: &[u8]) -> Result<Verdict, Error> {
        let prefetch = Prefetch::new(&self.wants.request_fields, packed);
        self.filter.on_request(&Exchange::in_request(prefetch))
    }

    pub(crate) fn on_request_body(&self, body: Body) -> Result<BodyVerdict, Error> {
        let exchange = Exchange::in_later_phase();
        self.filter.on_request_body(&exchange, body)
    }

    pub(crate) fn on_request_trailers(&self) -> Result<(), Error> {
        self.filter.on_request_trailers(&Exchange::in_later_phase())
    }

    pub(crate) fn on_response(&self, packed: &[u8]) -> Result<Verdict, Error> {
        let prefetch = Prefetch::new(&self.wants.response_fields, packed);
        self.filter.on_response(&Exchange::in_response(prefetch))
    }

    pub(crate) fn on_response_body(&self, body: Body) -> Result<BodyVerdict, Error> {
        let exchange = Exchange::in_later_phase();
        self.filter.on_response_body(&exchange, body)
    }

    pub(crate) fn on_response_trailers(&self) -> Result<(), Error> {
        self.filter
            .on_response_trailers(&Exchange::in_later_phase())
    }

    pub(crate) fn on_done(&self) {
        self.filter.on_done(&Exchange::in_later_phase());
    }
}
