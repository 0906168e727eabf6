//! What LVM's reports say, read.
//!
//! Two reports tell everything: `pvs` (physical volumes, each with its group) and `lvs` (logical
//! volumes). All values are text. An LV in several segments has several rows; they are one volume.

use roost_proto::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Columns of `pvs`.
pub const PHYSICAL: &str = "pv_name,pv_uuid,pv_size,pv_free,pv_missing,pv_allocatable,vg_name,\
                            vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_exported";
/// Columns of `lvs`.
pub const LOGICAL: &str = "lv_uuid,vg_name,lv_name,lv_size,lv_attr,lv_tags,lv_kernel_major,\
                           lv_kernel_minor,origin,pool_lv,data_percent,metadata_percent,stripes,\
                           devices,chunk_size,discards,zero";

/// A physical volume: a disk, or a part of one. Bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Physical {
    /// `/dev/sdb`; `[unknown]` if it is missing.
    pub name: String,
    pub uuid: String,
    /// Empty: in none.
    pub group: String,
    pub size: u64,
    pub free: u64,
    pub allocatable: bool,
    pub missing: bool,
}

impl Physical {
    /// Nothing is on it. Alignment may cost a little.
    pub fn is_empty(&self) -> bool {
        self.size - self.free.min(self.size) < 2 << 20
    }

    /// New volumes may be put on it.
    pub fn is_usable(&self) -> bool {
        self.allocatable && !self.missing
    }
}

/// A volume group. Bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub name: String,
    pub size: u64,
    pub free: u64,
    pub extent: u64,
    /// How many of its physical volumes are missing.
    pub missing: u64,
    pub exported: bool,
    pub physical: Vec<Physical>,
}

impl Group {
    /// Bytes that new volumes can have: what is missing or not allocatable does not count.
    pub fn usable(&self) -> u64 {
        self.physical.iter().filter(|pv| pv.is_usable()).map(|pv| pv.free).sum()
    }

    /// Physical volumes that are there, and those of them on which nothing is.
    pub fn spindles(&self) -> (u64, u64) {
        let usable = || self.physical.iter().filter(|pv| pv.is_usable());
        (usable().count() as u64, usable().filter(|pv| pv.is_empty()).count() as u64)
    }
}

/// What kind of logical volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Thick,
    /// A snapshot that keeps what its origin overwrites.
    Snapshot,
    Thin,
    ThinPool,
    /// Something else, not used by us: caches, pools of others, …
    Other,
}

/// A logical volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logical {
    pub uuid: String,
    pub group: String,
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub sort: Sort,
    pub tags: Vec<String>,
    /// Major and minor number, while active.
    pub kernel: Option<(u32, u32)>,
    pub active: bool,
    pub open: bool,
    pub suspended: bool,
    /// A snapshot that had not enough room: its data is lost.
    pub invalid: bool,
    /// LVM's letter for its health: `p` partial, `F` failed, `D` out of data space, `M` metadata
    /// read only, `r` refresh needed, …; `-` is good.
    pub health: char,
    /// What it is a snapshot of.
    pub origin: String,
    /// The thin pool it is in.
    pub pool: String,
    /// Share in use, of a pool or a snapshot.
    pub data_percent: Option<f64>,
    pub metadata_percent: Option<f64>,
    pub stripes: u64,
    /// Every part of it is on more than one physical volume.
    pub redundant: bool,
    /// Where its segments are: `/dev/sdb(0)`.
    pub devices: Vec<String>,
    /// Bytes given at once, of a pool.
    pub chunk: u64,
    /// A pool takes discarded room back.
    pub discards: bool,
    /// A pool gives only zeroed room.
    pub zeroes: bool,
}

impl Logical {
    /// `xenvg/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The devices it lies on, each once: `/dev/sdb`.
    pub fn spindles(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for device in &self.devices {
            let name = device.rsplit_once('(').map_or(device.as_str(), |(name, _)| name);
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// Some of its data is on a physical volume that is missing, and nowhere else.
    pub fn is_partial(&self) -> bool {
        self.health == 'p' && !self.redundant
    }
}

#[derive(Deserialize)]
struct Document<R> {
    report: Vec<R>,
}

#[derive(Deserialize)]
struct PhysicalRows {
    #[serde(default)]
    pv: Vec<PhysicalRow>,
}

#[derive(Deserialize)]
struct LogicalRows {
    #[serde(default)]
    lv: Vec<LogicalRow>,
}

#[derive(Deserialize)]
struct PhysicalRow {
    pv_name: String,
    pv_uuid: String,
    pv_size: String,
    pv_free: String,
    pv_missing: String,
    pv_allocatable: String,
    vg_name: String,
    vg_size: String,
    vg_free: String,
    vg_extent_size: String,
    vg_missing_pv_count: String,
    vg_exported: String,
}

#[derive(Deserialize)]
struct LogicalRow {
    lv_uuid: String,
    vg_name: String,
    lv_name: String,
    lv_size: String,
    lv_attr: String,
    lv_tags: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
    origin: String,
    pool_lv: String,
    data_percent: String,
    metadata_percent: String,
    stripes: String,
    devices: String,
    chunk_size: String,
    discards: String,
    zero: String,
}

fn document<R: DeserializeOwned>(text: &[u8]) -> Result<Vec<R>> {
    let document: Document<R> = serde_json::from_slice(text).map_err(|e| {
        let start: String = String::from_utf8_lossy(text).chars().take(200).collect();
        Error::exec(format!("LVM's report cannot be understood: {e}; it begins: {start}"))
    })?;
    Ok(document.report)
}

fn number<T: std::str::FromStr + Default>(text: &str) -> T {
    // Empty where it does not apply.
    text.trim().parse().unwrap_or_default()
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// Groups by name, and physical volumes that are in none.
pub fn physical(text: &[u8]) -> Result<(BTreeMap<String, Group>, Vec<Physical>)> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut loose = vec![];
    for row in document::<PhysicalRows>(text)?.into_iter().flat_map(|rows| rows.pv) {
        let physical = Physical {
            name: row.pv_name,
            uuid: row.pv_uuid,
            group: row.vg_name.clone(),
            size: number(&row.pv_size),
            free: number(&row.pv_free),
            allocatable: !row.pv_allocatable.is_empty(),
            missing: !row.pv_missing.is_empty(),
        };
        if row.vg_name.is_empty() {
            loose.push(physical);
            continue;
        }
        let group = groups.entry(row.vg_name.clone()).or_insert_with(|| Group {
            name: row.vg_name,
            size: number(&row.vg_size),
            free: number(&row.vg_free),
            extent: number::<u64>(&row.vg_extent_size).max(1),
            missing: number(&row.vg_missing_pv_count),
            exported: !row.vg_exported.is_empty(),
            physical: vec![],
        });
        group.physical.push(physical);
    }
    Ok((groups, loose))
}

/// Logical volumes, by group and name.
pub fn logical(text: &[u8]) -> Result<Vec<Logical>> {
    let mut all: BTreeMap<(String, String), Logical> = BTreeMap::new();
    for row in document::<LogicalRows>(text)?.into_iter().flat_map(|rows| rows.lv) {
        let devices = words(&row.devices);
        let stripes = number(&row.stripes);
        let key = (row.vg_name.clone(), row.lv_name.clone());
        match all.get_mut(&key) {
            Some(volume) => {
                volume.devices.extend(devices);
                volume.stripes = volume.stripes.max(stripes);
            }
            None => {
                let volume = Logical { devices, stripes, ..volume(row) };
                all.insert(key, volume);
            }
        }
    }
    Ok(all.into_values().collect())
}

fn volume(row: LogicalRow) -> Logical {
    let attr: Vec<char> = row.lv_attr.chars().collect();
    let at = |n: usize| attr.get(n).copied().unwrap_or('-');
    let sort = match at(0) {
        't' => Sort::ThinPool,
        'V' => Sort::Thin,
        's' | 'S' => Sort::Snapshot,
        // Merging, mirrored, raid, origin, being moved: it has blocks of its own.
        '-' | 'o' | 'O' | 'm' | 'M' | 'r' | 'R' | 'p' | 'c' | 'C' => Sort::Thick,
        _ => Sort::Other,
    };
    let numbers = (row.lv_kernel_major.parse().ok(), row.lv_kernel_minor.parse().ok());
    Logical {
        uuid: row.lv_uuid,
        group: row.vg_name,
        name: row.lv_name,
        size: number(&row.lv_size),
        sort,
        tags: words(&row.lv_tags),
        kernel: match numbers {
            (Some(major), Some(minor)) => Some((major, minor)),
            _ => None,
        },
        active: matches!(at(4), 'a' | 's' | 'I' | 'S' | 'm' | 'M' | 'c' | 'C'),
        suspended: matches!(at(4), 's' | 'S' | 'M' | 'C'),
        invalid: matches!(at(4), 'I' | 'S'),
        open: at(5) == 'o',
        health: at(8),
        origin: row.origin,
        pool: row.pool_lv,
        data_percent: row.data_percent.parse().ok(),
        metadata_percent: row.metadata_percent.parse().ok(),
        stripes: 0,
        redundant: matches!(at(0), 'r' | 'R' | 'm' | 'M'),
        devices: vec![],
        chunk: number(&row.chunk_size),
        discards: matches!(row.discards.as_str(), "passdown" | "nopassdown"),
        zeroes: row.zero == "zero",
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
