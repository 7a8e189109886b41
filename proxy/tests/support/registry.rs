//! Debian's `docker-registry`, as a child, and what is pushed to it.
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockgate::digest::Digest;
use serde_json::{Value, json};

use crate::support::{Client, Proxy};

pub const WASM: &str = "application/wasm";
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A line of a file of `htpasswd -B`: alice, whose password is `secret`.
const HTPASSWD: &str = "alice:$2y$05$TfH1hBEsN88FmPadMnhbd.P4cSJcFlNcrAORvZlF492wTeW3RoTzu\n";
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

pub struct Registry {
    child: Child,
    pub address: SocketAddr,
    folder: PathBuf,
    /// Those that share a folder leave it to the first.
    owns_folder: bool,
}

/// Who may pull, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Anybody,
    /// Alice.
    Password,
}

/// One blob of an image.
pub struct Layer<'a> {
    pub media_type: &'a str,
    pub bytes: &'a [u8],
    pub annotations: Value,
}

impl<'a> Layer<'a> {
    pub fn new(media_type: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            media_type,
            bytes,
            annotations: json!({}),
        }
    }

    pub fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": Digest::of(self.bytes).to_string(),
            "size": self.bytes.len(),
            "annotations": self.annotations,
        })
    }
}

/// The manifest of an image.
pub fn manifest(media_type: &str, config: &Layer<'_>, layers: &[Layer<'_>]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(Layer::descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

impl Registry {
    /// `None` where it is not installed, which is said, and which CI does not allow.
    pub fn start(access: Access) -> Option<Self> {
        let folder = Proxy::folder();
        Self::serve(folder, "plain", access, "")
    }

    /// The same content once more, over TLS.
    pub fn start_tls(&self, certificate: &Path, key: &Path) -> Self {
        let tls = format!(
            ", tls: {{ certificate: '{}', key: '{}' }}",
            certificate.display(),
            key.display()
        );
        let served = Self::serve(self.folder.clone(), "tls", Access::Anybody, &tls);
        let mut served = served.expect("it is installed");
        served.owns_folder = false;
        served
    }

    /// Once more, where it was, with what it had.
    pub fn start_again(address: SocketAddr, folder: PathBuf) -> Self {
        let served = Self::spawn(folder, "again", Access::Anybody, "", address);
        served.expect("it is installed")
    }

    fn serve(folder: PathBuf, name: &str, access: Access, tls: &str) -> Option<Self> {
        let any = "127.0.0.1:0".parse().unwrap();
        Self::spawn(folder, name, access, tls, any)
    }

    fn spawn(
        folder: PathBuf,
        name: &str,
        access: Access,
        tls: &str,
        address: SocketAddr,
    ) -> Option<Self> {
        let config = folder.join(format!("{name}.yml"));
        let passwords = folder.join("htpasswd");
        fs::write(&passwords, HTPASSWD).unwrap();
        let auth = match access {
            Access::Anybody => String::new(),
            Access::Password => format!(
                "auth: {{ htpasswd: {{ realm: test, path: '{}' }} }}\n",
                passwords.display()
            ),
        };
        let root = folder.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: '{}' }} }}\n\
             http: {{ addr: '{address}', secret: test{tls} }}\n{auth}",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                let is_ci = std::env::var_os("CI_RUN").is_some_and(|value| value == "1");
                assert!(!is_ci, "docker-registry does not start: {error}");
                eprintln!("NOT RUN: docker-registry does not start: {error}");
                return None;
            }
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find(['"', ',']).unwrap_or(rest.len());
            rest[..end].parse().ok()
        });
        // It ends when nobody takes what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            address: address.expect("it listens"),
            folder,
            owns_folder: true,
        })
    }

    /// Ends it, and gives the folder with its content.
    pub fn stop(mut self) -> PathBuf {
        self.owns_folder = false;
        self.folder.clone()
    }

    /// What `registries` says of it.
    pub fn named(&self) -> String {
        format!(
            "registries: [{{ host: '{}', plain_http: true }}]\n",
            self.address
        )
    }

    /// As references begin.
    pub fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// Pushes a component in the CNCF's layout; gives the digest of its manifest.
    pub fn push(&self, name: &str, tag: &str, component: &[u8]) -> String {
        let config = Layer::new(WASM_CONFIG, br#"{"os":"wasip2","architecture":"wasm"}"#);
        self.push_image(
            name,
            tag,
            OCI_MANIFEST,
            &config,
            &[Layer::new(WASM, component)],
        )
    }

    pub fn push_image(
        &self,
        name: &str,
        tag: &str,
        media_type: &str,
        config: &Layer<'_>,
        layers: &[Layer<'_>],
    ) -> String {
        for blob in layers.iter().chain([config]) {
            self.push_blob(name, blob.bytes);
        }
        self.push_manifest(name, tag, media_type, &manifest(media_type, config, layers))
    }

    pub fn push_manifest(&self, name: &str, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let path = format!("/v2/{name}/manifests/{tag}");
        let (status, _) = self.send("PUT", &path, media_type, bytes);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(bytes));
        Digest::of(bytes).to_string()
    }

    pub fn push_blob(&self, name: &str, bytes: &[u8]) {
        let (status, location) = self.send(
            "POST",
            &format!("/v2/{name}/blobs/uploads/"),
            "text/plain",
            b"",
        );
        assert_eq!(status, 202);
        let (_, path) = location.split_once("/v2/").unwrap();
        let and = if path.contains('?') { '&' } else { '?' };
        let path = format!("/v2/{path}{and}digest={}", Digest::of(bytes));
        let (status, _) = self.send("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(status, 201);
    }

    fn send(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {ALICE}\r\n\
             content-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut client = Client::connect(self.address);
        let answer = client.send(head).send(body).answer();
        let location = answer.header("location").unwrap_or_default().to_owned();
        (answer.status, location)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        if self.owns_folder {
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}
