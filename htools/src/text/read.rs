//! Reading.

use super::Malformed;
use crate::model::{
    AllocPolicy, Cluster, Disk, DiskTemplate, Group, GroupIdx, Instance, InstanceSpec, MinMax,
    Node, NodeIdx, Policy, Status, Utilisation,
};
use roost_proto::error::Error;
use std::collections::HashMap;
use std::str::FromStr;

type Result<T> = std::result::Result<T, Malformed>;

/// A line and what is in its columns.
struct Row<'a> {
    line: usize,
    columns: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn error(&self, field: &'static str, message: String) -> Malformed {
        Malformed { line: self.line, field, message }
    }

    /// The column, or its default where the line is shorter.
    fn or(&self, at: usize, default: &'a str) -> &'a str {
        self.columns.get(at).copied().unwrap_or(default)
    }

    /// Blanks around it do not count: columns may be aligned by hand.
    fn number<T: FromStr>(&self, at: usize, field: &'static str, default: &'a str) -> Result<T> {
        let word = self.or(at, default).trim();
        word.parse().map_err(|_| self.error(field, format!("'{word}' is not a number")))
    }

    /// A figure that is not absurd. What is left of a node may be negative: it has promised too much.
    fn amount(&self, at: usize, field: &'static str, default: &'a str) -> Result<i64> {
        let number: i64 = self.number(at, field, default)?;
        self.within(field, number as f64).map(|()| number)
    }

    /// What an instance takes: not negative.
    fn size(&self, at: usize, field: &'static str, default: &'a str) -> Result<i64> {
        match self.amount(at, field, default)? {
            size @ 0.. => Ok(size),
            size => Err(self.error(field, format!("{size} is negative"))),
        }
    }

    fn real(&self, at: usize, field: &'static str, default: &'a str) -> Result<f64> {
        let number: f64 = self.number(at, field, default)?;
        self.within(field, number).map(|()| number)
    }

    fn within(&self, field: &'static str, number: f64) -> Result<()> {
        // An exbibyte in MiB; sums of such stay far from the end of their type.
        const MOST: f64 = (1_u64 << 40) as f64;
        if number.abs() <= MOST {
            return Ok(());
        }
        Err(self.error(field, format!("{number} is out of range")))
    }

    fn truth(&self, at: usize, field: &'static str, default: &'a str) -> Result<bool> {
        match self.or(at, default) {
            "Y" => Ok(true),
            "N" => Ok(false),
            other => Err(self.error(field, format!("'{other}' is neither Y nor N"))),
        }
    }

    fn at_least(&self, columns: usize, what: &str) -> Result<()> {
        if self.columns.len() >= columns {
            return Ok(());
        }
        let has = self.columns.len();
        Err(self.error("", format!("{what} has at least {columns} columns; here are {has}")))
    }
}

fn list(column: &str) -> Vec<String> {
    column.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// A cluster of its text. Errors: the first thing that is wrong, with its line and field.
pub fn read(text: &str) -> Result<Cluster> {
    let mut sections: Vec<Vec<(usize, &str)>> = vec![vec![]];
    for (at, line) in text.lines().enumerate() {
        // From systems that end lines otherwise, and not only once.
        let line = line.trim_end_matches('\r');
        if line.contains('\r') {
            let message = "a carriage return in the middle of the line".to_owned();
            return Err(Malformed { line: at + 1, field: "", message });
        }
        match (line.is_empty(), sections.last_mut()) {
            (false, Some(section)) => section.push((at + 1, line)),
            _ => sections.push(vec![]),
        }
    }
    if sections.len() < 4 {
        let found = if text.is_empty() { 0 } else { sections.len() };
        let message =
            format!("Invalid format of the input file: {found} sections instead of 4 or more");
        return Err(Malformed { line: 0, field: "", message });
    }
    let rows = |at: usize| {
        let section = sections.get(at).map(Vec::as_slice).unwrap_or_default();
        section.iter().map(|(line, text)| Row { line: *line, columns: text.split('|').collect() })
    };
    let mut cluster = Cluster::default();
    let mut groups = HashMap::new();
    for row in rows(0) {
        let group = group(&row)?;
        let index = GroupIdx::of(cluster.groups.len());
        if groups.insert(group.uuid.clone(), index).is_some() {
            return Err(row.error("uuid", format!("group '{}' is there twice", group.uuid)));
        }
        cluster.groups.push(group);
    }
    let mut nodes = HashMap::new();
    for row in rows(1) {
        let node = node(&row, &groups)?;
        let index = NodeIdx::of(cluster.nodes.len());
        if nodes.insert(node.name.clone(), index).is_some() {
            return Err(row.error("name", format!("node '{}' is there twice", node.name)));
        }
        cluster.nodes.push(node);
    }
    let mut names = HashMap::new();
    for row in rows(2) {
        let instance = instance(&row, &nodes)?;
        if names.insert(instance.name.clone(), ()).is_some() {
            return Err(row.error("name", format!("instance '{}' is there twice", instance.name)));
        }
        cluster.instances.push(instance);
    }
    cluster.tags = sections[3].iter().map(|(_, line)| (*line).to_owned()).collect();
    for row in rows(4) {
        row.at_least(6, "a policy")?;
        let policy = policy(&row)?;
        match row.columns[0] {
            "" => cluster.policy = policy,
            name => {
                let found = cluster.groups.iter_mut().find(|group| group.name == name);
                let missing = || row.error("group", format!("Unknown group '{name}' of a policy"));
                let group = found.ok_or_else(missing)?;
                (group.policy, group.own_policy) = (policy, true);
            }
        }
    }
    Ok(cluster)
}

fn group(row: &Row<'_>) -> Result<Group> {
    row.at_least(4, "a group")?;
    let [name, uuid, policy, tags] = [0, 1, 2, 3].map(|at| row.columns[at]);
    let alloc_policy: AllocPolicy =
        policy.parse().map_err(|e: Error| row.error("alloc policy", e.message))?;
    Ok(Group {
        name: name.to_owned(),
        uuid: uuid.to_owned(),
        alloc_policy,
        tags: list(tags),
        networks: list(row.or(4, "")),
        policy: Policy::default(),
        own_policy: false,
    })
}

fn node(row: &Row<'_>, groups: &HashMap<String, GroupIdx>) -> Result<Node> {
    row.at_least(9, "a node")?;
    let (name, uuid) = (row.columns[0], row.columns[8]);
    let unknown = || row.error("group", format!("Unknown group '{uuid}' for node {name}"));
    let group = *groups.get(uuid).ok_or_else(unknown)?;
    let mut node = Node {
        name: name.to_owned(),
        group,
        total_memory: 0.0,
        node_memory: 0,
        free_memory: 0,
        total_disk: 0.0,
        free_disk: 0,
        total_cpus: 0.0,
        node_cpus: row.amount(13, "node CPUs", "1")?,
        cpu_speed: row.real(14, "CPU speed", "1.0")?,
        spindles: row.amount(9, "spindles", "1")?,
        free_spindles: row.amount(12, "free spindles", "0")?,
        exclusive_storage: row.truth(11, "exclusive storage", "N")?,
        offline: row.columns[7] == "Y",
        master: row.columns[7] == "M",
        tags: list(row.or(10, "")),
    };
    if row.columns[1..7].contains(&"?") {
        node.offline = true;
        (node.node_cpus, node.free_spindles) = (0, 0);
        return Ok(node);
    }
    node.total_memory = row.real(1, "total memory", "")?;
    node.node_memory = row.amount(2, "node memory", "")?;
    node.free_memory = row.amount(3, "free memory", "")?;
    node.total_disk = row.real(4, "total disk", "")?;
    node.free_disk = row.amount(5, "free disk", "")?;
    node.total_cpus = row.real(6, "CPUs", "")?;
    Ok(node)
}

fn instance(row: &Row<'_>, nodes: &HashMap<String, NodeIdx>) -> Result<Instance> {
    row.at_least(10, "an instance")?;
    let [name, status, primary, secondary, template] = [0, 4, 6, 7, 8].map(|at| row.columns[at]);
    let find = |field, wanted: &str| {
        let unknown = || row.error(field, format!("Unknown node '{wanted}' for instance {name}"));
        nodes.get(wanted).copied().ok_or_else(unknown)
    };
    let unknown = |field, word| row.error(field, format!("'{word}' is not known"));
    let template: DiskTemplate =
        template.parse().map_err(|e: Error| row.error("disk template", e.message))?;
    let size = row.size(2, "disk", "")?;
    let spindles = match row.or(11, "-") {
        "-" => None,
        _ => Some(row.size(11, "disk spindles", "-")?),
    };
    let instance = Instance {
        name: name.to_owned(),
        memory: row.size(1, "memory", "")?,
        disk: size,
        disks: vec![Disk { size, spindles }],
        vcpus: row.size(3, "VCPUs", "")?,
        status: Status::parse(status).ok_or_else(|| unknown("status", status))?,
        auto_balance: row.truth(5, "auto balance", "")?,
        primary: find("primary node", primary)?,
        secondary: match secondary {
            "" => None,
            name => Some(find("secondary node", name)?),
        },
        template,
        tags: list(row.columns[9]),
        spindle_use: row.size(10, "spindle use", "1")?,
        forthcoming: row.truth(12, "forthcoming", "N")?,
        utilisation: Utilisation::ONE,
        networks: vec![],
    };
    if instance.secondary == Some(instance.primary) {
        return Err(row.error(
            "secondary node",
            format!("Instance {name} has the same primary and secondary node: {primary}"),
        ));
    }
    Ok(instance)
}

fn spec(row: &Row<'_>, field: &'static str, text: &str) -> Result<InstanceSpec> {
    let part = Row { line: row.line, columns: text.split(',').collect() };
    if part.columns.len() != 6 {
        let message = format!("'{text}' is not memory,cpus,disk,disks,nics,spindles");
        return Err(row.error(field, message));
    }
    Ok(InstanceSpec {
        memory: part.amount(0, field, "")?,
        cpus: part.amount(1, field, "")?,
        disk: part.amount(2, field, "")?,
        disks: part.amount(3, field, "")?,
        nics: part.amount(4, field, "")?,
        spindles: part.amount(5, field, "")?,
    })
}

fn policy(row: &Row<'_>) -> Result<Policy> {
    let specs: Vec<&str> = row.columns[2].split(';').collect();
    if !specs.len().is_multiple_of(2) {
        let message = format!("'{}' has a minimum without its maximum", row.columns[2]);
        return Err(row.error("ranges", message));
    }
    let ranges = specs.chunks_exact(2).map(|pair| {
        let (min, max) = (spec(row, "minimum", pair[0])?, spec(row, "maximum", pair[1])?);
        Ok(MinMax { min, max })
    });
    let templates = list(row.columns[3]).into_iter().map(|word| {
        word.parse::<DiskTemplate>().map_err(|e| row.error("disk templates", e.message))
    });
    Ok(Policy {
        standard: spec(row, "standard", row.columns[1])?,
        ranges: ranges.collect::<Result<_>>()?,
        templates: templates.collect::<Result<_>>()?,
        vcpu_ratio: row.real(4, "VCPU ratio", "")?,
        spindle_ratio: row.real(5, "spindle ratio", "")?,
    })
}
