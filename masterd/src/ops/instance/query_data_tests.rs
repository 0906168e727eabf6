use super::*;
use crate::ops::testing::{Site, running};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::Error;
use roost_proto::node::SyncStatus;

fn site() -> Site {
    let mut site = Site::new(&["n1", "n2"]);
    site.instance("web1", "n1", |i| {
        i.beparams.insert("maxmem".into(), json!(256));
        let nic = json!({"uuid": uuid::Uuid::from_u128(9), "mac": "aa:00:00:00:00:01",
            "nicparams": {"link": "br7"}});
        i.nics.push(serde_json::from_value(nic).expect("a card"));
    });
    site.disk("web1", DiskTemplate::File, "/srv/file/web1/0");
    site.instance("db1", "n1", |i| i.admin_state = AdminState::Down);
    site.drbd("db1", "n2");
    site
}

fn op(names: &[&str]) -> InstanceQueryData {
    let instances = names.iter().map(|n| (*n).to_owned()).collect();
    InstanceQueryData { instances, use_locking: false, r#static: false }
}

fn active(path: &str) -> BlockStatus {
    BlockStatus {
        state: BlockState::Active,
        path: Some(path.into()),
        major_minor: None,
        size: Some(1024),
        sync: None,
        detail: String::new(),
        children: vec![],
    }
}

/// Answers what an opcode asks: web1 runs; of db1 there is nothing.
fn answered(mut site: Site, op: &InstanceQueryData) -> Site {
    for (node, question) in site.questions(op.clone()) {
        let answer = match &question {
            Question::Blocks { disks } => {
                let block = |disk: &Disk| match disk.dev_type {
                    DiskTemplate::Drbd => BlockStatus {
                        major_minor: Some((147, 0)),
                        sync: Some(SyncStatus {
                            percent: 12.5,
                            eta: Some(60.0),
                            degraded: true,
                            local_good: node == "n1",
                            ..SyncStatus::default()
                        }),
                        ..active("/dev/drbd0")
                    },
                    _ => active("/srv/file/web1/0"),
                };
                Answer::Blocks(disks.iter().map(block).collect())
            }
            _ => Answer::Guests(vec![running("web1")]),
        };
        site.answer(&node, question, Ok(answer));
    }
    site
}

#[test]
fn each_node_is_asked_once_of_each_kind() {
    let asked = site().questions(op(&[]));
    let kinds: Vec<_> = asked
        .iter()
        .map(|(node, question)| match question {
            Question::Blocks { disks } => format!("{node} blocks {}", disks.len()),
            _ => format!("{node} guests"),
        })
        .collect();
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!(count("n1 guests"), 1);
    assert_eq!(count("n1 blocks 2"), 1);
    assert_eq!(count("n2 blocks 1"), 1);
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    let only_static = InstanceQueryData { r#static: true, ..op(&[]) };
    assert!(site().questions(only_static).is_empty());
}

#[test]
fn ganetis_keys_are_there() {
    let op = op(&["web1"]);
    let result = answered(site(), &op).plan(op).expect("a plan").result;
    let data = &result["web1"];
    let keys = [
        "name",
        "config_state",
        "run_state",
        "pnode",
        "pnode_group_uuid",
        "pnode_group_name",
        "snodes",
        "snodes_group_uuids",
        "snodes_group_names",
        "os",
        "nics",
        "disk_template",
        "disks",
        "hypervisor",
        "network_port",
        "hv_instance",
        "hv_actual",
        "be_instance",
        "be_actual",
        "os_instance",
        "os_actual",
        "serial_no",
        "mtime",
        "ctime",
        "uuid",
    ];
    let mut found: Vec<_> = data.as_object().expect("a dict").keys().map(String::as_str).collect();
    let mut wanted = keys.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert_eq!(data["run_state"], "up");
    assert_eq!(data["pnode"], "n1");
    assert_eq!(data["pnode_group_name"], "default");
    assert_eq!(data["be_instance"], json!({"maxmem": 256}));
    assert_eq!(data["be_actual"]["maxmem"], 256);
    assert_eq!(data["be_actual"]["vcpus"], 1);
    let nic = uuid::Uuid::from_u128(9).to_string();
    assert_eq!(
        data["nics"],
        json!([[null, nic, null, "aa:00:00:00:00:01", "bridged", "br7", "", null, null]])
    );
    let disk = &data["disks"][0];
    assert_eq!(disk["pstatus"], json!(["/srv/file/web1/0", null, null, null, null, false, 1]));
    assert_eq!(disk["logical_id"], json!(["loop", "/srv/file/web1/0"]));
    assert_eq!((&disk["sstatus"], &disk["size"]), (&Value::Null, &json!(1024)));
}

#[test]
fn mirrors_have_two_sides_and_no_secret() {
    let op = op(&["db1"]);
    let result = answered(site(), &op).plan(op).expect("a plan").result;
    let data = &result["db1"];
    assert_eq!(data["run_state"], "down");
    assert_eq!(data["snodes"], json!(["n2"]));
    assert_eq!(data["snodes_group_names"], json!(["default"]));
    let disk = &data["disks"][0];
    assert_eq!(disk["pstatus"], json!(["/dev/drbd0", 147, 0, 12.5, 60.0, true, 1]));
    assert_eq!(disk["sstatus"], json!(["/dev/drbd0", 147, 0, 12.5, 60.0, true, 2]));
    assert_eq!(disk["drbd_info"]["primary_node"], "n1");
    assert_eq!(disk["drbd_info"]["secondary_minor"], 0);
    assert_eq!(disk["logical_id"][5], REDACTED);
    assert!(!result.to_string().contains("secret"));
}

#[test]
fn states_of_blocks() {
    let mut status = active("/dev/x");
    status.state = BlockState::Inactive;
    assert_eq!(block(&status), Value::Null);
    status.state = BlockState::Missing;
    assert_eq!(block(&status)[6], FAULTY);
    assert_eq!(block(&status)[5], true);
    status.state = BlockState::Active;
    status.sync = Some(SyncStatus { percent: 100.0, local_good: true, ..SyncStatus::default() });
    assert_eq!(block(&status), json!(["/dev/x", null, null, null, null, false, 1]));
}

#[test]
fn static_data_ask_nobody() {
    let op = InstanceQueryData { r#static: true, ..op(&["web1"]) };
    let plan = site().plan(op).expect("a plan");
    assert_eq!(plan.result["web1"]["run_state"], Value::Null);
    assert_eq!(plan.result["web1"]["disks"][0]["pstatus"], Value::Null);
    assert!(plan.say.is_empty());
}

#[test]
fn nodes_that_cannot_be_asked_are_warned_of() {
    let mut site = site();
    site.answer("n1", Question::Guests, Err(Error::environment("no route")));
    let plan = site.plan(op(&["web1"])).expect("a plan");
    assert_eq!(plan.say, [" - WARNING: Error checking node n1: no route"]);
    assert_eq!(plan.result["web1"]["run_state"], Value::Null);

    let mut site = self::site();
    site.node("n1", |node| node.offline = true);
    assert_eq!(site.questions(op(&["web1"])), []);
    let plan = site.plan(op(&["web1"])).expect("a plan");
    assert_eq!(
        plan.say,
        [" - WARNING: Primary node n1 is marked offline, returning static information only for \
          instance web1"]
    );
}

#[test]
fn unknown_instances_are_refused() {
    let error = site().refusal(op(&["web1", "nope"]));
    assert_eq!(error.message, "Instance 'nope' not known");
}

#[test]
fn locks_only_for_who_asks() {
    let site = site();
    let none = op(&["web1"]).locks(&site.config).expect("locks");
    assert_eq!(none, LockSet::new());
    let asked = InstanceQueryData { use_locking: true, ..op(&["web1"]) };
    let locks = asked.locks(&site.config).expect("locks");
    assert_eq!(locks.0.get(&LockName::new(Level::Instance, "web1")), Some(&Mode::Shared));
}
