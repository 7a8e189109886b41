//! Connections that end because their listener is removed, or because the process
//! stops: what is on its way on them is served.

mod support;

use std::net::TcpStream;

use support::{Client, Origin, Process, Proxy, within};

const ASK: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn yaml(origin: &Origin, listeners: &[&str]) -> String {
    let listener =
        |name: &&str| format!("- {{ name: {name}, address: '127.0.0.1:0', cluster: o }}\n");
    let listeners: String = listeners.iter().map(listener).collect();
    let address = origin.address;
    format!("listeners:\n{listeners}clusters: [{{ name: o, endpoints: ['{address}'] }}]\n")
}

/// A connection with one exchange behind it, and one that was silent so far.
fn connections(mut connect: impl FnMut() -> Client) -> [Client; 2] {
    let mut used = connect();
    assert_eq!(used.send(ASK).answer().header("connection"), None);
    [used, connect()]
}

/// Workers hear of the end one after the other.
fn is_served_for_the_last_time(mut client: Client) {
    let answer = within("an answer is the last", || {
        let answer = client.send(ASK).answer();
        answer.header("connection").is_some().then_some(answer)
    });
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(client.rest(), b"");
}

#[test]
fn requests_on_their_way_are_answered_by_a_process_that_stops() {
    let origin = Origin::saying("body");
    let mut process = Process::start(&yaml(&origin, &["web"]));
    let connections = connections(|| process.connect());
    let mut silent = process.connect();
    let address = process.address();
    process.signal("TERM");
    process.logged("draining");
    for client in connections {
        is_served_for_the_last_time(client);
    }
    within("new connections are refused", || {
        TcpStream::connect(address).err()
    });
    assert_eq!(silent.rest(), b"", "it is closed all the same");
    assert_eq!(process.exit_code(), Some(0));
    process.logged("drained");
}

#[test]
fn requests_on_their_way_to_a_listener_that_is_removed_are_answered() {
    let origin = Origin::saying("body");
    let proxy = Proxy::start(&yaml(&origin, &["web", "other"]));
    let address = proxy.listener("other").unwrap();
    let leaving = connections(|| Client::connect(address));
    let mut silent = Client::connect(address);
    let [mut staying, _] = connections(|| proxy.connect());
    proxy.edit(&yaml(&origin, &["web"]));
    assert!(proxy.reload().ok);
    for client in leaving {
        is_served_for_the_last_time(client);
    }
    within("new connections are refused", || {
        TcpStream::connect(address).err()
    });
    assert_eq!(silent.rest(), b"", "it is closed all the same");
    assert_eq!(staying.send(ASK).answer().header("connection"), None);
}

/// Whoever has connected is served, though nobody has accepted the connection yet: more
/// at once than a worker takes in a turn, of which the last come as it is told to stop.
#[test]
fn connections_that_wait_to_be_accepted_are_served() {
    let origin = Origin::saying("body");
    let bounds = "workers: 1\ndrain_timeout: 60s\n";
    let mut process = Process::start(&format!("{bounds}{}", yaml(&origin, &["web"])));
    let address = process.address();
    process.signal("STOP");
    let mut clients: Vec<_> = (0..400).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(ASK);
    }
    process.signal("TERM");
    process.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    drop(clients);
    assert_eq!(process.exit_code(), Some(0));
}

/// A generation ends with the last connections of what it alone had.
#[test]
fn what_was_removed_is_let_go() {
    let origin = Origin::saying("body");
    let bounded = |listeners: &[&str]| format!("max_generations: 2\n{}", yaml(&origin, listeners));
    let proxy = Proxy::start(&bounded(&["web", "other"]));
    // The watch may have reloaded before, and leave no room for what is asked for here.
    let reloads = || proxy.reload().ok.then_some(());
    proxy.edit(&bounded(&["web"]));
    within("it is removed", reloads);
    proxy.edit(&bounded(&["web", "third"]));
    within("there is room again", reloads);
}
