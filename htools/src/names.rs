//! Names in tables: without the domain that all have in common.

use crate::model::Cluster;

/// Bytes of the longest common end of all names that begins with a dot; 0 if there is none.
///
/// A name that would vanish whole keeps its first label.
pub fn common_suffix<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return 0 };
    let mut suffix = match first.find('.') {
        Some(at) => &first[at..],
        None => return 0,
    };
    for name in names {
        while !name.ends_with(suffix) || name.len() == suffix.len() {
            match suffix[1..].find('.') {
                Some(at) => suffix = &suffix[1 + at..],
                None => return 0,
            }
        }
    }
    suffix.len()
}

/// Names of a cluster's nodes and instances without what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShortNames {
    suffix: String,
}

impl ShortNames {
    /// Of all names of a cluster.
    pub fn of(cluster: &Cluster) -> ShortNames {
        let nodes = cluster.nodes.iter().map(|node| node.name.as_str());
        let instances = cluster.instances.iter().map(|instance| instance.name.as_str());
        let cut = common_suffix(nodes.clone().chain(instances.clone()));
        let suffix = nodes.chain(instances).next().map_or("", |name| &name[name.len() - cut..]);
        ShortNames { suffix: suffix.to_owned() }
    }

    /// What is left away; empty: nothing.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// A name of the cluster as it is shown.
    pub fn show<'a>(&self, name: &'a str) -> &'a str {
        name.strip_suffix(self.suffix.as_str()).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::common_suffix;

    #[test]
    fn the_common_domain_is_found() {
        let all = ["i1.vm.example.com", "n1.hw.example.com"];
        assert_eq!(common_suffix(all), ".example.com".len());
        assert_eq!(common_suffix(["a.example.com"]), ".example.com".len());
        assert_eq!(common_suffix(["a", "b.c"]), 0);
        assert_eq!(common_suffix(["a.b", ".b"]), 0);
        assert_eq!(common_suffix([]), 0);
    }
}
