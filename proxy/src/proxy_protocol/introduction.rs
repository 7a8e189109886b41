//! What a header says about a connection.

use std::net::SocketAddr;

use proxy_header::{Protocol, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

/// A client as the balancer in front introduces it. Nothing in it is checked but its
/// form: it is worth what its sender is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    is_v1: bool,
    header: ProxyHeader<'static>,
}

impl Introduction {
    pub(super) fn new(is_v1: bool, header: ProxyHeader<'_>) -> Self {
        Self {
            is_v1,
            header: header.into_owned(),
        }
    }

    pub fn is_v1(&self) -> bool {
        self.is_v1
    }

    /// Who connected to the balancer; `None` for a connection of its own, such as a
    /// health check, and where it does not tell.
    pub fn client(&self) -> Option<SocketAddr> {
        self.addresses().map(|addresses| addresses.source)
    }

    /// Where that client connected to.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.addresses().map(|addresses| addresses.destination)
    }

    fn addresses(&self) -> Option<&ProxiedAddress> {
        let addresses = self.header.proxied_address()?;
        (addresses.protocol == Protocol::Stream).then_some(addresses)
    }

    /// A fact by its name behind `proxy_protocol.`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        match name {
            "version" => Some(if self.is_v1 { "1" } else { "2" }.to_owned()),
            "source" => self.client().map(|address| address.to_string()),
            "destination" => self.destination().map(|address| address.to_string()),
            "authority" => self.header.authority().map(str::to_owned),
            "alpn" => self.header.alpn().and_then(text),
            "unique_id" => self.header.unique_id().and_then(text),
            "ssl" => Some(self.header.ssl()?.client_ssl().to_string()),
            _ if name.starts_with("ssl.") => of_ssl(&self.header.ssl()?, &name["ssl.".len()..]),
            _ => self.field(name.strip_prefix("tlv.")?),
        }
    }

    /// A field by its type in two hexadecimal digits; its bytes in as many as they are.
    fn field(&self, kind: &str) -> Option<String> {
        let kind = u8::from_str_radix(kind, 16)
            .ok()
            .filter(|_| kind.len() == 2)?;
        let bytes = self.header.tlvs().find_map(|tlv| match tlv.ok()? {
            Tlv::Alpn(bytes) if kind == 0x01 => Some(bytes),
            Tlv::UniqueId(bytes) if kind == 0x05 => Some(bytes),
            Tlv::Custom(known, bytes) if kind == known => Some(bytes),
            _ => None,
        })?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn of_ssl(ssl: &SslInfo<'_>, name: &str) -> Option<String> {
    match name {
        "version" => ssl.version().map(str::to_owned),
        "cn" => ssl.cn().map(str::to_owned),
        "cipher" => ssl.cipher().map(str::to_owned),
        // Zero also where there was none to verify.
        "verified" => Some((ssl.client_cert_sess() && ssl.verify() == 0).to_string()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}
