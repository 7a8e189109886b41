//! The job: fetches the key set of a configuration that names one.

use lockgate_sdk::{Error, Job, Rest};

use crate::remote::Source;
use crate::{Auth, Config, check};

/// Keeps the keys of one configuration at hand.
pub struct Refresh(Option<Source>);

impl Job for Refresh {
    type Filter = Auth;

    fn create(config: Config) -> Result<Self, Error> {
        // The filter took it, with what it is granted.
        let granted = check::Granted {
            secret: &|_| true,
            call: &|_| true,
        };
        let checked = check::check(config, &granted).map_err(Error::new)?;
        Ok(Self(checked.source))
    }

    fn run(&mut self) -> Result<Rest, Error> {
        let Some(source) = &self.0 else {
            return Ok(Rest::ForGood);
        };
        source.fetch()?;
        Ok(Rest::For(source.refresh))
    }
}
