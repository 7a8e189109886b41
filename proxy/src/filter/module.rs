//! One component, checked, compiled and linked: what all filters made of the
//! same bytes share.

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre};

use super::bindings::FilterPre;
use super::bindings::background::BackgroundPre;
use super::bindings::connection::TcpPre;
use super::bindings::hand_over::HandOverPre;
use super::compiler::Compiler;
use super::contract::{self, Kind, Refusal};
use super::fault::Failure;
use super::hand_over;
use super::host::Linkers;
use super::instance;
use super::library::Library;
use super::log::clean;
use super::state::HostState;
use crate::digest::Digest;

/// Of a message that may repeat what is in the component.
const MAX_REASON_BYTES: usize = 1024;

/// Why bytes are not a filter.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("is not WebAssembly")]
    NotWasm,
    #[error("is a core module, not a component (build it for `wasm32-wasip2`)")]
    CoreModule,
    #[error("is not a valid component: {0}")]
    Invalid(String),
    #[error("cannot be compiled: the compiler {0}")]
    Compiler(String),
    #[error("{}", join(.0))]
    Refused(Vec<Refusal>),
    #[error("does not fit the contract: {0}")]
    Misfit(String),
    #[error("failed in `describe`: {0}")]
    Describe(Failure),
    #[error("failed in `hand-over.format`: {0}")]
    Format(Failure),
    #[error("has a manifest that is not good: {0}")]
    Manifest(String),
}

fn join(refusals: &[Refusal]) -> String {
    let texts: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    texts.join("; ")
}

/// How a component is compiled that was not compiled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as can be: nothing else is to be done yet.
    Full,
    /// Workers are serving, and go first.
    GiveWay,
}

/// What a filter says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    /// JSON Schema of its configuration.
    pub config_schema: Option<serde_json::Value>,
}

/// Whether calls of an instance may have to wait, and so run on stacks of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    Never,
    Sometimes,
}

/// A component that is linked, by the kind of its filter.
pub(super) enum GuestPre {
    Http(FilterPre<HostState>),
    Connection(TcpPre<HostState>),
}

impl GuestPre {
    fn new(kind: Kind, pre: InstancePre<HostState>) -> wasmtime::Result<Self> {
        match kind {
            Kind::Exchanges => FilterPre::new(pre).map(Self::Http),
            Kind::Connections => TcpPre::new(pre).map(Self::Connection),
        }
    }

    pub(super) fn instance_pre(&self) -> &InstancePre<HostState> {
        match self {
            Self::Http(pre) => pre.instance_pre(),
            Self::Connection(pre) => pre.instance_pre(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Http(pre) => pre.engine(),
            Self::Connection(pre) => pre.engine(),
        }
    }
}

/// A component that can be instantiated.
pub struct Module {
    digest: Digest,
    /// `sha256:` and hex.
    digest_text: String,
    size: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    manifest: Manifest,
    kind: Kind,
    /// For filters that may call no cluster: nothing ever waits.
    plain: GuestPre,
    /// For those that may, where the component can call at all: calls run on stacks of
    /// their own.
    calling: Option<GuestPre>,
    /// The job that it has for each configuration.
    job: Option<BackgroundPre<HostState>>,
    /// How it takes over what is shared in another form, where it can.
    hand_over: Option<HandOverPre<HostState>>,
    /// The form in which it shares.
    format: u32,
}

/// A component that is compiled and fits, and of which nothing has run.
pub(super) struct Linkable {
    component: Component,
    imports: Vec<String>,
    exports: Vec<String>,
    kind: Kind,
    is_new: bool,
}

impl Linkable {
    pub(super) fn open(
        engine: &Engine,
        library: Option<&Library>,
        compiler: &Compiler,
        digest: Digest,
        bytes: &[u8],
        pace: Pace,
    ) -> Result<Self, LoadError> {
        check_layer(bytes)?;
        let found = library.and_then(|library| library.find(engine, &digest));
        let is_new = found.is_none();
        let component = match found {
            Some(component) => component,
            None => compiler.compile(engine, bytes, pace)?,
        };
        let (imports, exports) = names(engine, &component);
        let kind = contract::check(
            imports.iter().map(String::as_str),
            exports.iter().map(String::as_str),
        );
        Ok(Self {
            kind: kind.map_err(LoadError::Refused)?,
            component,
            imports,
            exports,
            is_new,
        })
    }

    pub(super) fn imports(&self) -> &[String] {
        &self.imports
    }
}

impl Module {
    /// Links a component, and has it describe itself.
    pub(super) fn describe(
        linkable: Linkable,
        linkers: &Linkers,
        library: Option<&Library>,
        digest: Digest,
        size: usize,
    ) -> Result<Self, LoadError> {
        let Linkable {
            component,
            imports,
            exports,
            kind,
            is_new,
        } = linkable;
        let plain = linkers.plain.instantiate_pre(&component).map_err(misfit)?;
        let hand_over = contract::hands_over(exports.iter().map(String::as_str))
            .then(|| HandOverPre::new(plain.clone()))
            .transpose()
            .map_err(misfit)?;
        let plain = GuestPre::new(kind, plain).map_err(misfit)?;
        let pre = linkers.calling.instantiate_pre(&component);
        let pre = pre.map_err(misfit)?;
        let job = contract::has_job(exports.iter().map(String::as_str))
            .then(|| BackgroundPre::new(pre.clone()))
            .transpose()
            .map_err(misfit)?;
        let calling = contract::waits(imports.iter().map(String::as_str))
            .then(|| GuestPre::new(kind, pre))
            .transpose()
            .map_err(misfit)?;
        let manifest = manifest(&plain)?;
        let format = hand_over.as_ref().map(hand_over::format).transpose();
        let format = format.map_err(LoadError::Format)?.unwrap_or(0);
        if let Some(library) = library.filter(|_| is_new) {
            library.keep(&digest, &component);
        }
        Ok(Self {
            digest,
            digest_text: digest.to_string(),
            size,
            imports,
            exports,
            manifest,
            kind,
            plain,
            calling,
            job,
            hand_over,
            format,
        })
    }

    /// `sha256:` and 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest_text
    }

    /// The label of the generation that it makes: so many digits of the digest that
    /// no two generations of one filter share it.
    pub fn generation(&self) -> &str {
        &self.digest_text[.."sha256:".len() + 12]
    }

    /// What its component is known by.
    pub fn component(&self) -> &Digest {
        &self.digest
    }

    /// 64 hex digits.
    pub fn digest_hex(&self) -> String {
        self.digest.hex()
    }

    /// Bytes of the component.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What it is called for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Full names of what it imports: its permissions.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How it is instantiated for a filter that may or may not call clusters.
    pub(super) fn pre(&self, may_call: bool) -> (&GuestPre, Waits) {
        match &self.calling {
            Some(calling) if may_call => (calling, Waits::Sometimes),
            Some(_) | None => (&self.plain, Waits::Never),
        }
    }

    pub(super) fn job(&self) -> Option<&BackgroundPre<HostState>> {
        self.job.as_ref()
    }

    pub(super) fn hand_over(&self) -> Option<&HandOverPre<HostState>> {
        self.hand_over.as_ref()
    }

    /// The form in which it keeps entries in `shared`.
    pub fn format(&self) -> u32 {
        self.format
    }

    pub(super) fn digest_bytes(&self) -> &[u8; 32] {
        self.digest.bytes()
    }
}

/// The first eight bytes tell a component from a core module.
fn check_layer(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.split_first_chunk::<8>() {
        Some(([0, b'a', b's', b'm', _, _, 1, 0], _)) => Ok(()),
        Some(([0, b'a', b's', b'm', 1, 0, 0, 0], _)) => Err(LoadError::CoreModule),
        Some(_) | None => Err(LoadError::NotWasm),
    }
}

/// Full names of imports and exports, in order.
fn names(engine: &Engine, component: &Component) -> (Vec<String>, Vec<String>) {
    let shape = component.component_type();
    let imports = shape.imports(engine).map(|(name, _)| name.to_owned());
    let exports = shape.exports(engine).map(|(name, _)| name.to_owned());
    (imports.collect(), exports.collect())
}

fn manifest(pre: &GuestPre) -> Result<Manifest, LoadError> {
    let raw = instance::describe(pre).map_err(LoadError::Describe)?;
    let schema = raw.config_schema.as_deref().map(serde_json::from_str);
    let config_schema = schema.transpose().map_err(|error| {
        LoadError::Manifest(format!("its configuration schema is not JSON: {error}"))
    })?;
    Ok(Manifest {
        name: raw.name,
        version: raw.version,
        config_schema,
    })
}

pub(super) fn invalid(error: wasmtime::Error) -> LoadError {
    LoadError::Invalid(clean(&format!("{error:#}"), MAX_REASON_BYTES))
}

fn misfit(error: wasmtime::Error) -> LoadError {
    LoadError::Misfit(clean(&format!("{error:#}"), MAX_REASON_BYTES))
}
