//! `gnt-node power` and `gnt-node health`: what is submitted, printed, and asked.

use super::FakeMaster;
use roost_proto::opcodes::OpInput;
use serde_json::{Value, json};

const OP: &str = "OP_OOB_COMMAND";

fn master(rows: Value) -> FakeMaster {
    FakeMaster::start().answer(OP, Ok(rows)).answer("OP_NODE_SET_PARAMS", Ok(json!([])))
}

/// The opcodes of the one job.
fn one_job(master: &FakeMaster) -> Vec<Value> {
    let [job] = <[_; 1]>::try_from(master.submitted()).expect("one job");
    job.iter().map(|op| OpInput::from_json(op).expect("a good opcode").op.to_json()).collect()
}

fn opcode(op: Value) -> Value {
    OpInput::from_json(&op).expect("a good opcode").op.to_json()
}

#[tokio::test]
async fn off_marks_nodes_offline_first() {
    let master = master(json!([[[0, "n2"], [0, null]], [[0, "n3"], [2, null]]]));
    let ran = master.run_answering("gnt-node power --auto-promote off n2 n3", &["y"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, "Node Status\nn2   invoked\nn3   (nodata)\n"));
    let offline = |node: &str| {
        opcode(json!({"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node, "offline": true,
                      "auto_promote": true}))
    };
    let off = json!({"OP_ID": OP, "command": "power-off", "node_names": ["n2", "n3"]});
    assert_eq!(one_job(&master), [offline("n2"), offline("n3"), opcode(off)]);
    let line = "gnt-node power -f --ignore-status --oob-timeout 5 --power-delay=0.5 off n2";
    master.run(line).await;
    let off = json!({"OP_ID": OP, "command": "power-off", "node_names": ["n2"], "timeout": 5,
                     "ignore_status": true, "power_delay": 0.5});
    assert_eq!(one_job(&master), [opcode(off)]);
}

#[tokio::test]
async fn on_and_status_are_for_all_and_unasked() {
    let on = master(json!([[[0, "n1"], [0, null]]]));
    let ran = on.run("gnt-node power on --no-headers").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "n1 invoked\n"));
    assert_eq!(one_job(&on), [opcode(json!({"OP_ID": OP, "command": "power-on"}))]);
    let status = master(json!([
        [[0, "n1"], [0, {"powered": true}]],
        [[0, "n2"], [0, {"powered": false}]],
        [[0, "n3"], [3, null]],
    ]));
    let ran = status.run("gnt-node power --separator=: status").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (1, "Node:Status\nn1:powered\nn2:unpowered\nn3:(unavail)\n")
    );
}

#[tokio::test]
async fn what_is_refused_submits_nothing() {
    let master = master(json!([]));
    for (line, answers, err) in [
        ("gnt-node power off", &[][..], "Please provide at least one node for this command\n"),
        ("gnt-node power cycle", &[], "Please provide at least one node for this command\n"),
        ("gnt-node power -f explode n2", &[], "power subcommand explode not supported.\n"),
        ("gnt-node power cycle n2", &["n"], ""),
        ("gnt-node power off n2", &[], ""),
    ] {
        let ran = master.run_answering(line, answers).await;
        assert_eq!((ran.code, ran.err.as_str()), (1, err), "{line}");
        assert!(master.submitted().is_empty(), "{line}");
    }
    assert_eq!(master.run_answering("gnt-node power cycle n2", &["y"]).await.code, 0);
}

#[tokio::test]
async fn health_shows_items_below_each_other() {
    let master = master(json!([
        [[0, "n1"], [0, [["fan", "OK"], ["disk0", "WARNING"]]]],
        [[0, "n2"], [0, []]],
        [[0, "n3"], [0, [["fan", "OK"]]]],
    ]));
    let ran = master.run("gnt-node health --oob-timeout=7 n1 n2 n3").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "Node Status\nn1   fan=OK\n     disk0=WARNING\nn2   \nn3   fan=OK\n")
    );
    let op = json!({"OP_ID": OP, "command": "health", "node_names": ["n1", "n2", "n3"],
                    "timeout": 7});
    assert_eq!(one_job(&master), [opcode(op)]);
}
