//! What became of every request, and what else happened.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

/// Further ones are counted only.
const LOST_KEPT: usize = 40;

#[derive(Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    steady: u64,
    hostile: u64,
    kills: u64,
    reloads: u64,
    refused: u64,
    decided: u64,
    lost: u64,
    told: Vec<String>,
    /// By guest, `on_error` and what came of it.
    outcomes: BTreeMap<(&'static str, &'static str, String), u64>,
}

impl Ledger {
    pub fn good(&self) {
        self.pages.lock().unwrap().steady += 1;
    }

    pub fn explained(&self, guest: &'static str, on_error: &'static str, outcome: String) {
        let mut pages = self.pages.lock().unwrap();
        pages.hostile += 1;
        *pages
            .outcomes
            .entry((guest, on_error, outcome))
            .or_default() += 1;
    }

    pub fn killed(&self) {
        self.pages.lock().unwrap().kills += 1;
    }

    pub fn reloaded(&self) {
        self.pages.lock().unwrap().reloads += 1;
    }

    pub fn refused(&self) {
        self.pages.lock().unwrap().refused += 1;
    }

    pub fn decided(&self) {
        self.pages.lock().unwrap().decided += 1;
    }

    pub fn lost(&self, what: String) {
        println!("LOST: {what}");
        let mut pages = self.pages.lock().unwrap();
        pages.lost += 1;
        if pages.told.len() < LOST_KEPT {
            pages.told.push(what);
        }
    }

    /// The words of a panic in the middle of a request.
    pub fn lost_by(&self, who: &str, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        self.lost(format!("{who}: {}", text.unwrap_or("a panic")));
    }

    pub fn told_lost(&self) -> Vec<String> {
        self.pages.lock().unwrap().told.clone()
    }

    pub fn line(&self) -> String {
        let pages = self.pages.lock().unwrap();
        format!(
            "{} steady and {} hostile requests, {} reloads, {} refused, {} canaries decided, \
             {} origins killed, {} LOST",
            pages.steady,
            pages.hostile,
            pages.reloads,
            pages.refused,
            pages.decided,
            pages.kills,
            pages.lost
        )
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for ((guest, on_error, outcome), count) in &self.pages.lock().unwrap().outcomes {
            writeln!(text, "{guest:<18} {on_error:<6} {outcome:<24} {count:>7}").unwrap();
        }
        text
    }
}
