//! One cluster, as the API and as the master tell it. What it is to be was saved by Ganeti 3.0.2's tools from the
//! same documents.

use super::rapi::{self, Document, PATHS};
use super::this_cluster::{self, Answers, GROUP_FIELDS, INSTANCE_FIELDS, NODE_FIELDS};
use super::{Known, Malformed};
use crate::text;
use proptest::prelude::*;
use roost_proto::query::{Cell, QueryResponse};
use serde_json::{Value, json};

const SAVED: &str = include_str!("../../fixtures/sources/rapi.data");
const TEXTS: [&str; 4] = [
    include_str!("../../fixtures/sources/rapi/groups.json"),
    include_str!("../../fixtures/sources/rapi/nodes.json"),
    include_str!("../../fixtures/sources/rapi/instances.json"),
    include_str!("../../fixtures/sources/rapi/info.json"),
];

fn documents() -> [Value; 4] {
    TEXTS.map(|text| serde_json::from_str(text).expect("a fixture is JSON"))
}

fn by_api(documents: &[Value; 4]) -> Result<Known, Malformed> {
    let document =
        |at: usize| Document { name: PATHS[at].1.into(), text: documents[at].to_string() };
    rapi::read(&[0, 1, 2, 3].map(document))
}

/// What the master would answer about an object of the API.
fn answer(objects: &Value, fields: &[&str]) -> QueryResponse {
    let cell = |object: &Value, field: &&str| {
        let value = match field.split_once('/') {
            Some(("be", name)) => &object["beparams"][name],
            Some((_, name)) => &object["ndparams"][name],
            None => &object[*field],
        };
        let live = ["mtotal", "mnode", "mfree", "dtotal", "dfree", "ctotal", "cnos", "spfree"];
        match value {
            Value::Null if live.contains(field) => Cell::NO_DATA,
            Value::Null => Cell::UNAVAILABLE,
            value => Cell::new(value.clone()),
        }
    };
    let row = |object| fields.iter().map(|field| cell(object, field)).collect();
    let data = objects.as_array().map(|list| list.iter().map(row).collect()).unwrap_or_default();
    QueryResponse { data, fields: vec![] }
}

fn by_query(documents: &[Value; 4]) -> Result<Known, Malformed> {
    let [groups, nodes, instances, info] = documents;
    this_cluster::read(&Answers {
        groups: answer(groups, GROUP_FIELDS),
        nodes: answer(nodes, NODE_FIELDS),
        instances: answer(instances, INSTANCE_FIELDS),
        info: info.clone(),
    })
}

#[test]
fn the_cluster_is_what_ganetis_tools_make_of_it() {
    for known in [by_api(&documents()), by_query(&documents())] {
        assert_eq!(text::write(&known.expect("it is right").with_kvm_memory(0)), SAVED);
    }
}

#[test]
fn what_the_text_format_has_no_place_for_is_read_too() {
    let cluster = by_api(&documents()).expect("it is right").cluster;
    let disks = &cluster.instances[1].disks;
    assert_eq!(
        disks.iter().map(|disk| (disk.size, disk.spindles)).collect::<Vec<_>>(),
        [(1024, Some(1)), (1024, Some(2))]
    );
    let down = by_query(&documents()).expect("it is right").down;
    assert_eq!(down, [false, false, false, true, false, false], "drained is not offline");
    assert!(cluster.groups[1].own_policy && !cluster.groups[0].own_policy);
}

#[test]
fn kvm_nodes_use_what_the_option_says() {
    let known = by_query(&documents()).expect("it is right");
    let memory = |memory| {
        let cluster = known.clone().with_kvm_memory(memory);
        cluster.nodes.iter().map(|node| node.node_memory).collect::<Vec<_>>()
    };
    assert_eq!(memory(4096), [4096; 6]);
    assert_eq!(memory(0), [1717, 1717, 512, 0, 512, 0]);
    let mut others = documents();
    others[3]["default_hypervisor"] = json!("xen-pvm");
    let cluster = by_api(&others).expect("it is right").with_kvm_memory(4096);
    assert_eq!(cluster.nodes[0].node_memory, 1717);
}

#[test]
fn an_instance_may_be_forthcoming_and_a_node_fast() {
    let mut documents = documents();
    documents[2][0]["forthcoming"] = json!(true);
    documents[1][0]["ndparams"]["cpu_speed"] = json!(1.5);
    for known in [by_api(&documents), by_query(&documents)] {
        let cluster = known.expect("it is right").cluster;
        assert!(cluster.instances[0].forthcoming && !cluster.instances[1].forthcoming);
        assert_eq!(cluster.nodes[0].cpu_speed, 1.5);
    }
}

#[test]
fn an_error_names_document_object_and_field() {
    let node = "node 'node1.example.org'";
    let cases = [
        (1, "/0/mtotal", json!(null), format!("nodes.json: {node}: mtotal: it is null: nobody knows it")),
        (1, "/0/tags", json!([1]), format!("nodes.json: {node}: tags: [1] is not a list of texts")),
        (1, "/0/group.uuid", json!("x"), format!("nodes.json: {node}: group.uuid: Unknown group 'x' for node node1.example.org")),
        (1, "/0/ndparams", json!(3), format!("nodes.json: {node}: ndp/exclusive_storage: it is missing")),
        (1, "/0/mfree", json!(1.5), format!("nodes.json: {node}: mfree: 1.5 is not a whole number in range")),
        (1, "/1/name", json!("node1.example.org"), format!("nodes.json: {node}: name: it is there twice")),
        (1, "/0/name", json!(null), "nodes.json: element 1: name: it is null: nobody knows it".into()),
        (2, "/0/pnode", json!("x"), "instances.json: instance 'inst1.example.org': pnode: Unknown node 'x' for instance inst1.example.org".into()),
        (2, "/1/snodes", json!(["node2.example.org"]), "instances.json: instance 'inst2.example.org': snodes: the secondary node is the primary node".into()),
        (2, "/0/status", json!("asleep"), "instances.json: instance 'inst1.example.org': status: 'asleep' is not known".into()),
        (2, "/0/disk.sizes", json!([null]), "instances.json: instance 'inst1.example.org': disk.sizes: the size of a disk is null".into()),
        (2, "/0/disk_usage", json!(1_u64 << 62), "instances.json: instance 'inst1.example.org': disk_usage: 4611686018427387904 is not a whole number in range".into()),
        (0, "/0/ipolicy/std", json!(null), "groups.json: group 'default': ipolicy: std: memory-size: it is missing".into()),
        (0, "/1/uuid", json!("11111111-1111-4111-8111-111111111111"), "groups.json: group 'spare': uuid: '11111111-1111-4111-8111-111111111111' is there twice".into()),
        (3, "/master", json!("nobody"), "info.json: master: Master node nobody unknown".into()),
        (3, "", json!([]), "info.json: [] is not an object".into()),
        (1, "", json!({}), "nodes.json: {} is not a list".into()),
        (1, "/0", json!(1), "nodes.json: element 1: 1 is not an object".into()),
    ];
    for (document, pointer, wrong, message) in cases {
        let mut documents = documents();
        *documents[document].pointer_mut(pointer).expect(pointer) = wrong;
        assert_eq!(by_api(&documents).expect_err(pointer).to_string(), message);
    }
    let half = Document { name: "groups.json".into(), text: TEXTS[0][..100].into() };
    let none = Document::default();
    let error = rapi::read(&[half, none.clone(), none.clone(), none]).expect_err("half");
    assert_eq!(
        error.to_string(),
        "groups.json: line 7, column 9: malformed JSON: EOF while parsing a string"
    );
}

#[test]
fn a_node_that_does_not_answer_is_no_offline_node() {
    let mut documents = documents();
    documents[1][1]["mtotal"] = Value::Null;
    let error = by_query(&documents).expect_err("it is online").to_string();
    assert_eq!(
        error,
        "query of nodes: node 'node2.example.org': mtotal: the node does not answer; wait until it does, or \
         mark it as offline (gnt-node modify --offline=yes)"
    );
    documents[1][1]["offline"] = json!(true);
    let cluster = by_query(&documents).expect("it is offline").cluster;
    assert!(cluster.nodes[1].offline);
}

/// All places in a value.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, v)| pointers(v, &step(&n.to_string()), all));
        }
        Value::Object(map) => map.iter().for_each(|(key, v)| pointers(v, &step(key), all)),
        _ => {}
    }
}

proptest! {
    /// Whatever is put wherever, it is read or refused by name.
    #[test]
    fn anything_is_read_or_refused(
        document in 0_usize..4,
        at in any::<prop::sample::Index>(),
        wrong in prop_oneof![
            Just(Value::Null),
            Just(json!([])),
            Just(json!({})),
            Just(json!([null, 1, "x"])),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,8}".prop_map(|text| json!(text)),
        ],
    ) {
        let mut documents = documents();
        let mut all = vec![];
        pointers(&documents[document], "", &mut all);
        let pointer = at.get(&all);
        *documents[document].pointer_mut(pointer).expect("it was found") = wrong;
        for known in [by_api(&documents), by_query(&documents)] {
            match known {
                Ok(known) => drop(text::write(&known.with_kvm_memory(4096))),
                Err(error) => prop_assert!(!error.document.is_empty() && !error.message.is_empty()),
            }
        }
    }

    #[test]
    fn half_a_document_is_refused(document in 0_usize..4, part in 0.0..1.0_f64) {
        let mut given = [0, 1, 2, 3].map(|at| Document { name: PATHS[at].1.into(), text: TEXTS[at].into() });
        let text = &mut given[document].text;
        text.truncate(((text.trim_end().len() - 1) as f64 * part) as usize);
        let error = rapi::read(&given).expect_err("half a document");
        prop_assert_eq!(error.document, PATHS[document].1);
    }
}
