//! From what the client sent to what filters see, which is also what is sent on.

use std::net::SocketAddr;

use http::header::{UPGRADE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Version};

use super::Scene;
use super::hops::Hop;
use super::incoming::{Incoming, Source};
use super::upload::Upload;
use crate::cluster::Target;
use crate::config::{ClientCertificateField, Listener};
use crate::filter::{Decisions, HeadLimits, Lendable, View};
use crate::http::call_depth;
use crate::http::disguise::remove_disguised;
use crate::http::forwarded::{self, Client};
use crate::http::hop::{self, MaxForwards};
use crate::http::{
    Framing, ParsedRequest, RequestHead, Role, TargetForm, Upgrade, grpc, request_id, trace,
};
use crate::pace::Pace;

static FORWARDING: [HeaderName; 5] = forwarded::FIELDS;

/// What the client asked, before any filter changed it.
pub struct Asked {
    /// Who is connected.
    pub peer: SocketAddr,
    pub method: Method,
    pub authority: Option<Authority>,
    pub path: PathAndQuery,
    pub version: Version,
    pub form: TargetForm,
    pub user_agent: Option<HeaderValue>,
    pub framing: Framing,
    /// The client will send another request if it may.
    pub keeps_alive: bool,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    /// A call of gRPC, which is told how it ended in gRPC's words.
    pub is_grpc: bool,
    /// What the connection is to go on in, where the client asks for it and it may.
    pub upgrade: Option<Box<Upgrade>>,
    /// `Max-Forwards` says that it goes no further than here.
    pub is_final: bool,
    pub hop: Hop,
}

/// Spells the host that a client names as its target in the one way in which filters and
/// the log see it, and in which it is judged. One that cannot be read is refused later.
fn spell_out(head: &mut RequestHead) {
    let default_port = (head.method != Method::CONNECT).then_some(80);
    let target = head.authority.as_ref();
    let target = target.and_then(|authority| Target::read(authority, default_port).ok());
    if let Some(target) = target {
        head.authority = target.authority(default_port).or(head.authority.take());
    }
}

/// Cleans the head and puts on it what the proxy adds.
pub fn begin(scene: &Scene<'_>, request: Box<ParsedRequest>) -> (Asked, Lendable) {
    let config = &scene.listener.shared.config;
    let rules = &config.headers;
    let mut head = request.head;
    // A target of its own was not asked for on this connection.
    if scene.tls.is_some() && Role::of(config).is_own(request.form) {
        head.scheme = Scheme::HTTPS;
    }
    if !Role::of(config).is_own(request.form) {
        spell_out(&mut head);
    }
    let is_grpc = request.version == Version::HTTP_2
        && head.method != Method::CONNECT
        && grpc::is_call(&head.headers);
    let asked = Asked {
        peer: scene.socket_peer,
        method: head.method.clone(),
        authority: head.authority.clone(),
        path: head.path.clone(),
        version: request.version,
        form: request.form,
        user_agent: head.headers.get(USER_AGENT).cloned(),
        framing: request.framing,
        keeps_alive: request.keep_alive,
        expects_continue: request.expects_continue,
        is_grpc,
        upgrade: request.upgrade,
        is_final: hop::count_down_max_forwards(&head.method, &mut head.headers)
            == MaxForwards::Final,
        hop: Hop::read(&head.headers, request.is_told_by_hop, is_grpc),
    };
    for name in &config.remove_request_headers {
        head.headers.remove(name);
    }
    // From outside it means nothing, and filters would read it.
    if scene.snapshot.calls.is_some() && call_depth::read(&head.headers) == 0 {
        head.headers.remove(call_depth::CALL_DEPTH);
    }
    if request.may_be_disguised {
        remove_disguised(&mut head.headers, protected(config));
    }
    // Both read what a hop before this one said, so before fields are removed.
    let client = Client::find(
        scene.peer,
        &head.headers,
        rules.forwarded,
        &rules.trusted_hops,
    );
    let trace = trace::Trace::from_headers(&head.headers);
    hop::remove_hop_by_hop(&mut head.headers);
    if let Some(upgrade) = &asked.upgrade {
        head.headers.insert(UPGRADE, upgrade.protocol.clone());
    }
    forwarded::write(
        &mut head.headers,
        rules.forwarded,
        scene.peer,
        client,
        &head.scheme,
        head.authority.as_ref(),
        told_of_certificate(scene),
    );
    let request_id = request_id::take_or_make(
        &mut head.headers,
        &rules.request_id,
        client.is_behind_trusted,
    );
    trace.write(&mut head.headers);
    if let Some(via) = &scene.listener.shared.via {
        via.append(&mut head.headers, request.version);
    }
    let view = Lendable::new(View {
        request: head,
        response: None,
        trailers: None,
        is_local: false,
        client_address: client.address,
        listener: config.name.clone(),
        form: request.form,
        tls: scene.tls.cloned(),
        introduction: scene.peer.introduction().cloned(),
        original_destination: scene.peer.original_destination(),
        request_id,
        trace_id: trace.trace_id(),
        started: scene.started,
        request_bytes: 0,
        response_bytes: 0,
        upstream: None,
        decisions: Decisions::default(),
        attributes: scene.peer.facts().to_vec(),
        connection: None,
        states: Vec::new(),
        spent: Default::default(),
        told: scene.local.log.tells_filters().then(Vec::new),
        found: None,
        head_limits: HeadLimits {
            max_bytes: config.limits.max_head_bytes,
            max_fields: config.limits.max_headers,
        },
        takes_hash_key: scene.snapshot.takes_hash_keys,
        takes_subset: scene.snapshot.takes_subsets,
        calls: scene.snapshot.calls.clone(),
    });
    (asked, view)
}

/// What the origin is told of the client's certificate, where it is to be told.
fn told_of_certificate<'a>(scene: &Scene<'a>) -> Option<&'a HeaderValue> {
    match scene.listener.shared.config.headers.client_certificate {
        ClientCertificateField::Off => None,
        ClientCertificateField::Forward => scene.tls?.peer.as_ref()?.element.as_ref(),
    }
}

/// Fields that only filters or this proxy may set.
fn protected(config: &Listener) -> impl Iterator<Item = &HeaderName> + Clone {
    let own = [&config.headers.request_id].into_iter();
    let removed = config.remove_request_headers.iter();
    own.chain(removed).chain(&FORWARDING)
}

/// How slow the client may be, in either direction.
pub fn pace(scene: &Scene<'_>) -> Pace {
    let config = &scene.listener.shared.config;
    Pace::new(config.timeouts.body, config.limits.min_body_rate)
}

/// The request's body, not yet going anywhere.
pub fn upload<'a>(scene: &Scene<'a>, asked: &Asked, incoming: Incoming<'a>) -> Upload<'a> {
    let config = &scene.listener.shared.config;
    let source = Source::new(incoming, asked.framing, config, pace(scene));
    let mut upload = Upload::new(source, asked.framing);
    upload.may_have_ended = asked.method == Method::CONNECT && asked.version != Version::HTTP_2;
    if asked.framing.exceeds(config.limits.max_body_bytes) {
        upload.give_up();
    }
    upload
}
