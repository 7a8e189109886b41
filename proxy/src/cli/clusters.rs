//! `lockgate clusters`: the endpoints and how they are, as a table.

use std::fmt::Write;

use serde_json::Value;

use super::admin::Whom;
use crate::console::{Exit, print, print_json};
use crate::control::admin::client;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    /// One cluster alone.
    cluster: Option<String>,
    #[command(flatten)]
    whom: Whom,
    /// What `/clusters` answers.
    #[arg(long)]
    json: bool,
}

pub fn clusters(options: &Options) -> anyhow::Result<Exit> {
    let asked = options.whom.find();
    let told = match asked.and_then(|asked| asked.ask(client::get_clusters)) {
        Ok(told) => told,
        Err(failed) => return failed.tell(options.json),
    };
    let all = told.as_array().cloned().unwrap_or_default();
    let is_meant = |cluster: &Value| {
        let wanted = options.cluster.as_deref();
        wanted.is_none_or(|wanted| cluster["name"] == *wanted)
    };
    let meant: Vec<_> = all.into_iter().filter(is_meant).collect();
    match options.json {
        true => print_json(&Value::Array(meant))?,
        false => print(table(&meant).trim_end())?,
    };
    Ok(Exit::Good)
}

const TITLES: [&str; 13] = [
    "CLUSTER",
    "ENDPOINT",
    "TIER",
    "ZONE",
    "WEIGHT",
    "HEALTH",
    "ACTIVE",
    "OPEN",
    "IDLE",
    "EWMA",
    "REQUESTS",
    "EJECTIONS",
    "WHY",
];

/// A row for each endpoint.
fn table(clusters: &[Value]) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    for cluster in clusters {
        let endpoints = cluster["endpoints"].as_array().into_iter().flatten();
        rows.extend(endpoints.map(|endpoint| row(cluster, endpoint)));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
    let widths: Vec<_> = (0..TITLES.len()).filter_map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ").expect("a string takes every write");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn row(cluster: &Value, endpoint: &Value) -> [String; TITLES.len()] {
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let ewma = match endpoint["ewma_ms"].as_f64() {
        Some(milliseconds) => format!("{milliseconds:.1}ms"),
        None => "-".to_owned(),
    };
    [
        cell(&cluster["name"]),
        cell(&endpoint["address"]),
        cell(&endpoint["tier"]),
        cell(&endpoint["zone"]),
        cell(&endpoint["weight"]),
        cell(&endpoint["health"]),
        cell(&endpoint["active"]),
        cell(&endpoint["connections"]),
        cell(&endpoint["idle_connections"]),
        ewma,
        cell(&endpoint["requests"]),
        cell(&endpoint["ejections"]),
        cell(&endpoint["why"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_endpoint_has_a_row() {
        let clusters = [json!({
            "name": "shop",
            "endpoints": [
                {
                    "address": "10.0.0.1:80", "tier": 0, "zone": null, "weight": 1,
                    "health": "ejected", "why": "ejected: consecutive_gateway", "ejections": 2,
                    "active": 3, "connections": 7, "idle_connections": 4, "ewma_ms": 1.25, "requests": 77,
                },
            ],
        })];
        let table = table(&clusters);
        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], TITLES);
        let wanted = "shop 10.0.0.1:80 0 - 1 ejected 3 7 4 1.2ms 77 2 ejected: consecutive_gateway";
        assert_eq!(lines[1].join(" "), wanted);
    }
}
