//! The Wasm engine of the process, and the modules that it holds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use super::compiler::Compiler;
use super::host::Linkers;
use super::library::Library;
use super::module::{Linkable, LoadError, Module, Pace};
use super::ticker;
use crate::digest::Digest;

/// Some languages need many core instances for one component.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
/// The most that `limits.memory_bytes` of a filter can be.
pub const MAX_MEMORY_BYTES: usize = 1 << 30;
/// Slots of instances that are gone, kept as they are for those to come.
const MAX_WARM_SLOTS: u32 = 16;
/// Memory that a slot keeps when its instance is gone, of what was written to. An
/// instance for one exchange writes to less, and so costs no call of the system. A slot
/// is kept for each instance that there ever was at once, which is several generations
/// of all filters under quick reloads, so this is what hostile ones can leave behind.
const WARM_SLOT_BYTES: usize = 256 << 10;
/// The same of a table: a thousand functions, where most guests have some hundred.
const WARM_TABLE_BYTES: usize = 8 << 10;
/// Of one table: as many functions as a guest can call by pointer.
pub const MAX_TABLE_ELEMENTS: usize = 20_000;
const MAX_STACK_BYTES: usize = 512 << 10;
/// Instances of the process: as many as some ten filters have on a worker, in several
/// generations and with some busy ones, and never less than this.
const INSTANCES_PER_WORKER: u32 = 128;
const MIN_INSTANCES: u32 = 1000;
/// 4 GiB of address space for each make 40 TiB, of 128 that a process has.
const MAX_INSTANCES: u32 = 10_000;
/// Calls that wait at the same time. Each stack is two mappings from the start, of the
/// 65,530 that Linux gives a process by default.
const MAX_STACKS: u32 = 4000;

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where compiled components are kept; `None` keeps them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Instances of all filters on all workers.
    pub max_instances: u32,
    pub compiler: Compiler,
}

impl EngineOptions {
    /// Room for the filters of so many workers.
    pub fn instances_for(workers: usize) -> u32 {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let wanted = workers.saturating_mul(INSTANCES_PER_WORKER);
        wanted.clamp(MIN_INSTANCES, MAX_INSTANCES)
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_instances: MIN_INSTANCES,
            compiler: Compiler::Here,
        }
    }
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot set up the Wasm engine: {0:#}")]
    Engine(wasmtime::Error),
    #[error("cannot start the thread that watches running filters")]
    Ticker(#[source] std::io::Error),
}

/// One per process: compiles, caches and links filters.
pub struct FilterEngine {
    engine: Engine,
    linkers: Linkers,
    library: Option<Library>,
    compiler: Compiler,
    /// Modules in use, so that the same bytes are compiled once.
    modules: Mutex<HashMap<Digest, Weak<Module>>>,
}

impl FilterEngine {
    pub fn start(options: EngineOptions) -> Result<Arc<Self>, StartError> {
        let engine = Engine::new(&config(options.max_instances)).map_err(StartError::Engine)?;
        let linkers = Linkers::new(&engine).map_err(StartError::Engine)?;
        ticker::start(&engine).map_err(StartError::Ticker)?;
        let library = options.cache_dir.map(|dir| Library::open(dir, &engine));
        Ok(Arc::new(Self {
            engine,
            linkers,
            library,
            compiler: options.compiler,
            modules: Mutex::default(),
        }))
    }

    /// Compiles a component of which nothing is to run yet. Its bytes are not read if
    /// they were compiled before. Blocks while it compiles.
    pub fn open(&self, digest: Digest, bytes: &[u8], pace: Pace) -> Result<Opened<'_>, LoadError> {
        let state = match self.known(&digest) {
            Some(known) => State::Known(known),
            None => {
                let library = self.library.as_ref();
                let (engine, compiler) = (&self.engine, &self.compiler);
                let opened = Linkable::open(engine, library, compiler, digest, bytes, pace)?;
                State::New(Box::new(opened))
            }
        };
        Ok(Opened {
            engine: self,
            digest,
            size: bytes.len(),
            state,
        })
    }

    /// Makes a module of a component's bytes at once.
    pub fn load(&self, digest: Digest, bytes: &[u8], pace: Pace) -> Result<Arc<Module>, LoadError> {
        self.open(digest, bytes, pace)?.describe()
    }

    /// Where the compiled form of a component is kept.
    pub fn kept(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.library.as_ref()?.path(digest))
    }

    fn known(&self, digest: &Digest) -> Option<Arc<Module>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(digest)?.upgrade()
    }
}

/// A component whose permissions are known, and of which nothing has run for this.
pub struct Opened<'a> {
    engine: &'a FilterEngine,
    digest: Digest,
    size: usize,
    state: State,
}

enum State {
    /// It is another filter's too.
    Known(Arc<Module>),
    New(Box<Linkable>),
}

impl Opened<'_> {
    /// Full names of what it imports.
    pub fn imports(&self) -> &[String] {
        match &self.state {
            State::Known(module) => module.imports(),
            State::New(component) => component.imports(),
        }
    }

    /// Lets it say what it is. Blocks while the guest runs.
    pub fn describe(self) -> Result<Arc<Module>, LoadError> {
        let Self {
            engine,
            digest,
            size,
            state,
        } = self;
        let component = match state {
            State::Known(known) => return Ok(known),
            State::New(component) => *component,
        };
        let library = engine.library.as_ref();
        let module = Module::describe(component, &engine.linkers, library, digest, size)?;
        let module = Arc::new(module);
        let mut modules = engine
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }
}

pub(super) fn config(max_instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        // Only counted, so there may be as many as the neediest language wants.
        .total_core_instances(max_instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(max_instances)
        .total_tables(max_instances.saturating_mul(2))
        // One for each call that may wait.
        .total_stacks(max_instances.min(MAX_STACKS))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(4)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(MAX_MEMORY_BYTES)
        .linear_memory_keep_resident(WARM_SLOT_BYTES)
        // Each version of a filter takes other slots, and the old ones' memory
        // would be kept: 100 of them by default.
        .max_unused_warm_slots(MAX_WARM_SLOTS)
        .table_keep_resident(WARM_TABLE_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        // With room for the host's functions.
        .async_stack_size(2 * MAX_STACK_BYTES)
        .allocation_strategy(pool);
    config
}
