//! The configuration of the demo.

use std::net::SocketAddr;

/// What changes from run to run, or in the course of the tour.
#[derive(Clone)]
pub struct Policy {
    pub port: u16,
    pub admin_port: u16,
    pub origins: Vec<(&'static str, SocketAddr)>,
    /// Of a hundred requests to /checkout, those that go to v2.
    pub to_v2: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            port: 0,
            admin_port: 0,
            origins: Vec::new(),
            to_v2: 20,
        }
    }
}

impl Policy {
    /// The part that a user edits.
    pub fn yaml(&self) -> String {
        TEMPLATE
            .replace("@PORT@", &self.port.to_string())
            .replace("@ADMIN_PORT@", &self.admin_port.to_string())
            .replace("@V1@", &(100 - self.to_v2).to_string())
            .replace("@V2@", &self.to_v2.to_string())
    }

    /// The part that tells where the origins are in this run.
    pub fn origins_yaml(&self) -> String {
        let mut yaml = "# Written anew by each `lockgate demo`.\nclusters:\n".to_owned();
        for (name, address) in &self.origins {
            yaml.push_str(&format!(
                "  - {{ name: {name}, endpoints: [\"{address}\"] }}\n"
            ));
        }
        yaml
    }
}

const TEMPLATE: &str = include_str!("policy.yaml");
