//! The real program, as a child.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use super::proxy::{Proxy, whole, within, write};
use super::{Answer, Client};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lockgate");

/// Of the log of a proxy whose test failed.
const LAST_LINES: usize = 60;

/// `lockgate run` by a configuration in a folder of its own.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Locked by whoever wants the log to wait.
    is_unread: Arc<Mutex<()>>,
    folder: PathBuf,
}

impl Process {
    /// Starts, and returns once it serves.
    pub fn start(yaml: &str) -> Self {
        Self::start_in(Proxy::folder(), yaml)
    }

    pub fn start_in(folder: PathBuf, yaml: &str) -> Self {
        let process = Self::spawn_in(folder, yaml);
        process.logged("listening");
        process
    }

    /// Starts with no more file descriptors than these, of which its own limit is fewer.
    pub fn start_limited_in(folder: PathBuf, yaml: &str, descriptors: usize) -> Self {
        let mut command = lockgate_by("sh");
        let limits = format!("ulimit -Sn 64 && ulimit -Hn {descriptors} && exec \"$0\" \"$@\"");
        command.args(["-c", &limits, PROGRAM, "run", "--config"]);
        let process = Self::spawn_by(command, folder, yaml);
        process.logged("listening");
        process
    }

    /// Starts, whether it comes to serve or not.
    pub fn spawn_in(folder: PathBuf, yaml: &str) -> Self {
        Self::spawn_by(lockgate(&["run", "--config"]), folder, yaml)
    }

    /// The same by a command that the path of the configuration is still to be told.
    pub fn spawn_by(mut command: Command, folder: PathBuf, yaml: &str) -> Self {
        write(&folder, yaml);
        let mut child = command
            .arg(folder.join("lockgate.yaml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, lines) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        let is_unread = Arc::new(Mutex::new(()));
        let may_read = is_unread.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let _may_read = may_read.lock();
                *kept.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self {
            child,
            log,
            is_unread,
            folder,
        }
    }

    /// Nobody reads its log for as long as what this returns is held.
    pub fn unread(&self) -> MutexGuard<'_, ()> {
        self.is_unread.lock().unwrap()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line of the log with this in it.
    pub fn logged(&self, what: &str) -> String {
        within(&format!("`{what}` in the log"), || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(what))?;
            Some(line.to_owned())
        })
    }

    /// Of the listener `web`.
    pub fn address(&self) -> SocketAddr {
        let line = self.logged("listener=web");
        let (_, address) = line.split_once("address=").unwrap();
        address.parse().unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.connect()
            .send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .answer()
    }

    pub fn path(&self) -> &Path {
        &self.folder
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn edit(&self, yaml: &str) {
        write(&self.folder, yaml);
    }

    /// By its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for it to end, and tells its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = within("the process ends", || self.child.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A test that failed by chance may not fail again.
            eprintln!("the proxy's log:\n{}", last_lines(&self.log()));
        }
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// The program with these arguments, not yet started.
pub fn lockgate(arguments: &[&str]) -> Command {
    let mut command = lockgate_by(PROGRAM);
    command.args(arguments);
    command
}

/// The program, started by another or by itself.
fn lockgate_by(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    // Not that of whoever runs the tests.
    command.env(
        "XDG_STATE_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/state"),
    );
    command.env_remove("STATE_DIRECTORY");
    command
}

/// Runs the program with these arguments to its end.
pub fn run(arguments: &[&str]) -> Output {
    lockgate(arguments).output().unwrap()
}

/// Writes a configuration into a folder, and tells the file.
pub fn write_in(folder: &Path, yaml: &str) -> String {
    write(folder, yaml);
    folder.join("lockgate.yaml").display().to_string()
}

/// A folder with a configuration, for commands that only read it.
pub fn file(yaml: &str) -> PathBuf {
    let path = Proxy::folder().join("lockgate.yaml");
    std::fs::write(&path, whole(yaml)).unwrap();
    path
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
