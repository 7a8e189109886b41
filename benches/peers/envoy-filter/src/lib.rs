//! What `stamp-filter` does, as a Proxy-Wasm filter: read one field, set one in
//! the request and, unless told otherwise, one in the response.
//!
//! Its configuration is its number, and `request` behind it to leave the
//! response alone.

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
        self.0.stamps_response = words.next().is_none();
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
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let value = self.get_http_request_header("x-bench").unwrap_or_default();
        self.set_http_request_header(&self.header, Some(&value));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.stamps_response {
            self.set_http_response_header(&self.header, Some("1"));
        }
        Action::Continue
    }
}
