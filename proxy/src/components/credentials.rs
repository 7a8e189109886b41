//! Credentials for registries, as docker keeps them.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use super::PullError;
use crate::config::Registry;

/// The bytes of a `config.json` that are read.
const MAX_BYTES: u64 = 1 << 20;

/// How docker names its own registry there.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a registry is told of who asks. Has no `Debug`: it is shown nowhere.
pub(super) enum Credentials {
    None,
    Password {
        user: String,
        password: String,
    },
    /// It is exchanged for a token.
    Identity(String),
}

/// The credentials for a registry. May ask a helper program, and so blocks.
pub(super) fn find(registry: &Registry) -> Result<Credentials, PullError> {
    let failed = |reason: String| PullError::Credentials {
        looked: looked(registry),
        reason,
    };
    let file = match path(registry).map(File::open) {
        None => return Ok(Credentials::None),
        Some(Ok(file)) => file,
        Some(Err(error)) => {
            let is_optional = registry.credentials.is_none();
            return match is_optional && error.kind() == io::ErrorKind::NotFound {
                true => Ok(Credentials::None),
                false => Err(failed(error.to_string())),
            };
        }
    };
    let server = match registry.host.as_str() {
        "docker.io" => DOCKER_HUB,
        host => host,
    };
    match get_credential_from_reader(file.take(MAX_BYTES), server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Credentials::Password { user, password })
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Credentials::Identity(token)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Credentials::None),
        Err(CredentialRetrievalError::ConfigReadError) => {
            Err(failed("it is no `config.json` of docker".to_owned()))
        }
        // What a helper prints may be anything, a password among it.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(failed(format!("`{helper}` failed")))
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            Err(failed("the credential helper cannot be run".to_owned()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Where credentials are looked for, as messages name it.
pub(super) fn looked(registry: &Registry) -> String {
    match path(registry) {
        Some(path) => format!("`{}`", path.display()),
        None => "docker's `config.json`, because there is no home folder".to_owned(),
    }
}

fn path(registry: &Registry) -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let folder =
        || named("DOCKER_CONFIG").or_else(|| named("HOME").map(|home| home.join(".docker")));
    let docker = || folder().map(|folder| folder.join("config.json"));
    registry.credentials.clone().or_else(docker)
}
