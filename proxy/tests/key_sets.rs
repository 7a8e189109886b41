//! Key sets that `lockgate:auth` fetches, over sockets: from an issuer that rotates
//! its keys, is slow, or is gone.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use support::admin::metric_sum;
use support::filtered::{check, warned};
use support::{Answer, Client, Origin, Proxy, refusing, within};

const KEY_E: &str = r#"{"kty": "EC", "kid": "e", "crv": "P-256", "x": "FoalC6xWEokDoIXsBQGkcOLFgf6cmB754ZOXaqbCgSU", "y": "8OdgX5WGlUQjIPZDRAe1_83mSd5oCRtcf5bqC_Z6WP0"}"#;
const KEY_D: &str = r#"{"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": "WPaKboSAFwOC9UZe4IN8SM5JEqizK-VVzGPiWU4q-NE"}"#;

/// By these keys, of `ann`, until the year 2100.
const BY_E: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.e0ViSIr4ThHPiMbP8YMAsWNkPVKD5j4R_Gdd6x9AkA1ijxahETo4Vy85S7qDCTGPEfTHwrwYpx0FyQWjJnAP5g";
const BY_D: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.IOOehGJJ2Cvpv9v1YsTp361pKXC6XOiGev5cSLRjYxaSf2z2A5nHzKIKLtZy7sDpa8o6XuKcO-2D3tKZ_juWDQ";
/// By keys that nobody has.
const BY_NOBODY: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IngxIn0.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IngyIn0.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA",
];

/// Publishes whatever it was last told to.
struct Issuer {
    origin: Origin,
    says: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    /// Taken before the answer to each request but the first, where it is closed.
    gate: Option<mpsc::Sender<()>>,
}

impl Issuer {
    fn with(keys: &[&str]) -> Self {
        Self::start(keys, None)
    }

    /// After the first one, each answer has to be let go.
    fn holding(keys: &[&str]) -> Self {
        let (gate, held) = mpsc::channel();
        Self {
            gate: Some(gate),
            ..Self::start(keys, Some(held))
        }
    }

    /// After the first one, each answer takes two seconds.
    fn slow(keys: &[&str]) -> Self {
        Self::start_with(keys, || std::thread::sleep(Duration::from_secs(2)))
    }

    fn start(keys: &[&str], held: Option<mpsc::Receiver<()>>) -> Self {
        let held = Mutex::new(held);
        Self::start_with(keys, move || {
            if let Some(held) = held.lock().unwrap().as_ref() {
                held.recv_timeout(support::LIMIT).unwrap();
            }
        })
    }

    fn start_with(keys: &[&str], wait: impl Fn() + Send + Sync + 'static) -> Self {
        let says = Arc::new(Mutex::new(set(keys)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (says.clone(), asked.clone());
        let origin = Origin::start(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                wait();
            }
            told.lock().unwrap().clone()
        });
        Self {
            origin,
            says,
            asked,
            gate: None,
        }
    }

    fn publish(&self, keys: &[&str]) {
        *self.says.lock().unwrap() = set(keys);
    }

    fn fail(&self) {
        let failure = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";
        *self.says.lock().unwrap() = failure.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn address(&self) -> String {
        self.origin.address.to_string()
    }
}

fn set(keys: &[&str]) -> Vec<u8> {
    let body = format!("{{\"keys\": [{}]}}", keys.join(", "));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// Everything goes to `origin`, with a token by a key that `idp` publishes.
fn policy(origin: &Origin, idp: &str, refresh: &str, realm: &str) -> String {
    format!(
        "workers: 2\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [auth] }}]\n\
         clusters:\n  - {{ name: o, endpoints: ['{}'] }}\n  \
         - {{ name: idp, endpoints: ['{idp}'] }}\n\
         filters:\n  auth:\n    component: lockgate:auth\n    \
         grants: {{ call: [idp], shared: true }}\n    config:\n      realm: {realm}\n      \
         jwt:\n        jwks: {{ cluster: idp, path: /keys, refresh: {refresh} }}\n        \
         issuer: https://login.test\n        audience: shop\n",
        origin.address
    )
}

fn start(origin: &Origin, issuer: &Issuer, refresh: &str) -> Proxy {
    Proxy::start(&policy(origin, &issuer.address(), refresh, "one"))
}

fn ask(proxy: &Proxy, token: &str) -> Answer {
    proxy.ask("/", &[("authorization", &format!("Bearer {token}"))])
}

fn status(proxy: &Proxy, token: &str) -> u16 {
    ask(proxy, token).status
}

#[test]
fn keys_are_there_before_the_first_request() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    assert_eq!(issuer.asked(), 1);
    assert_eq!(issuer.origin.seen().line, "GET /keys HTTP/1.1");
    // On both workers.
    for _ in 0..10 {
        assert_eq!(status(&proxy, BY_E), 200);
    }
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn an_unknown_key_is_asked_for_once() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    for _ in 0..5 {
        for token in BY_NOBODY {
            let answer = ask(&proxy, token);
            assert_eq!(answer.status, 401);
            let told = answer.header("www-authenticate").unwrap();
            assert!(told.contains("the key is not known"), "{told}");
        }
    }
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
        BY_NOBODY[0]
    );
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(|client| {
        client.send(&head);
    });
    for client in &mut clients {
        assert_eq!(client.answer().status, 401);
    }
    assert_eq!(issuer.asked(), 3, "for the job and once for each name");
    assert_eq!(status(&proxy, BY_E), 200);
}

#[test]
fn a_new_key_is_good_at_its_first_use_and_an_old_one_while_it_is_published() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    assert_eq!(status(&proxy, BY_E), 200);
    issuer.publish(&[KEY_E, KEY_D]);
    for _ in 0..5 {
        assert_eq!(status(&proxy, BY_D), 200);
        assert_eq!(status(&proxy, BY_E), 200);
    }
    issuer.publish(&[KEY_D]);
    for _ in 0..5 {
        assert_eq!(status(&proxy, BY_D), 200);
        assert_eq!(status(&proxy, BY_E), 200, "nobody knows that it is gone");
    }
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn a_new_key_that_many_use_at_once_is_asked_for_once_and_good_for_all() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::holding(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    issuer.publish(&[KEY_E, KEY_D]);
    let post = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {BY_D}\r\n\
         content-length: 5\r\n\r\nhello"
    );
    let mut first = proxy.connect();
    first.send(&post);
    within("the issuer is asked", || {
        (issuer.asked() == 2).then_some(())
    });
    let mut others: Vec<Client> = (0..6).map(|_| proxy.connect()).collect();
    others.iter_mut().for_each(|client| {
        client.send(&post);
    });
    within("all have called", || {
        let calls = metric_sum(
            proxy.admin(),
            "lockgate_filter_calls_total",
            "phase=\"request\"",
        );
        (calls == 7.0).then_some(())
    });
    assert_eq!(status(&proxy, "no.token.atall"), 401, "nobody is held up");
    issuer.gate.as_ref().unwrap().send(()).unwrap();
    for client in others.iter_mut().chain([&mut first]) {
        assert_eq!(client.answer().status, 200);
        assert_eq!(origin.seen().body, b"hello");
    }
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn who_asks_for_a_new_key_and_leaves_takes_nobody_along() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::holding(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    issuer.publish(&[KEY_E, KEY_D]);
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {BY_D}\r\n\r\n");
    let mut first = proxy.connect();
    first.send(&head);
    within("the issuer is asked", || {
        (issuer.asked() == 2).then_some(())
    });
    let mut second = proxy.connect();
    second.send(&head);
    let sum = |metric, label| metric_sum(proxy.admin(), metric, label);
    within("both have called", || {
        let calls = sum("lockgate_filter_calls_total", "phase=\"request\"");
        (calls == 2.0).then_some(())
    });
    drop(first);
    within("the first one is gone", || {
        (sum("lockgate_filter_instances_lost_total", "auth") == 1.0).then_some(())
    });
    // To whom nobody listens any more, and to the second.
    for _ in 0..2 {
        issuer.gate.as_ref().unwrap().send(()).unwrap();
    }
    assert_eq!(second.answer().status, 200);
    assert_eq!(issuer.asked(), 3);
}

#[test]
fn a_slow_issuer_is_waited_for() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::slow(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    issuer.publish(&[KEY_E, KEY_D]);
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {BY_D}\r\n\r\n");
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(|client| {
        client.send(&head);
    });
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn a_made_up_key_does_not_hide_a_new_one() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1h");
    assert_eq!(status(&proxy, BY_NOBODY[0]), 401);
    issuer.publish(&[KEY_E, KEY_D]);
    assert_eq!(status(&proxy, BY_D), 200);
    assert_eq!(issuer.asked(), 3);
}

#[test]
fn the_set_is_fetched_again_and_again() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1s");
    assert_eq!(status(&proxy, BY_E), 200);
    issuer.publish(&[KEY_D]);
    within("the old key is gone", || {
        (status(&proxy, BY_E) == 401).then_some(())
    });
    assert_eq!(status(&proxy, BY_D), 200);
}

#[test]
fn the_last_good_set_stays_when_the_issuer_is_gone() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1s");
    assert_eq!(status(&proxy, BY_E), 200);
    issuer.fail();
    let failed = |name| metric_sum(proxy.admin(), "lockgate_filter_job_faults_total", name);
    within("a refresh fails", || (failed("error") > 0.0).then_some(()));
    assert_eq!(status(&proxy, BY_E), 200);
    // A version of the filter that begins now finds it too.
    let warnings = warned(&proxy, |attempt| {
        let realm = format!("two-{attempt}");
        policy(&origin, &issuer.address(), "1s", &realm)
    });
    assert!(
        warnings.contains("it answered with status 500"),
        "{warnings}"
    );
    assert_eq!(status(&proxy, BY_E), 200);
    proxy.edit(&policy(&origin, &refusing().to_string(), "1s", "three"));
    assert!(proxy.reload().ok);
    for _ in 0..5 {
        let answer = ask(&proxy, "no.token.atall");
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().contains("three"));
        let answer = ask(&proxy, BY_NOBODY[0]);
        assert_eq!(answer.status, 503, "nobody can tell");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(status(&proxy, BY_E), 200);
    }
}

#[test]
fn what_is_no_key_set_replaces_none() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    let proxy = start(&origin, &issuer, "1s");
    issuer.publish(&[r#"{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}"#]);
    let failed = || metric_sum(proxy.admin(), "lockgate_filter_job_faults_total", "error");
    within("a refresh fails", || (failed() > 0.0).then_some(()));
    assert_eq!(status(&proxy, BY_E), 200);
}

#[test]
fn without_any_set_nobody_is_told_that_the_token_is_bad() {
    let (origin, issuer) = (Origin::saying("in"), Issuer::with(&[KEY_E]));
    issuer.fail();
    let proxy = start(&origin, &issuer, "1h");
    let answer = ask(&proxy, BY_E);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(proxy.get("/").status, 401);
    issuer.publish(&[KEY_E]);
    within("the job is tried again", || {
        (status(&proxy, BY_E) == 200).then_some(())
    });
}

#[test]
fn what_a_fetched_set_needs_is_told_where_it_is_configured() {
    let origin = Origin::saying("in");
    let whole = policy(&origin, "127.0.0.1:9", "5m", "one");
    let folder = Proxy::folder();
    let refused = |yaml: &str, messages: &[&str]| {
        let checked = check(&folder, yaml);
        assert_eq!(checked.code, 2, "{}", checked.text);
        for message in messages {
            assert!(checked.text.contains(message), "{}", checked.text);
        }
    };
    assert_eq!(check(&folder, &whole).code, 0);
    refused(
        &whole.replace("grants: { call: [idp], shared: true }", "grants: {}"),
        &[
            "imports `http-client`, which `grants: { call: [CLUSTER] }` would grant it",
            "imports `shared`, which `grants: { shared: true }` would grant it",
        ],
    );
    refused(
        &whole.replace("call: [idp]", "call: [o]"),
        &["which `grants: { call: [idp], shared: true }` would allow"],
    );
    refused(
        &whole.replace("refresh: 5m", "refresh: 1ms"),
        &["expected a time from `1s` to `24h`"],
    );
    std::fs::remove_dir_all(folder).unwrap();
}
