//! Whom a cluster's requests are for: groups of endpoints, of which each has a share, and
//! for each group what its policy picks by.
//!
//! A group is what `balance::tiers` and `balance::locality` tell apart: endpoints of one
//! tier that are equally well, in one zone. Mostly there is one, of all endpoints.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::Endpoint;
use crate::balance::health::Health;
use crate::balance::locality::{self, Zone};
use crate::balance::maglev::{Maglev, Size};
use crate::balance::ring::{Place, Ring};
use crate::balance::shares::Shares;
use crate::balance::stride::Schedule;
use crate::balance::subsets::{self, Label, Subsets};
use crate::balance::tiers::{self, Load, Tier};
use crate::config::{Balance, HashTable, Name, Placement, Spread};

/// What a tier or a zone is asked for of which all are silent, of one.
const FOR_SILENT: f64 = 0.01;

/// Never changed, only replaced.
#[derive(Debug, Default)]
pub struct Plan {
    groups: Vec<Group>,
    all: Split,
    subsets: Option<Box<SubsetPlan>>,
}

/// The groups that one kind of request may be for.
#[derive(Debug, Default)]
struct Split {
    /// Those that a request may go to, if only when others have failed it.
    groups: Range<usize>,
    /// `None` where there is one group, which has everything.
    shares: Option<Shares>,
    is_in_panic: bool,
}

#[derive(Debug)]
struct SubsetPlan {
    subsets: Subsets,
    splits: Vec<Split>,
}

/// Endpoints that are alike.
#[derive(Debug)]
pub struct Group {
    /// Indices of endpoints; `None` for all in their order.
    members: Option<Box<[u32]>>,
    weights: Arc<[u32]>,
    all_weights: u64,
    /// Of the requests that may go to this group: what does.
    pub share: f64,
    pub order: Order,
}

/// By what endpoints are picked, as the cluster's policy wants it.
#[derive(Debug)]
pub enum Order {
    Turns(Schedule),
    Ring(Ring),
    Maglev(Maglev),
}

/// What a plan is made of, index by index.
pub struct Members<'a> {
    pub endpoints: &'a [Arc<Endpoint>],
    pub places: &'a [Placement],
    pub weights: &'a Arc<[u32]>,
}

impl Plan {
    pub fn new(members: &Members<'_>, balance: &Balance, spread: &Spread) -> Self {
        let mut making = Making {
            members,
            balance,
            spread,
            groups: Vec::new(),
        };
        let all: Vec<u32> = (0..).take(members.endpoints.len()).collect();
        let whole = making.split(&all);
        let subsets = spread.subsets.as_ref().map(|asked| {
            let labels = members.places.iter().map(|place| place.labels.to_vec());
            let labels: Vec<_> = labels.collect();
            let subsets = Subsets::new(&labels, &asked.by, &asked.fallback);
            let splits = subsets.all().iter();
            let splits = splits.map(|subset| making.split(&subset.members));
            Box::new(SubsetPlan {
                splits: splits.collect(),
                subsets,
            })
        });
        Self {
            groups: making.groups,
            all: whole,
            subsets,
        }
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether sick endpoints are asked since too few are well.
    pub fn is_in_panic(&self) -> bool {
        self.all.is_in_panic
    }

    /// The number of the group that a request with these labels is for, by a place from 0
    /// to 1 that is asked for where there are several. `None` where nobody is to be asked.
    pub fn draw(&self, labels: &[Label], place: impl FnOnce() -> f64) -> Option<usize> {
        let split = self.split(labels)?;
        match &split.shares {
            None => Some(split.groups.start),
            Some(shares) => Some(split.groups.start + shares.at(place())?),
        }
    }

    /// All groups that such a request may go to, the best first.
    pub fn possible(&self, labels: &[Label]) -> Range<usize> {
        let split = self.split(labels);
        split.map_or(0..0, |split| split.groups.clone())
    }

    fn split(&self, labels: &[Label]) -> Option<&Split> {
        let split = match &self.subsets {
            Some(plan) if !labels.is_empty() => {
                let labels = labels
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str()));
                match plan.subsets.find(labels) {
                    subsets::Choice::All => &self.all,
                    subsets::Choice::None => return None,
                    subsets::Choice::Subset(number) => &plan.splits[number],
                }
            }
            _ => &self.all,
        };
        (!split.groups.is_empty()).then_some(split)
    }
}

impl Group {
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    /// The index of the endpoint at a place in the group.
    pub fn index(&self, place: usize) -> usize {
        match &self.members {
            None => place,
            Some(members) => members[place] as usize,
        }
    }

    pub fn weight(&self, place: usize) -> u32 {
        self.weights[place]
    }

    /// What it weighs, of what all in the group do; where nothing weighs all are equal.
    pub fn share_of(&self, place: usize) -> (u32, u64) {
        match self.all_weights {
            0 => (1, self.weights.len() as u64),
            all => (self.weights[place], all),
        }
    }

    /// Whether it gets nothing, since it weighs nothing and others do.
    pub fn is_weightless(&self, place: usize) -> bool {
        self.weights[place] == 0 && self.all_weights > 0
    }
}

struct Making<'a> {
    members: &'a Members<'a>,
    balance: &'a Balance,
    spread: &'a Spread,
    groups: Vec<Group>,
}

/// The endpoints of a tier, by how they are.
#[derive(Default)]
struct Parts {
    healthy: Vec<u32>,
    degraded: Vec<u32>,
    /// Asked with the healthy ones.
    silent: Vec<u32>,
    sick: Vec<u32>,
}

impl Parts {
    fn count(&self) -> usize {
        self.healthy.len() + self.degraded.len() + self.silent.len() + self.sick.len()
    }
}

impl Making<'_> {
    fn split(&mut self, candidates: &[u32]) -> Split {
        let tiers = self.tiers(candidates);
        let sizes = tiers.iter().map(|parts| Tier {
            healthy: parts.healthy.len() as u64,
            degraded: parts.degraded.len() as u64,
            all: parts.count() as u64,
        });
        let rules = tiers::Rules {
            panic_below: f64::from(self.spread.panic_percent) / 100.0,
            ..tiers::Rules::default()
        };
        let loads = tiers::loads(&sizes.collect::<Vec<_>>(), &rules);
        let first = self.groups.len();
        for (parts, load) in tiers.iter().zip(&loads) {
            self.tier(parts, load, rules.overprovisioning);
        }
        let groups = first..self.groups.len();
        let shares: Vec<_> = self.groups[first..]
            .iter()
            .map(|group| group.share)
            .collect();
        Split {
            is_in_panic: loads.iter().any(|load| load.any > 0.0),
            shares: (shares.len() != 1 || shares[0] <= 0.0).then(|| Shares::new(shares)),
            groups,
        }
    }

    /// Who is drained is in no tier, nor is who weighs nothing where another does.
    fn tiers(&self, candidates: &[u32]) -> Vec<Parts> {
        let is_there = |index: &&u32| {
            let health = self.members.endpoints[**index as usize].vitals.health();
            health != Health::Drained
        };
        let there: Vec<u32> = candidates.iter().filter(is_there).copied().collect();
        let weighs = |index: &u32| self.members.weights[*index as usize] > 0;
        let any_weighs = there.iter().any(weighs);
        let mut tiers: BTreeMap<u8, Parts> = BTreeMap::new();
        for index in there {
            if any_weighs && !weighs(&index) {
                continue;
            }
            let place = index as usize;
            let parts = tiers.entry(self.members.places[place].tier).or_default();
            match self.members.endpoints[place].vitals.health() {
                Health::Healthy => parts.healthy.push(index),
                Health::Degraded => parts.degraded.push(index),
                Health::Silent => parts.silent.push(index),
                Health::Sick(_) => parts.sick.push(index),
                Health::Drained => {}
            }
        }
        tiers.into_values().collect()
    }

    fn tier(&mut self, parts: &Parts, load: &Load, overprovisioning: f64) {
        let Parts {
            healthy,
            degraded,
            silent,
            sick,
        } = parts;
        let mut all = [healthy.as_slice(), degraded, silent, sick].concat();
        all.sort_unstable();
        if load.any > 0.0 {
            return self.zones((&all, &[]), &all, load.any, overprovisioning);
        }
        // They are with the best of their tier, and where they are alone get hardly anything:
        // enough to find out that they are back.
        let none: &[u32] = &[];
        let (with_healthy, with_degraded) = match (healthy.is_empty(), degraded.is_empty()) {
            (false, _) => (silent.as_slice(), none),
            (true, false) => (none, silent.as_slice()),
            (true, true) => return self.zones((none, silent), &all, FOR_SILENT, overprovisioning),
        };
        self.zones(
            (healthy, with_healthy),
            &all,
            load.healthy,
            overprovisioning,
        );
        self.zones(
            (degraded, with_degraded),
            &all,
            load.degraded,
            overprovisioning,
        );
    }

    /// Groups of those who are able and those who are silent, of a tier where all these are.
    fn zones(
        &mut self,
        (able, silent): (&[u32], &[u32]),
        all: &[u32],
        share: f64,
        overprovisioning: f64,
    ) {
        if able.is_empty() && silent.is_empty() {
            return;
        }
        let zone_of = |index: u32| self.members.places[index as usize].zone.as_ref();
        let mut zones: BTreeMap<Option<&Name>, (Zone, Vec<u32>)> = BTreeMap::new();
        let own = self.spread.zone.as_ref();
        let is_anywhere = own.is_none() || all.iter().all(|index| zone_of(*index) != own);
        let weight = |index: u32| f64::from(self.members.weights[index as usize].max(1));
        let name = |index: u32| (!is_anywhere).then(|| zone_of(index)).flatten();
        for index in all {
            let (zone, _) = zones.entry(name(*index)).or_default();
            zone.traffic = 1.0;
            zone.all += weight(*index);
        }
        for index in able {
            let (zone, members) = zones.entry(name(*index)).or_default();
            zone.able += weight(*index);
            members.push(*index);
        }
        for index in silent {
            let (_, members) = zones.entry(name(*index)).or_default();
            members.push(*index);
        }
        for (zone, members) in zones.values_mut() {
            members.sort_unstable();
            if zone.able == 0.0 && !members.is_empty() {
                // As in a tier.
                zone.able = zone.all * FOR_SILENT;
            }
        }
        let own = zones.keys().position(|zone| *zone == own);
        let (zones, members): (Vec<_>, Vec<_>) = zones.into_values().unzip();
        let shares = locality::shares(&zones, own, overprovisioning);
        for (number, members) in members.into_iter().enumerate() {
            if !members.is_empty() {
                let group = self.group(&members, share * shares.of(number));
                self.groups.push(group);
            }
        }
    }

    fn group(&self, indices: &[u32], share: f64) -> Group {
        let all = self.members.endpoints.len();
        let weights: Arc<[u32]> = match indices.len() == all {
            true => Arc::clone(self.members.weights),
            false => {
                let weight = |index: &u32| self.members.weights[*index as usize];
                indices.iter().map(weight).collect()
            }
        };
        let is_whole = Arc::ptr_eq(&weights, self.members.weights);
        Group {
            order: Order::new(self.balance, &self.named(indices), &weights, is_whole),
            members: (!is_whole).then(|| indices.into()),
            all_weights: weights.iter().copied().map(u64::from).sum(),
            weights,
            share,
        }
    }

    /// Only those that hash need to know who they are.
    fn named(&self, indices: &[u32]) -> Vec<Name> {
        if self.balance.hashing().is_none() {
            return Vec::new();
        }
        let endpoints = || {
            let endpoints = indices.iter();
            endpoints.map(|index| &self.members.endpoints[*index as usize])
        };
        let mut labels: HashMap<_, usize> = HashMap::new();
        for endpoint in endpoints() {
            *labels.entry(&endpoint.label).or_default() += 1;
        }
        let name = |endpoint: &Arc<Endpoint>| match labels[&endpoint.label] {
            1 => endpoint.label.clone(),
            // Several hosts at one address, of which TLS tells which is meant.
            _ => format!("{}/{}", endpoint.label, endpoint.tls_name.to_str()).into(),
        };
        endpoints().map(name).collect()
    }
}

impl Order {
    fn new(balance: &Balance, names: &[Name], weights: &[u32], is_whole: bool) -> Self {
        let Some(hashing) = balance.hashing() else {
            return Self::Turns(Schedule::new(weights));
        };
        // Where all weigh nothing, all are equal.
        let nothing = weights.iter().all(|weight| *weight == 0);
        let places = names.iter().zip(weights).map(|(name, weight)| Place {
            name,
            weight: *weight + u32::from(nothing),
        });
        let places: Vec<_> = places.collect();
        match hashing.table {
            HashTable::Ring => Self::Ring(Ring::new(&places)),
            HashTable::Maglev => {
                Self::Maglev(Maglev::new(&places, size_for(places.len(), is_whole)))
            }
        }
    }
}

/// A hundred slots for each endpoint. Of parts there may be many, so theirs are small.
fn size_for(endpoints: usize, is_whole: bool) -> Size {
    match endpoints {
        0..=65 if !is_whole => Size::new(6_553).expect("a prime"),
        0..=655 => Size::DEFAULT,
        656..=6_553 => Size::new(655_373).expect("a prime"),
        _ => Size::MAX,
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
