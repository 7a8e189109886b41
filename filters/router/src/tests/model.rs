//! Generated tables of routes and requests: the router must agree with a model
//! that walks over all routes and compares plain texts.

use lockgate_sdk::testing::{Exchange, Harness};
use serde_json::{Value, json};

use super::router;
use crate::Router;

const TABLES: u64 = 300;
const REQUESTS: usize = 150;

const HOSTS: [&str; 5] = ["a.com", "b.a.com", "c.b.a.com", "b.com", "com"];
const HOST_PATTERNS: [&str; 6] = ["a.com", "b.a.com", "*.a.com", "*.b.a.com", "*.com", "b.com"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const VALUES: [&str; 3] = ["1", "2", "12"];

/// An expression and what it says.
type Expression = (&'static str, fn(&str) -> bool);
const EXPRESSIONS: [Expression; 5] = [
    ("/a/.*", |path| path.starts_with("/a/")),
    ("/a/b|/b", |path| path == "/a/b" || path == "/b"),
    ("/(a|b)/c?", |path| {
        ["/a/", "/b/", "/a/c", "/b/c"].contains(&path)
    }),
    (".*/c", |path| path.ends_with("/c")),
    ("/a/b(/.*)?", |path| {
        path == "/a/b" || path.starts_with("/a/b/")
    }),
];

#[test]
fn agrees_with_a_walk_over_all_routes() {
    let mut taken = 0;
    for seed in 1..=TABLES {
        let mut random = Random(seed);
        let size = 1 + random.below(30);
        let table: Vec<Route> = (0..size).map(|_| random.route()).collect();
        let mut router = build(&table);
        for _ in 0..REQUESTS {
            let request = random.request();
            let expected = table.iter().position(|route| route.takes(&request));
            let found = router.request(request.exchange()).route;
            let found = found.map(|name| name.parse().unwrap());
            assert_eq!(found, expected, "seed {seed}, {request:?} in {table:#?}");
            taken += usize::from(expected.is_some());
        }
    }
    // The cases must not all be the easy one.
    let all = TABLES as usize * REQUESTS;
    assert!(taken > all / 4 && taken < all, "{taken} of {all}");
}

fn build(table: &[Route]) -> Harness<Router> {
    let routes = table.iter().enumerate().map(|(number, route)| {
        json!({ "name": number.to_string(), "match": route.config(), "cluster": "c" })
    });
    router(routes.collect())
}

#[derive(Debug)]
struct Route {
    hosts: Vec<&'static str>,
    path: Path,
    methods: Vec<&'static str>,
    header: Option<Test>,
    query: Option<Test>,
    cookie: Option<Test>,
}

#[derive(Debug)]
enum Path {
    Any,
    Exact(String),
    Prefix(String),
    Regex(Expression),
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Is(&'static str),
    IsNot(&'static str),
    StartsWith(&'static str),
    Present(bool),
}

#[derive(Debug)]
struct Request {
    host: &'static str,
    path: String,
    method: &'static str,
    headers: Vec<&'static str>,
    parameters: Vec<&'static str>,
    cookies: Vec<&'static str>,
}

impl Route {
    fn takes(&self, request: &Request) -> bool {
        let host = self.hosts.is_empty()
            || self
                .hosts
                .iter()
                .any(|pattern| match pattern.strip_prefix('*') {
                    Some(suffix) => request.host.ends_with(suffix),
                    None => request.host == *pattern,
                });
        let path = match &self.path {
            Path::Any => true,
            Path::Exact(path) => request.path == *path,
            Path::Prefix(prefix) => {
                let prefix = format!("{}/", prefix.trim_end_matches('/'));
                format!("{}/", request.path).starts_with(&prefix)
            }
            Path::Regex((_, matches)) => matches(&request.path),
        };
        let holds = |test: Option<Test>, values: &[&str]| match test {
            None => true,
            Some(Test::Is(wanted)) => values.contains(&wanted),
            Some(Test::IsNot(wanted)) => !values.contains(&wanted),
            Some(Test::StartsWith(start)) => values.iter().any(|value| value.starts_with(start)),
            Some(Test::Present(present)) => values.is_empty() != present,
        };
        host && path
            && (self.methods.is_empty() || self.methods.contains(&request.method))
            && holds(self.header, &request.headers)
            && holds(self.query, &request.parameters)
            && holds(self.cookie, &request.cookies)
    }

    fn config(&self) -> Value {
        let mut config = json!({});
        match self.hosts.as_slice() {
            [] => {}
            [host] => config["host"] = json!(host),
            hosts => config["host"] = json!(hosts),
        }
        match &self.path {
            Path::Any => {}
            Path::Exact(path) => config["path"] = json!(path),
            Path::Prefix(prefix) => config["path_prefix"] = json!(prefix),
            Path::Regex((source, _)) => config["path_regex"] = json!(source),
        }
        if !self.methods.is_empty() {
            config["method"] = json!(self.methods);
        }
        for (key, name, test) in [
            ("headers", "x-h", self.header),
            ("query", "q", self.query),
            ("cookies", "c", self.cookie),
        ] {
            if let Some(test) = test {
                config[key] = json!({ name: test.config() });
            }
        }
        config
    }
}

impl Test {
    fn config(self) -> Value {
        match self {
            Test::Is(value) => json!(value),
            Test::IsNot(value) => json!({ "not": value }),
            Test::StartsWith(start) => json!({ "prefix": start }),
            Test::Present(present) => json!({ "present": present }),
        }
    }
}

impl Request {
    fn exchange(&self) -> Exchange {
        let query: Vec<_> = self
            .parameters
            .iter()
            .map(|value| format!("q={value}"))
            .collect();
        let target = match query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, query.join("&")),
        };
        let mut exchange = Exchange::new(self.method, &target).authority(self.host);
        for value in &self.headers {
            exchange = exchange.header("x-h", value);
        }
        for value in &self.cookies {
            exchange = exchange.header("cookie", format!("o=1; c={value}"));
        }
        exchange
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn some<T: Copy>(&mut self, of: &[T], most: usize) -> Vec<T> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.one(of)).collect()
    }

    fn route(&mut self) -> Route {
        Route {
            hosts: self.some(&HOST_PATTERNS, 2),
            path: self.path_condition(),
            methods: self.some(&METHODS, 1),
            header: self.test(),
            query: self.test(),
            cookie: self.test(),
        }
    }

    fn path_condition(&mut self) -> Path {
        match self.below(8) {
            0 => Path::Any,
            1..=3 => Path::Exact(self.path()),
            4..=6 => Path::Prefix(self.path()),
            _ => Path::Regex(self.one(&EXPRESSIONS)),
        }
    }

    fn path(&mut self) -> String {
        let segments: Vec<_> = (0..1 + self.below(4))
            .map(|_| self.one(&["a", "b", "c", "ab", ""]))
            .collect();
        format!("/{}", segments.join("/"))
    }

    fn test(&mut self) -> Option<Test> {
        let value = self.one(&VALUES);
        match self.below(16) {
            0 => Some(Test::Is(value)),
            1 => Some(Test::IsNot(value)),
            2 => Some(Test::StartsWith(value)),
            3 => Some(Test::Present(true)),
            4 => Some(Test::Present(false)),
            _ => None,
        }
    }

    fn request(&mut self) -> Request {
        Request {
            host: self.one(&HOSTS),
            path: self.path(),
            method: self.one(&METHODS),
            headers: self.some(&VALUES, 2),
            parameters: self.some(&VALUES, 2),
            cookies: self.some(&VALUES, 1),
        }
    }
}
