//! Asking an admin address, and reading what it tells.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::client::{Answer, read_answer};
use super::{LIMIT, Proxy, within};

pub fn get(admin: SocketAddr, path: &str) -> Answer {
    ask(admin, "GET", path, &[("host", "localhost")])
}

/// A request with exactly these header fields.
pub fn ask(admin: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    talk(stream, method, path, headers)
}

/// As [`ask`], on a Unix socket.
pub fn ask_unix(socket: &Path, method: &str, path: &str) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    talk(stream, method, path, &[("host", "any")])
}

fn talk(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    read_answer(&mut std::io::BufReader::new(stream), method == "HEAD")
}

pub fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// What a series of `/metrics` is now, its labels included in `series`; 0 if
/// there is none.
pub fn metric(admin: SocketAddr, series: &str) -> f64 {
    let answer = get(admin, "/metrics");
    assert_eq!(answer.status, 200);
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    answer.text().lines().find_map(value).unwrap_or(0.0)
}

/// The sum of all series of a metric whose labels contain `label`.
pub fn metric_sum(admin: SocketAddr, name: &str, label: &str) -> f64 {
    let text = get(admin, "/metrics").text();
    let of_it = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    of_it.map(value).sum()
}

/// What `/generations` tells of the last reload, once that was refused.
pub fn refusal(proxy: &Proxy) -> String {
    within("a reload is refused", || {
        let told = json(&get(proxy.admin(), "/generations"));
        let last = &told["last_reload"];
        (last["ok"] == false).then(|| last["mistakes"].to_string())
    })
}

/// How many generations are alive.
pub fn live(proxy: &Proxy) -> usize {
    let told = json(&get(proxy.admin(), "/generations"));
    told["live"].as_array().unwrap().len()
}
