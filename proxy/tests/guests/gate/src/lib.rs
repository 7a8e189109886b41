//! A filter of connections that does what its configuration says: one word for what
//! becomes of a connection, and further ones for what it wants.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "tcp-filter",
    pub_export_macro: true,
});

use exports::lockgate::filter::connection_filter::{
    Filter as FilterHandle, Guest, GuestFilter, Interest, Manifest, Verdict,
};
use lockgate::filter::types::ConfigError;
use lockgate::filter::{connection, log};

struct Component;

struct Gate {
    words: String,
}

impl Gate {
    fn says(&self, word: &str) -> bool {
        self.words.contains(word)
    }
}

impl Guest for Component {
    type Filter = Gate;

    fn describe() -> Manifest {
        Manifest {
            name: "gate".into(),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

impl GuestFilter for Gate {
    fn create(words: String) -> Result<FilterHandle, Vec<ConfigError>> {
        match words.contains("refuse-me") {
            true => Err(vec![ConfigError {
                at: "".into(),
                message: "refused as it was told".into(),
            }]),
            false => Ok(FilterHandle::new(Gate { words })),
        }
    }

    fn wants(&self) -> Interest {
        let cluster = self.says("route-to-other").then(|| "other".into());
        Interest {
            clusters: cluster.into_iter().collect(),
            preview: if self.says("preview") { 4 } else { 0 },
            done: self.says("done"),
        }
    }

    fn on_connection(&self, preview: Vec<u8>) -> Result<Verdict, String> {
        connection::set_attribute("preview", &String::from_utf8_lossy(&preview));
        for name in [
            "listener.name",
            "destination.address",
            "destination.port",
            "original_destination.address",
            "original_destination.port",
            "tls.sni",
            "connection.protocol",
            "tls.version",
            "tls.peer.spiffe",
            "proxy_protocol.version",
        ] {
            if let Some(value) = connection::attribute(name) {
                connection::set_attribute(name, &value);
            }
        }
        connection::set_attribute("client", &connection::client_address());
        if self.says("route-to-unknown") {
            let refused = connection::route_to("nowhere");
            connection::set_attribute("refused", &format!("{refused:?}"));
        }
        if self.says("hash") {
            let hashed = connection::set_hash_key(b"a key");
            connection::set_attribute("hashed", &format!("{hashed:?}"));
        }
        if self.says("route-to-other") {
            let routed = connection::route_to("other");
            connection::set_attribute("routed", &format!("{routed:?}"));
        }
        if self.says("trap") {
            unreachable!("as it was told");
        }
        while self.says("loop") {
            std::hint::spin_loop();
        }
        match () {
            () if self.says("fail") => Err("failed as it was told".into()),
            () if self.says("deny") => Ok(Verdict::Deny("denied as it was told".into())),
            () => Ok(Verdict::Next),
        }
    }

    fn on_done(&self) {
        let client = connection::client_address();
        log::log(log::Level::Info, &format!("over: {client}"), &[]);
    }
}

export!(Component);
