use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::{Admin, AdminAddress};
use crate::listener::Inherited;
use crate::stats::exposition::checker;

const LONG: Duration = Duration::from_secs(20);

/// A running server and the end of its commands.
struct Scene {
    address: Option<SocketAddr>,
    state: AdminState,
    commands: mpsc::Receiver<Command>,
    server: JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn tcp() -> AdminAddress {
    AdminAddress::Tcp(([127, 0, 0, 1], 0).into())
}

fn view(access: Access, readiness: Readiness) -> AdminView {
    AdminView {
        readiness,
        access,
        config: json!({"admin": {"token": "***"}}),
        before_metrics: Box::new(|| ()),
        filters: Box::new(|| json!(["auth"])),
        canary: Box::new(|_| None),
        tell_endpoint: Box::new(|_, _, _| Ok(())),
        clusters: Box::new(|| json!(["checkout"])),
        generations: Box::new(|| json!([{"generation": 1}])),
    }
}

fn start(address: AdminAddress, token: Option<&str>) -> Scene {
    let admin = Admin {
        address,
        hosts: vec!["admin.example".into()],
        token: token.map(str::to_owned),
    };
    let (sender, commands) = mpsc::channel(1);
    let state = AdminState {
        stats: Stats::new(1),
        commands: sender,
        view: Arc::new(ArcSwap::from_pointee(view(
            Access::from(&admin),
            Readiness::Ready,
        ))),
    };
    let server = Server::bind(&admin.address, state.clone(), &Inherited::default()).unwrap();
    Scene {
        address: server.address(),
        state,
        commands,
        server: tokio::spawn(server.run()),
    }
}

impl Scene {
    /// Sends bytes, and gives everything that comes back.
    async fn send(&self, bytes: &str) -> String {
        let stream = TcpStream::connect(self.address.unwrap()).await.unwrap();
        talk(stream, bytes).await
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await
    }

    async fn post(&self, fields: &str) -> String {
        let head = "POST /reload HTTP/1.1\r\nHost: localhost\r\n";
        self.send(&format!("{head}{fields}\r\n")).await
    }

    fn tcp_address(&self) -> AdminAddress {
        AdminAddress::Tcp(self.address.unwrap())
    }

    /// Answers the next command.
    fn reply_with(&mut self, outcome: ReloadOutcome) -> JoinHandle<()> {
        let (_, nobody) = mpsc::channel(1);
        let mut commands = std::mem::replace(&mut self.commands, nobody);
        tokio::spawn(async move {
            match commands.recv().await {
                Some(Command::Reload { reply }) => reply.send(outcome).unwrap(),
                other => panic!("{other:?}"),
            }
        })
    }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut answer)).await;
    // A reset after the answer is no matter here.
    let _ = read.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn published() -> ReloadOutcome {
    ReloadOutcome {
        ok: true,
        generation: 2,
        changed: vec!["filter auth".into()],
        mistakes: vec![],
        warnings: vec![],
    }
}

fn refused() -> ReloadOutcome {
    ReloadOutcome {
        ok: false,
        generation: 1,
        changed: vec![],
        mistakes: vec!["lockgate.yaml:3:1: found `x`".into()],
        warnings: vec![],
    }
}

#[tokio::test]
async fn pages_show_the_view() {
    let scene = start(tcp(), None);
    for (path, expected) in [
        ("/config", json!({"admin": {"token": "***"}})),
        ("/filters", json!(["auth"])),
        ("/clusters", json!(["checkout"])),
        ("/generations?x=1", json!([{"generation": 1}])),
    ] {
        let answer = scene.get(path).await;
        assert_eq!(status(&answer), "200", "{answer}");
        let shown: Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(shown, expected, "{path}");
        assert!(
            answer.contains("content-type: application/json\r\n"),
            "{answer}"
        );
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    }
    assert_eq!(body(&scene.get("/live").await), "live\n");
}

#[tokio::test]
async fn metrics_keep_the_format() {
    let scene = start(tcp(), None);
    scene.state.stats.process.generation.set(3);
    let answer = scene.get("/metrics").await;
    let families = checker::read(body(&answer));
    assert_eq!(
        families["lockgate_generation"].samples["lockgate_generation"],
        3.0
    );
    assert!(
        answer.contains("content-type: application/openmetrics-text;"),
        "{answer}"
    );
}

#[tokio::test]
async fn readiness_follows_the_view() {
    let scene = start(tcp(), None);
    assert_eq!(status(&scene.get("/ready").await), "200");
    for (readiness, text) in [
        (Readiness::Starting, "starting\n"),
        (Readiness::Draining, "draining\n"),
    ] {
        let access = Access::from(&Admin {
            address: tcp(),
            hosts: vec![],
            token: None,
        });
        scene.state.view.store(Arc::new(view(access, readiness)));
        let answer = scene.get("/ready").await;
        assert_eq!((status(&answer), body(&answer)), ("503", text));
        assert_eq!(status(&scene.get("/live").await), "200");
    }
}

#[tokio::test]
async fn head_has_no_body_and_what_is_not_there_says_what_is() {
    let scene = start(tcp(), None);
    let head = scene
        .send("HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!((status(&head), body(&head)), ("200", ""));
    assert!(head.contains("content-length: 5\r\n"), "{head}");

    let answer = scene.get("/nowhere").await;
    assert_eq!(status(&answer), "404");
    assert!(body(&answer).contains(" /generations /reload"), "{answer}");

    let answer = scene.get("/reload").await;
    assert_eq!(
        (status(&answer), body(&answer)),
        ("405", "allowed here: POST\n")
    );
    assert!(answer.contains("allow: POST\r\n"), "{answer}");

    let answer = scene
        .send("POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn foreign_host_names_are_not_answered() {
    let mut scene = start(tcp(), None);
    let port = scene.address.unwrap().port();
    for (host, expected) in [
        ("evil.example".to_owned(), "421"),
        (format!("evil.example:{port}"), "421"),
        (format!("127.0.0.1:{port}"), "200"),
        ("Admin.Example".to_owned(), "200"),
    ] {
        let answer = scene
            .send(&format!("GET /config HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(status(&answer), expected, "{host}");
    }
    let answer = scene.send("GET /config HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), "400");
    let answer = scene
        .send("POST /reload HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "421");
    assert!(scene.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_reload_without_the_token_or_from_a_foreign_page_does_not_happen() {
    let mut scene = start(tcp(), Some("s3cret"));
    let answer = scene.post("").await;
    assert_eq!(status(&answer), "401");
    assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    let answer = scene.post("Authorization: Bearer wrong\r\n").await;
    assert_eq!(status(&answer), "401");
    let token = "Authorization: Bearer s3cret\r\n";
    let answer = scene
        .post(&format!("{token}Origin: http://evil.example\r\n"))
        .await;
    assert_eq!(status(&answer), "403");
    assert!(scene.commands.try_recv().is_err());

    let replied = scene.reply_with(published());
    let answer = scene
        .post(&format!("{token}Origin: http://localhost\r\n"))
        .await;
    assert_eq!(status(&answer), "200", "{answer}");
    replied.await.unwrap();
}

#[tokio::test]
async fn the_client_hears_what_came_of_a_reload() {
    for outcome in [published(), refused()] {
        let mut scene = start(tcp(), Some("s3cret"));
        scene.reply_with(outcome.clone());
        let heard = client::reload(&scene.tcp_address(), Some("s3cret")).await;
        assert_eq!(heard.unwrap(), outcome);
    }
    let scene = start(tcp(), Some("s3cret"));
    let refused = client::reload(&scene.tcp_address(), None)
        .await
        .unwrap_err();
    let expected = "the admin address answered 401 Unauthorized: \
        changes need the token, as Authorization: Bearer";
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test]
async fn a_refused_reload_is_422_and_a_stopping_control_503() {
    let mut scene = start(tcp(), None);
    scene.reply_with(refused());
    let answer = scene.post("").await;
    assert_eq!(status(&answer), "422");
    assert!(body(&answer).contains("lockgate.yaml:3:1"), "{answer}");

    let answer = scene.post("").await;
    assert_eq!((status(&answer), body(&answer)), ("503", "stopping\n"));

    let scene = start(tcp(), None);
    let (reply, _outcome) = oneshot::channel();
    scene
        .state
        .commands
        .try_send(Command::Reload { reply })
        .unwrap();
    let answer = scene.post("").await;
    assert_eq!(body(&answer), "enough commands are waiting\n");
}

#[tokio::test]
async fn large_heads_and_bodies_are_refused() {
    let mut scene = start(tcp(), None);
    let answer = scene.post(&format!("X: {}\r\n", "x".repeat(20_000))).await;
    assert_eq!(status(&answer), "431", "{answer}");
    let answer = scene.post("Content-Length: 1025\r\n").await;
    assert_eq!(status(&answer), "413", "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2000, "x".repeat(2000));
    let answer = scene
        .send(&format!(
            "POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
        ))
        .await;
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(scene.commands.try_recv().is_err());
}

/// A path for a socket, in a folder that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lockgate-admin-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn address(&self) -> AdminAddress {
        AdminAddress::Unix(self.socket())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_and_answers_to_any_host() {
    let folder = Folder::new("owner");
    let mut scene = start(folder.address(), None);
    let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let stream = UnixStream::connect(folder.socket()).await.unwrap();
    let answer = talk(stream, "GET /live HTTP/1.1\r\nHost: whatever\r\n\r\n").await;
    assert_eq!(status(&answer), "200");

    scene.reply_with(published());
    let heard = client::reload(&folder.address(), None).await;
    assert_eq!(heard.unwrap(), published());

    scene.server.abort();
    assert!((&mut scene.server).await.unwrap_err().is_cancelled());
    assert!(!folder.socket().exists());
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    // Dropping it closes the socket and leaves the file.
    drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
    let scene = start(folder.address(), None);
    let refused = Server::bind(
        &folder.address(),
        scene.state.clone(),
        &Inherited::default(),
    )
    .err()
    .unwrap();
    let expected = "` belongs to a running process";
    assert!(refused.to_string().ends_with(expected), "{refused}");

    let stream = UnixStream::connect(folder.socket()).await.unwrap();
    let answer = talk(stream, "GET /live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&answer), "200");
}

#[tokio::test]
async fn a_file_is_not_replaced_by_a_socket() {
    let folder = Folder::new("file");
    fs::write(folder.socket(), "precious").unwrap();
    let other = start(tcp(), None);
    let refused = Server::bind(
        &folder.address(),
        other.state.clone(),
        &Inherited::default(),
    )
    .err()
    .unwrap();
    assert!(refused.to_string().contains("is not a socket"), "{refused}");
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn a_taken_port_says_so() {
    let scene = start(tcp(), None);
    let refused = Server::bind(
        &scene.tcp_address(),
        scene.state.clone(),
        &Inherited::default(),
    )
    .err()
    .unwrap();
    let expected = format!(
        "cannot listen on {}: the address is in use (is another Lockgate running?)",
        scene.address.unwrap()
    );
    assert_eq!(refused.to_string(), expected);
}
