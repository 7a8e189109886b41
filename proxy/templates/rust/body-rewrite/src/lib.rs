//! Replaces a word in bodies of requests or of answers.

use lockgate_sdk::prelude::*;

/// Longer bodies are refused.
const MAX_BODY_BYTES: u32 = 1 << 20;

/// What the operator configures.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What to look for.
    #[schemars(length(min = 1))]
    find: String,
    /// What takes its place.
    replace: String,
    /// Whose bodies.
    #[serde(default, rename = "in")]
    side: Side,
}

/// Whose bodies are rewritten.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Side {
    Request,
    #[default]
    Response,
}

/// The filter.
pub struct BodyRewrite {
    config: Config,
}

impl BodyRewrite {
    /// What is compressed cannot be searched.
    fn begin(encoding: Option<impl Sized>) -> Verdict {
        match encoding {
            Some(_) => Verdict::Next,
            None => Verdict::buffer(MAX_BODY_BYTES),
        }
    }

    fn rewrite(&self, body: &[u8]) -> BodyVerdict {
        let find = self.config.find.as_bytes();
        let mut rewritten = Vec::with_capacity(body.len());
        let mut rest = body;
        while let Some(at) = rest.windows(find.len()).position(|window| window == find) {
            rewritten.extend(&rest[..at]);
            rewritten.extend(self.config.replace.as_bytes());
            rest = &rest[at + find.len()..];
        }
        if rest.len() == body.len() {
            return BodyVerdict::Keep;
        }
        rewritten.extend(rest);
        BodyVerdict::Replace(rewritten)
    }
}

impl Filter for BodyRewrite {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        if config.find.is_empty() {
            return Err(ConfigError::at("/find", "nothing to look for").into());
        }
        Ok(BodyRewrite { config })
    }

    fn wants(&self) -> Wants {
        match self.config.side {
            Side::Request => Wants::request().request_field("content-encoding"),
            Side::Response => Wants::nothing()
                .response()
                .response_field("content-encoding"),
        }
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        Ok(Self::begin(exchange.request().header("content-encoding")))
    }

    fn on_request_body(&self, _: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        Ok(self.rewrite(&body.bytes))
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        Ok(Self::begin(exchange.response().header("content-encoding")))
    }

    fn on_response_body(&self, _: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        Ok(self.rewrite(&body.bytes))
    }
}

lockgate_sdk::export!(BodyRewrite);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_replaced() {
        let config = |find: &str| Config {
            find: find.to_owned(),
            replace: "-".to_owned(),
            side: Side::Response,
        };
        for (find, body, rewritten) in [
            ("b", "abba", BodyVerdict::Replace(b"a--a".to_vec())),
            ("bb", "abba", BodyVerdict::Replace(b"a-a".to_vec())),
            ("x", "abba", BodyVerdict::Keep),
            ("abbab", "abba", BodyVerdict::Keep),
        ] {
            let filter = BodyRewrite::create(config(find)).ok().unwrap();
            assert_eq!(filter.rewrite(body.as_bytes()), rewritten, "{find}");
        }
    }
}
