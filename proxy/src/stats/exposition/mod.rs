//! The text of `/metrics`, in the OpenMetrics format.
//!
//! Takes: the series of [`Stats`], added up over the workers at each scrape.
//! Every name is a constant here or in `families`, and told in `docs/admin.md`;
//! only filters bring names of their own, below `lockgate_guest_`.

mod families;
mod guest;
mod shadows;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::counter::BOUNDS;
use super::overload::Resource;
use super::process::{max_descriptors, open_descriptors, resident_memory};
use super::{Expiry, FilterVersion, Stats};

/// What an answer with this text is called.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, now. `error_kinds` names the kinds of errors in
/// the order of their counters.
pub fn text(stats: &Arc<Stats>, error_kinds: &[&'static str]) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        stats: stats.clone(),
        error_kinds: error_kinds.to_vec(),
    }));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes every write");
    text
}

#[derive(Debug)]
struct Scrape {
    stats: Arc<Stats>,
    error_kinds: Vec<&'static str>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        process(&self.stats, &mut page)?;
        overload(&self.stats, &mut page)?;
        families::listeners(&self.stats.listeners(), &self.error_kinds, &mut page)?;
        certificates(self.stats.certificates(), &mut page)?;
        families::clusters(&self.stats.clusters(), &self.error_kinds, &mut page)?;
        families::filters(&self.stats.filters(), &mut page)?;
        versions(self.stats.versions(), &mut page)?;
        families::jobs(&self.stats.jobs(), &mut page)?;
        shadows::write(&self.stats.shadows(), &mut page)?;
        families::shared(&self.stats.shared.stats(), &mut page)?;
        guest::write(&self.stats.guests(), &mut page)
    }
}

fn process(stats: &Stats, page: &mut Page) -> fmt::Result {
    let process = &stats.process;
    page.info(
        "lockgate_build",
        "Which Lockgate this is.",
        vec![("version", env!("CARGO_PKG_VERSION").into())],
    )?;
    page.value(
        &Head::of(
            "lockgate_start_time",
            "When the process started, since 1970.",
        )
        .unit(Unit::Seconds),
        Some(process.start_time().as_secs_f64()),
    )?;
    page.value(
        &Head::of("lockgate_resident_memory", "Memory that is really there.").unit(Unit::Bytes),
        resident_memory(),
    )?;
    page.value(
        &Head::of("lockgate_open_fds", "File descriptors in use."),
        open_descriptors(),
    )?;
    page.value(
        &Head::of("lockgate_max_fds", "File descriptors that there may be."),
        max_descriptors(),
    )?;
    page.value(
        &Head::of("lockgate_workers", "Worker threads."),
        Some(stats.workers() as u64),
    )?;
    page.value(
        &Head::of("lockgate_generation", "Number of the newest generation."),
        Some(process.generation.get()),
    )?;
    page.value(
        &Head::of(
            "lockgate_live_generations",
            "Generations that still have exchanges, the newest included.",
        ),
        Some(process.live_generations.get()),
    )?;
    page.counter(
        &Head::of("lockgate_reloads", "Reloads by outcome."),
        [
            (label("outcome", "published"), process.reloads_ok.get()),
            (label("outcome", "refused"), process.reloads_refused.get()),
        ],
    )?;
    page.counter(
        &Head::of(
            "lockgate_log_lost_lines",
            "Lines of the log that were given up.",
        ),
        process.log_lost().map(|lost| (Labels::default(), lost)),
    )?;
    page.counter(
        &Head::of(
            "lockgate_access_log_lost_lines",
            "Lines of the access log that were given up.",
        ),
        [
            (
                label("reason", "queue_full"),
                stats.access_log_dropped.sum(|counter| counter),
            ),
            (
                label("reason", "write_failed"),
                process.access_log_lost.load(Relaxed),
            ),
        ],
    )
}

/// What there is too much of, and what is given up for it.
fn overload(stats: &Stats, page: &mut Page) -> fmt::Result {
    let overload = &stats.process.overload;
    let series = |resource: Resource| label("resource", resource.name());
    page.gauge(
        &Head::of(
            "lockgate_overload_level",
            "What is given up: 0 nothing, 1 connections, 2 new requests, 3 new connections.",
        ),
        Resource::ALL.map(|resource| (series(resource), overload.level(resource).get())),
    )?;
    let measured = [Resource::Memory, Resource::Descriptors];
    let used = |resource: Resource| overload.used(resource).get() as f64 / 1000.0;
    page.gauge(
        &Head::of(
            "lockgate_overload_used_ratio",
            "How much is used of what there is.",
        ),
        measured.map(|resource| (series(resource), used(resource))),
    )?;
    let delays = stats.delays.iter().enumerate();
    page.gauge(
        &Head::of(
            "lockgate_worker_delay",
            "How late a worker's timer was last.",
        )
        .unit(Unit::Seconds),
        delays.map(|(worker, delay)| {
            let seconds = delay.milliseconds.get() as f64 / 1000.0;
            (label("worker", &worker.to_string()), seconds)
        }),
    )
}

fn certificates(certificates: Vec<Expiry>, page: &mut Page) -> fmt::Result {
    let rows = certificates.into_iter();
    page.gauge(
        &Head::of(
            "lockgate_certificate_expiry",
            "When the first certificate or revocation list in a file of a listener or a cluster expires, since 1970.",
        )
        .unit(Unit::Seconds),
        rows.map(|Expiry { of, file, at }| (vec![of, ("file", file)], at)),
    )
}

fn versions(versions: Vec<FilterVersion>, page: &mut Page) -> fmt::Result {
    let rows = versions.into_iter();
    page.gauge(
        &Head::of(
            "lockgate_filter_version",
            "1 for each way in which a version of a filter that serves came to.",
        ),
        rows.map(|(filter, is)| (vec![("filter", filter), ("is", is.into())], 1_i64)),
    )
}

fn label(key: &'static str, value: &str) -> Labels {
    vec![(key, value.into())]
}

type Labels = Vec<(&'static str, Arc<str>)>;

/// What is said of a family before its series.
struct Head<'a> {
    name: &'a str,
    help: &'a str,
    unit: Option<Unit>,
}

impl<'a> Head<'a> {
    fn of(name: &'a str, help: &'a str) -> Self {
        Self {
            name,
            help,
            unit: None,
        }
    }

    /// The unit becomes part of the name.
    fn unit(self, unit: Unit) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }
}

/// The observations of one series of a histogram.
struct Observations {
    sum: f64,
    /// One more than there are [`BOUNDS`], not added up.
    buckets: Vec<u64>,
}

/// The text as it is written, family by family.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        head: &Head,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.begin(head, MetricType::Counter)?;
        for (labels, value) in series {
            family
                .encode_family(&labels)?
                .encode_counter(&value, None::<&Exemplar<Labels, f64>>)?;
        }
        Ok(())
    }

    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        head: &Head,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.begin(head, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A gauge without labels; `None` where it cannot be known.
    fn value<V: EncodeGaugeValue>(&mut self, head: &Head, value: Option<V>) -> fmt::Result {
        let mut family = self.begin(head, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    fn histogram<L: EncodeLabelSet>(
        &mut self,
        head: &Head,
        series: impl IntoIterator<Item = (L, Observations)>,
    ) -> fmt::Result {
        let mut family = self.begin(head, MetricType::Histogram)?;
        for (labels, observations) in series {
            let bounds = BOUNDS.iter().map(|nanoseconds| *nanoseconds as f64 / 1e9);
            let buckets: Vec<(f64, u64)> = bounds
                .chain([f64::INFINITY])
                .zip(observations.buckets.iter().copied())
                .collect();
            let count = observations.buckets.iter().sum();
            family.encode_family(&labels)?.encode_histogram::<Labels>(
                observations.sum,
                count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn info(&mut self, name: &str, help: &str, labels: Labels) -> fmt::Result {
        self.begin(&Head::of(name, help), MetricType::Info)?
            .encode_info(&labels)
    }

    fn begin<'s>(
        &'s mut self,
        head: &'s Head,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0
            .encode_descriptor(head.name, head.help, head.unit.as_ref(), kind)
    }
}

#[cfg(test)]
pub(crate) mod checker;
#[cfg(test)]
mod tests;
