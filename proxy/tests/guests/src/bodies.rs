//! Transforms, by name: what each makes of the pieces of a body.

use std::cell::RefCell;

use crate::exports::lockgate::filter::http_filter::GuestTransform;
use crate::lockgate::filter::{exchange, request, response};
use crate::steps;

pub struct Steps {
    name: String,
    held: RefCell<Vec<u8>>,
}

impl Steps {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            held: RefCell::default(),
        }
    }
}

impl GuestTransform for Steps {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        match &*self.name {
            "upper" => Ok(chunk.to_ascii_uppercase()),
            "twice" => Ok([&*chunk, &chunk].concat()),
            "hold" | "never" => {
                self.held.borrow_mut().extend(chunk);
                Ok(Vec::new())
            }
            "count" => {
                self.held.borrow_mut().extend(&chunk);
                let length = self.held.borrow().len();
                exchange::set_attribute("passed", &length.to_string());
                let seen = (exchange::request_bytes(), exchange::response_bytes());
                exchange::set_attribute("seen", &format!("{seen:?}"));
                Ok(chunk)
            }
            "heads" => {
                let tried = [request::set("x-late", b"1"), response::set("x-late", b"1")];
                exchange::set_attribute("tried", &format!("{tried:?}"));
                exchange::set_attribute("path", &request::path());
                Ok(chunk)
            }
            "delay" => {
                exchange::delay(3_600_000_000_000);
                Ok(chunk)
            }
            "huge" => Ok(vec![b'x'; 64 << 20]),
            "error" => Err("does not like it".into()),
            "trap" => core::arch::wasm32::unreachable(),
            "loop" => {
                steps::spin();
                Ok(chunk)
            }
            "allocate" => {
                steps::allocate();
                Ok(chunk)
            }
            _ => Ok(chunk),
        }
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        match &*self.name {
            "hold" => Ok(self.held.take()),
            "end" => Ok(b" the end".to_vec()),
            "error-at-end" => Err("does not like the end".into()),
            "trap-at-end" => core::arch::wasm32::unreachable(),
            _ => Ok(Vec::new()),
        }
    }
}
