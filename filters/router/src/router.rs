//! The filter: finds the route of a request and does what it says.

use lockgate_sdk::authority::host_of;
use lockgate_sdk::{Request, prelude::*, random};

use crate::config::Config;
use crate::edits::Field;
use crate::index::Index;
use crate::matching::{Conditions, Facts, Fields};
use crate::mistakes::{Mistake, Place};
use crate::path::split_query;
use crate::reach;
use crate::route::{Action, Forward, Respond, Route, Target};
use crate::split::SplitBy;

/// Fields that are handed over with every call, asked for or not: with more of
/// them than this, calls for the rest are cheaper.
const MAX_PREFETCHED_FIELDS: usize = 16;

/// The filter with its routes.
pub struct Router {
    routes: Vec<Route>,
    index: Index,
    /// Whether any route looks at the host.
    reads_host: bool,
    /// Whether any route looks at the method.
    reads_method: bool,
}

impl Filter for Router {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        let routes = crate::check::check(&config).map_err(into_errors)?;
        let router = Router {
            index: Index::new(routes.iter().map(|route| &route.conditions)),
            reads_host: routes.iter().any(reads_host),
            reads_method: routes
                .iter()
                .any(|route| !route.conditions.methods.is_empty()),
            routes,
        };
        router.warn_of_unreachable_routes();
        Ok(router)
    }

    fn wants(&self) -> Wants {
        let wants = Wants::request()
            .request_field(":path")
            .request_fields(self.reads_host.then_some(":authority"))
            .request_fields(self.reads_method.then_some(":method"))
            .request_fields(self.fields())
            .clusters(self.clusters())
            .routes(self.routes.iter().map(|route| &*route.name));
        let wants = self.retries().fold(wants, Wants::retry);
        match self.routes.iter().any(Route::edits_response) {
            true => wants.response(),
            false => wants,
        }
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let request = exchange.request();
        let target = request.path();
        let (path, query) = split_query(&target);
        let authority = match self.reads_host {
            true => request.authority(),
            false => Cow::default(),
        };
        let method = match self.reads_method {
            true => request.method(),
            false => Cow::default(),
        };
        let facts = Facts {
            method,
            host: host_of(&authority),
            path,
            query,
            fields: &RequestFields(request),
        };
        match self.find(&facts) {
            Some(number) => self.take(number, &facts, exchange),
            None => Ok(Verdict::Leave),
        }
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        if let Action::Forward(forward) = &self.remembered(exchange)?.action {
            forward.response.apply(&exchange.response())?;
        }
        Ok(Verdict::Next)
    }
}

impl Router {
    /// The number of the first route that takes this request.
    fn find(&self, facts: &Facts) -> Option<u32> {
        self.index.find(&facts.host, facts.path, |number| {
            self.routes[number as usize]
                .conditions
                .hold_beyond_index(facts)
        })
    }

    fn take(&self, number: u32, facts: &Facts, exchange: &Exchange) -> Result<Verdict, Error> {
        let route = &self.routes[number as usize];
        exchange.set_route(&route.name)?;
        match &route.action {
            Action::Forward(forward) => {
                if !forward.send(facts, &route.conditions, exchange)? {
                    return Ok(bad_request());
                }
                if forward.response.is_empty() {
                    return Ok(Verdict::Leave);
                }
                exchange.set_state(&number.to_le_bytes());
                Ok(Verdict::Next)
            }
            Action::Redirect(redirect, fields) => {
                let location = redirect.location(facts, &route.conditions.path);
                Ok(location.map_or_else(bad_request, |location| {
                    let reply = Reply::new(redirect.status).header("location", location);
                    with_fields(reply, fields).into()
                }))
            }
            Action::Respond(respond) => Ok(respond.reply().into()),
        }
    }

    /// The route that `take` left in the exchange's state.
    fn remembered(&self, exchange: &Exchange) -> Result<&Route, Error> {
        let state = exchange.state();
        let number = <[u8; 4]>::try_from(state).ok().map(u32::from_le_bytes);
        number
            .and_then(|number| self.routes.get(number as usize))
            .ok_or_else(|| Error::new("the exchange's state is not a route's number"))
    }

    /// The fields that routes ask about, those of the first routes first.
    fn fields(&self) -> Vec<&str> {
        let mut fields = Vec::new();
        for field in self.routes.iter().flat_map(fields_of) {
            if fields.len() < MAX_PREFETCHED_FIELDS && !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }

    fn clusters(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().flat_map(|route| {
            let clusters: Vec<&str> = match &route.action {
                Action::Forward(forward) => match &forward.target {
                    Target::Cluster(cluster) => vec![cluster],
                    Target::Split(split) => split.clusters().collect(),
                },
                Action::Redirect(..) | Action::Respond(_) => Vec::new(),
            };
            clusters
        })
    }

    fn retries(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| match &route.action {
            Action::Forward(forward) => forward.retry.as_deref(),
            Action::Redirect(..) | Action::Respond(_) => None,
        })
    }

    fn warn_of_unreachable_routes(&self) {
        let conditions: Vec<&Conditions> =
            self.routes.iter().map(|route| &route.conditions).collect();
        let routes = Place::ROOT.key("routes");
        for found in reach::unreachable(&conditions, &self.index) {
            let (name, earlier) = (
                &self.routes[found.route].name,
                &self.routes[found.covered_by].name,
            );
            log::warn!(
                "route `{name}` can never be reached: `{earlier}` takes all of its requests first",
                config_at = routes.item(found.route),
            );
        }
    }
}

impl Forward {
    /// False when the rewritten path would not be a good one.
    fn send(
        &self,
        facts: &Facts,
        conditions: &Conditions,
        exchange: &Exchange,
    ) -> Result<bool, Error> {
        let request = exchange.request();
        if let Some(change) = &self.path {
            let Some(path) = change.apply(facts.path, &conditions.path) else {
                return Ok(false);
            };
            // `*` is no path that could be set, and there it has not changed.
            if path != facts.path {
                request.set_path(&with_query(path, facts.query))?;
            }
        }
        exchange.route_to(self.target.cluster(facts))?;
        if !self.subset.is_empty() {
            let labels = self.subset.iter();
            let labels: Vec<_> = labels.map(|(key, value)| (&**key, &**value)).collect();
            exchange.set_subset(&labels)?;
        }
        if let Some(authority) = &self.authority {
            request.set_authority(authority)?;
        }
        for (which, after) in &self.timeouts {
            exchange.set_timeout(*which, *after);
        }
        if let Some(policy) = &self.retry {
            exchange.set_retry(policy)?;
        }
        self.request.apply(&request)?;
        Ok(true)
    }
}

impl Target {
    fn cluster(&self, facts: &Facts) -> &str {
        match self {
            Target::Cluster(cluster) => cluster,
            Target::Split(split) => split.cluster(facts, random::u64),
        }
    }
}

impl Respond {
    fn reply(&self) -> Reply {
        with_fields(Reply::new(self.status), &self.fields).body(self.body.as_bytes())
    }
}

/// The fields of the request, in the words of the matching.
struct RequestFields<'a>(Request<'a>);

impl Fields for RequestFields<'_> {
    fn any(&self, name: &str, accepts: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.headers(name).iter().any(|value| accepts(value))
    }
}

/// A redirect may have to name the host, whatever the route matches.
fn reads_host(route: &Route) -> bool {
    !route.conditions.hosts.is_empty() || matches!(route.action, Action::Redirect(..))
}

fn fields_of(route: &Route) -> Vec<&str> {
    let conditions = &route.conditions;
    let mut fields: Vec<&str> = conditions.headers.iter().map(|(name, _)| &**name).collect();
    let by = match &route.action {
        Action::Forward(forward) => match &forward.target {
            Target::Split(split) => split.by(),
            Target::Cluster(_) => None,
        },
        Action::Redirect(..) | Action::Respond(_) => None,
    };
    if let Some(SplitBy::Header(name)) = by {
        fields.push(name);
    }
    if !conditions.cookies.is_empty() || matches!(by, Some(SplitBy::Cookie(_))) {
        fields.push("cookie");
    }
    fields
}

fn with_query(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn with_fields(reply: Reply, fields: &[Field]) -> Reply {
    fields.iter().fold(reply, |reply, (name, value)| {
        reply.header(&**name, &**value)
    })
}

fn bad_request() -> Verdict {
    Reply::text(400, "this path leads nowhere\n").into()
}

fn into_errors(mistakes: Vec<Mistake>) -> ConfigErrors {
    mistakes
        .into_iter()
        .map(|mistake| ConfigError::at(mistake.at, mistake.message))
        .collect()
}
