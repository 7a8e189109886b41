//! The only place that turns an error into an answer. What the client reads
//! says which rule ended its request; causes stay in the log.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::answer::{Body, Outcome};
use crate::config::WEBSOCKET;
use crate::error::{ErrorKind, Origin};
use crate::filter::Reply;
use crate::http::{ResponseHead, upgrade};

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The answer to a request that failed.
pub fn of_error(kind: ErrorKind) -> Outcome {
    let Ok(status) = StatusCode::from_u16(kind.status()) else {
        return Outcome::Reset;
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(PROXY_STATUS, proxy_status(kind));
    match kind {
        ErrorKind::NoEndpoint
        | ErrorKind::FilterUnavailable
        | ErrorKind::RequestLimit
        | ErrorKind::ConnectionLimit
        | ErrorKind::EndpointLimit
        | ErrorKind::EndpointSilent
        | ErrorKind::PendingLimit
        | ErrorKind::QueueFull
        | ErrorKind::QueueTimeout
        | ErrorKind::BreakerOpen => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Not all at once.
        ErrorKind::Overloaded => {
            let seconds = ["1", "2", "3", "4", "5"][fastrand::usize(..5)];
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        _ => {}
    }
    if kind == ErrorKind::UpgradeRequired {
        headers.insert(SEC_WEBSOCKET_VERSION, upgrade::WEBSOCKET_VERSION);
        headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
    let text = Bytes::from_static(text(kind).as_bytes());
    Outcome::Answer(ResponseHead { status, headers }, Body::Full(text))
}

/// The answer that a filter made.
pub fn of_filter(reply: Reply) -> Outcome {
    let head = ResponseHead {
        status: reply.status,
        headers: reply.headers,
    };
    Outcome::Answer(head, Body::Full(reply.body))
}

/// The answer to a request whose `Max-Forwards` ends here: OPTIONS is about this
/// proxy, and TRACE is not served, because it would show what hops added.
pub fn of_final(method: &Method) -> Outcome {
    if *method == Method::TRACE {
        return of_error(ErrorKind::NotImplemented);
    }
    let head = ResponseHead {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
    };
    Outcome::Answer(head, Body::Full(Bytes::new()))
}

fn proxy_status(kind: ErrorKind) -> HeaderValue {
    let value = match kind {
        ErrorKind::NoRoute => "lockgate; error=destination_not_found",
        ErrorKind::NoEndpoint => "lockgate; error=destination_unavailable",
        ErrorKind::RequestLimit => {
            "lockgate; error=connection_limit_reached; details=\"request_limit\""
        }
        ErrorKind::ConnectionLimit => {
            "lockgate; error=connection_limit_reached; details=\"connection_limit\""
        }
        ErrorKind::EndpointLimit => {
            "lockgate; error=connection_limit_reached; details=\"endpoint_limit\""
        }
        ErrorKind::EndpointSilent => {
            "lockgate; error=destination_unavailable; details=\"endpoint_silent\""
        }
        ErrorKind::PendingLimit => {
            "lockgate; error=connection_limit_reached; details=\"pending_limit\""
        }
        ErrorKind::QueueFull => "lockgate; error=connection_limit_reached; details=\"queue_full\"",
        ErrorKind::QueueTimeout => {
            "lockgate; error=connection_limit_reached; details=\"queue_timeout\""
        }
        ErrorKind::BreakerOpen => {
            "lockgate; error=destination_unavailable; details=\"breaker_open\""
        }
        ErrorKind::TargetRefused => "lockgate; error=http_request_denied",
        ErrorKind::AddressRefused => "lockgate; error=destination_ip_prohibited",
        ErrorKind::LookupFailed => "lockgate; error=dns_error",
        ErrorKind::LookupTimeout => "lockgate; error=dns_timeout",
        ErrorKind::ConnectFailed => "lockgate; error=connection_refused",
        ErrorKind::ConnectTimeout => {
            "lockgate; error=connection_timeout; details=\"connect_timeout\""
        }
        ErrorKind::UpstreamTlsFailed => "lockgate; error=tls_protocol_error",
        ErrorKind::TlsTimeout => "lockgate; error=connection_timeout; details=\"tls_timeout\"",
        ErrorKind::AnswerTimeout => {
            "lockgate; error=http_response_timeout; details=\"answer_timeout\""
        }
        ErrorKind::TryTimeout => "lockgate; error=http_response_timeout; details=\"try_timeout\"",
        ErrorKind::UpstreamStalled => {
            "lockgate; error=http_response_timeout; details=\"upstream_stalled\""
        }
        ErrorKind::TotalTimeout => {
            "lockgate; error=http_response_timeout; details=\"total_timeout\""
        }
        ErrorKind::DeadlineExceeded => {
            "lockgate; error=http_response_timeout; details=\"deadline_exceeded\""
        }
        ErrorKind::UpstreamReset => "lockgate; error=connection_terminated",
        ErrorKind::BadAnswer => "lockgate; error=http_protocol_error",
        ErrorKind::AnswerTooLarge => "lockgate; error=http_response_header_section_size",
        ErrorKind::AnswerBodyTooLarge => "lockgate; error=http_response_body_size",
        _ => match kind.origin() {
            Origin::Downstream => "lockgate; error=http_request_error",
            Origin::Filter => "lockgate; error=http_request_denied",
            Origin::Upstream | Origin::Internal => "lockgate; error=proxy_internal_error",
        },
    };
    HeaderValue::from_static(value)
}

fn text(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadRequest => "the request is malformed\n",
        ErrorKind::AmbiguousRequest => "the request can be read in two ways\n",
        ErrorKind::BadPath => "the path is not acceptable\n",
        ErrorKind::BadTarget => {
            "the target is not acceptable: `host:port` for CONNECT, else `http://`\n"
        }
        ErrorKind::TargetRefused | ErrorKind::AddressRefused => "this target is not allowed\n",
        ErrorKind::BadBody => "the request's body is malformed\n",
        ErrorKind::HeadTimeout => "the request's head took too long\n",
        ErrorKind::BodyTimeout | ErrorKind::BodyTooSlow => "the request's body took too long\n",
        ErrorKind::BodyTooLarge => "the request's body is too large\n",
        ErrorKind::TargetTooLong => "the request's target is too long\n",
        ErrorKind::ExpectationFailed => "the expectation cannot be met\n",
        ErrorKind::TooEarly => "only after the TLS handshake\n",
        ErrorKind::UpgradeRequired => "only version 13 of WebSocket is served\n",
        ErrorKind::HeadTooLarge => "the request's head is too large\n",
        ErrorKind::NotImplemented => "this is not served here\n",
        ErrorKind::BadVersion => "this version of HTTP is not served here\n",
        ErrorKind::ClientGone | ErrorKind::ClientStalled | ErrorKind::ClientTooSlow => {
            "the client is gone\n"
        }
        ErrorKind::NoRoute => "nothing is configured for this request\n",
        ErrorKind::FilterFailed => "a filter failed\n",
        ErrorKind::FilterUnavailable => "a filter is not available\n",
        ErrorKind::FilterReset
        | ErrorKind::ConnectionDenied
        | ErrorKind::IdleTimeout
        | ErrorKind::LifetimeOver => "",
        ErrorKind::NoEndpoint => "no origin is available\n",
        ErrorKind::EndpointSilent => "no origin answers, and it is not yet time to ask again\n",
        ErrorKind::RequestLimit
        | ErrorKind::ConnectionLimit
        | ErrorKind::EndpointLimit
        | ErrorKind::PendingLimit => "the origin has as much to do as it may\n",
        ErrorKind::QueueFull | ErrorKind::QueueTimeout => {
            "the origin has as much to do as it may, and others wait already\n"
        }
        ErrorKind::BreakerOpen => "the origin fails, and is left alone for a while\n",
        ErrorKind::LookupFailed => "the target's name is not known\n",
        ErrorKind::LookupTimeout => "the target's name could not be looked up in time\n",
        ErrorKind::ConnectFailed => "the origin could not be reached\n",
        ErrorKind::ConnectTimeout => "the origin could not be reached in time\n",
        ErrorKind::TlsTimeout => "there was no TLS connection with the origin in time\n",
        ErrorKind::UpstreamTlsFailed => "there is no TLS connection with the origin\n",
        ErrorKind::AnswerTimeout | ErrorKind::TryTimeout => "the origin did not answer in time\n",
        ErrorKind::UpstreamReset => "the origin closed without a whole answer\n",
        ErrorKind::BadAnswer => "the origin's answer is malformed\n",
        ErrorKind::AnswerTooLarge => "the head of the origin's answer is too large\n",
        ErrorKind::AnswerBodyTooLarge => "the body of the origin's answer is too large\n",
        ErrorKind::UpstreamStalled => "the origin stopped in the middle of its answer\n",
        ErrorKind::TotalTimeout => "the request took too long\n",
        ErrorKind::DeadlineExceeded => "no time was left for the request\n",
        ErrorKind::Draining => "shutting down\n",
        ErrorKind::Overloaded => "too much is asked of this proxy now\n",
        ErrorKind::Internal => "something went wrong in the proxy\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_answer_or_closes() {
        for kind in ErrorKind::ALL {
            match of_error(*kind) {
                Outcome::Answer(head, Body::Full(body)) => {
                    assert_eq!(head.status.as_u16(), kind.status());
                    assert!(!body.is_empty(), "{}", kind.name());
                    assert!(head.headers.contains_key(PROXY_STATUS));
                }
                Outcome::Reset => assert_eq!(kind.status(), 0, "{kind:?}"),
                Outcome::Answer(..) => panic!("{} is streamed", kind.name()),
            }
        }
    }
}
