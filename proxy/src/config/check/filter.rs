//! Filters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use serde_json::Value;

use super::Checker;
use super::address::Wrong;
use super::case::CasesOf;
use super::names::read_name;
use crate::config::checked::{
    AbortOn, Canary, Cluster, ComponentSource, Filter, FilterConfig, FilterLimits, Grants, Name,
    Probation, Pull, Reference, RouteConfig, Shadow, Sticky,
};
use crate::config::mistake::Mistake;
use crate::config::oci::{self, Version};
use crate::config::place::below;
use crate::config::raw::{
    RawAbortOn, RawCanary, RawFilter, RawFilterLimits, RawGrants, RawProbation, RawRoute, RawShadow,
};

impl Checker<'_> {
    pub(super) fn filter(&mut self, at: &str, name: &str, raw: &RawFilter) -> Option<Filter> {
        let component = self.component(at, raw.component.as_ref(), raw.pull);
        self.filter_of(at, name, raw, component)
    }

    /// A filter with this component.
    pub(super) fn filter_of(
        &mut self,
        at: &str,
        name: &str,
        raw: &RawFilter,
        component: Option<ComponentSource>,
    ) -> Option<Filter> {
        let name = self.filter_name(at, name);
        let trust = self.trusted_by(at, raw, component.as_ref());
        let limits = self.filter_limits(&below(at, "limits"), &raw.limits);
        let grants = self.grants(&below(at, "grants"), &raw.grants);
        let routes = self.routes(&below(at, "routes"), &raw.routes);
        let config = self.own_config(below(at, "config"), &raw.config);
        if let Some(shadow) = raw.shadow.as_ref().filter(|_| grants.shared) {
            self.see_all(&below(at, "shadow"), shadow);
        }
        Some(Filter {
            name,
            component: component?,
            trust,
            on_error: raw.on_error,
            on_bad: raw.on_bad,
            probation: self.probation(&below(at, "probation"), &raw.probation),
            isolation: raw.isolation,
            limits,
            grants,
            config,
            routes,
            canary: raw
                .canary
                .as_ref()
                .and_then(|canary| self.canary(&below(at, "canary"), canary))
                .map(Box::new),
            shadow: raw
                .shadow
                .as_ref()
                .and_then(|shadow| self.shadow(&below(at, "shadow"), shadow))
                .map(Box::new),
            checks: self.cases(&below(at, "checks"), &raw.checks, CasesOf::Filter),
            pointer: at.to_owned(),
        })
    }

    fn canary(&mut self, at: &str, raw: &RawCanary) -> Option<Canary> {
        let component = self.component(at, raw.component.as_ref(), raw.pull);
        let sticky_by = self.text(&below(at, "sticky_by"), &raw.sticky_by, read_sticky);
        let config = raw.config.as_ref();
        let config = config.map(|value| self.own_config(below(at, "config"), value));
        let abort_on = self.abort_on(&below(at, "abort_on"), &raw.abort_on);
        let promote_after = raw.promote_after;
        Some(Canary {
            component: component?,
            config,
            share: share(raw.percent),
            sticky_by: sticky_by?,
            abort_on,
            promote_after: promote_after.map(|time| self.time(at, "promote_after", time)),
            pointer: at.to_owned(),
        })
    }

    fn shadow(&mut self, at: &str, raw: &RawShadow) -> Option<Shadow> {
        let component = self.component(at, raw.component.as_ref(), raw.pull);
        let config = raw.config.as_ref();
        let config = config.map(|value| self.own_config(below(at, "config"), value));
        let call = self.called(&below(at, "call"), &raw.call);
        Some(Shadow {
            component: component?,
            config,
            share: share(raw.percent),
            cpu_percent: raw.cpu_percent,
            call,
            pointer: at.to_owned(),
        })
    }

    /// What a shadow shares it writes for itself alone, so it counts what it sees.
    fn see_all(&mut self, at: &str, raw: &RawShadow) {
        if raw.percent < 100.0 {
            let found = format!(
                "{} % of the exchanges for the shadow of a filter with `shared`, \
                 which counts only those that it sees",
                raw.percent
            );
            self.warning(
                &below(at, "percent"),
                found,
                "100 %, unless nothing is counted",
            );
        }
    }

    fn abort_on(&mut self, at: &str, raw: &RawAbortOn) -> AbortOn {
        let added_latency = raw.added_latency;
        AbortOn {
            min_calls: raw.min_calls,
            fault_percent: raw.fault_percent,
            added_latency: added_latency.map(|time| self.time(at, "added_latency", time)),
            verdict_percent: raw.verdict_percent,
        }
    }

    fn probation(&mut self, at: &str, raw: &RawProbation) -> Probation {
        Probation {
            time: self.time(at, "time", raw.time),
            min_calls: raw.min_calls,
            min_faults: raw.min_faults,
            fault_percent: raw.fault_percent,
        }
    }

    /// The name of a filter is a key, and so has its place there.
    fn filter_name(&mut self, pointer: &str, name: &str) -> Name {
        read_name(name).unwrap_or_else(|Wrong { wanted, hint }| {
            let found = crate::config::words::quoted(name);
            let mistake = Mistake::at_key(self.places, pointer, found, wanted);
            self.mistakes.push(mistake.with_hint(hint));
            Arc::from(name)
        })
    }

    pub(super) fn component(
        &mut self,
        at: &str,
        text: Option<&String>,
        pull: Option<Pull>,
    ) -> Option<ComponentSource> {
        let written = self.required(at, "component", text, read_component)?;
        let source = match written {
            Written::Shipped(name) => ComponentSource::Shipped(name),
            Written::File(path) => ComponentSource::File(self.path(&below(at, "component"), &path)),
            Written::Reference(reference) => return self.pulled(at, reference, pull),
        };
        if pull.is_some() {
            let found = "`pull` of a component that is in no registry";
            self.mistake(&below(at, "pull"), found, "no `pull`");
        }
        Some(source)
    }

    /// What a tag stands for may change unseen, and so somebody has to want that.
    /// Without that its registry is not asked either, not even for further mistakes.
    fn pulled(
        &mut self,
        at: &str,
        reference: Reference,
        pull: Option<Pull>,
    ) -> Option<ComponentSource> {
        if matches!(reference.version, Version::Tag(_)) && pull != Some(Pull::Always) {
            // Of a `pull` that is mistaken that was told before.
            if pull.is_some() || !self.places.has(&below(at, "pull")) {
                let found =
                    format!("`{reference}`, a tag, which may be another component tomorrow");
                let wanted = "a digest, `@sha256:…`, or `pull: always`";
                self.mistake(&below(at, "component"), found, wanted);
            }
            return None;
        }
        Some(ComponentSource::Registry(
            reference,
            pull.unwrap_or(Pull::Missing),
        ))
    }

    /// Where one is out of its range, the defaults will do: with the least or the
    /// most that may be, the filter could fail for that alone.
    fn filter_limits(&mut self, at: &str, raw: &RawFilterLimits) -> FilterLimits {
        let known = self.mistakes.len();
        let limits = self.read_limits(at, raw);
        match self.mistakes.len() == known {
            true => limits,
            false => self.read_limits(at, &RawFilterLimits::default()),
        }
    }

    fn read_limits(&mut self, at: &str, raw: &RawFilterLimits) -> FilterLimits {
        FilterLimits {
            max_component_bytes: self.memory_size(
                at,
                "max_component_bytes",
                raw.max_component_bytes,
            ),
            cpu: self.time(at, "cpu", raw.cpu),
            hand_over: self.time(at, "hand_over", raw.hand_over),
            create_cpu: self.time(at, "create_cpu", raw.create_cpu),
            memory_bytes: self.memory_size(at, "memory", raw.memory),
            max_instances: raw.max_instances,
            max_waiting: raw.max_waiting,
            max_wait: self.time(at, "max_wait", raw.max_wait),
            max_overruns: raw.max_overruns,
            overrun_window: self.time(at, "overrun_window", raw.overrun_window),
            pause: self.time(at, "pause", raw.pause),
            max_host_calls: raw.max_host_calls,
            max_delay: self.time(at, "max_delay", raw.max_delay),
            max_buffer_bytes: self.memory_size(at, "max_buffer_bytes", raw.max_buffer_bytes),
            max_reply_bytes: self.memory_size(at, "max_reply_bytes", raw.max_reply_bytes),
            max_output_bytes: self.memory_size(at, "max_output_bytes", raw.max_output_bytes),
            max_log_lines: raw.max_log_lines,
            max_log_bytes: self.memory_size(at, "max_log_bytes", raw.max_log_bytes),
            max_series: raw.max_series,
            max_attribute_bytes: self.memory_size(
                at,
                "max_attribute_bytes",
                raw.max_attribute_bytes,
            ),
            max_state_bytes: self.memory_size(at, "max_state_bytes", raw.max_state_bytes),
            max_calls: raw.max_calls,
            call_timeout: self.time(at, "call_timeout", raw.call_timeout),
            max_call_time: self.time(at, "max_call_time", raw.max_call_time),
            max_call_bytes: self.memory_size(at, "max_call_bytes", raw.max_call_bytes),
            max_shared_bytes: self.memory_size(at, "max_shared", raw.max_shared),
            max_shared_entry_bytes: self.memory_size(at, "max_shared_entry", raw.max_shared_entry),
            job_cpu: self.time(at, "job_cpu", raw.job_cpu),
            job_time: self.time(at, "job_time", raw.job_time),
            first_run: self.time(at, "first_run", raw.first_run),
        }
    }

    pub(super) fn own_config(&self, pointer: String, value: &Value) -> FilterConfig {
        let inside = self.texts.iter().filter_map(|(at, text)| {
            let at = at.strip_prefix(&pointer)?;
            let is_inside = at.is_empty() || at.starts_with('/');
            is_inside.then(|| (at.to_owned(), text.clone()))
        });
        FilterConfig {
            texts: inside.collect(),
            value: value.clone(),
            pointer,
        }
    }

    /// What is not served yet cannot be granted: it would promise what is not kept.
    fn grants(&mut self, at: &str, raw: &RawGrants) -> Grants {
        Grants {
            call: self.called(&below(at, "call"), &raw.call),
            shared: raw.shared,
            secrets: self.granted_secrets(at, raw),
        }
    }

    fn called(&mut self, at: &str, raw: &[String]) -> Vec<Name> {
        let clusters = raw.iter().enumerate();
        let called = clusters.map(|(number, name)| {
            let pointer = below(at, number.to_string());
            self.cluster_reference(&pointer, name)
        });
        called.collect()
    }

    /// No request of a client stands behind a call that could say where it is to go.
    pub(super) fn calls(&mut self, filters: &[Filter], clusters: &[Cluster]) {
        let follows = |name: &Name| {
            let mut clusters = clusters.iter().filter(|cluster| cluster.name == *name);
            clusters.any(|cluster| cluster.follows_clients() || cluster.goes_to_targets())
        };
        for filter in filters {
            let shadow = filter.shadow.as_ref();
            let granted = ("grants/call", filter.grants.call.as_slice());
            let of_shadow = (
                "shadow/call",
                shadow.map_or(&[][..], |shadow| shadow.call.as_slice()),
            );
            for (key, called) in [granted, of_shadow] {
                for (number, _) in called.iter().enumerate().filter(|(_, name)| follows(name)) {
                    self.mistake(
                        &format!("{}/{key}/{number}", filter.pointer),
                        "a cluster that goes where clients say",
                        "one whose endpoints are known",
                    );
                }
            }
        }
    }

    fn routes(&mut self, at: &str, raw: &BTreeMap<String, RawRoute>) -> Vec<(Name, RouteConfig)> {
        let routes = raw.iter().map(|(name, route)| {
            let pointer = below(at, name);
            if name.is_empty() {
                let mistake =
                    Mistake::at_key(self.places, &pointer, "an empty key", "the name of a route");
                self.mistakes.push(mistake);
            }
            let config = match route {
                RawRoute::Off => RouteConfig::Off,
                RawRoute::Config(value) => {
                    RouteConfig::Config(self.own_config(below(&pointer, "config"), value))
                }
            };
            (Arc::from(name.as_str()), config)
        });
        routes.collect()
    }
}

/// A component as it is written.
enum Written {
    Shipped(Name),
    File(PathBuf),
    Reference(Reference),
}

/// Percent as a share of 10,000.
fn share(percent: f64) -> u16 {
    (percent.clamp(0.0, 100.0) * 100.0).round() as u16
}

fn read_sticky(text: &str) -> Result<Sticky, Wrong> {
    let wrong = || Wrong::new("`address`, `header:NAME`, `attribute:NAME` or `chance`");
    match text.split_once(':') {
        None if text == "chance" => Ok(Sticky::Chance),
        None if text == "address" => Ok(Sticky::Address),
        Some(("header", name)) => match HeaderName::try_from(name) {
            Ok(name) => Ok(Sticky::Header(name.as_str().to_owned())),
            Err(_) => Err(wrong()),
        },
        Some(("attribute", name)) if !name.is_empty() => Ok(Sticky::Attribute(name.to_owned())),
        None | Some(_) => Err(wrong()),
    }
}

fn read_component(text: &str) -> Result<Written, Wrong> {
    let wrong =
        || Wrong::new("`lockgate:NAME`, the path of a component or `oci://HOST/NAME@sha256:…`");
    if let Some(name) = text.strip_prefix("lockgate:") {
        return read_name(name).map(Written::Shipped).map_err(|_| wrong());
    }
    if text.starts_with(oci::SCHEME) {
        let reference = Reference::read(text).map_err(|error| Wrong::new(error.to_string()));
        return reference.map(Written::Reference);
    }
    // A bare word is more often a shipped filter than a file.
    if !text.contains(['/', '.']) {
        let hint = (!text.is_empty())
            .then(|| format!("`lockgate:{text}` is one that is shipped, `./{text}` a file"));
        return Err(Wrong { hint, ..wrong() });
    }
    if text.contains("@sha256:") {
        let hint = Some(format!("`oci://{text}` is one in a registry"));
        return Err(Wrong { hint, ..wrong() });
    }
    match text.contains("://") || text.contains('\0') {
        true => Err(wrong()),
        false => Ok(Written::File(PathBuf::from(text))),
    }
}
