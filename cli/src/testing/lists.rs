//! Tables and dumps.

use super::{FakeMaster, run_alone, run_answering};
use roost_proto::query::Resource;
use serde_json::json;

fn master() -> FakeMaster {
    FakeMaster::start()
        .table(
            Resource::Instance,
            json!([
                {"name": "web1.example.com", "hypervisor": "kvm", "os": "tiny", "pnode": "n1",
                 "status": "running", "oper_ram": 512, "tags": ["a", "b"], "oper_state": true,
                 "console": {"instance": "web1.example.com", "kind": "ssh", "host": "n1",
                             "user": "root", "command": ["virsh", "console", "web1"]}},
                {"name": "web10.example.com", "hypervisor": "kvm", "os": "tiny", "pnode": "n2",
                 "status": "ADMIN_down", "tags": [], "oper_state": false},
            ]),
        )
        .table(
            Resource::Job,
            json!([
                {"id": 1, "status": "success", "summary": ["TEST_DELAY(5)"], "archived": false},
                {"id": 2, "status": "running", "summary": ["A", "B"], "archived": false},
            ]),
        )
        .table(
            Resource::Lock,
            json!([
                {"name": "cluster/BGL", "mode": "shared", "owner": [7], "pending": []},
                {"name": "node/u", "mode": null, "owner": [], "pending": [["exclusive", [8, 9]]]},
            ]),
        )
}

#[tokio::test]
async fn instances() {
    let master = master();
    assert_eq!(
        master.run("gnt-instance list").await.out,
        "Instance          Hypervisor OS   Primary_node Status     Memory\n\
         web1.example.com  kvm        tiny n1           running      512M\n\
         web10.example.com kvm        tiny n2           ADMIN_down      -\n"
    );
    assert_eq!(
        master
            .run("gnt-instance list --no-headers --separator=: -o name,oper_ram,tags web1")
            .await
            .out,
        "web1.example.com:512:a,b\n"
    );
    assert_eq!(
        master.run("gnt-instance list -v --units=g -o oper_ram --no-headers").await.out,
        "      0.5\n(unavail)\n"
    );
    assert_eq!(
        master.run("gnt-instance list -o name --no-headers 'status == \"running\"'").await.out,
        "web1.example.com\n"
    );
    assert_eq!(
        master.run("gnt-instance list --json -o name,oper_ram web10").await.out,
        "[\n  {\n    \"name\": \"web10.example.com\",\n    \"oper_ram\": null\n  }\n]\n"
    );
}

#[tokio::test]
async fn unknown_fields_and_names() {
    let master = master();
    let ran = master.run("gnt-instance list -o name,colour web1").await;
    assert_eq!((ran.code, ran.err.as_str()), (14, "Warning: Queried for unknown fields colour\n"));
    assert_eq!(ran.out, "Instance         colour\nweb1.example.com ??\n");
    let ran = master.run("gnt-instance list nope").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error type: unknown_entity"), "{ran:?}");
    let ran = master.run("gnt-instance list 'name == '").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("Error while parsing query filter: "), "{ran:?}");
    let ran = run_alone("gnt-node list-fields name colour").await;
    assert_eq!(ran.code, 14);
    let ran = run_alone("gnt-node list-fields --no-headers name").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "name Text Node Node name\n"));
}

#[tokio::test]
async fn list_defaults_come_from_the_environment() {
    let master = master();
    let mut environment = master.environment();
    environment.list_defaults =
        vec![("GNT_INSTANCE_LIST".into(), "--no-headers -o name,status".into())];
    let ran = run_answering("gnt-instance list web1", environment.clone(), &[]).await;
    assert_eq!(ran.out, "web1.example.com running\n");
    let ran = run_answering("gnt-job list 1", environment, &[]).await;
    assert_eq!(ran.out, "ID Status  Summary\n 1 success TEST_DELAY(5)\n");
}

#[tokio::test]
async fn jobs() {
    let master = master();
    assert_eq!(
        master.run("gnt-job list").await.out,
        "ID Status  Summary\n 1 success TEST_DELAY(5)\n 2 running A,B\n"
    );
    assert_eq!(
        master.run("gnt-job list --no-headers --finished").await.out,
        "1 success TEST_DELAY(5)\n"
    );
    // The last of several states counts.
    assert_eq!(
        master.run("gnt-job list --no-headers --finished --running").await.out,
        "2 running A,B\n"
    );
    assert!(
        master
            .run("gnt-job list --archived")
            .await
            .out
            .starts_with("ID Status  Summary       Archived\n")
    );
    assert_eq!(master.run("gnt-job list --no-headers 1 2 --error").await.out, "");
}

#[tokio::test]
async fn locks() {
    assert_eq!(
        master().run("gnt-debug locks").await.out,
        "Name        Mode   Owner Pending\ncluster/BGL shared 7     -\nnode/u      -      -     \
         exclusive:8,9\n"
    );
}

#[tokio::test]
async fn consoles() {
    let master = master();
    let ran = master.run("gnt-instance console --show-cmd web1").await;
    assert_eq!(ran.out, "ssh -t -l root n1 'virsh console web1'\n");
    let ran = master.run("gnt-instance console web10").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is not running (state ADMIN_down)"), "{ran:?}");
}

#[tokio::test]
async fn volumes_and_storage() {
    let master = FakeMaster::start()
        .answer(
            "OP_NODE_QUERYVOLS",
            Ok(json!([
                ["n1", "/dev/sda1", "xenvg", "lv1", "1024", "web1"],
                ["n1", "/dev/sda1", "xenvg", "lv2", 512, "-"]
            ])),
        )
        .answer(
            "OP_NODE_QUERY_STORAGE",
            Ok(json!([["n1", "lvm-vg", "xenvg", 2048, 1536, 512, true]])),
        );
    assert_eq!(
        master.run("gnt-node volumes").await.out,
        "Node PhysDev   VG    Name Size Instance\nn1   /dev/sda1 xenvg lv1  1.0G web1\n\
         n1   /dev/sda1 xenvg lv2  512M -\n"
    );
    assert_eq!(
        master.run("gnt-node list-storage --separator=,").await.out,
        "Node,Type,Name,Size,Used,Free,Allocatable\nn1,lvm-vg,xenvg,2048,1536,512,Y\n"
    );
}

#[tokio::test]
async fn operating_systems() {
    let master = FakeMaster::start()
        .answer("OP_OS_DIAGNOSE", Ok(json!([["tiny", []], ["debian", ["min", "full"]]])));
    assert_eq!(master.run("gnt-os list").await.out, "Name\ndebian+full\ndebian+min\ntiny\n");
}

#[tokio::test]
async fn external_storage_providers() {
    let master = FakeMaster::start().answer(
        "OP_EXT_STORAGE_DIAGNOSE",
        Ok(json!([[
            "san",
            {"n10": [], "n2": [["/srv/san", true, "", [["pool", "the pool"], ["speed", "fast"]]]],
             "n3": [["/srv/san", false, "its script 'grow' is missing", []]]},
            {"far": false, "default": true},
        ]])),
    );
    let ran = master.run("gnt-storage diagnose").await;
    assert_eq!(
        ran.out,
        "Provider: san\n  For node: n2 --> valid (path: /srv/san) [parameters: pool, speed]\n  \
         For node: n3 --> invalid - its script 'grow' is missing (path: /srv/san) [no parameters]\n  \
         For node: n10 --> ExtStorage provider not found\n  For nodegroup: default --> valid\n  \
         For nodegroup: far --> invalid\n\n"
    );
    assert_eq!(ran.code, 0);
    let master = FakeMaster::start().answer(
        "OP_EXT_STORAGE_DIAGNOSE",
        Ok(json!([
            ["san", {"far": true, "default": true}, [["pool", "the pool"]]],
            ["nas", {"default": false}, []],
        ])),
    );
    assert_eq!(
        master.run("gnt-storage info nas san usb").await.out,
        "san:\n  - Valid for nodegroups:\n      default\n      far\n  - Supported parameters:\n      \
         pool: the pool\n\nnas:\n  - Invalid for all nodegroups\n\nusb: Not Found\n\n"
    );
    let master = FakeMaster::start().answer("OP_EXT_STORAGE_DIAGNOSE", Ok(json!([])));
    let ran = master.run("gnt-storage info").await;
    assert_eq!((ran.code, ran.err.as_str()), (1, "Can't get the ExtStorage providers list\n"));
    assert_eq!(master.run("gnt-storage diagnose").await.code, 1);
}

#[tokio::test]
async fn versions_and_usage() {
    let ran = run_alone("gnt-job").await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.starts_with("Usage: gnt-job {command} [options...] [argument...]\n"),
        "{ran:?}"
    );
    assert_eq!(run_alone("gnt-job frobnicate").await.code, 1);
    assert_eq!(run_alone("gnt-job --help").await.code, 0);
    let ran = run_alone("gnt job --version").await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("gnt-job (ganeti v"), "{ran:?}");
}
