//! How bad it is, decided by what was measured.

use crate::config::Marks;

/// What is given up; each with all before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Fine,
    /// Connections that could carry more requests.
    Close,
    /// New requests.
    Shed,
    /// New connections.
    Refuse,
}

impl Level {
    pub const ALL: [Level; 4] = [Level::Fine, Level::Close, Level::Shed, Level::Refuse];

    /// By its number.
    pub fn of(number: u8) -> Self {
        Self::ALL[usize::from(number).min(Self::ALL.len() - 1)]
    }

    /// What the log calls it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Fine => "fine",
            Level::Close => "closing connections",
            Level::Shed => "shedding requests",
            Level::Refuse => "refusing connections",
        }
    }

    /// What follows upon this level when so much is used. It rises at once, and falls when
    /// a tenth less is used than what began it, lest it goes up and down.
    pub fn next(self, used: u64, marks: &Marks) -> Self {
        let rises_to = beyond(used, marks);
        let falls_to = beyond(used.saturating_add(used / 9), marks);
        rises_to.max(self.min(falls_to))
    }
}

fn beyond(used: u64, marks: &Marks) -> Level {
    match () {
        () if used > marks.refuse => Level::Refuse,
        () if used > marks.shed => Level::Shed,
        () if marks.close.is_some_and(|close| used > close) => Level::Close,
        () => Level::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Close, Fine, Refuse, Shed};
    use super::*;

    const MARKS: Marks = Marks {
        close: Some(850),
        shed: 920,
        refuse: 970,
    };

    /// The levels that follow each other when so much is used.
    fn check(marks: &Marks, used: &[u64], levels: &[Level]) {
        let found: Vec<_> = used
            .iter()
            .scan(Fine, |level, used| {
                *level = level.next(*used, marks);
                Some(*level)
            })
            .collect();
        assert_eq!(found, levels, "{used:?}");
    }

    #[test]
    fn it_rises_at_once_and_falls_late() {
        check(
            &MARKS,
            &[0, 850, 851, 920, 921],
            &[Fine, Fine, Close, Close, Shed],
        );
        check(
            &MARKS,
            &[970, 971, 5000, u64::MAX],
            &[Shed, Refuse, Refuse, Refuse],
        );
        check(
            &MARKS,
            &[971, 960, 880, 872],
            &[Refuse, Refuse, Refuse, Shed],
        );
        check(&MARKS, &[921, 850, 829, 828], &[Shed, Shed, Shed, Close]);
        check(&MARKS, &[851, 840, 766, 765], &[Close, Close, Close, Fine]);
        check(&MARKS, &[1000, 0], &[Refuse, Fine]);
        check(
            &MARKS,
            &[851, 840, 930, 840, 971],
            &[Close, Close, Shed, Shed, Refuse],
        );
    }

    #[test]
    fn what_is_not_configured_does_not_happen() {
        let marks = Marks {
            close: None,
            ..MARKS
        };
        check(&marks, &[851, 921, 850, 0], &[Fine, Shed, Shed, Fine]);
        let never = Marks {
            close: Some(1000),
            shed: 1000,
            refuse: 1000,
        };
        check(&never, &[999, 1000], &[Fine, Fine]);
    }

    #[test]
    fn levels_are_numbered_in_their_order() {
        for (number, level) in Level::ALL.into_iter().enumerate() {
            assert_eq!(level as usize, number);
            assert_eq!(Level::of(number as u8), level);
        }
        assert_eq!(Level::of(200), Refuse);
    }
}
