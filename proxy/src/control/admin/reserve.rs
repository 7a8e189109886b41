//! Descriptors that are kept for the admin address: it has to answer when there is none
//! left for anything else.

use std::fs::File;

/// Connections that are served then at once.
const KEPT: usize = 8;

/// Files that nothing is done with. Each can be given up for a connection.
#[derive(Debug)]
pub struct Reserve(Vec<File>);

impl Reserve {
    pub fn new() -> Self {
        let mut reserve = Self(Vec::with_capacity(KEPT));
        reserve.fill();
        reserve
    }

    /// Takes what was given up, as far as it is there again.
    pub fn fill(&mut self) {
        while self.0.len() < KEPT
            && let Ok(file) = File::open("/dev/null")
        {
            self.0.push(file);
        }
    }

    /// Whether there is a descriptor more now.
    pub fn give_up_one(&mut self) -> bool {
        self.0.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_taken_again() {
        let mut reserve = Reserve::new();
        for _ in 0..KEPT {
            assert!(reserve.give_up_one());
        }
        assert!(!reserve.give_up_one());
        reserve.fill();
        assert!(reserve.give_up_one());
    }
}
