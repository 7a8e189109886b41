//! What goes with TCP, and what does not.

use serde::Deserialize;
use serde_json::json;

use super::Checker;
use crate::config::checked::{Protocol, Tcp};
use crate::config::place::below;
use crate::config::raw::{RawListener, RawTcp};

/// Keys of a listener that are about HTTP, those within others by their path.
const HTTP_KEYS: [&[&str]; 18] = [
    &["forward_proxy"],
    &["filters"],
    &["remove_request_headers"],
    &["http2"],
    &["upgrades"],
    &["headers"],
    &["path"],
    &["timeouts", "idle"],
    &["timeouts", "head"],
    &["timeouts", "body"],
    &["timeouts", "total"],
    &["timeouts", "longest"],
    &["limits", "max_head_bytes"],
    &["limits", "max_headers"],
    &["limits", "max_target_bytes"],
    &["limits", "max_body_bytes"],
    &["limits", "min_body_rate"],
    &["limits", "max_requests"],
];

const TCP_KEYS: [&[&str]; 2] = [&["tcp"], &["server_first_ports"]];

impl Checker<'_> {
    pub(super) fn tcp(&mut self, at: &str, raw: &RawTcp) -> Tcp {
        Tcp {
            idle: self.time(at, "idle", raw.idle),
            max_lifetime: raw
                .max_lifetime
                .map(|time| self.time(at, "max_lifetime", time)),
        }
    }

    /// A listener says nothing of what is not spoken on it.
    pub(super) fn kinds(&mut self, at: &str, raw: &RawListener, protocols: &[Protocol]) {
        if !protocols.contains(&Protocol::Tcp) {
            return self.says_nothing_of(at, raw, &TCP_KEYS, "HTTP", "it is about TCP");
        }
        let is_detected = protocols.iter().any(|other| *other != Protocol::Tcp);
        if !is_detected {
            self.says_nothing_of(at, raw, &HTTP_KEYS, "TCP", "it is about HTTP");
        }
        if is_detected && !raw.filters.is_empty() && raw.connection_filters.is_empty() {
            let wanted = "`connection_filters` too: who does not speak HTTP goes past `filters`";
            self.warning(
                &below(at, "filters"),
                "`filters` where `tcp` is spoken too",
                wanted,
            );
        }
        if raw.cluster.is_none() && raw.connection_filters.is_empty() {
            let wanted = "a `cluster` for its connections, or `connection_filters` that know one";
            self.mistake(at, "a listener of TCP without a cluster", wanted);
        }
    }

    /// Refuses what is other than by default. A configuration that is shown with all of
    /// its defaults is good again.
    fn says_nothing_of(
        &mut self,
        at: &str,
        raw: &RawListener,
        keys: &[&[&str]],
        spoken: &str,
        why: &str,
    ) {
        let default = RawListener::deserialize(json!({})).map(|raw| json!(raw));
        let (default, written) = (default.unwrap_or_default(), json!(raw));
        for key in keys {
            let pointer = format!("/{}", key.join("/"));
            if written.pointer(&pointer) != default.pointer(&pointer) {
                let found = format!("`{}` where {spoken} is spoken", key.join("."));
                self.mistake(
                    &format!("{at}{pointer}"),
                    found,
                    format!("no such key: {why}"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::{JsonSchema, schema_for};

    use super::*;
    use crate::config::raw::{RawLimits, RawTimeouts};

    /// Keys of which some are about HTTP.
    const PARTS: [&str; 2] = ["timeouts", "limits"];

    /// Those that go with whatever is spoken.
    const OTHERS: [&[&str]; 15] = [
        &["name"],
        &["address"],
        &["socket"],
        &["tls"],
        &["proxy_protocol"],
        &["cluster"],
        &["connection_filters"],
        &["detection"],
        &["protocols"],
        &["timeouts", "handshake"],
        &["limits", "max_connections"],
        &["limits", "max_client_connections"],
        &["limits", "client_ipv6_prefix"],
        &["limits", "max_handshakes"],
        &["limits", "max_client_handshakes"],
    ];

    fn keys<T: JsonSchema>() -> Vec<String> {
        let schema = json!(schema_for!(T));
        let keys = schema["properties"].as_object().expect("an object's keys");
        keys.keys().cloned().collect()
    }

    #[test]
    fn of_each_key_it_is_known_what_it_is_about() {
        let mut all: Vec<_> = keys::<RawListener>();
        all.retain(|key| !PARTS.contains(&&**key));
        all.extend(
            keys::<RawTimeouts>()
                .iter()
                .map(|key| format!("timeouts.{key}")),
        );
        all.extend(
            keys::<RawLimits>()
                .iter()
                .map(|key| format!("limits.{key}")),
        );
        all.sort();
        let mut known: Vec<_> = HTTP_KEYS
            .iter()
            .chain(&TCP_KEYS)
            .chain(&OTHERS)
            .map(|key| key.join("."))
            .collect();
        known.sort();
        assert_eq!(all, known);
    }
}
