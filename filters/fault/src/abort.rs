//! How a request fails.

use lockgate_sdk::prelude::*;

/// One failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Abort {
    /// A status of 200 to 599, and a text.
    Status(u16, String),
    /// A status of 1 to 16.
    Grpc(u8),
    Reset,
}

/// What the answer says when the operator gave no text.
pub const BODY: &str = "fault injected\n";

impl Abort {
    /// For the access log.
    pub fn name(&self) -> String {
        match self {
            Abort::Status(status, _) => status.to_string(),
            Abort::Grpc(status) => format!("grpc {status}"),
            Abort::Reset => "reset".to_owned(),
        }
    }

    pub fn verdict(self) -> Verdict {
        match self {
            Abort::Status(status, body) => Reply::text(status, body).into(),
            Abort::Grpc(status) => grpc_reply(status).into(),
            Abort::Reset => Verdict::Reset,
        }
    }
}

/// The "trailers only" form of the gRPC protocol: the status is in the head.
fn grpc_reply(status: u8) -> Reply {
    Reply::new(200)
        .header("content-type", "application/grpc")
        .header("grpc-status", status.to_string())
        .header("grpc-message", "fault injected")
}
