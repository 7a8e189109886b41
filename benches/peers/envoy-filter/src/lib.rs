//! What `stamp-filter` does, as a Proxy-Wasm filter: read one field, set one in
//! the request and, unless told otherwise, one in the response. Or collect the request's
//! body first, and set the field if all of it is there.
//!
//! Its configuration is its number, and behind it `request` to leave the response alone,
//! or the length of the body to collect.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root(Stamp::default())));
}}

#[derive(Clone, Default)]
struct Stamp {
    header: String,
    stamps_response: bool,
    body: Option<usize>,
}

impl Stamp {
    fn stamp(&self) {
        let value = self.get_http_request_header("x-bench").unwrap_or_default();
        self.set_http_request_header(&self.header, Some(&value));
    }
}

struct Root(Stamp);

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        let Ok(text) = String::from_utf8(bytes) else {
            return false;
        };
        let mut words = text.split_whitespace();
        let Some(number) = words.next() else {
            return false;
        };
        self.0.header = format!("x-stamp-{number}");
        let more = words.next();
        self.0.stamps_response = more.is_none();
        self.0.body = more.and_then(|length| length.parse().ok());
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.0.clone()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stamp {}

impl HttpContext for Stamp {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        // The head has to wait for what the body will say.
        if self.body.is_some() && !end_of_stream {
            return Action::Pause;
        }
        self.stamp();
        Action::Continue
    }

    fn on_http_request_body(&mut self, length: usize, end_of_stream: bool) -> Action {
        let Some(expected) = self.body else {
            return Action::Continue;
        };
        if !end_of_stream {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, length).unwrap_or_default();
        if body.len() == expected {
            self.stamp();
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.stamps_response {
            self.set_http_response_header(&self.header, Some("1"));
        }
        Action::Continue
    }
}
