//! `lockgate demo --tour`: every promise of the demo, tried.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::ask::{self, Answer};
use super::origins::Origins;
use super::policy::Policy;
use crate::app::{App, Options};
use crate::console::{Exit, print};

/// For what happens by itself: a copy, a reload.
const PATIENCE: Duration = Duration::from_secs(20);
const SPLIT_REQUESTS: usize = 300;

struct Tour {
    origins: Origins,
    policy: Policy,
    path: PathBuf,
    app: App,
}

type Step = (&'static str, fn(&Tour) -> anyhow::Result<String>);

const STEPS: &[Step] = &[
    ("a route that answers by itself", Tour::health),
    ("a route by header", Tour::beta),
    ("a split by weight", Tour::split),
    ("a refusal", Tour::refusal),
    ("a pass", Tour::pass),
    ("a forged identity", Tour::forged),
    ("a fault on demand", Tour::fault),
    ("a delay on demand", Tour::delay),
    ("a copy for the shadow", Tour::mirror),
    ("a live change of policy, under load", Tour::live_change),
    ("a broken configuration, under load", Tour::broken),
];

pub fn run() -> anyhow::Result<Exit> {
    let folder = std::env::temp_dir().join(format!("lockgate-tour-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = Tour::start(&folder).and_then(Tour::take);
    std::fs::remove_dir_all(&folder).ok();
    outcome
}

impl Tour {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let origins = Origins::start()?;
        let policy = Policy {
            origins: origins.addresses(),
            ..Policy::default()
        };
        let path = folder.join("lockgate.yaml");
        std::fs::write(folder.join("origins.yaml"), policy.origins_yaml())?;
        std::fs::write(&path, quiet(&policy))?;
        let app = App::start(Options::new(&path))?;
        Ok(Self {
            origins,
            policy,
            path,
            app,
        })
    }

    fn take(self) -> anyhow::Result<Exit> {
        let mut failed = 0;
        for (name, step) in STEPS {
            match step(&self) {
                Ok(outcome) => print(&format!("ok    {name}: {outcome}"))?,
                Err(error) => {
                    failed += 1;
                    print(&format!("WRONG {name}: {error:#}"))?
                }
            };
        }
        self.app.stop();
        print(&format!(
            "{} of {} as promised",
            STEPS.len() - failed,
            STEPS.len()
        ))?;
        Ok(if failed == 0 {
            Exit::Good
        } else {
            Exit::Failed
        })
    }

    fn proxy(&self) -> anyhow::Result<SocketAddr> {
        self.app.address("web").context("no listener `web`")
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
        ask::get(self.proxy()?, path, fields)
    }

    fn health(&self) -> anyhow::Result<String> {
        let answer = self.get("/health", &[])?;
        ensure!(
            answer.status == 200 && answer.body == "ok\n",
            "{}",
            tell(&answer)
        );
        Ok("GET /health -> 200, from the router".to_owned())
    }

    fn beta(&self) -> anyhow::Result<String> {
        let answer = self.get("/checkout", &[("x-beta", "1")])?;
        ensure!(origin(&answer) == "checkout-v2", "{}", tell(&answer));
        Ok("GET /checkout with x-beta: 1 -> checkout-v2".to_owned())
    }

    fn split(&self) -> anyhow::Result<String> {
        let mut to_v2 = 0;
        for _ in 0..SPLIT_REQUESTS {
            let answer = self.get("/checkout", &[])?;
            ensure!(answer.status == 200, "{}", tell(&answer));
            ensure!(
                answer.header("x-route") == Some("checkout"),
                "x-route is missing"
            );
            to_v2 += usize::from(origin(&answer) == "checkout-v2");
        }
        // Six standard deviations around a fifth: wrong once in a billion tours.
        ensure!(
            (18..=102).contains(&to_v2),
            "{to_v2} of {SPLIT_REQUESTS} to checkout-v2"
        );
        Ok(format!(
            "{SPLIT_REQUESTS} x GET /checkout -> {} v1, {to_v2} v2",
            SPLIT_REQUESTS - to_v2
        ))
    }

    fn refusal(&self) -> anyhow::Result<String> {
        let answer = self.get("/account", &[("x-api-key", "wrong")])?;
        ensure!(answer.status == 401, "{}", tell(&answer));
        ensure!(answer.header("www-authenticate").is_some(), "no challenge");
        Ok("GET /account with a wrong key -> 401".to_owned())
    }

    fn pass(&self) -> anyhow::Result<String> {
        let answer = self.get("/account", &[("x-api-key", "alice-key")])?;
        ensure!(
            answer.status == 200 && answer.body.contains("x-user: alice"),
            "{}",
            tell(&answer)
        );
        Ok("GET /account with alice's key -> 200, the origin sees x-user: alice".to_owned())
    }

    fn forged(&self) -> anyhow::Result<String> {
        let answer = self.get("/checkout", &[("x-user", "root")])?;
        ensure!(
            answer.status == 200 && !answer.body.contains("x-user"),
            "{}",
            tell(&answer)
        );
        Ok("x-user: root from outside, where auth is off -> the origin sees none".to_owned())
    }

    fn fault(&self) -> anyhow::Result<String> {
        let answer = self.get("/checkout", &[("x-lockgate-fault-abort", "503")])?;
        ensure!(answer.status == 503, "{}", tell(&answer));
        Ok("GET /checkout asking for a failure -> 503".to_owned())
    }

    fn delay(&self) -> anyhow::Result<String> {
        let began = Instant::now();
        let answer = self.get("/checkout", &[("x-lockgate-fault-delay", "200ms")])?;
        let took = began.elapsed();
        ensure!(
            answer.status == 200 && took >= Duration::from_millis(200),
            "{took:?}"
        );
        Ok(format!(
            "GET /checkout asking for 200 ms -> 200 after {} ms",
            took.as_millis()
        ))
    }

    fn mirror(&self) -> anyhow::Result<String> {
        let answer = self.get("/checkout/mirrored", &[])?;
        ensure!(answer.status == 200, "{}", tell(&answer));
        wait_until("the shadow sees the copy", || {
            Ok(self.origins.has_seen("shadow", "/checkout/mirrored"))
        })?;
        ensure!(
            self.origins.has_seen("shadow", "x-lockgate-mirror"),
            "the copy does not say so"
        );
        Ok("GET /checkout/mirrored -> 200, and the shadow got a copy".to_owned())
    }

    fn live_change(&self) -> anyhow::Result<String> {
        let load = Load::start(self.proxy()?);
        let changed = Policy {
            to_v2: 100,
            ..self.policy.clone()
        };
        replace(&self.path, &quiet(&changed))?;
        let began = Instant::now();
        wait_until("every request goes to v2", || {
            for _ in 0..20 {
                if origin(&self.get("/checkout", &[])?) != "checkout-v2" {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        let took = began.elapsed();
        let (good, bad) = load.stop();
        ensure!(
            bad == 0 && good > 0,
            "{bad} of {} requests failed meanwhile",
            good + bad
        );
        Ok(format!(
            "saved, live within {} ms; {good} requests meanwhile, none failed",
            took.as_millis()
        ))
    }

    fn broken(&self) -> anyhow::Result<String> {
        let load = Load::start(self.proxy()?);
        let admin = self.app.admin_address().context("no admin address")?;
        replace(
            &self.path,
            &quiet(&self.policy).replace("path: /health", "pth: /health"),
        )?;
        wait_until("the refusal is told", || {
            Ok(ask::get(admin, "/generations", &[])?.body.contains("pth"))
        })?;
        let answer = self.get("/checkout", &[])?;
        ensure!(
            origin(&answer) == "checkout-v2",
            "the policy changed: {}",
            tell(&answer)
        );
        let (good, bad) = load.stop();
        ensure!(
            bad == 0 && good > 0,
            "{bad} of {} requests failed meanwhile",
            good + bad
        );
        Ok(format!(
            "`pth:` refused, the old policy stays; {good} requests meanwhile, none failed"
        ))
    }
}

/// The tour's own text is what people look at.
fn quiet(policy: &Policy) -> String {
    format!("access_log: {{ to: off }}\n{}", policy.yaml())
}

fn origin(answer: &Answer) -> &str {
    answer.header("x-origin").unwrap_or("no origin")
}

fn tell(answer: &Answer) -> String {
    format!(
        "got {} from {}: {}",
        answer.status,
        origin(answer),
        answer.body.trim()
    )
}

/// As editors do: written aside, then put in place.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text)?;
    std::fs::rename(&aside, path)?;
    Ok(())
}

fn wait_until(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !done()? {
        ensure!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Requests that go on while something is changed.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Load {
    fn start(proxy: SocketAddr) -> Self {
        let (stop, good) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted) = (stop.clone(), good.clone());
        let thread = std::thread::spawn(move || {
            let mut bad = 0;
            while !stopped.load(Ordering::Relaxed) {
                match ask::get(proxy, "/checkout", &[]) {
                    Ok(answer) if answer.status == 200 => {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => bad += 1,
                }
            }
            bad
        });
        Self { stop, good, thread }
    }

    /// How many went well, and how many did not.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let bad = self.thread.join().unwrap_or(u64::MAX);
        (self.good.load(Ordering::Relaxed), bad)
    }
}
