//! What is of the whole process: threads, logs, the admin address.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::Checker;
use super::address::{Wrong, is_host, read_admin};
use super::names::is_misspelt;
use crate::config::checked::{
    AccessLog, AccessLogTarget, Admin, AdminAddress, Dns, ListenAddress, Log,
};
use crate::config::overload::Overload;
use crate::config::place::below;
use crate::config::raw::{RawAccessLog, RawAdmin, RawConfig, RawLog, Workers};
use crate::config::words;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The keys of the top level that are neither listeners, filters nor clusters. In
/// the place of a mistake stands whatever is good: such a configuration never runs.
pub(in crate::config) struct Process {
    pub(in crate::config) workers: NonZeroUsize,
    pub(in crate::config) admin: Option<Admin>,
    pub(in crate::config) log: Log,
    pub(in crate::config) access_log: AccessLog,
    pub(in crate::config) cache_dir: Option<PathBuf>,
    pub(in crate::config) max_cache_bytes: u64,
    pub(in crate::config) state_dir: Option<PathBuf>,
    pub(in crate::config) lame_duck: Duration,
    pub(in crate::config) drain_timeout: Duration,
    pub(in crate::config) max_generations: NonZeroUsize,
    pub(in crate::config) max_connections: usize,
    pub(in crate::config) overload: Overload,
    pub(in crate::config) dns: Dns,
}

impl Checker<'_> {
    pub(super) fn process(&mut self, raw: &RawConfig, value: &Value) -> Process {
        let no_listener = match value.get("listeners") {
            None => !is_misspelt(value, "listeners"),
            Some(listeners) => listeners.as_array().is_some_and(Vec::is_empty),
        };
        if no_listener {
            self.mistake("/listeners", "no listener", "at least one in `listeners`");
        }
        let admin = raw.admin.as_ref();
        let admin = admin.and_then(|admin| self.admin("/admin", admin));
        let log = self.log("/log", &raw.log);
        let access_log = self.access_log("/access_log", &raw.access_log);
        let cache_dir = raw
            .cache_dir
            .as_ref()
            .map(|path| self.path("/cache_dir", path));
        let state_dir = raw
            .state_dir
            .as_ref()
            .map(|path| self.path("/state_dir", path));
        let max_cache_bytes = self.size("", "max_cache_bytes", raw.max_cache_bytes);
        let lame_duck = self.time("", "lame_duck", raw.lame_duck);
        let drain_timeout = self.time("", "drain_timeout", raw.drain_timeout);
        Process {
            workers: workers(raw.workers),
            admin,
            log,
            access_log,
            cache_dir,
            max_cache_bytes,
            state_dir,
            lame_duck,
            drain_timeout,
            max_generations: NonZeroUsize::new(raw.max_generations).unwrap_or(NonZeroUsize::MIN),
            max_connections: raw.max_connections,
            overload: self.overload("/overload", &raw.overload),
            dns: self.dns("/dns", &raw.dns),
        }
    }

    fn admin(&mut self, at: &str, raw: &RawAdmin) -> Option<Admin> {
        let pointer = below(at, "address");
        let address = self.text(&pointer, &raw.address, read_admin);
        let hosts = self.texts(at, "hosts", &raw.hosts, read_admin_host);
        if let Some(AdminAddress::Tcp(address)) = address {
            self.taken(&pointer, ListenAddress::Tcp(address), false);
            if !address.ip().is_loopback() && raw.token.is_none() {
                let found = format!("`{address}`, which others can reach, and no `token`");
                self.warning(
                    &pointer,
                    found,
                    "a loopback address, `unix:/path` or a `token`",
                );
            }
        }
        if let Some(token) = &raw.token {
            self.token(&below(at, "token"), token);
        }
        Some(Admin {
            address: address?,
            hosts,
            token: raw.token.clone(),
        })
    }

    fn token(&mut self, pointer: &str, token: &str) {
        let is_good = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
        if !is_good {
            let found = "a token that cannot be sent in a header field";
            self.mistake(pointer, found, "visible ASCII characters without spaces");
        }
    }

    fn log(&mut self, at: &str, raw: &RawLog) -> Log {
        let level = self.text(&below(at, "level"), &raw.level, read_level);
        Log {
            level: level.unwrap_or_else(|| RawLog::default().level),
            format: raw.format,
        }
    }

    fn access_log(&mut self, at: &str, raw: &RawAccessLog) -> AccessLog {
        let pointer = below(at, "to");
        let to = match self.text(&pointer, &raw.to, read_target) {
            Some(AccessLogTarget::File(path)) => AccessLogTarget::File(self.path(&pointer, &path)),
            Some(other) => other,
            None => AccessLogTarget::Off,
        };
        AccessLog {
            to,
            format: raw.format,
            filters: raw.filters,
        }
    }
}

fn workers(raw: Workers) -> NonZeroUsize {
    match raw {
        Workers::Auto(_) => available_parallelism().unwrap_or(NonZeroUsize::MIN),
        // None was refused before.
        Workers::Number(number) => NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN),
    }
}

fn read_admin_host(text: &str) -> Result<String, Wrong> {
    match is_host(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Wrong::new("a host name without a port")),
    }
}

fn read_target(text: &str) -> Result<AccessLogTarget, Wrong> {
    match text {
        "off" => Ok(AccessLogTarget::Off),
        "stdout" => Ok(AccessLogTarget::Stdout),
        path if path.contains('/') && !path.contains('\0') => {
            Ok(AccessLogTarget::File(Path::new(path).to_owned()))
        }
        _ => Err(Wrong::new("`stdout`, `off` or a path with a `/`")),
    }
}

/// The directives of `EnvFilter`, but for those that are more likely a misspelt
/// level than a target that should be traced.
fn read_level(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::new("a level or `target=level`, separated by commas");
    for directive in text.split(',') {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(_, level)| level);
        if !LEVELS.contains(&level) {
            let near = words::nearest(level, LEVELS.iter().copied());
            let hint = near.map(|near| format!("{} is near", words::quoted(near)));
            let wanted = "`off`, `error`, `warn`, `info`, `debug` or `trace`, or `target=level`";
            return Err(Wrong {
                hint,
                ..Wrong::new(wanted)
            });
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for (text, good) in [
            ("info", true),
            ("off", true),
            ("warn,lockgate::upstream=debug", true),
            ("hyper=off,trace", true),
            ("inof", false),
            ("", false),
            ("info,", false),
            ("info,hyper", false),
            ("[{=info", false),
        ] {
            assert_eq!(read_level(text).is_ok(), good, "{text}");
        }
    }
}
