//! One registry, asked over HTTP (OCI Distribution Specification).
//!
//! Of every answer only so much is read as was expected. Credentials go to the
//! registry that asked for them and to the token server that it names, and never
//! on where one of them redirects to.

use std::error::Error;
use std::fs;
use std::time::Duration;

use reqwest::header::{ACCEPT, LINK, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::credentials::{self, Credentials};
use super::login::{self, Challenge, TokenServer};
use super::{PullError, referrers};
use crate::config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;
const TOO_MANY: &str = "too often";
const TO_PLAIN: &str = "from HTTPS to HTTP";
/// Of what a registry says when it refuses, that is read and shown.
const MAX_REFUSAL: usize = 8 << 10;
const MAX_SAID: usize = 200;
/// How often it is told how far a pull has come.
const PROGRESS: Duration = Duration::from_secs(2);

/// A registry during one pull.
pub(super) struct Registry<'a> {
    config: &'a config::Registry,
    /// The name that is pulled from.
    name: &'a str,
    /// Made when something is asked: it reads the system's certificates.
    client: Option<Client>,
    pass: Pass,
}

/// What is shown with each request.
enum Pass {
    /// Nothing was asked for yet.
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    /// A token that is given to whoever asks.
    Anonymous(String),
}

/// What is asked for.
pub(super) struct Ask<'a> {
    /// Below the name, such as `blobs/sha256:…`.
    pub(super) path: &'a str,
    pub(super) accept: &'a str,
    /// As messages name it.
    pub(super) what: &'a str,
    pub(super) limit: usize,
}

impl<'a> Registry<'a> {
    pub(super) fn new(config: &'a config::Registry, name: &'a str) -> Self {
        Self {
            config,
            name,
            client: None,
            pass: Pass::None,
        }
    }

    /// The bytes of a manifest, blob or list, and what to ask for to get the rest of a
    /// list. Dropping the future ends the request.
    pub(super) async fn get(
        &mut self,
        ask: &Ask<'_>,
    ) -> Result<(Vec<u8>, Option<String>), PullError> {
        let mut response = self.send(ask).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.log_in(&response).await?;
            response = self.send(ask).await?;
        }
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response, ask.what).await);
        }
        let next = self.next(&response);
        Ok((read(response, ask.limit, ask.what).await?, next))
    }

    /// Where the next page is. One elsewhere would be sent the credentials for here.
    fn next(&self, response: &Response) -> Option<String> {
        let links = response.headers().get_all(LINK).iter();
        let mut links = links.filter_map(|links| links.to_str().ok());
        let target = links.find_map(referrers::next_in)?;
        let next = response.url().join(target).ok()?;
        let here = Url::parse(&format!("{}/v2/{}/", self.base(), self.name)).ok()?;
        Some(next.as_str().strip_prefix(here.as_str())?.to_owned())
    }

    async fn send(&mut self, ask: &Ask<'_>) -> Result<Response, PullError> {
        let url = format!("{}/v2/{}/{}", self.base(), self.name, ask.path);
        let request = self.client()?.get(url).header(ACCEPT, ask.accept);
        let request = match &self.pass {
            Pass::None => request,
            Pass::Basic { user, password } => request.basic_auth(user, Some(password)),
            Pass::Bearer(token) | Pass::Anonymous(token) => request.bearer_auth(token),
        };
        send(request).await
    }

    fn base(&self) -> String {
        let scheme = match self.config.plain_http {
            true => "http",
            false => "https",
        };
        let host = match self.config.host.as_str() {
            // The name that people know is that of a site.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        format!("{scheme}://{host}")
    }

    fn client(&mut self) -> Result<Client, PullError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .referer(false)
            .redirect(Policy::custom(redirect));
        if let Some(path) = &self.config.ca {
            let failed = |reason: String| PullError::Certificates {
                path: path.clone(),
                reason,
            };
            let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
            let certificates = Certificate::from_pem_bundle(&pem);
            let certificates = certificates.map_err(|error| failed(innermost(&error)))?;
            if certificates.is_empty() {
                return Err(failed("there are none in it".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| unreachable(&error))?;
        Ok(self.client.insert(client).clone())
    }

    /// Does what a registry asks for that wants to know who is there.
    async fn log_in(&mut self, response: &Response) -> Result<(), PullError> {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> = challenges
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let challenge = Challenge::read(&challenges.join(", "));
        let challenge = challenge.ok_or_else(|| PullError::Challenge {
            challenge: challenges.join(", ").chars().take(MAX_SAID).collect(),
        })?;
        let registry = self.config.clone();
        // A helper program may be asked, which takes its time.
        let found = tokio::task::spawn_blocking(move || credentials::find(&registry)).await;
        let credentials = found.map_err(|error| PullError::Credentials {
            looked: credentials::looked(self.config),
            reason: error.to_string(),
        })??;
        self.pass = match (challenge, credentials) {
            (Challenge::Basic, Credentials::Password { user, password }) => {
                Pass::Basic { user, password }
            }
            (Challenge::Basic, Credentials::None | Credentials::Identity(_)) => {
                return Err(self.no_credentials(None));
            }
            (Challenge::Bearer(server), Credentials::None) => {
                Pass::Anonymous(self.token(&server, &Credentials::None).await?)
            }
            (Challenge::Bearer(server), credentials) => {
                Pass::Bearer(self.token(&server, &credentials).await?)
            }
        };
        Ok(())
    }

    async fn token(
        &mut self,
        server: &TokenServer,
        credentials: &Credentials,
    ) -> Result<String, PullError> {
        let is_tls = server.realm.scheme() == "https";
        if !is_tls && !self.config.plain_http {
            return Err(PullError::Redirect { reason: TO_PLAIN });
        }
        let scope = format!("repository:{}:pull", self.name);
        let parameters = server.parameters(&scope);
        let client = self.client()?;
        let request = match credentials {
            Credentials::None => client.get(with(&server.realm, &parameters)),
            Credentials::Password { user, password } => client
                .get(with(&server.realm, &parameters))
                .basic_auth(user, Some(password)),
            Credentials::Identity(token) => refresh(&client, server, &parameters, token),
        };
        let response = send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(match (response.status(), credentials) {
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Credentials::None) => {
                    self.no_credentials(said(response).await)
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    self.denied(said(response).await)
                }
                _ => self.refusal(response, "a token").await,
            });
        }
        let body = read(response, login::MAX_TOKEN, "the token").await?;
        login::read_token(&body).ok_or_else(|| PullError::Status {
            status: 200,
            what: "a token".to_owned(),
            said: Some("what is none".to_owned()),
        })
    }

    fn no_credentials(&self, said: Option<String>) -> PullError {
        PullError::NoCredentials {
            looked: credentials::looked(self.config),
            said,
        }
    }

    fn denied(&self, said: Option<String>) -> PullError {
        PullError::Denied {
            looked: credentials::looked(self.config),
            said,
        }
    }

    async fn refusal(&self, response: Response, what: &str) -> PullError {
        let status = response.status();
        let said = said(response).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => match self.pass {
                Pass::None => PullError::Closed { said },
                Pass::Anonymous(_) => self.no_credentials(said),
                Pass::Basic { .. } | Pass::Bearer(_) => self.denied(said),
            },
            StatusCode::NOT_FOUND => PullError::Unknown { said },
            status => PullError::Status {
                status: status.as_u16(),
                what: what.to_owned(),
                said,
            },
        }
    }
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_tls = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(TOO_MANY)
    } else if was_tls && attempt.url().scheme() != "https" {
        attempt.error(TO_PLAIN)
    } else {
        attempt.follow()
    }
}

fn with(realm: &Url, parameters: &[(&str, &str)]) -> Url {
    let mut url = realm.clone();
    url.query_pairs_mut().extend_pairs(parameters);
    url
}

/// An identity token is exchanged as OAuth 2.0 exchanges refresh tokens.
fn refresh(
    client: &Client,
    server: &TokenServer,
    parameters: &[(&str, &str)],
    token: &str,
) -> RequestBuilder {
    let mut form = server.realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs([
            ("grant_type", "refresh_token"),
            ("client_id", "lockgate"),
            ("refresh_token", token),
        ]);
    client
        .post(server.realm.clone())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
}

async fn send(request: RequestBuilder) -> Result<Response, PullError> {
    request.send().await.map_err(|error| {
        let reason = innermost(&error);
        match error.is_redirect() {
            true if reason == TO_PLAIN => PullError::Redirect { reason: TO_PLAIN },
            true => PullError::Redirect { reason: TOO_MANY },
            false => unreachable(&error),
        }
    })
}

/// A body, as long as it keeps to its limit.
async fn read(mut response: Response, limit: usize, what: &str) -> Result<Vec<u8>, PullError> {
    let too_long = || PullError::TooLong {
        what: what.to_owned(),
        limit,
    };
    let length = response.content_length();
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if length.is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    let mut told = Instant::now();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&error))?
    {
        if body.len() + piece.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&piece);
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(bytes = body.len(), of = length, "pulling {what}");
        }
    }
    Ok(body)
}

/// The errors of a refusal, as the specification has them.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says of why it refuses, if that can be read.
async fn said(response: Response) -> Option<String> {
    let body = read(response, MAX_REFUSAL, "the refusal").await.ok()?;
    let refusal: Refusal = serde_json::from_slice(&body).ok()?;
    let Told { code, message } = refusal.errors.into_iter().next()?;
    let said = one_line(format!("{code} {message}").trim(), MAX_SAID);
    (!said.is_empty()).then_some(said)
}

/// The beginning of what a registry says, so that it can forge no line.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let letters = text.chars();
    let letters = letters.map(|letter| if letter.is_control() { ' ' } else { letter });
    letters.take(max).collect()
}

fn unreachable(error: &reqwest::Error) -> PullError {
    PullError::Unreachable {
        reason: match error.is_timeout() {
            true => "it takes too long to connect".to_owned(),
            false => innermost(error),
        },
    }
}

/// The cause of all: what stands around it only repeats what was being done.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
