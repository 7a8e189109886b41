//! Endpoints by their labels.
//!
//! Envoy's subset load balancer: a cluster names the sets of keys by which it may be asked
//! (`[version]`, `[version, stage]`), so that subsets are worked out beforehand, and a
//! request that names labels finds its subset by one look.

use std::collections::HashMap;

use super::hash::{after, hash};

/// A key and a value.
pub type Label = (String, String);

/// Beyond so many subsets none are added: labels that differ for each endpoint are none to
/// choose by.
pub const MAX_SUBSETS: usize = 65_536;

/// For labels that no endpoint has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// Any endpoint.
    All,
    /// None: better no answer than one from elsewhere.
    None,
    /// Those of the subset with these labels, where there is one.
    Default(Vec<Label>),
}

/// The endpoints that are to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    All,
    None,
    /// By its number.
    Subset(usize),
}

#[derive(Debug)]
pub struct Subset {
    /// In the order of their keys.
    pub labels: Box<[Label]>,
    /// Indices of endpoints.
    pub members: Vec<u32>,
}

/// Never changed, only built anew.
#[derive(Debug)]
pub struct Subsets {
    subsets: Vec<Subset>,
    /// By the hash of their labels.
    places: HashMap<u64, usize>,
    fallback: Choice,
}

impl Subsets {
    /// From the labels of endpoints, and the sets of keys by which they may be asked for.
    pub fn new(endpoints: &[Vec<Label>], selectors: &[Vec<String>], fallback: &Fallback) -> Self {
        let mut subsets = Self {
            subsets: Vec::new(),
            places: HashMap::new(),
            fallback: Choice::None,
        };
        let mut selectors: Vec<_> = selectors.iter().map(|keys| in_order(keys)).collect();
        selectors.sort_unstable();
        selectors.dedup();
        for selector in &selectors {
            for (index, labels) in (0..).zip(endpoints) {
                if let Some(labels) = selected(labels, selector) {
                    subsets.add(labels, index);
                }
            }
        }
        subsets.fallback = match fallback {
            Fallback::All => Choice::All,
            Fallback::None => Choice::None,
            Fallback::Default(labels) => {
                let labels = labels
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str()));
                subsets.place(labels).map_or(Choice::None, Choice::Subset)
            }
        };
        subsets
    }

    pub fn all(&self) -> &[Subset] {
        &self.subsets
    }

    /// For a request with these labels, in any order. Without any all endpoints are asked.
    pub fn find<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Choice {
        if labels.clone().next().is_none() {
            return Choice::All;
        }
        self.place(labels).map_or(self.fallback, Choice::Subset)
    }

    fn place<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<usize> {
        let place = *self.places.get(&of_labels(labels.clone()))?;
        let own = &self.subsets[place].labels;
        let is_own = |label| {
            own.iter()
                .any(|(key, value)| (key.as_str(), value.as_str()) == label)
        };
        let are_all_own = labels.clone().all(is_own) && labels.count() == own.len();
        are_all_own.then_some(place)
    }

    fn add(&mut self, mut labels: Vec<Label>, index: u32) {
        labels.sort_unstable();
        let of_labels = of_labels(
            labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        let next = self.subsets.len();
        let place = *self.places.entry(of_labels).or_insert(next);
        if place == next && next < MAX_SUBSETS {
            self.subsets.push(Subset {
                labels: labels.into(),
                members: vec![index],
            });
        } else if let Some(subset) = self.subsets.get_mut(place)
            && *subset.labels == *labels
        {
            subset.members.push(index);
        } else if place == next {
            self.places.remove(&of_labels);
        }
    }
}

/// Keys that are the same in any order, once each.
fn in_order(keys: &[String]) -> Vec<&String> {
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The labels with these keys; `None` where one is missing, or there are no keys.
fn selected(labels: &[Label], selector: &[&String]) -> Option<Vec<Label>> {
    if selector.is_empty() {
        return None;
    }
    let label = |wanted: &&String| labels.iter().find(|(key, _)| key == *wanted).cloned();
    selector.iter().map(label).collect()
}

/// The same in any order.
fn of_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let label = |(key, value): (&str, &str)| after(hash(key.as_bytes()), hash(value.as_bytes()));
    labels.map(label).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<Label> {
        let label = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        text.split_whitespace().map(label).collect()
    }

    fn subsets(fallback: &Fallback) -> Subsets {
        let endpoints = ["v=1 stage=a", "v=1 stage=b", "v=2 stage=a", "stage=c", ""];
        let endpoints = endpoints.map(labels);
        let selectors = [vec!["v".into()], vec!["v".into(), "stage".into()], vec![]];
        Subsets::new(&endpoints, &selectors, fallback)
    }

    fn find(subsets: &Subsets, text: &str) -> Choice {
        let labels = labels(text);
        subsets.find(
            labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    fn check(text: &str, members: &[u32]) {
        let subsets = subsets(&Fallback::None);
        match find(&subsets, text) {
            Choice::Subset(place) => assert_eq!(subsets.all()[place].members, members, "{text}"),
            Choice::None => assert!(members.is_empty(), "{text}"),
            Choice::All => panic!("{text}"),
        }
    }

    #[test]
    fn endpoints_with_the_labels_are_found() {
        check("v=1", &[0, 1]);
        check("v=2", &[2]);
        check("v=1 stage=b", &[1]);
        check("stage=b v=1", &[1]);
        check("v=3", &[]);
        check("v=1 stage=c", &[]);
        // Not asked for by this key alone.
        check("stage=c", &[]);
        check("v=1 v=1", &[]);
        check("v=1 stage=b zone=x", &[]);
        check("1=v", &[]);
    }

    #[test]
    fn without_labels_all_are_asked() {
        assert_eq!(find(&subsets(&Fallback::None), ""), Choice::All);
    }

    #[test]
    fn what_nobody_has_falls_back() {
        assert_eq!(find(&subsets(&Fallback::All), "v=9"), Choice::All);
        assert_eq!(find(&subsets(&Fallback::None), "v=9"), Choice::None);
        let default = subsets(&Fallback::Default(labels("v=2")));
        assert_eq!(find(&default, "v=9"), find(&default, "v=2"));
        let nothing = subsets(&Fallback::Default(labels("v=7")));
        assert_eq!(find(&nothing, "v=9"), Choice::None);
    }

    #[test]
    fn selectors_that_say_the_same_add_nobody_twice() {
        let endpoints = [labels("v=1"), labels("v=1")];
        let selectors = [vec!["v".into()], vec!["v".into(), "v".into()]];
        let subsets = Subsets::new(&endpoints, &selectors, &Fallback::All);
        assert_eq!(subsets.all().len(), 1);
        let members = &subsets.all()[0].members;
        assert_eq!(members.len(), 2, "{members:?}");
    }

    #[test]
    fn labels_of_their_own_are_bounded() {
        let endpoints: Vec<_> = (0..MAX_SUBSETS + 10)
            .map(|number| labels(&format!("id={number}")))
            .collect();
        let subsets = Subsets::new(&endpoints, &[vec!["id".into()]], &Fallback::None);
        assert_eq!(subsets.all().len(), MAX_SUBSETS);
        assert_eq!(find(&subsets, "id=7"), Choice::Subset(7));
        assert_eq!(
            find(&subsets, &format!("id={}", MAX_SUBSETS + 3)),
            Choice::None
        );
    }
}
