//! WASI 0.2 with nothing behind it: no arguments, no environment, an empty
//! filesystem, an input that is at its end, and outputs that go to the log.
//!
//! The interfaces are those of `wasmtime-wasi`, linked one by one. Streams and
//! polling are our own: the crate's block on a runtime, and a worker is inside
//! one. A filter cannot wait, so whatever would have to, traps.

use std::sync::LazyLock;
use std::time::Instant;

use tracing::Level;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Error, Result};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::sync::io::{error, poll, streams};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::log;
use super::state::{HostState, counted};

/// Handles that a guest may hold at once.
const MAX_HANDLES: usize = 1024;
/// Random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;
/// What one `write` takes.
const WRITE_PERMIT: u64 = 64 * 1024;

/// Streams and pollables have no state, so their handles say all.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const READY: u32 = 1;
const NEVER_READY: u32 = 2;

/// The WASI part of a store.
pub struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Wasi {
    pub fn new() -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            context: WasiCtx::builder().max_random_size(MAX_RANDOM_BYTES).build(),
            table,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }
}

impl WasiView for HostState {
    /// On the way of every function but those of [`counted`] and [`chance`].
    fn ctx(&mut self) -> WasiCtxView<'_> {
        counted(self);
        WasiCtxView {
            ctx: &mut self.wasi.context,
            table: &mut self.wasi.table,
        }
    }
}

struct Errors;

impl HasData for Errors {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links every interface that a filter may import.
pub fn add_to_linker(linker: &mut Linker<HostState>) -> Result<()> {
    type Own = HasSelf<HostState>;
    monotonic_clock::add_to_linker::<HostState, Own>(linker, counted)?;
    cli::stdin::add_to_linker::<HostState, Own>(linker, counted)?;
    cli::stdout::add_to_linker::<HostState, Own>(linker, counted)?;
    cli::stderr::add_to_linker::<HostState, Own>(linker, counted)?;
    poll::add_to_linker::<HostState, Own>(linker, counted)?;
    streams::add_to_linker::<HostState, Own>(linker, counted)?;
    error::add_to_linker::<HostState, Errors>(linker, |state| &mut counted(state).wasi.table)?;
    clocks::wall_clock::add_to_linker::<HostState, WasiClocks>(linker, WasiClocksView::clocks)?;
    cli::exit::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::environment::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::terminal_stdin::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    cli::terminal_stderr::add_to_linker::<HostState, WasiCli>(linker, WasiCliView::cli)?;
    add_files_and_chance(linker)
}

/// No descriptor can ever exist, so no function of `filesystem::types` that
/// would block is ever reached.
fn add_files_and_chance(linker: &mut Linker<HostState>) -> Result<()> {
    let files = WasiFilesystemView::filesystem;
    filesystem::preopens::add_to_linker::<HostState, WasiFilesystem>(linker, files)?;
    sync::filesystem::types::add_to_linker::<HostState, WasiFilesystem>(linker, files)?;
    random::random::add_to_linker::<HostState, WasiRandom>(linker, chance)?;
    random::insecure::add_to_linker::<HostState, WasiRandom>(linker, chance)?;
    random::insecure_seed::add_to_linker::<HostState, WasiRandom>(linker, chance)
}

fn chance(state: &mut HostState) -> &mut WasiRandomCtx {
    counted(state).wasi.context.random()
}

/// Writes out what the guest left of a line.
pub fn flush(state: &mut HostState) {
    for stream in [STDOUT, STDERR] {
        let rest = std::mem::take(output(state, stream));
        if !rest.is_empty() {
            write_line(state, stream, &rest);
        }
    }
}

fn output(state: &mut HostState, stream: u32) -> &mut Vec<u8> {
    match stream {
        STDOUT => &mut state.wasi.stdout,
        _ => &mut state.wasi.stderr,
    }
}

/// Takes bytes and writes the lines that are complete.
fn take_output(state: &mut HostState, stream: u32, mut bytes: &[u8]) {
    while let Some(end) = memchr::memchr(b'\n', bytes) {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let mut whole = std::mem::take(output(state, stream));
        whole.extend_from_slice(line);
        write_line(state, stream, &whole);
        bytes = rest;
    }
    let max_bytes = state.owner.limits.max_log_bytes;
    let unfinished = output(state, stream);
    let room = max_bytes.saturating_sub(unfinished.len());
    unfinished.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn write_line(state: &mut HostState, stream: u32, line: &[u8]) {
    let level = match stream {
        STDOUT => Level::INFO,
        _ => Level::WARN,
    };
    log::emit(state, level, &String::from_utf8_lossy(line), &[]);
}

fn cannot_wait() -> Error {
    Error::msg("a filter cannot wait; `exchange.delay` holds a message without an instance")
}

impl monotonic_clock::Host for HostState {
    fn now(&mut self) -> Result<u64> {
        /// One for all instances, so that time does not jump for a guest whose
        /// instance was replaced.
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Ok(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let is_past = monotonic_clock::Host::now(self)? >= when;
        Ok(Resource::new_own(if is_past { READY } else { NEVER_READY }))
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        Ok(Resource::new_own(if when == 0 {
            READY
        } else {
            NEVER_READY
        }))
    }
}

impl poll::Host for HostState {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        let ready: Vec<u32> = (0..)
            .zip(&pollables)
            .filter(|(_, pollable)| pollable.rep() == READY)
            .map(|(place, _)| place)
            .collect();
        match ready.is_empty() {
            true => Err(cannot_wait()),
            false => Ok(ready),
        }
    }
}

impl poll::HostPollable for HostState {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        Ok(pollable.rep() == READY)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        match pollable.rep() {
            READY => Ok(()),
            _ => Err(cannot_wait()),
        }
    }

    fn drop(&mut self, _pollable: Resource<DynPollable>) -> Result<()> {
        Ok(())
    }
}

impl cli::stdin::Host for HostState {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        Ok(Resource::new_own(0))
    }
}

impl cli::stdout::Host for HostState {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        Ok(Resource::new_own(STDOUT))
    }
}

impl cli::stderr::Host for HostState {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        Ok(Resource::new_own(STDERR))
    }
}

impl streams::Host for HostState {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) | StreamError::Trap(error) => Err(error),
        }
    }
}

/// The only input is at its end.
impl streams::HostInputStream for HostState {
    fn read(&mut self, _stream: Resource<DynInputStream>, _len: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn blocking_read(
        &mut self,
        _stream: Resource<DynInputStream>,
        _len: u64,
    ) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn skip(&mut self, _stream: Resource<DynInputStream>, _len: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_skip(&mut self, _stream: Resource<DynInputStream>, _len: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn subscribe(&mut self, _stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        Ok(Resource::new_own(READY))
    }

    fn drop(&mut self, _stream: Resource<DynInputStream>) -> Result<()> {
        Ok(())
    }
}

impl streams::HostOutputStream for HostState {
    fn check_write(&mut self, _stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(WRITE_PERMIT)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        take_output(self, stream.rep(), &bytes);
        Ok(())
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        take_output(self, stream.rep(), &bytes);
        Ok(())
    }

    fn flush(&mut self, _stream: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _stream: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn subscribe(&mut self, _stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        Ok(Resource::new_own(READY))
    }

    /// Zeroes are no text; they are taken and forgotten.
    fn write_zeroes(&mut self, _stream: Resource<DynOutputStream>, _len: u64) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        _stream: Resource<DynOutputStream>,
        _len: u64,
    ) -> StreamResult<()> {
        Ok(())
    }

    fn splice(
        &mut self,
        _stream: Resource<DynOutputStream>,
        _source: Resource<DynInputStream>,
        _len: u64,
    ) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_splice(
        &mut self,
        _stream: Resource<DynOutputStream>,
        _source: Resource<DynInputStream>,
        _len: u64,
    ) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn drop(&mut self, _stream: Resource<DynOutputStream>) -> Result<()> {
        Ok(())
    }
}
