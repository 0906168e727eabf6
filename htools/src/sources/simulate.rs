//! Clusters that are only described: `policy,nodes,disk,ram,cpus[,spindles[,exclusive storage]]`, one
//! text for each group.
//!
//! What is given last is the first group, as in Ganeti, whose users' scripts count on it.

use super::units::mebibytes;
use crate::model::{AllocPolicy, Cluster, Group, GroupIdx, Node, Policy};
use std::str::FromStr;

/// More would only be a slip of the keyboard.
const MOST_NODES: usize = 100_000;

struct Description {
    alloc_policy: AllocPolicy,
    nodes: usize,
    /// MiB.
    disk: i64,
    /// MiB.
    memory: i64,
    cpus: u32,
    spindles: u32,
    exclusive_storage: bool,
}

/// The cluster of some descriptions, in the order given. Errors: which one, which field, and why.
pub fn read<S: AsRef<str>>(descriptions: &[S]) -> Result<Cluster, String> {
    let mut cluster = Cluster::default();
    for (at, text) in descriptions.iter().rev().enumerate() {
        let description = describe(text.as_ref())?;
        if cluster.nodes.len() + description.nodes > MOST_NODES {
            return Err(format!("node count: '{}' are more than {MOST_NODES}", description.nodes));
        }
        add(&mut cluster, at + 1, &description);
    }
    Ok(cluster)
}

fn describe(text: &str) -> Result<Description, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let (5..=7) = parts.len() else {
        return Err(format!(
            "Invalid cluster specification, expected 6 comma-separated sections (allocation policy, node \
             count, disk size, memory size, number of CPUs, spindles) but got {}: '{text}'",
            if text.is_empty() { 0 } else { parts.len() }
        ));
    };
    Ok(Description {
        alloc_policy: alloc_policy(parts[0])?,
        nodes: number("node count", parts[1])?,
        disk: mebibytes(parts[2]).map_err(|why| format!("disk size: {why}"))?,
        memory: mebibytes(parts[3]).map_err(|why| format!("memory size: {why}"))?,
        cpus: number("cpu count", parts[4])?,
        spindles: number("spindles", parts.get(5).unwrap_or(&"1"))?,
        exclusive_storage: match parts.get(6) {
            None | Some(&"False") => false,
            Some(&"True") => true,
            Some(word) => {
                return Err(format!("exclusive storage: '{word}' is neither True nor False"));
            }
        },
    })
}

fn alloc_policy(word: &str) -> Result<AllocPolicy, String> {
    match word {
        "p" => Ok(AllocPolicy::Preferred),
        "a" => Ok(AllocPolicy::LastResort),
        "u" => Ok(AllocPolicy::Unallocable),
        _ => word.parse().map_err(|_| {
            format!(
                "allocation policy: '{word}' is none of preferred, last_resort, unallocable (or p, a, u)"
            )
        }),
    }
}

fn number<T: FromStr>(what: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{what}: cannot parse string '{word}'"))
}

fn add(cluster: &mut Cluster, number: usize, description: &Description) {
    let group = GroupIdx::of(cluster.groups.len());
    cluster.groups.push(Group {
        name: format!("group-{number:02}"),
        uuid: format!("fake-uuid-{number:02}"),
        alloc_policy: description.alloc_policy,
        tags: vec![],
        networks: vec![],
        policy: Policy::default(),
        own_policy: false,
    });
    for at in 1..=description.nodes {
        cluster.nodes.push(Node {
            name: format!("node-{number:02}-{at:03}"),
            group,
            total_memory: description.memory as f64,
            node_memory: 0,
            free_memory: description.memory,
            total_disk: description.disk as f64,
            free_disk: description.disk,
            total_cpus: description.cpus.into(),
            node_cpus: 1,
            cpu_speed: 1.0,
            spindles: description.spindles.into(),
            free_spindles: 0,
            exclusive_storage: description.exclusive_storage,
            offline: false,
            master: number == 1 && at == 1,
            tags: vec![],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::text;
    use proptest::prelude::*;

    /// As Ganeti 3.0.2 saves what these options describe.
    const SAVED: &str = "\
group-01|fake-uuid-01|last_resort||
group-02|fake-uuid-02|preferred||

node-01-001|15258|0|15258|10240|10240|2|M|fake-uuid-01|3||Y|0|1|1.0
node-02-001|16384|0|16384|102400|102400|4|N|fake-uuid-02|1||N|0|1|1.0
node-02-002|16384|0|16384|102400|102400|4|N|fake-uuid-02|1||N|0|1|1.0



|128,1,1024,1,1,1|128,1,1024,1,1,1;32768,8,1048576,16,8,12|diskless,file,sharedfile,plain,blockdev,drbd,rbd,ext,gluster|4.0|32.0
group-01|128,1,1024,1,1,1|128,1,1024,1,1,1;32768,8,1048576,16,8,12|diskless,file,sharedfile,plain,blockdev,drbd,rbd,ext,gluster|4.0|32.0
group-02|128,1,1024,1,1,1|128,1,1024,1,1,1;32768,8,1048576,16,8,12|diskless,file,sharedfile,plain,blockdev,drbd,rbd,ext,gluster|4.0|32.0
";

    #[test]
    fn the_last_one_given_is_the_first_group() {
        let cluster = read(&["p,2,100g,16g,4", "last_resort,1,10g,16G,2,3,True"]).expect("cluster");
        assert_eq!(text::write(&cluster), SAVED);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "but got 0: ''"),
            ("p,2,100g", "but got 3: 'p,2,100g'"),
            ("p,x,100g,3,3", "node count: cannot parse string 'x'"),
            ("p,-1,100g,3,3", "node count: cannot parse string '-1'"),
            ("p,1000000000,1,1,1", "node count: '1000000000' are more than 100000"),
            ("p,2,100z,3,3", "disk size: Unknown unit 'z'"),
            ("p,2,1,,3", "memory size: Can't parse string ''"),
            ("p,2,1,1,4294967296", "cpu count: cannot parse string '4294967296'"),
            ("p,2,1,1,1,x", "spindles: cannot parse string 'x'"),
            ("p,2,1,1,1,1,yes", "exclusive storage: 'yes' is neither True nor False"),
            ("q,2,1,1,1", "allocation policy: 'q' is none of"),
        ];
        for (text, message) in cases {
            let error = read(&[text]).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            text in prop_oneof![
                ".{0,30}",
                "[pauq]?,[0-9]{1,2},[0-9]{0,22}[mgtMGT]?,[0-9]{0,22}[mgtMGT]?,[0-9]{0,11}(,[0-9]{0,11})?",
            ],
        ) {
            if let Ok(cluster) = read(&[&text]) {
                prop_assert_eq!(text::read(&text::write(&cluster)).map(|c| c.nodes.len()), Ok(cluster.nodes.len()));
            }
        }
    }
}
