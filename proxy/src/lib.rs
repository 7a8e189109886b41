//! Lockgate: a proxy whose whole policy is WebAssembly.
//!
//! `ARCHITECTURE.md` tells how the parts fit; each folder's `mod.rs` tells what
//! lives there. A module uses only what stands below it:
//! `cli`, `app`, `demo`, `project` / `control` / `worker`, `jobs`, `health`, `cases`, `certs`, `listener`,
//! `downstream` / `tcp` / `exchange` / `snapshot` / `filter`, `upstream` / `cluster`, `secrets`,
//! `components`, `state`, `overload`, `tls` / `config` / `http`, `client`, `deadline`, `drain`, `error`, `stats`,
//! `console`, `cache`, `pace`, `balance`, `boxed`, `digest`, `private`, `proxy_protocol`, `pump`.

pub mod app;
pub mod balance;
pub mod boxed;
pub mod cache;
pub mod cases;
pub mod certs;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod components;
pub mod config;
pub mod console;
pub mod control;
pub mod deadline;
pub mod demo;
pub mod digest;
pub mod downstream;
pub mod drain;
pub mod error;
pub mod exchange;
pub mod filter;
pub mod health;
pub mod http;
pub mod jobs;
pub mod listener;
pub mod memory;
pub mod overload;
pub mod pace;
pub mod pings;
pub mod private;
pub mod project;
pub mod proxy_protocol;
pub mod pump;
pub mod secrets;
pub mod shared;
pub mod shipped;
pub mod snapshot;
mod socket_option;
pub mod state;
pub mod stats;
pub mod tcp;
pub mod tls;
pub mod upstream;
pub mod worker;
