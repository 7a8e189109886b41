//! The proxy under test, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lockgate::app::{App, Options, StartError};
use lockgate::control::Ended;
use lockgate::control::admin::ReloadOutcome;

use super::{Answer, Client, LIMIT, admin};

pub struct Proxy {
    app: Option<App>,
    folder: PathBuf,
}

impl Proxy {
    /// Starts by this configuration. The listener `web` is the one that clients
    /// are connected to.
    pub fn start(yaml: &str) -> Self {
        let folder = folder();
        Self::start_in(folder, yaml)
    }

    pub fn start_in(folder: PathBuf, yaml: &str) -> Self {
        match Self::try_start_in(folder, yaml) {
            Ok(proxy) => proxy,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn try_start_in(folder: PathBuf, yaml: &str) -> Result<Self, StartError> {
        write(&folder, yaml);
        Self::start_as_is(folder)
    }

    /// Starts by the `lockgate.yaml` that is in the folder already.
    pub fn start_as_is(folder: PathBuf) -> Result<Self, StartError> {
        let app = App::start(Options::new(&folder.join("lockgate.yaml")))?;
        Ok(Self {
            app: Some(app),
            folder,
        })
    }

    /// An empty folder for a proxy to come.
    pub fn folder() -> PathBuf {
        folder()
    }

    fn app(&self) -> &App {
        self.app.as_ref().expect("it runs")
    }

    pub fn path(&self) -> &Path {
        &self.folder
    }

    pub fn address(&self) -> SocketAddr {
        self.app().address("web").expect("a listener `web`")
    }

    /// Where another listener is bound.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.app().address(name)
    }

    pub fn admin(&self) -> SocketAddr {
        self.app().admin_address().expect("an admin address")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A GET on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        self.ask(path, &[])
    }

    pub fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.connect().send(head).answer()
    }

    /// Replaces the configuration's text; the watch will see it.
    pub fn edit(&self, yaml: &str) {
        write(&self.folder, yaml);
    }

    /// Reloads by command.
    pub fn reload(&self) -> ReloadOutcome {
        self.app().reload().expect("it runs")
    }

    /// What filters did wrong: a test that failed by chance may not fail again.
    fn tell_faults(&self) {
        let Some(admin) = self.app.as_ref().and_then(App::admin_address) else {
            return;
        };
        // In a thread of its own: this one panics already.
        let metrics = std::thread::spawn(move || admin::get(admin, "/metrics").text());
        for line in metrics.join().unwrap_or_default().lines() {
            if line.starts_with("lockgate_filter_faults_total") && !line.ends_with(" 0") {
                eprintln!("{line}");
            }
        }
    }

    pub fn stop(mut self) -> Ended {
        self.app.take().expect("it runs").stop()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_faults();
        }
        if let Some(app) = self.app.take() {
            app.stop();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("lockgate-test-{}-{number}", std::process::id()));
    // Of a process that had the same number and was killed.
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// As editors do: written aside, then put in place.
pub(super) fn write(folder: &Path, yaml: &str) {
    let path = folder.join("lockgate.yaml");
    let aside = folder.join(".lockgate.yaml.new");
    std::fs::write(&aside, whole(yaml)).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// Where all tests keep their compiled components, so that each is compiled once.
pub fn component_cache() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
    folder.display().to_string()
}

/// Adds what every test wants, the access log out of the way among it.
pub fn whole(yaml: &str) -> String {
    let never = "{ close: 100, shed: 100, refuse: 100 }";
    let mut text = String::new();
    for (key, line) in [
        ("cache_dir:", format!("cache_dir: {}", component_cache())),
        ("access_log:", "access_log: { to: off }".to_owned()),
        ("workers:", "workers: 2".to_owned()),
        ("drain_timeout:", "drain_timeout: 1s".to_owned()),
    ] {
        if !yaml.contains(key) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(yaml);
    if !yaml.contains("overload:") {
        // Of a machine that does more than this test. Behind the rest, whose lines are told.
        let rules = format!("{{ memory: {never}, delay: {{ shed: 1h, refuse: 1h }} }}");
        text.push_str(&format!("\noverload: {rules}\n"));
    }
    text
}

/// Waits for a condition.
pub fn within<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
