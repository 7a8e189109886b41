//! One limit as it was configured.

use lockgate_sdk::matching::Matcher;
use lockgate_sdk::prelude::*;

use crate::config::Missing;
use crate::gcra::Gcra;
use crate::key::Key;

/// One limit.
pub struct Limit {
    pub name: String,
    pub gcra: Gcra,
    /// What clients are told of it.
    pub policy: String,
    pub missing: Missing,
    key: Key,
    matcher: Matcher,
    /// The beginning of its keys in the store. A limit of another size or with
    /// another key counts for itself, so that a reload that changes one does not
    /// measure by what was left of the other.
    prefix: String,
}

/// What a limit says of a request before anything is counted.
pub enum Concern {
    /// It is not about it.
    None,
    /// It is counted under this key of the store.
    Key(String),
    /// It has no key, and is denied for it.
    Denied,
}

impl Limit {
    /// A limit of so many requests in such a time, which `gcra` keeps.
    pub fn new(
        name: String,
        (rate, per): (u64, Duration),
        gcra: Gcra,
        key: Key,
        matcher: Matcher,
        missing: Missing,
    ) -> Self {
        let prefix = format!("{name} {} {} ", gcra.name(), key.name());
        Limit {
            policy: policy(&name, rate, per),
            name,
            gcra,
            missing,
            key,
            matcher,
            prefix,
        }
    }

    /// The fields of the request that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.matcher.fields().chain(self.key.fields())
    }

    pub fn concern(&self, exchange: &Exchange) -> Concern {
        if !self.matcher.is_match(&exchange.request()) {
            return Concern::None;
        }
        match (self.key.find(exchange), self.missing) {
            (Some(key), _) => Concern::Key(format!("{}{key}", self.prefix)),
            (None, Missing::Skip) => Concern::None,
            (None, Missing::Deny) => Concern::Denied,
        }
    }
}

/// A member of `RateLimit-Policy`. A window is a number of whole seconds, or is
/// not told.
fn policy(name: &str, rate: u64, per: Duration) -> String {
    match (per.as_secs(), per.subsec_nanos()) {
        (seconds, 0) => format!("\"{name}\";q={rate};w={seconds}"),
        _ => format!("\"{name}\";q={rate}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let ms = Duration::from_millis;
        assert_eq!(policy("a", 100, ms(60_000)), "\"a\";q=100;w=60");
        assert_eq!(policy("a", 1, ms(500)), "\"a\";q=1");
        assert_eq!(policy("a", 1, ms(1_500)), "\"a\";q=1");
    }
}
