//! `lockgate:tcp-router`: where connections go.
//!
//! `config` is what the operator writes, and a `route` what is made of one. Names that
//! clients ask for are the proxy's to find, in handshakes that it ends or passes on.

mod config;
mod route;
#[cfg(test)]
mod tests;

use lockgate_sdk::prelude::*;
use lockgate_sdk::{Admission, Connection, ConnectionFilter, ConnectionWants, random};

pub use crate::config::Config;
use crate::route::{Facts, Route};

/// The filter.
pub struct TcpRouter {
    routes: Vec<Route>,
}

impl ConnectionFilter for TcpRouter {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let routes = config.routes.into_iter().enumerate();
        let routes = routes
            .map(|(index, route)| Route::check(index, route, &mut errors))
            .collect();
        errors.into_result()?;
        Ok(TcpRouter { routes })
    }

    fn wants(&self) -> ConnectionWants {
        let wants = ConnectionWants::facts().clusters(self.routes.iter().flat_map(Route::clusters));
        // The bytes themselves are of no use, but with them the name is known.
        match self.routes.iter().any(Route::wants_sni) {
            true => wants.preview(1),
            false => wants,
        }
    }

    fn on_connection(&self, connection: &Connection, _: &[u8]) -> Result<Admission, Error> {
        let fact = |name| connection.attribute(name);
        let facts = Facts {
            sni: fact("tls.sni").map(|name| name.to_ascii_lowercase()),
            client: connection.client_address().parse().ok(),
            // Where a rule of the firewall redirected it, what it was meant for counts.
            destination: (fact("original_destination.address"))
                .or_else(|| fact("destination.address"))
                .and_then(|address| address.parse().ok()),
            port: (fact("original_destination.port"))
                .or_else(|| fact("destination.port"))
                .and_then(|port| port.parse().ok()),
        };
        let Some(route) = self.routes.iter().find(|route| route.takes(&facts)) else {
            return Ok(Admission::Next);
        };
        if let Some(cluster) = route.pick(random::u64) {
            connection.route_to(cluster)?;
            connection.set_attribute("route", &route.name);
        }
        Ok(Admission::Next)
    }
}

lockgate_sdk::export_connection!(TcpRouter, name = "lockgate:tcp-router");
