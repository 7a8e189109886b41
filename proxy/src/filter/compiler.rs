//! Compiling, in a process of its own.
//!
//! A compiler takes many times the memory that its result needs, scatters it,
//! and is the largest program that a component's bytes can get at. Apart, all it
//! took is the system's again when it ends, and one that hangs, or dies of what
//! it was given, refuses a component and harms nobody.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine;
use super::module::{LoadError, Pace, invalid};
use super::priority::yield_to_workers;

/// The command, hidden from help, by which a program compiles for another.
pub const COMMAND: &str = "compile-component";
const GIVE_WAY: &str = "--give-way";
/// More than the largest component takes by far: one of Python needs 20 s.
const CPU_SECONDS: u64 = 300;
const MEMORY_BYTES: u64 = 4 << 30;

/// Where components are compiled.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// In this process: for programs that end after it.
    #[default]
    Here,
    /// By a process of this program, which must know [`COMMAND`].
    Apart(PathBuf),
}

impl Compiler {
    /// By this very program, also when its file has been replaced since.
    pub fn this_program() -> io::Result<Self> {
        match cfg!(target_os = "linux") {
            true => Ok(Self::Apart("/proc/self/exe".into())),
            false => std::env::current_exe().map(Self::Apart),
        }
    }

    pub(super) fn compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        pace: Pace,
    ) -> Result<Component, LoadError> {
        match self {
            Self::Here => Component::new(engine, bytes).map_err(invalid),
            Self::Apart(program) => {
                let mut command = Command::new(program);
                command.arg(COMMAND);
                if pace == Pace::GiveWay {
                    command.arg(GIVE_WAY);
                }
                load(engine, &compile_apart(command, bytes)?)
            }
        }
    }
}

#[allow(unsafe_code)] // There is no safe way to load compiled code.
fn load(engine: &Engine, compiled: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the bytes came through a pipe from a process that this one
    // started of its own program, and that said that it made them.
    unsafe { Component::deserialize(engine, compiled) }.map_err(invalid)
}

pub(super) fn compile_apart(mut command: Command, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let failed = |error: io::Error| LoadError::Compiler(format!("cannot be started: {error}"));
    let mut child = command
        // What is secret there is of no use to a compiler.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = converse(&mut child, bytes);
    // It has closed its output, or cannot write any more: it ends by itself.
    let status = child.wait().map_err(failed)?;
    match (status.code(), said) {
        (Some(0), Ok(compiled)) => Ok(compiled),
        (Some(2), Ok(message)) => Err(LoadError::Invalid(
            String::from_utf8_lossy(&message).into_owned(),
        )),
        (Some(0 | 2), Err(error)) => Err(failed(error)),
        _ => Err(LoadError::Compiler(ended(status))),
    }
}

/// It reads to the end before it says anything, so neither waits for the other.
fn converse(child: &mut Child, bytes: &[u8]) -> io::Result<Vec<u8>> {
    if let Some(mut input) = child.stdin.take() {
        // One that ended before it read everything tells why by its status.
        input.write_all(bytes).ok();
    }
    let mut said = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut said)?;
    }
    Ok(said)
}

fn ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGXCPU) => format!("took more than {CPU_SECONDS} s of CPU time"),
        // What Rust does when memory cannot be had.
        Some(libc::SIGABRT) => "gave up, most likely for want of memory".to_owned(),
        _ => format!("ended with {status}"),
    }
}

/// What a process that was started to compile does: a component comes in, and
/// its compiled form goes out, or with `false` what is wrong with it.
pub fn compile_for_another(
    give_way: bool,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<bool> {
    limit_this_process();
    if give_way {
        yield_to_workers();
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    // It makes no instances, and how many there could be does not change the code.
    let settings = engine::config(1);
    let engine = Engine::new(&settings).map_err(|error| io::Error::other(format!("{error:#}")))?;
    let (good, said) = match engine.precompile_component(&bytes) {
        Ok(compiled) => (true, compiled),
        Err(error) => (false, format!("{error:#}").into_bytes()),
    };
    output.write_all(&said)?;
    output.flush()?;
    Ok(good)
}

/// Holds for this process, which has nothing else to do.
fn limit_this_process() {
    limit(libc::RLIMIT_CPU, CPU_SECONDS);
    limit(libc::RLIMIT_DATA, MEMORY_BYTES);
    if cfg!(target_os = "linux") {
        // If memory runs out all the same, this is the process to end.
        std::fs::write("/proc/self/oom_score_adj", "1000").ok();
    }
}

#[allow(unsafe_code)] // The standard library knows no limits.
fn limit(what: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: reads the struct and keeps no pointer to it. Where a limit cannot
    // be set, a lower one holds already.
    unsafe { libc::setrlimit(what, &raw const limit) };
}
