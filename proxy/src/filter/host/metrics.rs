//! `metrics`: what a filter measures, kept under its name.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::HostState;
use crate::filter::bindings::lockgate::filter::metrics::{self, Kind};
use crate::stats::guest::{Definition, MetricId, MetricKind};

/// A metric in a guest's hands: its handle is its number in the registry, so
/// nothing is kept for it and nothing can leak.
pub struct Metric;

impl metrics::Host for HostState {}

impl metrics::HostMetric for HostState {
    fn define(
        &mut self,
        kind: Kind,
        name: String,
        help: String,
        labels: Vec<String>,
    ) -> Result<Result<Resource<Metric>, String>> {
        let kind = match kind {
            Kind::Counter => MetricKind::Counter,
            Kind::Gauge => MetricKind::Gauge,
            Kind::Histogram => MetricKind::Histogram,
        };
        // Whoever reads `/metrics` was granted no secret.
        let secrets = &self.owner.granted.secrets;
        let definition = Definition {
            kind,
            name: secrets.masked(name),
            help: secrets.masked(help),
            labels: labels
                .into_iter()
                .map(|label| secrets.masked(label))
                .collect(),
        };
        let metric = self.owner.metrics.define(definition);
        Ok(metric.map(|MetricId(number)| Resource::new_own(number)))
    }

    fn update(&mut self, this: Resource<Metric>, value: f64, labels: Vec<String>) -> Result<()> {
        let metric = MetricId(this.rep());
        let secrets = &self.owner.granted.secrets;
        let labels: Vec<_> = labels
            .into_iter()
            .map(|label| secrets.masked(label))
            .collect();
        self.owner
            .metrics
            .update(self.worker, metric, value, &labels);
        Ok(())
    }

    fn drop(&mut self, _metric: Resource<Metric>) -> Result<()> {
        Ok(())
    }
}
