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
    /// Whether any node has a location that counts.
    pub has_locations: bool,
    /// Beginnings of tags of instances that count.
    exclusion_prefixes: Vec<String>,
    desired_prefixes: Vec<String>,
    exclusions: Interner,
    places: Interner,
}

/// Numbers given to tags.
#[derive(Clone, Debug, Default)]
struct Interner(HashMap<String, u32>);

impl Interner {
    fn number(&mut self, tag: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        match self.0.get(tag) {
            Some(number) => *number,
            None => *self.0.entry(tag.to_owned()).or_insert(next),
        }
    }

    fn numbers<'a>(&mut self, tags: impl Iterator<Item = &'a str>) -> Tags {
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
fn beginning<'a>(tags: &'a [String], prefixes: &[String]) -> impl Iterator<Item = &'a str> {
    let begins = |tag: &&str| prefixes.iter().any(|prefix| tag.starts_with(prefix.as_str()));
    tags.iter().map(String::as_str).filter(move |tag| begins(tag))
}

impl TagRules {
    /// Of a cluster's tags; `exclusion` are further families, `X:`, asked for by option.
    pub fn of(cluster: &Cluster, exclusion: &[String]) -> TagRules {
        let owned = |tags: Vec<&str>| tags.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut rules = TagRules {
            exclusion_prefixes: owned(values(cluster, "htools:iextags:")),
            desired_prefixes: owned(values(cluster, "htools:desiredlocation:")),
            ..TagRules::default()
        };
        rules.exclusion_prefixes.extend_from_slice(exclusion);
        for instance in &cluster.instances {
            rules.add_instance(&instance.tags);
        }
        let mut domains = Interner::default();
        let families = values(cluster, "htools:nlocation:");
        let migration = values(cluster, "htools:migration:");
        let allowed: Vec<(&str, &str)> = values(cluster, "htools:allowmigration:")
            .into_iter()
            .filter_map(|pair| pair.split_once("::"))
            .collect();
        for node in &cluster.nodes {
            let location = rules.places.numbers(in_families(&node.tags, &families));
            rules.location.push(location);
            let own: Vec<&str> = in_families(&node.tags, &migration).collect();
            rules.migration.push(domains.numbers(own.iter().copied()));
            let more = allowed.iter().filter(|(_, to)| own.contains(to)).map(|(from, _)| *from);
            rules.receive.push(domains.numbers(own.iter().copied().chain(more)));
        }
        rules.has_locations = rules.location.iter().any(|tags| !tags.is_empty());
        rules
    }

    /// One more instance: the tags it has.
    pub fn add_instance(&mut self, tags: &[String]) {
        let exclusion = self.exclusions.numbers(beginning(tags, &self.exclusion_prefixes));
        let desired = self.places.numbers(beginning(tags, &self.desired_prefixes));
        self.exclusion.push(exclusion);
        self.desired.push(desired);
    }

    /// The tags of an instance that it should not share a primary node over.
    pub fn exclusion_tags<'a>(&self, tags: &'a [String]) -> impl Iterator<Item = &'a str> {
        beginning(tags, &self.exclusion_prefixes)
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
