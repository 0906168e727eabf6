//! What tags mean for placement, compiled to small numbers.
//!
//! Cluster tags say which tags of nodes and instances count: `htools:iextags:X` (exclusion: two
//! instances with the same one should have different primaries), `htools:migration:X` and
//! `htools:allowmigration:A::B` (who can migrate to whom), `htools:nlocation:X` (failure domains),
//! `htools:desiredlocation:X`. Source: Ganeti's reference on htools, tags.

use super::Cluster;
use std::collections::{BTreeSet, HashMap};

/// Numbers of tags, sorted, without repetition.
pub type Tags = Box<[u32]>;

/// The tags of everything, as numbers.
#[derive(Clone, Debug, Default)]
pub struct TagRules {
    /// By instance: what it should not share a primary node over.
    pub exclusion: Vec<Tags>,
    /// By instance: where it would like to be. Numbers as in `location`.
    pub desired: Vec<Tags>,
    /// By node: what an instance must be able to leave.
    pub migration: Vec<Tags>,
    /// By node: what it takes in.
    pub receive: Vec<Tags>,
    /// By node: its failure domains.
    pub location: Vec<Tags>,
    /// How many exclusion tags there are.
    pub exclusion_count: usize,
    /// Whether any node has a location that counts.
    pub has_locations: bool,
}

#[derive(Default)]
struct Interner<'a>(HashMap<&'a str, u32>);

impl<'a> Interner<'a> {
    fn number(&mut self, tag: &'a str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(tag).or_insert(next)
    }

    fn numbers(&mut self, tags: impl Iterator<Item = &'a str>) -> Tags {
        let numbers: BTreeSet<u32> = tags.map(|tag| self.number(tag)).collect();
        numbers.into_iter().collect()
    }
}

/// The rest of each cluster tag behind a prefix.
fn values<'a>(cluster: &'a Cluster, prefix: &'static str) -> Vec<&'a str> {
    cluster.tags.iter().filter_map(|tag| tag.strip_prefix(prefix)).collect()
}

/// Tags of a node in one of these families: `X:…`.
fn in_families<'a>(tags: &'a [String], families: &[&str]) -> impl Iterator<Item = &'a str> {
    let member = |tag: &&str| {
        let of = |family: &&str| tag.strip_prefix(*family).is_some_and(|r| r.starts_with(':'));
        families.iter().any(of)
    };
    tags.iter().map(String::as_str).filter(move |tag| member(tag))
}

/// Tags that begin with one of these texts.
fn beginning<'a>(tags: &'a [String], prefixes: &[&str]) -> impl Iterator<Item = &'a str> {
    let begins = |tag: &&str| prefixes.iter().any(|prefix| tag.starts_with(prefix));
    tags.iter().map(String::as_str).filter(move |tag| begins(tag))
}

impl TagRules {
    /// Of a cluster's tags; `exclusion` are further families, `X:`, asked for by option.
    pub fn of(cluster: &Cluster, exclusion: &[String]) -> TagRules {
        let mut prefixes = values(cluster, "htools:iextags:");
        prefixes.extend(exclusion.iter().map(String::as_str));
        let desired = values(cluster, "htools:desiredlocation:");
        let (mut exclusions, mut places, mut domains) =
            (Interner::default(), Interner::default(), Interner::default());
        let mut rules = TagRules::default();
        for instance in &cluster.instances {
            rules.exclusion.push(exclusions.numbers(beginning(&instance.tags, &prefixes)));
            rules.desired.push(places.numbers(beginning(&instance.tags, &desired)));
        }
        let families = values(cluster, "htools:nlocation:");
        let migration = values(cluster, "htools:migration:");
        let allowed: Vec<(&str, &str)> = values(cluster, "htools:allowmigration:")
            .into_iter()
            .filter_map(|pair| pair.split_once("::"))
            .collect();
        for node in &cluster.nodes {
            rules.location.push(places.numbers(in_families(&node.tags, &families)));
            let own: Vec<&str> = in_families(&node.tags, &migration).collect();
            rules.migration.push(domains.numbers(own.iter().copied()));
            let more = allowed.iter().filter(|(_, to)| own.contains(to)).map(|(from, _)| *from);
            rules.receive.push(domains.numbers(own.iter().copied().chain(more)));
        }
        rules.exclusion_count = exclusions.0.len();
        rules.has_locations = rules.location.iter().any(|tags| !tags.is_empty());
        rules
    }

    /// Whether a running instance can go from one node to the other.
    pub fn can_migrate(&self, from: super::NodeIdx, to: super::NodeIdx) -> bool {
        let (leaves, takes) = (&self.migration[from.at()], &self.receive[to.at()]);
        leaves.iter().all(|tag| takes.binary_search(tag).is_ok())
    }
}

/// How many tags two sorted lists share.
pub fn shared(one: &[u32], other: &[u32]) -> i64 {
    one.iter().filter(|tag| other.binary_search(tag).is_ok()).count() as i64
}

/// How many tags of one sorted list the other lacks.
pub fn missing(one: &[u32], other: &[u32]) -> i64 {
    one.len() as i64 - shared(one, other)
}
