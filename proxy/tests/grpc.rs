//! gRPC through the proxy, with grpcio at both ends.

mod support;

use support::python::{self, Peer};
use support::{Proxy, refusing};

fn proxy_to(endpoint: &str, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin{more} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{endpoint}'], protocol: http2 }}]\n"
    ))
}

fn call(proxy: &Proxy, arguments: &[&str]) {
    let address = proxy.address().to_string();
    let arguments = [&["call", address.as_str()], arguments].concat();
    python::run("grpc_calls.py", &arguments);
}

/// Unary calls and streams of 10,000 messages in all directions, messages of 8 MiB, a
/// slow reader, a call that is cancelled and one that is late.
#[test]
fn calls_of_every_kind_pass() {
    if !python::has("grpc") {
        return;
    }
    let mut server = Peer::start("grpc_calls.py", &["serve"]);
    let proxy = proxy_to(&format!("127.0.0.1:{}", server.line()), "");
    call(&proxy, &["all"]);
    // Both calls that their client gave up ended at the server too.
    assert_eq!(server.line(), "cancelled");
    assert_eq!(server.line(), "cancelled");
}

#[test]
fn what_the_proxy_and_its_filters_answer_has_a_status_of_grpc() {
    if !python::has("grpc") {
        return;
    }
    let proxy = proxy_to(&refusing().to_string(), "");
    call(&proxy, &["UNAVAILABLE", "the origin could not be reached"]);
    let proxy = Proxy::start("listeners: [{ name: web, address: '127.0.0.1:0' }]\n");
    let nothing = "nothing is configured for this request";
    call(&proxy, &["UNIMPLEMENTED", nothing]);
    let proxy = Proxy::start(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [faults] }]\n\
         filters:\n\
         \x20 faults:\n    component: lockgate:fault\n    config: { abort: { status: 403, percent: 100 } }\n",
    );
    call(&proxy, &["PERMISSION_DENIED"]);
}
