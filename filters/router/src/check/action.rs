//! What a route does: exactly one action, and what may stand beside it.

use std::time::Duration;

use lockgate_sdk::Timeout;
use lockgate_sdk::duration::Span;

use super::Checker;
use super::condition::{check_cookie_name, check_header_name};
use crate::config::{
    RedirectConfig, RespondConfig, RewriteConfig, RouteConfig, ShareConfig, SplitByConfig,
};
use crate::edits::{Edits, Field, check_fields};
use crate::host::check_host;
use crate::matching::PathCondition;
use crate::mistakes::Place;
use crate::path::check_path;
use crate::redirect::Redirect;
use crate::rewrite::PathChange;
use crate::route::{Action, Forward, Respond, Target};
use crate::split::{Split, SplitBy};
use crate::template::Template;

/// A body lies in the memory of every instance.
const MAX_BODY_BYTES: usize = 64 << 10;
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The times that a route may have, by their keys.
fn timeouts(config: &RouteConfig) -> [(&'static str, Timeout, Option<Span>); 6] {
    [
        ("timeout", Timeout::Total, config.timeout),
        ("try_timeout", Timeout::Try, config.try_timeout),
        ("connect_timeout", Timeout::Connect, config.connect_timeout),
        ("tls_timeout", Timeout::Tls, config.tls_timeout),
        ("answer_timeout", Timeout::Answer, config.answer_timeout),
        ("idle_timeout", Timeout::Idle, config.idle_timeout),
    ]
}

impl Checker<'_> {
    pub(super) fn action(
        &mut self,
        config: &RouteConfig,
        path: &PathCondition,
        place: &Place,
    ) -> Option<Action> {
        let actions = [
            config.cluster.is_some(),
            config.split.is_some(),
            config.redirect.is_some(),
            config.respond.is_some(),
        ];
        if actions.into_iter().filter(|given| *given).count() != 1 {
            let message = "wanted exactly one of `cluster`, `split`, `redirect` and `respond`";
            self.mistakes.add(place, message);
        }
        if config.split_by.is_some() && config.split.is_none() {
            self.mistakes
                .add(&place.key("split_by"), "there is no `split` to pick from");
        }
        let forward = self.forward(config, path, place);
        if let Some(redirect) = &config.redirect {
            let fields = self.answer_fields(config, Vec::new(), place);
            let redirect = self.redirect(redirect, config, path, &place.key("redirect"))?;
            return Some(Action::Redirect(Box::new(redirect), fields));
        }
        if let Some(respond) = &config.respond {
            let mut respond = self.respond(respond, &place.key("respond"))?;
            respond.fields = self.answer_fields(config, respond.fields, place);
            return Some(Action::Respond(Box::new(respond)));
        }
        Some(Action::Forward(Box::new(forward?)))
    }

    /// None when nothing is sent on, or something is wrong. What has a meaning
    /// only for what is sent on is refused elsewhere.
    fn forward(
        &mut self,
        config: &RouteConfig,
        path: &PathCondition,
        place: &Place,
    ) -> Option<Forward> {
        let target = self.target(config, place);
        if config.cluster.is_none() && config.split.is_none() {
            self.refuse_beside_answer(config, place);
            return None;
        }
        let headers = place.key("headers");
        let (path, authority) = match &config.rewrite {
            Some(rewrite) => self.rewrite(rewrite, config, path, &place.key("rewrite")),
            None => (None, None),
        };
        let request = Edits::check(
            &config.headers.request,
            &headers.key("request"),
            &mut self.mistakes,
        );
        let response = Edits::check(
            &config.headers.response,
            &headers.key("response"),
            &mut self.mistakes,
        );
        let timeouts = timeouts(config).into_iter();
        let timeouts = timeouts.filter_map(|(key, which, after)| {
            let after = self.timeout(after, &place.key(key))?;
            Some((which, after))
        });
        let timeouts = timeouts.collect();
        let retry = config.retry.as_ref();
        let retry = retry.and_then(|name| self.retry(name, &place.key("retry")));
        Some(Forward {
            target: target?,
            subset: config.subset.clone().into_iter().collect(),
            path,
            authority,
            request,
            response,
            timeouts,
            retry,
        })
    }

    fn refuse_beside_answer(&mut self, config: &RouteConfig, place: &Place) {
        if config.redirect.is_none() && config.respond.is_none() {
            return;
        }
        let message = "has no effect: this route sends no request on";
        if config.rewrite.is_some() {
            self.mistakes.add(&place.key("rewrite"), message);
        }
        let timeouts = timeouts(config).map(|(key, _, after)| (key, after.is_some()));
        let retry = ("retry", config.retry.is_some());
        for (key, is_there) in timeouts.into_iter().chain([retry]) {
            if is_there {
                self.mistakes.add(&place.key(key), message);
            }
        }
        if !config.subset.is_empty() {
            self.mistakes.add(&place.key("subset"), message);
        }
        let request = &config.headers.request;
        if !(request.set.is_empty() && request.append.is_empty() && request.remove.is_empty()) {
            self.mistakes
                .add(&place.key("headers").key("request"), message);
        }
    }

    fn target(&mut self, config: &RouteConfig, place: &Place) -> Option<Target> {
        let split = config.split.as_ref().and_then(|shares| {
            let by = self.split_by(config.split_by.as_ref(), &place.key("split_by"));
            self.split(shares, by, &place.key("split"))
        });
        let cluster = config.cluster.as_ref();
        let cluster = cluster.and_then(|name| self.cluster(name, &place.key("cluster")));
        split.map(Target::Split).or(cluster.map(Target::Cluster))
    }

    /// Whether it exists is for the proxy to tell, which asks for all of them.
    fn cluster(&mut self, name: &str, place: &Place) -> Option<Box<str>> {
        let named = Some(name).filter(|name| !name.is_empty());
        let named = named.ok_or_else(|| "wanted the name of a cluster".to_owned());
        self.mistakes.take(place, named).map(Box::from)
    }

    /// As for clusters.
    fn retry(&mut self, name: &str, place: &Place) -> Option<Box<str>> {
        let named = Some(name).filter(|name| !name.is_empty());
        let named = named.ok_or_else(|| "wanted the name of a retry policy".to_owned());
        self.mistakes.take(place, named).map(Box::from)
    }

    fn split(
        &mut self,
        config: &[ShareConfig],
        by: Option<SplitBy>,
        place: &Place,
    ) -> Option<Split> {
        let mut shares = Vec::new();
        for (index, share) in config.iter().enumerate() {
            let cluster = self.cluster(&share.cluster, &place.item(index).key("cluster"));
            shares.extend(cluster.map(|cluster| (share.weight, cluster)));
        }
        let all_named = shares.len() == config.len();
        let split = Split::new(shares, by);
        if split.is_none() && all_named {
            self.mistakes
                .add(place, "wanted at least one weight that is not 0");
        }
        split
    }

    fn split_by(&mut self, config: Option<&SplitByConfig>, place: &Place) -> Option<SplitBy> {
        Some(match config? {
            SplitByConfig::Header(name) => {
                let name = check_header_name(name);
                SplitBy::Header(self.mistakes.take(&place.key("header"), name)?)
            }
            SplitByConfig::Cookie(name) => {
                let name = check_cookie_name(name);
                SplitBy::Cookie(self.mistakes.take(&place.key("cookie"), name)?)
            }
        })
    }

    fn rewrite(
        &mut self,
        config: &RewriteConfig,
        route: &RouteConfig,
        path: &PathCondition,
        place: &Place,
    ) -> (Option<PathChange>, Option<Box<str>>) {
        if config.prefix.is_none() && config.path.is_none() && config.host.is_none() {
            let message = "wanted at least one of `prefix`, `path` and `host`";
            self.mistakes.add(place, message);
        }
        let change = self.path_change(&config.prefix, &config.path, route, path, place);
        let host = config.host.as_deref().map(check_authority);
        let authority = host.and_then(|host| self.mistakes.take(&place.key("host"), host));
        (change, authority.map(Box::from))
    }

    fn path_change(
        &mut self,
        prefix: &Option<String>,
        path: &Option<String>,
        route: &RouteConfig,
        condition: &PathCondition,
        place: &Place,
    ) -> Option<PathChange> {
        if prefix.is_some() && path.is_some() {
            self.mistakes
                .add(place, "wanted one of `prefix` and `path`");
        }
        if let Some(prefix) = prefix {
            let place = place.key("prefix");
            let to = self.mistakes.take(&place, check_path(prefix))?;
            let Some(from) = &route.condition.path_prefix else {
                self.mistakes.add(
                    &place,
                    "there is no `match.path_prefix` that it could replace",
                );
                return None;
            };
            // A prefix that is wrong itself has been noted as that.
            return Some(PathChange::prefix(&check_path(from).ok()?, &to));
        }
        let text = path.as_ref()?;
        let place = place.key("path");
        let checked = match condition {
            PathCondition::Regex(pattern) => check_path(text)
                .and_then(|text| Template::new(&text, pattern))
                .map(PathChange::Template),
            PathCondition::Any | PathCondition::Exact(_) | PathCondition::Prefix(_) => {
                check_path(text).map(|path| PathChange::Path(path.into()))
            }
        };
        self.mistakes.take(&place, checked)
    }

    fn timeout(&mut self, timeout: Option<Span>, place: &Place) -> Option<Duration> {
        let Span(timeout) = timeout?;
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            self.mistakes.add(
                place,
                "wanted a time longer than 0 and no longer than a day",
            );
        }
        Some(timeout)
    }

    fn redirect(
        &mut self,
        config: &RedirectConfig,
        route: &RouteConfig,
        path: &PathCondition,
        place: &Place,
    ) -> Option<Redirect> {
        if ![301, 302, 303, 307, 308].contains(&config.status) {
            let message = format!("{} is none of 301, 302, 303, 307 and 308", config.status);
            self.mistakes.add(&place.key("status"), message);
        }
        if config.port == Some(0) {
            self.mistakes
                .add(&place.key("port"), "wanted a port of 1 to 65535");
        }
        let changes_path = config.path.is_some() || config.prefix.is_some();
        if config.scheme.is_none()
            && config.host.is_none()
            && config.port.is_none()
            && !changes_path
        {
            let message =
                "would lead to itself: wanted `scheme`, `host`, `port`, `path` or `prefix`";
            self.mistakes.add(place, message);
        }
        let host = config.host.as_deref().map(check_host);
        Some(Redirect {
            status: config.status,
            scheme: config.scheme,
            host: host
                .and_then(|host| self.mistakes.take(&place.key("host"), host))
                .map(Box::from),
            port: config.port,
            path: self.path_change(&config.prefix, &config.path, route, path, place),
        })
    }

    fn respond(&mut self, config: &RespondConfig, place: &Place) -> Option<Respond> {
        let status = config.status;
        if !(200..=599).contains(&status) {
            let message = format!("{status} is not a status of 200 to 599");
            self.mistakes.add(&place.key("status"), message);
        }
        if matches!(status, 204 | 205 | 304) && !config.body.is_empty() {
            let message = format!("an answer with status {status} has no body");
            self.mistakes.add(&place.key("body"), message);
        }
        if config.body.len() > MAX_BODY_BYTES {
            let message = format!(
                "longer than {} KiB: let a cluster answer",
                MAX_BODY_BYTES >> 10
            );
            self.mistakes.add(&place.key("body"), message);
        }
        let mut fields = check_fields(&config.headers, &place.key("headers"), &mut self.mistakes);
        if !config.body.is_empty() && fields.iter().all(|(name, _)| &**name != "content-type") {
            fields.push(("content-type".into(), "text/plain; charset=utf-8".into()));
        }
        Some(Respond {
            status,
            fields,
            body: config.body.as_str().into(),
        })
    }

    /// The response phase does not come for an answer made here, so what it
    /// would do is done to the answer beforehand.
    fn answer_fields(
        &mut self,
        config: &RouteConfig,
        mut fields: Vec<Field>,
        place: &Place,
    ) -> Vec<Field> {
        let headers = place.key("headers");
        let place = headers.key("response");
        let edits = Edits::check(&config.headers.response, &place, &mut self.mistakes);
        edits.apply_to(&mut fields);
        fields
    }
}

/// A host, perhaps with a port.
fn check_authority(text: &str) -> Result<String, String> {
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| host.ends_with(']') || !host.contains(':'));
    let Some((host, port)) = port.filter(|(_, port)| !port.ends_with(']')) else {
        return check_host(text);
    };
    let host = check_host(host)?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        Ok(_) | Err(_) => Err(format!("`{text}` has no port of 1 to 65535")),
    }
}
