//! Overload.

use super::Checker;
use crate::config::overload::{Marks, Overload};
use crate::config::place::below;
use crate::config::raw::RawOverload;

impl Checker<'_> {
    pub(super) fn overload(&mut self, at: &str, raw: &RawOverload) -> Overload {
        let (memory, descriptors, delay) = (&raw.memory, &raw.descriptors, &raw.delay);
        let place = below(at, "memory");
        let limit = memory.limit;
        let memory_limit = limit.map(|limit| self.size(&place, "limit", limit));
        let memory = self.percent(&place, [memory.close, memory.shed, memory.refuse]);
        let descriptors = [descriptors.close, descriptors.shed, descriptors.refuse];
        let descriptors = self.percent(&below(at, "descriptors"), descriptors);
        let place = below(at, "delay");
        let shed = self.time(&place, "shed", delay.shed);
        let refuse = self.time(&place, "refuse", delay.refuse);
        let written = (delay.shed.to_string(), delay.refuse.to_string());
        self.in_order(
            &place,
            ("shed", written.0),
            ("refuse", written.1),
            shed <= refuse,
        );
        Overload {
            memory_limit,
            memory,
            descriptors,
            delay: Marks {
                close: None,
                shed: shed.as_millis() as u64,
                refuse: refuse.as_millis() as u64,
            },
        }
    }

    fn percent(&mut self, at: &str, [close, shed, refuse]: [u8; 3]) -> Marks {
        let written = |percent: u8| percent.to_string();
        self.in_order(
            at,
            ("close", written(close)),
            ("shed", written(shed)),
            close <= shed,
        );
        self.in_order(
            at,
            ("shed", written(shed)),
            ("refuse", written(refuse)),
            shed <= refuse,
        );
        Marks {
            close: Some(u64::from(close) * 10),
            shed: u64::from(shed) * 10,
            refuse: u64::from(refuse) * 10,
        }
    }

    /// What is given up later begins later.
    fn in_order(&mut self, at: &str, one: (&str, String), other: (&str, String), is_so: bool) {
        if !is_so {
            let found = format!(
                "`{}` of {}, before `{}` of {}",
                other.0, other.1, one.0, one.1
            );
            let wanted = format!("`{}` no smaller than `{}`", other.0, one.0);
            // Where one of them is written: the other may be the default.
            let pointer = [other.0, one.0].map(|key| below(at, key));
            let written = pointer.iter().find(|pointer| self.places.has(pointer));
            let pointer = written.unwrap_or(&pointer[0]).clone();
            self.mistake(&pointer, found, wanted);
        }
    }
}
