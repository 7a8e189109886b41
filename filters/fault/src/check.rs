//! From the configuration to the filter, with every mistake at once.

use lockgate_sdk::matching::Matcher;
use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::Fault;
use crate::abort::{self, Abort};
use crate::ask::Asking;
use crate::config::{AbortConfig, Config, DelayConfig, HeadersConfig};
use crate::delay::Delay;
use crate::draw::Percent;

pub fn check(config: Config) -> Result<Fault, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.delay.is_none() && config.abort.is_none() && config.headers.is_none() {
        let message = "nothing to inject: `delay`, `abort` or `headers` is wanted";
        errors.push(ConfigError::whole(message));
    }
    let delay = config.delay.map(|delay| check_delay(delay, &mut errors));
    let abort = config.abort.map(|abort| check_abort(abort, &mut errors));
    let asking = config
        .headers
        .map(|headers| check_headers(headers, &mut errors));
    let matcher = Matcher::check(config.condition, "/match").unwrap_or_else(|mistakes| {
        errors.extend(mistakes);
        Matcher::default()
    });
    errors.into_result()?;

    // A mistake leaves a hole, and then this line is not reached.
    let injected = Counter::define("injected_total", "faults injected", &["kind"])?;
    Ok(Fault {
        matcher,
        seed: config.seed,
        delay: delay.flatten(),
        abort: abort.flatten(),
        asking: asking.flatten(),
        injected,
    })
}

fn check_delay(config: DelayConfig, errors: &mut ConfigErrors) -> Option<(Delay, Percent)> {
    let percent = check_percent(config.percent, "/delay/percent", errors);
    let delay = match (config.fixed, config.min, config.max) {
        (Some(fixed), None, None) => Delay::Fixed(fixed.0),
        (None, Some(min), Some(max)) if min <= max => Delay::Between(min.0, max.0),
        (None, Some(_), Some(_)) => {
            errors.push(ConfigError::at("/delay/min", "longer than `max`"));
            return None;
        }
        _ => {
            let message = "either `fixed` is wanted, or `min` and `max`";
            errors.push(ConfigError::at("/delay", message));
            return None;
        }
    };
    Some((delay, percent?))
}

fn check_abort(config: AbortConfig, errors: &mut ConfigErrors) -> Option<(Abort, Percent)> {
    let percent = check_percent(config.percent, "/abort/percent", errors);
    if config.body.is_some() && config.status.is_none() {
        errors.push(ConfigError::at("/abort/body", "goes with `status` only"));
    }
    let abort = match (config.status, config.grpc_status, config.reset) {
        (Some(status @ 200..=599), None, false) => {
            let body = config.body.unwrap_or_else(|| abort::BODY.to_owned());
            Abort::Status(status, body)
        }
        (Some(status), None, false) => {
            let message = format!("{status} is not the status of an answer: 200 to 599");
            errors.push(ConfigError::at("/abort/status", message));
            return None;
        }
        (None, Some(status @ 1..=16), false) => Abort::Grpc(status),
        (None, Some(status), false) => {
            let message = format!("{status} is not the status of a failure: 1 to 16");
            errors.push(ConfigError::at("/abort/grpc_status", message));
            return None;
        }
        (None, None, true) => Abort::Reset,
        _ => {
            let message = "exactly one of `status`, `grpc_status` and `reset` is wanted";
            errors.push(ConfigError::at("/abort", message));
            return None;
        }
    };
    Some((abort, percent?))
}

fn check_headers(config: HeadersConfig, errors: &mut ConfigErrors) -> Option<Asking> {
    if config.max_delay.is_none() && !config.abort {
        let message = "allows nothing: `max_delay` or `abort` is wanted";
        errors.push(ConfigError::at("/headers", message));
    }
    Some(Asking {
        max_delay: config.max_delay.map(|max| max.0),
        may_abort: config.abort,
        percent: check_percent(config.percent, "/headers/percent", errors)?,
    })
}

fn check_percent(percent: f64, at: &str, errors: &mut ConfigErrors) -> Option<Percent> {
    let checked = Percent::new(percent);
    if checked.is_none() {
        let message = format!("{percent} is not a percentage: 0 to 100");
        errors.push(ConfigError::at(at, message));
    }
    checked
}
