//! The log of the process: `tracing` to the standard error, as text or JSON,
//! whose level and form follow the configuration. A thread of its own writes, so that
//! nobody who says something waits for whoever reads it: lines that find too many waiting
//! are lost and counted.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Lines that may wait to be written. A few hundred bytes each, and 16 KiB at most.
const WAITING_LINES: usize = 4096;

/// What is said of h2 where the configuration does not name it. It warns of what clients
/// and origins do, as often as they do it.
const H2: &str = "h2=error";

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`{level}` is not a log level")]
    Level {
        level: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("a log was set up before")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
    #[error("cannot change the log")]
    Change(#[source] reload::Error),
}

/// Changes the log of a running process.
pub struct LogHandle {
    level: reload::Handle<EnvFilter, Registry>,
    form: reload::Handle<Form, Filtered>,
    open: Open,
}

/// Where lines go: made anew for each of them.
type Open = Arc<dyn Fn() -> Box<dyn Write> + Send + Sync>;

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

type Form = Box<dyn Layer<Filtered> + Send + Sync>;

/// Holds the thread that writes. Dropping it waits for the last lines, for a second at
/// most.
pub struct LogThread {
    _guard: WorkerGuard,
    lost: ErrorCounter,
}

impl LogThread {
    /// How many lines found too many waiting.
    pub fn lost(&self) -> ErrorCounter {
        self.lost.clone()
    }
}

/// Sets up the log of the process. Works once.
pub fn init(log: &Log) -> Result<(LogHandle, LogThread), LogError> {
    let (writer, guard) = NonBlockingBuilder::default()
        .thread_name("log")
        .buffered_lines_limit(WAITING_LINES)
        .finish(io::stderr());
    let lost = writer.error_counter();
    let (subscriber, handle) = build(log, Arc::new(move || Box::new(writer.clone())))?;
    tracing::subscriber::set_global_default(subscriber).map_err(LogError::Twice)?;
    let thread = LogThread {
        _guard: guard,
        lost,
    };
    Ok((handle, thread))
}

impl LogHandle {
    /// Takes over what a new configuration says.
    pub fn apply(&self, log: &Log) -> Result<(), LogError> {
        let level = level(log)?;
        self.form
            .reload(form(log.format, self.open.clone()))
            .and_then(|()| self.level.reload(level))
            .map_err(LogError::Change)
    }
}

fn build(log: &Log, open: Open) -> Result<(impl Subscriber + Send + Sync, LogHandle), LogError> {
    let (level_layer, level) = reload::Layer::new(level(log)?);
    let (form_layer, form) = reload::Layer::new(form(log.format, open.clone()));
    let subscriber = Registry::default().with(level_layer).with(form_layer);
    Ok((subscriber, LogHandle { level, form, open }))
}

fn level(log: &Log) -> Result<EnvFilter, LogError> {
    // A later directive for the same target takes the place of an earlier one.
    EnvFilter::try_new(format!("{H2},{}", log.level)).map_err(|source| LogError::Level {
        level: log.level.clone(),
        source,
    })
}

/// Spans are left out of JSON: a span that began while the form was text has
/// not kept its fields as JSON needs them.
fn form(format: LogFormat, open: Open) -> Form {
    let layer = fmt::layer().with_writer(move || open());
    match format {
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn log(level: &str, format: LogFormat) -> Log {
        Log {
            level: level.into(),
            format,
        }
    }

    #[test]
    fn level_and_form_change_while_running() {
        let kept = Kept::default();
        let writer = kept.clone();
        let open: Open = Arc::new(move || Box::new(writer.clone()));
        let (subscriber, handle) = build(&log("info", LogFormat::Text), open).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("hidden");
            tracing::info!(generation = 1, "published");
            let text = kept.take();
            assert!(text.contains("published generation=1\n"), "{text}");
            assert!(!text.contains("hidden"), "{text}");

            handle.apply(&log("debug", LogFormat::Json)).unwrap();
            tracing::debug!(generation = 2, "shown\nnow");
            let line: serde_json::Value = serde_json::from_str(&kept.take()).unwrap();
            assert_eq!(line["message"], "shown\nnow");
            assert_eq!(line["generation"], 2);
            assert_eq!(line["level"], "DEBUG");
        });
    }

    #[test]
    fn what_h2_warns_of_is_said_where_it_is_asked_for() {
        let kept = Kept::default();
        let writer = kept.clone();
        let open: Open = Arc::new(move || Box::new(writer.clone()));
        let (subscriber, handle) = build(&log("debug", LogFormat::Text), open).unwrap();
        let warn = || {
            tracing::warn!(target: "h2::proto::ping_pong", "of a peer");
            tracing::debug!("of our own");
            kept.take()
        };
        tracing::subscriber::with_default(subscriber, || {
            let text = warn();
            assert!(!text.contains("of a peer"), "{text}");
            assert!(text.contains("of our own"), "{text}");
            handle.apply(&log("info,h2=warn", LogFormat::Text)).unwrap();
            let text = warn();
            assert!(text.contains("of a peer"), "{text}");
        });
    }

    #[test]
    fn a_bad_level_changes_nothing() {
        let (_subscriber, handle) = build(
            &log("info", LogFormat::Text),
            Arc::new(|| Box::new(io::sink())),
        )
        .unwrap();
        let refused = handle.apply(&log("a=b=c", LogFormat::Json)).unwrap_err();
        assert_eq!(refused.to_string(), "`a=b=c` is not a log level");
    }
}
