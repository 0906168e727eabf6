//! Command lines and the opcodes they stand for.

use super::FakeMaster;
use roost_proto::opcodes::OpInput;
use roost_proto::query::Resource;
use serde_json::{Value, json};

fn master() -> FakeMaster {
    FakeMaster::start()
        .table(
            Resource::Instance,
            json!([
                {"name": "web1.example.com", "tags": ["red"]},
                {"name": "web2.example.com", "tags": ["red", "blue"]},
                {"name": "db.example.com", "tags": []},
            ]),
        )
        .table(
            Resource::Node,
            json!([
                {"name": "n1.example.com", "master": true, "offline": false, "tags": ["rack1"],
                 "group": "default", "group.uuid": "g", "pinst_list": ["web2.example.com"],
                 "sinst_list": ["db.example.com"]},
                {"name": "n2.example.com", "master": false, "offline": false, "tags": [],
                 "group": "default", "group.uuid": "g", "pinst_list": [], "sinst_list": []},
            ]),
        )
}

/// Runs command lines against one master; each must submit exactly these jobs' opcodes.
async fn check(table: &[(&str, Value)]) {
    let master = master();
    for (line, expected) in table {
        let ran = master.run_answering(line, &["y", "y"]).await;
        let expected = expected.as_array().expect("a list of opcodes");
        let submitted: Vec<Value> = master.submitted().into_iter().flatten().collect();
        assert_eq!(submitted.len(), expected.len(), "{line}: {ran:?}");
        for (found, wanted) in submitted.iter().zip(expected) {
            let found = OpInput::from_json(found).expect("a good opcode").op;
            let wanted = OpInput::from_json(wanted).unwrap_or_else(|e| panic!("{line}: {e}")).op;
            assert_eq!(found.to_json(), wanted.to_json(), "{line}");
        }
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
    }
}

#[tokio::test]
async fn debug() {
    check(&[
        (
            "gnt-debug delay 0.5",
            json!([{"OP_ID": "OP_TEST_DELAY", "duration": 0.5, "no_locks": false}]),
        ),
        (
            "gnt-debug allocator --dir out -I . -m allocate --memory 1g --disks 2g,512 -t drbd \
             --nics auto/None/br0 -p 2 --tags a,b new1",
            json!([{"OP_ID": "OP_TEST_ALLOCATOR", "direction": "out", "mode": "allocate",
                    "name": "new1", "instances": ["new1"], "iallocator": ".", "memory": 1024,
                    "vcpus": 2, "disks": [{"size": 2048}, {"size": 512}],
                    "disk_template": "drbd", "nics": [{"mac": "auto", "bridge": "br0"}],
                    "tags": ["a", "b"], "evac_mode": "all", "count": 2}]),
        ),
        (
            "gnt debug delay --no-master -n a -nb -r 3 -i -l 2",
            json!([{"OP_ID": "OP_TEST_DELAY", "duration": 2.0, "on_master": false,
                    "on_nodes": ["a", "b"], "repeat": 3, "interruptible": true, "no_locks": true}]),
        ),
        // Options may come behind arguments, and be abbreviated.
        (
            "gnt-debug delay 1 --rep=2",
            json!([{"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "repeat": 2,
                                              "no_locks": false}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn instance_add() {
    let base = |more: Value| {
        let mut op = json!({"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web9",
            "mode": "create", "nics": [{}], "disks": [], "no_install": false});
        for (key, value) in more.as_object().expect("fields") {
            op[key] = value.clone();
        }
        json!([op])
    };
    check(&[
        (
            "gnt-instance add -t diskless -o tiny -n n1 web9",
            base(json!({"disk_template": "diskless", "os_type": "tiny", "pnode": "n1"})),
        ),
        (
            "gnt-instance add -t drbd --disk 0:size=1g,name=root --disk 1:size=512 -n n1:n2 \
             -B maxmem=1g,minmem=512m,auto_balance=no -H kvm:acpi,no_pae,kernel_path= -o deb+min \
             -O a=1 --os-parameters-private b=2 --os-parameters-secret c=3 \
             --net 0:ip=pool,network=net1 --net 1:mac=generate --tags x,y --no-wait-for-sync web9",
            base(json!({
                "disk_template": "drbd", "pnode": "n1", "snode": "n2", "os_type": "deb+min",
                "disks": [{"size": 1024, "name": "root"}, {"size": 512}],
                "beparams": {"maxmem": "1g", "minmem": "512m", "auto_balance": "no"},
                "hypervisor": "kvm",
                "hvparams": {"acpi": true, "pae": false, "kernel_path": ""},
                "osparams": {"a": "1"}, "osparams_private": {"b": "2"},
                "osparams_secret": {"c": "3"},
                "nics": [{"ip": "pool", "network": "net1"}, {"mac": "generate"}],
                "tags": ["x", "y"], "wait_for_sync": false,
            })),
        ),
        (
            "gnt-instance add -t file --file-driver=loop --file-storage-dir=a/b -s 10g -I hail \
             -g blue --no-nics --no-start --no-conflicts-check --ignore-ipolicy \
             --opportunistic-locking --force-variant --name-check --ip-check web9",
            base(json!({
                "disk_template": "file", "file_driver": "loop", "file_storage_dir": "a/b",
                "disks": [{"size": 10240}], "iallocator": "hail", "group_name": "blue",
                "nics": [], "start": false, "conflicts_check": false, "ignore_ipolicy": true,
                "opportunistic_locking": true, "force_variant": true, "name_check": true,
                "ip_check": true,
            })),
        ),
        (
            "gnt-instance add -t plain --disk 0:adopt=lv1,vg=other --no-install -H xen-pvm -c yes \
             --helper-startup-timeout=5 --helper-shutdown-timeout 6 web9",
            base(json!({
                "disk_template": "plain", "disks": [{"adopt": "lv1", "vg": "other"}],
                "no_install": true, "start": false, "hypervisor": "xen-pvm",
                "instance_communication": true, "helper_startup_timeout": 5,
                "helper_shutdown_timeout": 6,
            })),
        ),
        (
            "gnt-instance add -t ext --disk 0:size=4,provider=p,speed=fast --forthcoming web9",
            base(json!({
                "disk_template": "ext", "forthcoming": true,
                "disks": [{"size": 4, "provider": "p", "speed": "fast"}],
            })),
        ),
    ])
    .await;
}

#[tokio::test]
async fn instance_states() {
    check(&[
        (
            "gnt-instance startup web1",
            json!([{"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1.example.com"}]),
        ),
        (
            "gnt-instance start --force-multiple -f -H a=1 -Bmaxmem=1g --ignore-offline \
             --no-remember --paused web2 web1",
            json!(["web2", "web1"].map(|name| json!({
                "OP_ID": "OP_INSTANCE_STARTUP", "instance_name": format!("{name}.example.com"),
                "force": true, "hvparams": {"a": "1"}, "beparams": {"maxmem": "1g"},
                "ignore_offline_nodes": true, "no_remember": true, "startup_paused": true,
            }))),
        ),
        (
            "gnt-instance shutdown --all --timeout=5 -f --ignore-offline --no-remember",
            json!(["db", "web1", "web2"].map(|name| json!({
                "OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": format!("{name}.example.com"),
                "force": true, "timeout": 5, "ignore_offline_nodes": true, "no_remember": true,
            }))),
        ),
        (
            "gnt-instance stop --tags red",
            json!(["web1", "web2"].map(|name| json!({
                "OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": format!("{name}.example.com"),
            }))),
        ),
        (
            "gnt-instance reboot --primary n1 -t soft --ignore-secondaries --shutdown-timeout 7",
            json!([{"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web2.example.com",
                    "reboot_type": "soft", "ignore_secondaries": true, "shutdown_timeout": 7}]),
        ),
        (
            // The last selector counts.
            "gnt-instance reboot --all --sec-node-tags rack1",
            json!([{"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "db.example.com",
                    "reboot_type": "hard"}]),
        ),
        (
            "gnt-instance reboot --node n1",
            json!(["db", "web2"].map(|name| json!({
                "OP_ID": "OP_INSTANCE_REBOOT", "instance_name": format!("{name}.example.com"),
                "reboot_type": "hard",
            }))),
        ),
        (
            "gnt-instance reinstall -o tiny -O a=1 web1",
            json!([{"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web1.example.com",
                    "os_type": "tiny", "osparams": {"a": "1"}}]),
        ),
        (
            "gnt-instance remove --shutdown-timeout=3 --ignore-failures web1",
            json!([{"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1",
                    "shutdown_timeout": 3, "ignore_failures": true}]),
        ),
        (
            "gnt-instance rename --name-check web1 web3",
            json!([{"OP_ID": "OP_INSTANCE_RENAME", "instance_name": "web1", "new_name": "web3",
                    "name_check": true}]),
        ),
        (
            "gnt-instance activate-disks --ignore-size --wait-for-sync web1",
            json!([{"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": "web1",
                    "ignore_size": true, "wait_for_sync": true}]),
        ),
        (
            "gnt-instance deactivate-disks -f web1",
            json!([{"OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS", "instance_name": "web1",
                    "force": true}]),
        ),
        (
            "gnt-instance add-tags web1 a b",
            json!([{"OP_ID": "OP_TAGS_SET", "kind": "instance", "name": "web1",
                    "tags": ["a", "b"]}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn instance_moves() {
    check(&[
        (
            "gnt-instance migrate -f --non-live -n n2 --allow-failover --ignore-ipolicy \
             --ignore-hvversions --no-runtime-changes web1",
            json!([{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "mode": "non-live",
                    "target_node": "n2", "allow_failover": true, "ignore_ipolicy": true,
                    "ignore_hvversions": true, "allow_runtime_changes": false}]),
        ),
        (
            "gnt-instance migrate --cleanup --migration-mode=live web1",
            json!([{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "mode": "live",
                    "cleanup": true}]),
        ),
        (
            "gnt-instance failover --ignore-consistency --shutdown-timeout=9 -I hail --cleanup web1",
            json!([{"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1",
                    "ignore_consistency": true, "shutdown_timeout": 9, "iallocator": "hail",
                    "cleanup": true}]),
        ),
        (
            "gnt-instance move -f -n n2 --compress gzip --ignore-consistency web1",
            json!([{"OP_ID": "OP_INSTANCE_MOVE", "instance_name": "web1", "target_node": "n2",
                    "compress": "gzip", "ignore_consistency": true}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn instance_disks() {
    check(&[
        (
            "gnt-instance grow-disk --no-wait-for-sync --ignore-ipolicy web1 0 1.5g",
            json!([{"OP_ID": "OP_INSTANCE_GROW_DISK", "instance_name": "web1", "disk": 0,
                    "amount": 1536, "wait_for_sync": false, "ignore_ipolicy": true}]),
        ),
        (
            "gnt-instance grow-disk --absolute web1 2 10g",
            json!([{"OP_ID": "OP_INSTANCE_GROW_DISK", "instance_name": "web1", "disk": 2,
                    "amount": 10240, "absolute": true}]),
        ),
        (
            "gnt-instance recreate-disks --disk 1 --disk 0:size=2g,mode=ro web1",
            json!([{"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1",
                    "disks": [1, [0, {"size": 2048, "mode": "ro"}]]}]),
        ),
        (
            "gnt-instance recreate-disks -n n1:n2 web1",
            json!([{"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1",
                    "nodes": ["n1", "n2"]}]),
        ),
        (
            "gnt-instance replace-disks -p --disks 0,2 web1",
            json!([{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1",
                    "mode": "replace_on_primary", "disks": [0, 2]}]),
        ),
        (
            "gnt-instance replace-disks -s web1",
            json!([{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1",
                    "mode": "replace_on_secondary"}]),
        ),
        (
            "gnt-instance replace-disks -a web1",
            json!([{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1",
                    "mode": "replace_auto"}]),
        ),
        (
            "gnt-instance replace-disks -n n2 --early-release --ignore-ipolicy web1",
            json!([{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1",
                    "mode": "replace_new_secondary", "remote_node": "n2", "early_release": true,
                    "ignore_ipolicy": true}]),
        ),
        (
            "gnt-instance replace-disks -I . web1",
            json!([{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1",
                    "mode": "replace_new_secondary", "iallocator": "."}]),
        ),
        (
            "gnt-instance repair-mirror --discard n2 --disks 1 web1.example.com",
            json!([{"OP_ID": "OP_INSTANCE_REPAIR_MIRROR", "instance_name": "web1.example.com",
                    "discard_node": "n2", "disks": [1]}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn instance_disk_commands_that_make_no_sense() {
    let master = master();
    for (line, why) in [
        ("gnt-instance grow-disk web1 first 1g", "Invalid disk index 'first'"),
        ("gnt-instance recreate-disks --disk x:size=1g web1", "begin with the disk's number"),
        ("gnt-instance recreate-disks -n n1 -I hail web1", "Specify either an iallocator (-I)"),
        ("gnt-instance replace-disks web1", "One and only one of the -p, -s, -a, -n and -I"),
        ("gnt-instance replace-disks -p -s web1", "One and only one of the -p, -s, -a, -n and -I"),
        ("gnt-instance replace-disks -n n2 -I hail web1", "One and only one"),
        ("gnt-instance replace-disks -a --disks 0 web1", "leave out --disks"),
        ("gnt-instance replace-disks -p --disks 0,b web1", "Invalid disk index 'b'"),
        ("gnt-instance repair-mirror web1.example.com", "--discard NODE"),
    ] {
        let ran = master.run(line).await;
        assert_eq!(ran.code, 1, "{line}: {ran:?}");
        assert!(ran.err.contains(why), "{line}: {ran:?}");
    }
    assert!(master.submitted().is_empty());
    // What will be lost is named, and "no" is the default.
    let line = "gnt-instance repair-mirror --discard n2.example.com web1.example.com";
    let ran = master.run_answering(line, &["n"]).await;
    assert!(ran.code == 1 && master.submitted().is_empty(), "{ran:?}");
}

#[tokio::test]
async fn instance_modify() {
    check(&[
        (
            "gnt-instance modify -B vcpus=2 -H acpi=no,-kernel_path -O a=1 \
             --os-parameters-private b=2 -m 1g web1",
            json!([{"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1",
                    "beparams": {"vcpus": "2"}, "hvparams": {"acpi": "no", "kernel_path": null},
                    "osparams": {"a": "1"}, "osparams_private": {"b": "2"},
                    "runtime_mem": 1024}]),
        ),
        (
            "gnt-instance modify --disk add:size=1g --disk -1:remove --disk 0:mode=ro \
             --net 0:add,ip=pool --net eth0:modify,link=br1 -f --no-hotplug \
             --no-conflicts-check --no-wait-for-sync --ignore-ipolicy web1",
            json!([{"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1",
                    "disks": [["add", -1, {"size": 1024}], ["remove", -1, {}],
                              ["modify", 0, {"mode": "ro"}]],
                    "nics": [["add", 0, {"ip": "pool"}], ["modify", "eth0", {"link": "br1"}]],
                    "force": true, "hotplug": false, "conflicts_check": false,
                    "wait_for_sync": false, "ignore_ipolicy": true}]),
        ),
        (
            "gnt-instance modify -t drbd -n n2 -o deb --force-variant --offline web1",
            json!([{"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1",
                    "disk_template": "drbd", "remote_node": "n2", "os_name": "deb",
                    "force_variant": true, "offline": true}]),
        ),
        (
            "gnt-instance modify --online --new-primary n2 -e provider=p,x=1 -c no \
             --file-driver=loop --file-storage-dir=d web1",
            json!([{"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1", "offline": false,
                    "pnode": "n2", "ext_params": {"provider": "p", "x": "1"},
                    "instance_communication": false, "file_driver": "loop",
                    "file_storage_dir": "d"}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn nodes() {
    check(&[
        (
            "gnt-node modify -C yes -D no -O no --auto-promote -s 10.1.0.1 \
             --node-parameters ssh_port=2222 --hypervisor-state kvm:mem_total=1 \
             --disk-state plain/vg:disk_overhead=2 -f n2",
            json!([{"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "n2", "master_candidate": true,
                    "drained": false, "offline": false, "auto_promote": true,
                    "secondary_ip": "10.1.0.1", "ndparams": {"ssh_port": "2222"},
                    "hv_state": {"kvm": {"mem_total": "1"}},
                    "disk_state": {"plain": {"vg": {"disk_overhead": "2"}}}, "force": true}]),
        ),
        (
            "gnt-node modify --master-capable=no --vm-capable=no --node-powered=yes n2",
            json!([{"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "n2", "master_capable": false,
                    "vm_capable": false, "powered": true}]),
        ),
        ("gnt-node remove n2", json!([{"OP_ID": "OP_NODE_REMOVE", "node_name": "n2"}])),
        (
            "gnt-node powercycle -f --yes n2",
            json!([{"OP_ID": "OP_NODE_POWERCYCLE", "node_name": "n2", "force": true}]),
        ),
        (
            "gnt-node modify-storage --allocatable=no n2 lvm-pv /dev/sdb",
            json!([{"OP_ID": "OP_NODE_MODIFY_STORAGE", "node_name": "n2", "name": "/dev/sdb",
                    "storage_type": "lvm-pv", "changes": {"allocatable": false}}]),
        ),
        (
            "gnt-node repair-storage --ignore-consistency n2 lvm-vg xenvg",
            json!([{"OP_ID": "OP_REPAIR_NODE_STORAGE", "node_name": "n2", "name": "xenvg",
                    "storage_type": "lvm-vg", "ignore_consistency": true}]),
        ),
        (
            "gnt-node migrate --migration-mode live -I hail --ignore-ipolicy n1",
            json!([{"OP_ID": "OP_NODE_MIGRATE", "node_name": "n1.example.com", "mode": "live",
                    "iallocator": "hail", "ignore_ipolicy": true}]),
        ),
        (
            "gnt-node failover --ignore-consistency n1",
            json!([{"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web2.example.com",
                    "ignore_consistency": true}]),
        ),
        (
            "gnt-node evacuate -n n3 --early-release --ignore-soft-errors n1",
            json!([{"OP_ID": "OP_NODE_EVACUATE", "node_name": "n1.example.com",
                    "mode": "secondary-only", "remote_node": "n3", "early_release": true,
                    "ignore_soft_errors": true}]),
        ),
        (
            "gnt-node evacuate -p -I hail n1",
            json!([{"OP_ID": "OP_NODE_EVACUATE", "node_name": "n1.example.com",
                    "mode": "primary-only", "iallocator": "hail"}]),
        ),
        ("gnt-node evacuate n2", json!([])),
        (
            "gnt-node volumes -o +phys n1",
            json!([{"OP_ID": "OP_NODE_QUERYVOLS", "nodes": ["n1"],
                    "output_fields": ["node", "phys", "vg", "name", "size", "instance", "phys"]}]),
        ),
        (
            "gnt-node list-storage -t lvm-vg -o node,free n1",
            json!([{"OP_ID": "OP_NODE_QUERY_STORAGE", "nodes": ["n1"], "storage_type": "lvm-vg",
                    "output_fields": ["node", "free"]}]),
        ),
        (
            "gnt-node remove-tags n1 a",
            json!([{"OP_ID": "OP_TAGS_DEL", "kind": "node", "name": "n1", "tags": ["a"]}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn groups_and_operating_systems() {
    const SPEC: &str =
        "memory-size=128,cpu-count=1,disk-count=1,disk-size=1g,nic-count=1,spindle-use=1";
    let spec = json!({"memory-size": 128, "cpu-count": 1, "disk-count": 1, "disk-size": 1024,
                      "nic-count": 1, "spindle-use": 1});
    let bounds = format!(
        "gnt-group add --ipolicy-bounds-specs min:{SPEC}/max:{SPEC} --ipolicy-vcpu-ratio=2.5 \
         --ipolicy-disk-templates=file,plain --alloc-policy=unallocable -D drbd:metavg=m \
         --node-parameters spindle_count=2 blue"
    );
    check(&[
        (
            &bounds,
            json!([{"OP_ID": "OP_GROUP_ADD", "group_name": "blue", "alloc_policy": "unallocable",
                    "ipolicy": {"minmax": [{"min": spec, "max": spec}], "vcpu-ratio": 2.5,
                                "disk-templates": ["file", "plain"]},
                    "diskparams": {"drbd": {"metavg": "m"}},
                    "ndparams": {"spindle_count": "2"}}]),
        ),
        (
            "gnt-group modify --ipolicy-spindle-ratio=default --alloc-policy last_resort blue",
            json!([{"OP_ID": "OP_GROUP_SET_PARAMS", "group_name": "blue",
                    "alloc_policy": "last_resort", "ipolicy": {"spindle-ratio": "default"}}]),
        ),
        (
            "gnt-group evacuate --to red --to green --sequential --force-failover blue",
            json!([{"OP_ID": "OP_GROUP_EVACUATE", "group_name": "blue",
                    "target_groups": ["red", "green"], "sequential": true,
                    "force_failover": true}]),
        ),
        (
            "gnt-instance change-group --to red -I hail --early-release web1",
            json!([{"OP_ID": "OP_INSTANCE_CHANGE_GROUP", "instance_name": "web1",
                    "target_groups": ["red"], "iallocator": "hail", "early_release": true}]),
        ),
        ("gnt-group remove blue", json!([{"OP_ID": "OP_GROUP_REMOVE", "group_name": "blue"}])),
        (
            "gnt-group rename blue red",
            json!([{"OP_ID": "OP_GROUP_RENAME", "group_name": "blue", "new_name": "red"}]),
        ),
        (
            "gnt-group assign-nodes -f blue n1 n2",
            json!([{"OP_ID": "OP_GROUP_ASSIGN_NODES", "group_name": "blue",
                    "nodes": ["n1", "n2"], "force": true}]),
        ),
        (
            "gnt-group add-tags blue a",
            json!([{"OP_ID": "OP_TAGS_SET", "kind": "nodegroup", "name": "blue", "tags": ["a"]}]),
        ),
        (
            "gnt-os modify -H kvm:acpi=no -O a=1 --hidden=yes --blacklisted=no deb+min",
            json!([{"OP_ID": "OP_CLUSTER_SET_PARAMS", "os_hvp": {"deb+min": {"kvm": {"acpi": "no"}}},
                    "osparams": {"deb+min": {"a": "1"}}, "hidden_os": [["add", "deb+min"]],
                    "blacklisted_os": [["remove", "deb+min"]]}]),
        ),
        (
            "gnt-os list",
            json!([{"OP_ID": "OP_OS_DIAGNOSE", "output_fields": ["name", "variants"]}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn cluster() {
    check(&[
        (
            "gnt-cluster modify -B maxmem=1g -C 5 --max-running-jobs=7 --max-tracked-jobs 8 \
             --enabled-hypervisors=kvm,fake -H kvm:acpi=no -m aa:00:01 --master-netdev=eth1 \
             --master-netmask=24 -N mode=routed,link=100 --vg-name= --uid-pool=10-20 \
             --add-uids=30 --remove-uids=40 --drbd-usermode-helper=/bin/true -I hail \
             --default-iallocator-params x=1 --reserved-lvs= --prealloc-wipe-disks=yes",
            json!([{"OP_ID": "OP_CLUSTER_SET_PARAMS", "beparams": {"maxmem": "1g"},
                    "candidate_pool_size": 5, "max_running_jobs": 7, "max_tracked_jobs": 8,
                    "enabled_hypervisors": ["kvm", "fake"], "hvparams": {"kvm": {"acpi": "no"}},
                    "mac_prefix": "aa:00:01", "master_netdev": "eth1", "master_netmask": 24,
                    "nicparams": {"mode": "routed", "link": "100"}, "vg_name": "",
                    "uid_pool": [[10, 20]], "add_uids": [[30, 30]], "remove_uids": [[40, 40]],
                    "drbd_helper": "/bin/true", "default_iallocator": "hail",
                    "default_iallocator_params": {"x": "1"}, "reserved_lvs": [],
                    "prealloc_wipe_disks": true}]),
        ),
        (
            "gnt-cluster modify --node-parameters ovs=yes --use-external-mip-script=no \
             -D plain:stripes=2 --hypervisor-state kvm:mem_node=1 --enabled-disk-templates=file \
             --modify-etc-hosts=no --user-shutdown=yes --file-storage-dir=/f \
             --shared-file-storage-dir=/s --gluster-storage-dir=/g --install-image=/i \
             --zeroing-image=/z --compression-tools= --enabled-data-collectors=lv=true,drbd=no \
             --data-collector-interval=lv=5.5 --instance-communication-network=net \
             --maintain-node-health=yes --ipolicy-vcpu-ratio=8 -f",
            json!([{"OP_ID": "OP_CLUSTER_SET_PARAMS", "ndparams": {"ovs": "yes"},
                    "use_external_mip_script": false, "diskparams": {"plain": {"stripes": "2"}},
                    "hv_state": {"kvm": {"mem_node": "1"}}, "enabled_disk_templates": ["file"],
                    "modify_etc_hosts": false, "enabled_user_shutdown": true,
                    "file_storage_dir": "/f", "shared_file_storage_dir": "/s",
                    "gluster_storage_dir": "/g", "install_image": "/i", "zeroing_image": "/z",
                    "compression_tools": ["gzip", "gzip-fast", "gzip-slow"],
                    "enabled_data_collectors": {"lv": true, "drbd": false},
                    "data_collector_interval": {"lv": 5_500_000},
                    "instance_communication_network": "net", "maintain_node_health": true,
                    "ipolicy": {"vcpu-ratio": 8.0}, "force": true}]),
        ),
        (
            "gnt-cluster repair-disk-sizes web db",
            json!([{"OP_ID": "OP_CLUSTER_REPAIR_DISK_SIZES", "instances": ["web", "db"]}]),
        ),
        (
            "gnt-cluster verify-disks -g blue --no-strict",
            json!([{"OP_ID": "OP_CLUSTER_VERIFY_DISKS", "group_name": "blue",
                    "is_strict": false}]),
        ),
        ("gnt-cluster redist-conf", json!([{"OP_ID": "OP_CLUSTER_REDIST_CONF"}])),
        ("gnt-cluster activate-master-ip", json!([{"OP_ID": "OP_CLUSTER_ACTIVATE_MASTER_IP"}])),
        ("gnt-cluster deactivate-master-ip", json!([{"OP_ID": "OP_CLUSTER_DEACTIVATE_MASTER_IP"}])),
        ("gnt-cluster rename -f house", json!([{"OP_ID": "OP_CLUSTER_RENAME", "name": "house"}])),
        (
            "gnt-cluster verify -v --error-codes --no-nplus1-mem --no-hv-param-assessment -g blue \
             -I ENODEHV -I EINSTANCEDOWN --verify-ssh-clutter --debug-simulate-errors",
            json!([{"OP_ID": "OP_CLUSTER_VERIFY", "verbose": true, "error_codes": true,
                    "skip_checks": ["nplusone_mem", "hvparam_assessment"], "group_name": "blue",
                    "ignore_errors": ["ENODEHV", "EINSTANCEDOWN"], "verify_clutter": true,
                    "debug_simulate_errors": true}]),
        ),
        (
            "gnt-cluster add-tags a b",
            json!([{"OP_ID": "OP_TAGS_SET", "kind": "cluster", "tags": ["a", "b"]}]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_all_jobs_have() {
    let master = master();
    master.run("gnt-debug delay --priority=low --dry-run -dd --reason 'just so' 1").await;
    let jobs = master.submitted();
    let common = OpInput::from_json(&jobs[0][0]).expect("good").common;
    assert_eq!((common.priority, common.dry_run, common.debug_level), (10, true, 2));
    let trail: Vec<_> = common.reason.iter().map(|(s, t, _)| (s.as_str(), t.as_str())).collect();
    assert_eq!(trail, [("gnt:user", "just so"), ("gnt:client:gnt-debug", "delay")]);
    assert!(common.reason[0].2 > 0);
    master.run("gnt-cluster redist-conf --yes-do-it").await;
    assert!(master.last_even_if_drained());
}

#[tokio::test]
async fn wrong_command_lines() {
    let master = master();
    for (line, code, words) in [
        ("gnt-instance add web1", 1, "No disk information specified"),
        ("gnt-instance add -t diskless -s 1g web1", 1, "diskless instance has no disks"),
        ("gnt-instance add -s 1g --disk 0:size=1g web1", 1, "either the '--disk' or the '-s'"),
        ("gnt-instance add -t floppy web1", 2, "floppy"),
        ("gnt-instance add -t diskless --forthcoming --commit x", 1, "contradict"),
        ("gnt-instance add -t diskless --no-nics --net 0:ip=pool x", 1, "contradict"),
        ("gnt-instance add", 1, "Error: Command add expects 1 argument(s)"),
        ("gnt-instance rename a b c", 1, "Error: Command rename expects 2 argument(s)"),
        ("gnt-cluster version x", 1, "Error: Command version expects no arguments"),
        (
            "gnt-group assign-nodes a",
            1,
            "Error: Command assign-nodes expects at least 2 argument(s)",
        ),
        ("gnt-instance add --colour x", 2, "gnt-instance: error: unexpected argument '--colour'"),
        ("gnt-node modify -C maybe n1", 2, "use yes or no"),
        ("gnt-node modify n1", 1, "Please give at least one of the parameters."),
        ("gnt-instance modify web1", 1, "Please give at least one of the parameters."),
        ("gnt-cluster modify", 1, "Please give at least one of the parameters."),
        ("gnt-group modify g", 1, "Please give at least one of the parameters."),
        ("gnt-cluster destroy", 1, "--yes-do-it"),
        ("gnt-instance migrate --non-live --migration-mode live web1", 1, "Only one of"),
        ("gnt-instance failover -n a -I b web1", 1, "but not both"),
        ("gnt-instance startup", 1, "No instance names passed"),
        ("gnt-instance startup --all web1", 1, "--all takes no arguments"),
        ("gnt-instance startup --primary", 1, "No node names passed"),
        ("gnt-instance startup nope", 1, "error type: unknown_entity, error details:"),
        ("gnt-instance info", 1, "No instances selected"),
        ("gnt-instance info --all web1", 1, "Cannot use --all"),
        ("gnt-job cancel --kill 1", 1, "--yes-do-it"),
        ("gnt-job cancel", 1, "No jobs were named"),
        ("gnt-job cancel --pending 1", 1, "Only one way"),
        ("gnt-job change-priority 1", 1, "--priority option must be given"),
        ("gnt-job info x", 1, "Invalid job ID 'x'"),
        ("gnt-cluster queue stop", 1, "use drain, undrain or info"),
        ("gnt-job autoarchive soon", 1, "Invalid time specification"),
        ("gnt daemon start x", 2, "there are noded, masterd"),
        ("gnt-nothing x", 1, "Usage: gnt {family}"),
    ] {
        let ran = master.run(line).await;
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains(words), "{line}: {ran:?}");
        assert!(master.submitted().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn backup() {
    check(&[
        (
            "gnt-backup export -n n2.example.com web1",
            json!([{"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1",
                    "target_node": "n2.example.com"}]),
        ),
        (
            "gnt backup export -n n2 --transport-compression=gzip --noshutdown --shutdown-timeout 5 \
             --remove-instance --ignore-remove-failures --long-sleep -f web1",
            json!([{"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1", "target_node": "n2",
                    "compress": "gzip", "shutdown": false, "shutdown_timeout": 5,
                    "remove_instance": true, "ignore_remove_failures": true, "long_sleep": true}]),
        ),
        (
            "gnt-backup import -n n1 --src-node n2 --src-dir old --identify-defaults web3",
            json!([{"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web3", "mode": "import",
                    "disks": [], "nics": [], "pnode": "n1", "src_node": "n2", "src_path": "old",
                    "identify_defaults": true, "start": false}]),
        ),
        (
            "gnt-backup import -n n1 -t file -s 1G --net 0:mac=generate --compress lz4 web3",
            json!([{"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web3", "mode": "import",
                    "disks": [{"size": 1024}], "nics": [{"mac": "generate"}], "pnode": "n1",
                    "disk_template": "file", "compress": "lz4", "start": false}]),
        ),
        (
            "gnt-backup remove web1.example.com",
            json!([{"OP_ID": "OP_BACKUP_REMOVE", "instance_name": "web1.example.com"}]),
        ),
    ])
    .await;
}
