//! What an endpoint is to be asked for, from all that is known of it.

/// What speaks against an endpoint. Several may at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// Somebody has said so by hand, either way.
    pub told: Option<Told>,
    /// Active checks have failed as often as it takes.
    pub checks_failed: bool,
    /// It is ejected for how its answers went.
    pub ejected: bool,
    /// Nobody is there, as it seems to those who ask: see [`Silence`](super::silence::Silence).
    pub silent: bool,
    /// Its answers to checks say that it is worse than others (Envoy's `x-envoy-degraded`),
    /// or it refuses more than it answers.
    pub degraded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing new goes there, in panic neither.
    Drain,
    /// It is well, whatever checks say.
    Ready,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// Asked where healthy ones do not suffice.
    Degraded,
    /// Asked now and then, and not counted on where others of its tier and zone are well.
    Silent,
    /// Asked in panic.
    Sick(Why),
    /// Not asked at all, and no part of the whole that is counted by.
    Drained,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Checks,
    Ejected,
}

impl Signs {
    /// What is said by hand goes before what is checked, and that before what is concluded.
    pub fn health(self) -> Health {
        match self {
            Signs {
                told: Some(Told::Drain),
                ..
            } => Health::Drained,
            Signs {
                told: Some(Told::Ready),
                ..
            } => Health::Healthy,
            Signs {
                checks_failed: true,
                ..
            } => Health::Sick(Why::Checks),
            Signs { ejected: true, .. } => Health::Sick(Why::Ejected),
            Signs { silent: true, .. } => Health::Silent,
            Signs { degraded: true, .. } => Health::Degraded,
            _ => Health::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(told: Option<Told>, signs: (bool, bool, bool), wanted: Health) {
        let (checks_failed, ejected, degraded) = signs;
        let signs = Signs {
            told,
            checks_failed,
            ejected,
            degraded,
            silent: false,
        };
        assert_eq!(signs.health(), wanted, "{signs:?}");
    }

    #[test]
    fn the_weightiest_sign_counts() {
        check(None, (false, false, false), Health::Healthy);
        check(None, (false, false, true), Health::Degraded);
        let silent = Signs {
            silent: true,
            degraded: true,
            ..Signs::default()
        };
        assert_eq!(silent.health(), Health::Silent);
        check(None, (false, true, true), Health::Sick(Why::Ejected));
        check(None, (true, true, true), Health::Sick(Why::Checks));
        check(Some(Told::Ready), (true, true, true), Health::Healthy);
        check(Some(Told::Drain), (false, false, false), Health::Drained);
    }
}
