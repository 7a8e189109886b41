use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::config::AccessLogTarget;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::record::sample;
use crate::filter::Told;
use crate::stats::Stats;

fn line(record: &Record, format: LogFormat) -> String {
    let mut out = Vec::new();
    let mut clock = Clock::new(format);
    match format {
        LogFormat::Json => format::json(record, &mut clock, &mut out),
        LogFormat::Text => format::text(record, &mut clock, &mut out),
    }
    String::from_utf8(out).unwrap()
}

fn object(record: &Record) -> Value {
    serde_json::from_str(&line(record, LogFormat::Json)).unwrap()
}

#[test]
fn a_good_exchange_as_json() {
    let expected = json!({
        "time": "2025-11-21T11:15:00.042Z",
        "listener": "web",
        "request_id": "5f0c",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "client": "192.0.2.7",
        "peer": "127.0.0.1:4711",
        "method": "GET",
        "authority": "shop.example",
        "path": "/checkout?a=1",
        "version": "1.1",
        "user_agent": "curl/8",
        "route": "checkout",
        "cluster": "checkout-v1",
        "endpoint": "10.0.0.1:8080",
        "reused": true,
        "retries": 0,
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 1024,
        "duration_us": 1500,
        "upstream_us": 900,
    });
    assert_eq!(object(&sample()), expected);
}

#[test]
fn what_filters_did_is_told_where_it_is_known() {
    let told = |place, filter: &str, took, verdict| Told {
        place,
        filter: filter.into(),
        took: Duration::from_micros(took),
        verdict,
    };
    let filters = [
        told(0, "router", 3, "next"),
        told(1, "auth", 1200, "respond"),
    ];
    let record = Record {
        filters: &filters,
        ..sample()
    };
    let expected = json!([
        { "name": "router", "us": 3, "verdict": "next" },
        { "name": "auth", "us": 1200, "verdict": "respond" },
    ]);
    assert_eq!(object(&record)["filters"], expected);
    let text = line(&record, LogFormat::Text);
    assert!(
        text.contains(" filters=router:3:next,auth:1200:respond "),
        "{text}"
    );
}

#[test]
fn a_good_exchange_as_text() {
    let expected = "192.0.2.7 - - [21/Nov/2025:11:15:00 +0000] \
        \"GET /checkout?a=1 HTTP/1.1\" 200 1024 \"-\" \"curl/8\" \
        listener=web host=shop.example route=checkout cluster=checkout-v1 \
        endpoint=10.0.0.1:8080 bytes_in=3 duration_us=1500 upstream_us=900 \
        request_id=5f0c trace_id=0af7651916cd43dd8448eb211c80319c\n";
    assert_eq!(line(&sample(), LogFormat::Text), expected);
}

#[test]
fn addresses_of_both_families_are_told() {
    let record = Record {
        client: "2001:db8::1".parse().unwrap(),
        peer: "[::1]:80".parse().unwrap(),
        ..sample()
    };
    let object = object(&record);
    assert_eq!(
        (&object["client"], &object["peer"]),
        (&json!("2001:db8::1"), &json!("[::1]:80"))
    );
    assert!(line(&record, LogFormat::Text).starts_with("2001:db8::1 - - ["));
}

#[test]
fn what_a_filter_did_is_told() {
    let attributes = [
        ("auth.key".to_owned(), "ci".to_owned()),
        ("auth.note".to_owned(), "two words".to_owned()),
    ];
    let record = Record {
        status: Some(401),
        cluster: None,
        endpoint: None,
        upstream: None,
        filter: Some("auth"),
        attributes: &attributes,
        ..sample()
    };
    let object = object(&record);
    assert_eq!(object["filter"], "auth");
    assert_eq!(
        object["attributes"],
        json!({"auth.key": "ci", "auth.note": "two words"})
    );
    assert_eq!(object.get("cluster"), None);
    assert_eq!(object.get("reused"), None);

    let text = line(&record, LogFormat::Text);
    assert!(text.contains(" filter=auth "), "{text}");
    assert!(
        text.ends_with(" auth.key=ci auth.note=\"two words\"\n"),
        "{text}"
    );
}

#[test]
fn an_error_is_told_with_its_causes() {
    let cause = std::io::Error::other("refused by \"peer\"");
    let error = ProxyError::with(ErrorKind::ConnectFailed, cause);
    let record = Record {
        error: Some(&error),
        ..sample()
    };
    let object = object(&record);
    assert_eq!(object["error"], "connect_failed");
    assert_eq!(object["detail"], "refused by \"peer\"");

    let text = line(&record, LogFormat::Text);
    let expected = " error=connect_failed detail=\"refused by \\\"peer\\\"\" ";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_request_that_could_not_be_read_has_a_line_too() {
    let error = ProxyError::new(ErrorKind::BadRequest);
    let record = Record {
        request_id: "",
        trace_id: "",
        method: None,
        authority: None,
        path: None,
        user_agent: None,
        status: None,
        error: Some(&error),
        ..sample()
    };
    let object = object(&record);
    assert_eq!(object["error"], "bad_request");
    for absent in [
        "request_id",
        "trace_id",
        "method",
        "path",
        "status",
        "detail",
    ] {
        assert_eq!(object.get(absent), None, "{absent}");
    }
    let text = line(&record, LogFormat::Text);
    assert!(text.contains("] \"-\" 0 1024 \"-\" \"-\" "), "{text}");
}

#[test]
fn no_client_can_forge_a_line() {
    let evil = "/\"\r\n{\"time\":\"now\"}\u{2028}\u{1b}[2J";
    let attributes = [(evil.to_owned(), evil.to_owned())];
    let record = Record {
        path: Some(evil),
        authority: Some(evil),
        request_id: evil,
        trace_id: evil,
        user_agent: Some(b"a\"\r\nb\xff\x00"),
        attributes: &attributes,
        ..sample()
    };
    assert_eq!(object(&record)["path"], evil);
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = line(&record, format);
        assert_eq!(line.matches(char::is_control).count(), 1, "{line}");
        assert!(line.ends_with('\n'));
    }
    let text = line(&record, LogFormat::Text);
    assert!(text.contains("\"GET /\\\"\\r\\n{\\\"time"), "{text}");
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lockgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn log_to(path: &Path, stats: &Arc<Stats>) -> (AccessLog, AccessLogThread) {
    let target = AccessLogTarget::File(path.to_owned());
    let (sink, thread) = AccessLogSink::open(&target, stats).unwrap().unwrap();
    let dropped = stats.access_log_dropped.clone();
    (
        AccessLog::new(sink, (LogFormat::Json, false), dropped, 0),
        thread,
    )
}

const LONG: Duration = Duration::from_secs(20);

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never: {what}");
        std::thread::yield_now();
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn lines_reach_the_file_when_the_log_is_dropped() {
    let folder = Folder::new("dropped");
    let path = folder.0.join("access.log");
    let stats = Stats::new(1);
    let (log, thread) = log_to(&path, &stats);
    for _ in 0..1000 {
        log.write(&sample());
    }
    drop(log);
    assert!(thread.finish());

    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1000);
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert_eq!(stats.access_log_dropped.sum(|counter| counter), 0);
}

#[test]
fn a_flush_shows_what_was_written_so_far() {
    let folder = Folder::new("flush");
    let path = folder.0.join("access.log");
    let (log, _thread) = log_to(&path, &Stats::new(1));
    log.write(&sample());
    log.flush();
    wait_until("the line is in the file", || lines(&path) == 1);
}

#[test]
fn a_rotated_file_is_made_anew() {
    let folder = Folder::new("rotated");
    let path = folder.0.join("access.log");
    let old = folder.0.join("access.log.1");
    let (log, _thread) = log_to(&path, &Stats::new(1));
    log.write(&sample());
    log.flush();
    wait_until("the first line is there", || lines(&path) == 1);

    fs::rename(&path, &old).unwrap();
    log.write(&sample());
    log.flush();
    wait_until("the second line is in a new file", || lines(&path) == 1);
    assert_eq!(lines(&old), 1);
}

#[test]
fn lost_lines_are_counted_and_the_thread_goes_on() {
    let folder = Folder::new("lost");
    let inner = folder.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("access.log");
    let stats = Stats::new(1);
    let (log, _thread) = log_to(&path, &stats);

    fs::remove_dir_all(&inner).unwrap();
    log.write(&sample());
    log.write(&sample());
    log.flush();
    let lost = || stats.process.access_log_lost.load(Relaxed);
    wait_until("two lines are lost", || lost() == 2);

    fs::create_dir(&inner).unwrap();
    log.write(&sample());
    log.flush();
    wait_until("the third line is written", || lines(&path) == 1);
    assert_eq!(lost(), 2);
}

#[test]
fn when_the_thread_does_not_keep_up_lines_are_dropped_and_counted() {
    let stats = Stats::new(2);
    let sink = AccessLogSink::stuck();
    let dropped = stats.access_log_dropped.clone();
    let log = AccessLog::new(sink.clone(), (LogFormat::Json, false), dropped, 1);
    let mut flushed = 0;
    while stats.access_log_dropped.of(1).get() == 0 {
        log.write(&sample());
        log.flush();
        flushed += 1;
        assert!(flushed < 1000, "the queue has no end");
    }
    log.write(&sample());
    log.write(&sample());
    log.flush();
    assert_eq!(stats.access_log_dropped.of(1).get(), 3);
    assert_eq!(stats.access_log_dropped.of(0).get(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_once() {
    let target = AccessLogTarget::File("/nowhere/access.log".into());
    assert!(AccessLogSink::open(&target, &Stats::new(1)).is_err());
    let off = AccessLogSink::open(&AccessLogTarget::Off, &Stats::new(1));
    assert!(off.unwrap().is_none());
}
