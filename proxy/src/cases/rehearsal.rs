//! One case: the filter is made, and its exchanges run in order.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compare::compare;
use super::connection;
use super::found::{Found, Told, Traces};
use super::stage::{Scenery, Stage};
use super::{Difference, Subject, Time, message};
use crate::client::Client;
use crate::config::cases::{Case, Sample, SampleRequest, SampleTls, Step};
use crate::config::{Filter, Mistake, What, filter_config};
use crate::exchange::{self, Rehearsed, Scene};
use crate::filter::{BuildError, Granted, GrantedSecrets, Kind, Lines, LoadedFilter, Shared};
use crate::http::Role;
use crate::http::forwarded::Peer;
use crate::http::h1::{HeadScanner, parse_request};
use crate::secrets::Secret;
use crate::shared::Store;
use crate::snapshot::shared_limits;
use crate::stats::filter::FAULTS;
use crate::stats::guest::GuestMetrics;
use crate::stats::{FilterStats, PerWorker};
use crate::tls::{PeerFacts, TlsFacts};

/// Of one exchange. The listener of cases ends them before; this is for what does not
/// see that.
const LONGEST: Duration = Duration::from_secs(20);

/// What a filter's complaint begins with, among its lines.
const COMPLAINT: &str = "the filter failed: ";

/// What is told of a case.
#[derive(Debug, Default)]
pub struct Report {
    pub differences: Vec<Difference>,
    pub notes: Vec<String>,
}

/// Runs a case with these secrets, in the time that is left. The first exchange that
/// differs is the last one.
pub async fn run(
    subject: &Subject<'_>,
    case: &Case,
    secrets: &[Arc<Secret>],
    time: Time,
) -> Report {
    let mut report = Report::default();
    let kind = subject.module.kind();
    report.differences = { case.steps.iter() }
        .filter_map(|step| not_shown(&step.sample, kind))
        .collect();
    if !report.differences.is_empty() {
        return report;
    }
    let filter = match filter_of(subject, case, secrets) {
        Ok(filter) => filter,
        Err(mistakes) => {
            let mistakes = mistakes.into_iter();
            let told = mistakes.map(mistaken);
            report.differences = told.collect();
            return report;
        }
    };
    let lines = Arc::new(Lines::default());
    let stats = Arc::new(PerWorker::new(1, FilterStats::default));
    let granted = Granted {
        shared: filter
            .grants
            .shared
            .then(|| Shared::Store(Arc::new(Store::new(shared_limits(&filter))))),
        secrets: GrantedSecrets::of(&filter.grants, secrets),
        lines: Some(lines.clone()),
    };
    let metrics = Arc::new(GuestMetrics::new(1, filter.limits.max_series));
    let module = subject.module.clone();
    let written = filter.clone();
    let loaded = LoadedFilter::build(module, written, &filter, stats.clone(), metrics, granted, 1);
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(refused) => {
            report.differences = refused.errors.into_iter().map(not_built).collect();
            report.notes = lines.take();
            return report;
        }
    };
    lines.take();
    let rehearsal = Rehearsal {
        case,
        lines,
        stats,
        time,
    };
    let mut stage = Stage::new(&filter, loaded);
    for (index, step) in case.steps.iter().enumerate() {
        for turn in 0..step.repeat {
            rehearsal.step(&mut stage, step, &mut report).await;
            if !report.differences.is_empty() {
                report.say_when(case, index, turn, step.repeat);
                return report;
            }
        }
    }
    report
}

/// The filter with what this case gives it. Of secrets it is granted those that there
/// are.
fn filter_of(
    subject: &Subject<'_>,
    case: &Case,
    secrets: &[Arc<Secret>],
) -> Result<Filter, Vec<Mistake>> {
    let mut filter = subject.filter.clone();
    let is_there = |name: &str| secrets.iter().any(|secret| &**secret.name() == name);
    filter.grants.secrets.retain(|name, _| is_there(name));
    if let Some(config) = &case.config {
        filter.config = config.clone();
    }
    let mut mistakes = Vec::new();
    if let Some(schema) = &subject.module.manifest().config_schema {
        for own in filter.configs_mut() {
            let checked = filter_config::check(schema, own, subject.places);
            mistakes.extend(checked.mistakes);
            *own = checked.config;
        }
    }
    match mistakes.is_empty() {
        true => Ok(filter),
        false => Err(mistakes),
    }
}

/// A filter sees either exchanges or connections.
fn not_shown(sample: &Sample, kind: Kind) -> Option<Difference> {
    let (pointer, found) = match (sample, kind) {
        (Sample::Request(_), Kind::Exchanges) | (Sample::Connection(_), Kind::Connections) => {
            return None;
        }
        (Sample::Request(request), Kind::Connections) => (&request.pointer, "an exchange"),
        (Sample::Connection(connection), Kind::Exchanges) => (&connection.pointer, "a connection"),
    };
    Some(Difference {
        pointer: pointer.clone(),
        what: "case".to_owned(),
        expected: match kind {
            Kind::Exchanges => "an exchange (`request`): this is a filter of exchanges",
            Kind::Connections => "a `connection`: this is a filter of connections",
        }
        .to_owned(),
        found: found.to_owned(),
    })
}

/// What was wanted there is more than that the filter takes it, where that is known.
fn mistaken(mistake: Mistake) -> Difference {
    let difference = refused(mistake.pointer, mistake.what.to_string());
    match mistake.what {
        What::Found {
            found,
            wanted,
            hint,
        } => Difference {
            expected: hint.map_or_else(|| wanted.clone(), |hint| format!("{wanted} ({hint})")),
            found,
            ..difference
        },
        What::Told { .. } => difference,
    }
}

fn not_built(error: BuildError) -> Difference {
    refused(format!("{}{}", error.pointer, error.at), error.message)
}

fn refused(pointer: String, found: String) -> Difference {
    Difference {
        pointer,
        what: "config".to_owned(),
        expected: "one that the filter takes".to_owned(),
        found,
    }
}

struct Rehearsal<'a> {
    case: &'a Case,
    lines: Arc<Lines>,
    stats: Arc<PerWorker<FilterStats>>,
    time: Time,
}

impl Rehearsal<'_> {
    async fn step(&self, stage: &mut Stage, step: &Step, report: &mut Report) {
        let left = self.time.left();
        if left.is_zero() {
            return report.differences.push(self.late(step));
        }
        let scenery = stage.set(step);
        let before = self.faults();
        let told = {
            let telling = pin!(self.tell(stage, &scenery, &step.sample));
            tokio::time::timeout(LONGEST.min(left), telling).await
        };
        let told = match told {
            Ok(Ok(told)) => told,
            Ok(Err(difference)) => return report.differences.push(difference),
            Err(_) if left < LONGEST => return report.differences.push(self.late(step)),
            Err(_) => {
                return report.differences.push(Difference {
                    pointer: step.sample.pointer().to_owned(),
                    what: "time".to_owned(),
                    expected: "an end".to_owned(),
                    found: format!("none within {LONGEST:?}"),
                });
            }
        };
        let mut lines = self.lines.take();
        let complaints: Vec<_> = lines
            .extract_if(.., |line| line.starts_with(COMPLAINT))
            .collect();
        let mut faults = self.faults();
        faults
            .iter_mut()
            .zip(before)
            .for_each(|(fault, before)| *fault -= before);
        let faults = FAULTS.into_iter().zip(faults);
        let error = told
            .error()
            .map(|kind| format!("the proxy: {}", kind.name()));
        let made = scenery.made.take();
        let unanswered = made.iter().filter(|call| !call.is_answered).map(|call| {
            let (method, cluster, path) = (&call.method, &call.cluster, &call.path);
            format!("no answer in the case for {method} {path} of the cluster `{cluster}`")
        });
        let notes = complaints.into_iter().chain(error).chain(unanswered);
        let mut notes: Vec<_> = notes.collect();
        notes.extend(lines.iter().map(|line| format!("logged {line}")));
        let faults = faults.filter(|(_, count)| *count > 0);
        let found = Found::of(
            told,
            Traces {
                received: scenery.received.take(),
                made,
                faults: faults.map(|(name, _)| name).collect(),
                lines,
            },
        );
        report.differences = compare(&step.expect, &found);
        report.notes = notes;
    }

    /// The time for everything is over.
    fn late(&self, step: &Step) -> Difference {
        Difference {
            pointer: step.sample.pointer().to_owned(),
            what: "time".to_owned(),
            expected: format!(
                "an end within {:?}, cases before it included",
                self.time.longest
            ),
            found: "none".to_owned(),
        }
    }

    async fn tell(
        &self,
        stage: &Stage,
        scenery: &Scenery,
        sample: &Sample,
    ) -> Result<Told, Difference> {
        match sample {
            Sample::Request(request) => {
                let mut client = Client::inside(message::encode_request(request));
                let rehearsed = self.serve(stage, scenery, request, &mut client).await?;
                Ok(Told::Exchange {
                    rehearsed,
                    method: request.method.clone(),
                    sent: client.writer.into_taken(),
                })
            }
            Sample::Connection(connection) => Ok(connection::ask(scenery, connection).await),
        }
    }

    async fn serve(
        &self,
        stage: &Stage,
        scenery: &Scenery,
        sample: &SampleRequest,
        client: &mut Client,
    ) -> Result<Rehearsed, Difference> {
        let listener = &scenery.snapshot.listeners[0];
        let config = &listener.shared.config;
        let buffer = &mut client.reader.buffer;
        let parsed = parse_request(
            buffer,
            &mut HeadScanner::default(),
            &config.limits,
            &config.path,
            Role::of(config),
        );
        let not_served = |found: String| Difference {
            pointer: sample.pointer.clone(),
            what: "request".to_owned(),
            expected: "one that the proxy lets in".to_owned(),
            found,
        };
        let request = match parsed {
            Ok(Some(request)) => request,
            Ok(None) => return Err(not_served("half a head".to_owned())),
            Err(error) => return Err(not_served(format!("{}: {}", error.kind.name(), error.why))),
        };
        let tls = sample.tls.as_ref().map(facts_of);
        let scene = Scene {
            tls: tls.as_ref(),
            local: &stage.local,
            snapshot: &scenery.snapshot,
            listener,
            socket_peer: (sample.client_address, 0).into(),
            peer: &Peer::new(sample.client_address),
            started: Instant::now(),
            keep_alive: true,
        };
        let route = self.case.route.clone();
        let rehearsed = exchange::rehearse(
            &scene,
            Box::new(request),
            |view| {
                view.decisions.route = route;
                view.attributes.clone_from(&sample.attributes);
            },
            client,
        );
        Ok(pin!(rehearsed).await)
    }

    fn faults(&self) -> [u64; FAULTS.len()] {
        std::array::from_fn(|fault| self.stats.of(0).faults(fault).get())
    }
}

/// As of a handshake.
pub(super) fn facts_of(sample: &SampleTls) -> Arc<TlsFacts> {
    let peer = sample.peer.as_ref().map(|peer| PeerFacts {
        subject: peer.subject.clone(),
        fingerprint: peer.fingerprint.clone(),
        dns: peer.dns.clone(),
        uris: peer.uris.clone(),
        ..PeerFacts::default()
    });
    Arc::new(TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256".to_owned(),
        sni: sample.sni.clone(),
        alpn: sample.alpn.clone(),
        is_resumed: false,
        peer,
    })
}

impl Report {
    /// Of several exchanges, which it was.
    fn say_when(&mut self, case: &Case, index: usize, time: u32, times: u32) {
        let step = (case.steps.len() > 1).then(|| format!("step {}", index + 1));
        let time = (times > 1).then(|| format!("time {} of {times}", time + 1));
        let when: Vec<_> = step.into_iter().chain(time).collect();
        if !when.is_empty() {
            self.notes.insert(0, when.join(", "));
        }
    }
}
