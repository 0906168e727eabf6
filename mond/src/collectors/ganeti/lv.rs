//! The logical volumes of this node, and whose they are. Source: Ganeti's reference on mond, lv.

use crate::collector::{About, Collected, Collector, Pending};
use crate::exec::is_missing;
use crate::helper::Task;
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::{Guest, World};
use roost_proto::error::{Error, Result};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// What tells of them: a line for each segment, fields between semicolons.
pub const COMMAND: [&str; 8] = [
    "lvs",
    "--noheadings",
    "--units",
    "B",
    "--separator",
    ";",
    "-o",
    "lv_uuid,lv_name,lv_attr,lv_major,lv_minor,lv_kernel_major,lv_kernel_minor,lv_size,seg_count,lv_tags,modules,\
     vg_uuid,vg_name,segtype,seg_start,seg_start_pe,seg_size,seg_tags,seg_pe_ranges,devices",
];

/// The collector.
#[derive(Debug, Default)]
pub struct Lv;

impl Collector for Lv {
    fn about(&self) -> About {
        About::built_in("lv", Category::Storage, Kind::Performance)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let output = match world.privileged(Task::Volumes).await {
                Ok(output) => output,
                // Without LVM there are no volumes.
                Err(error) if is_missing(&error) => vec![],
                Err(error) => return Err(error),
            };
            collected(&String::from_utf8_lossy(&output), &world.cluster().guests)
        })
    }
}

/// The report on what [`COMMAND`] printed.
pub fn collected(text: &str, guests: &[Guest]) -> Result<Collected> {
    let mut segments = parse(text)?;
    let owners: HashMap<(&str, &str), &str> = guests
        .iter()
        .flat_map(|guest| {
            guest
                .volumes
                .iter()
                .map(|(group, name)| ((group.as_str(), name.as_str()), guest.name.as_str()))
        })
        .collect();
    for segment in &mut segments {
        segment.instance = owners.get(&(segment.vg_name, segment.name)).copied();
    }
    Ok(Collected { data: Data::of(&segments)?, metrics: metrics(&segments) })
}

/// A segment of a volume, and the volume. Sizes in bytes; the names are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segment<'a> {
    pub uuid: &'a str,
    pub name: &'a str,
    pub attr: &'a str,
    /// As asked for; −1: whichever is free.
    pub major: i64,
    pub minor: i64,
    /// As it is; −1: the volume is not active.
    pub kernel_major: i64,
    pub kernel_minor: i64,
    pub size: i64,
    pub seg_count: i64,
    pub tags: &'a str,
    pub modules: &'a str,
    pub vg_uuid: &'a str,
    pub vg_name: &'a str,
    pub segtype: &'a str,
    pub seg_start: i64,
    pub seg_start_pe: i64,
    pub seg_size: i64,
    pub seg_tags: &'a str,
    pub seg_pe_ranges: &'a str,
    pub devices: &'a str,
    /// Whose disk it is.
    pub instance: Option<&'a str>,
}

/// Reads the output. Errors: a line that is not of that form.
pub fn parse(text: &str) -> Result<Vec<Segment<'_>>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            parse_line(line.trim()).ok_or_else(|| {
                Error::environment(format!(
                    "The list of volumes has a line that is not understood: '{}'",
                    line.trim()
                ))
            })
        })
        .collect()
}

fn parse_line(line: &str) -> Option<Segment<'_>> {
    let fields: Vec<&str> = line.splitn(20, ';').collect();
    let number = |at: usize| -> Option<i64> { fields[at].trim_end_matches('B').parse().ok() };
    (fields.len() == 20).then_some(())?;
    Some(Segment {
        uuid: fields[0],
        name: fields[1],
        attr: fields[2],
        major: number(3)?,
        minor: number(4)?,
        kernel_major: number(5)?,
        kernel_minor: number(6)?,
        size: number(7)?,
        seg_count: number(8)?,
        tags: fields[9],
        modules: fields[10],
        vg_uuid: fields[11],
        vg_name: fields[12],
        segtype: fields[13],
        seg_start: number(14)?,
        seg_start_pe: number(15)?,
        seg_size: number(16)?,
        seg_tags: fields[17],
        seg_pe_ranges: fields[18],
        devices: fields[19],
        instance: None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "figures for graphs")]
fn metrics(segments: &[Segment<'_>]) -> Metrics {
    let mut metrics = Metrics::default();
    let mut told = HashSet::new();
    for one in segments.iter().filter(|one| told.insert(one.uuid)) {
        let labels = [
            ("vg", one.vg_name),
            ("lv", one.name),
            ("instance_name", one.instance.unwrap_or_default()),
        ];
        metrics.gauge(
            "roost_lv_size_bytes",
            "Size of the logical volume.",
            &labels,
            one.size as f64,
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LVS: &str = include_str!("../../../fixtures/lvs");

    #[test]
    fn the_example_of_the_reference_comes_out_exactly() {
        let line = "  Ab1-x;l1.disk0;-wi-ao;-1;-1;253;0;1073741824B;1;@ganeti;;Vg1;vgtest;linear;0B;0;1073741824B;;/dev/sda5:0-255;/dev/sda5(0)\n";
        assert_eq!(
            collected(line, &[]).unwrap().data.get(),
            r#"[{"uuid":"Ab1-x","name":"l1.disk0","attr":"-wi-ao","major":-1,"minor":-1,"kernel_major":253,"kernel_minor":0,"size":1073741824,"seg_count":1,"tags":"@ganeti","modules":"","vg_uuid":"Vg1","vg_name":"vgtest","segtype":"linear","seg_start":0,"seg_start_pe":0,"seg_size":1073741824,"seg_tags":"","seg_pe_ranges":"/dev/sda5:0-255","devices":"/dev/sda5(0)","instance":null}]"#
        );
    }

    #[test]
    fn volumes_belong_to_instances() {
        let volume = |name: &str| ("xenvg".to_owned(), name.to_owned());
        let guests = [Guest {
            name: "inst1.example.org".into(),
            volumes: vec![volume("0bf1.disk0_data"), volume("0bf1.disk0_meta")],
            ..Guest::default()
        }];
        let collected = collected(LVS, &guests).unwrap();
        let data: serde_json::Value = serde_json::from_str(collected.data.get()).unwrap();
        let owners: Vec<_> = data
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].as_str().unwrap(), one["instance"].as_str()))
            .collect();
        let owner = Some("inst1.example.org");
        assert_eq!(
            owners,
            [
                ("0bf1.disk0_data", owner),
                ("0bf1.disk0_data", owner),
                ("0bf1.disk0_meta", owner),
                ("0bf1.disk0_data", None),
                ("pool", None),
            ]
        );
        // A volume of two segments has one size.
        let family = &collected.metrics.families[0];
        assert_eq!((family.name, family.samples.len()), ("roost_lv_size_bytes", 4));
        assert_eq!(family.samples[0].value, 2_147_483_648.0);
    }

    #[test]
    fn no_volumes_are_no_error_and_other_output_is() {
        assert_eq!(collected("", &[]).unwrap().data.get(), "[]");
        for bad in ["No volume groups found", "a;b;c", &LVS.trim().replace("0B", "0G")] {
            assert!(parse(bad).unwrap_err().message.contains("not understood"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(([a-z0-9B-]{0,4};){0,22}\n|\\PC{0,20}\n){0,4}") {
            let _ = collected(&text, &[]);
        }

        #[test]
        fn what_lvs_prints_is_read(
            names in prop::array::uniform11("[A-Za-z0-9_./:(),-]{0,12}"),
            numbers in prop::array::uniform9(-1i64..1 << 50),
        ) {
            let [n0, n1, n2, n3, n4, n5, n6, n7, n8] = numbers;
            let [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10] = &names;
            let line = format!("  {t0};{t1};{t2};{n0};{n1};{n2};{n3};{n4}B;{n5};{t3};{t4};{t5};{t6};{t7};{n6}B;{n7};{n8}B;{t8};{t9};{t10}");
            let segments = parse(&line).unwrap();
            let one = &segments[0];
            prop_assert_eq!((one.name, one.vg_name, one.devices), (t1.as_str(), t6.as_str(), t10.as_str()));
            prop_assert_eq!((one.major, one.kernel_minor, one.size, one.seg_size), (n0, n3, n4, n8));
        }
    }
}
