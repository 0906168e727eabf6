//! `gnt-cluster balancer`.

use super::FakeMaster;
use crate::clock::stamp;
use roost_proto::opcodes::OpInput;
use serde_json::{Value, json};

#[tokio::test]
async fn settings_are_changed_by_a_job() {
    let master = FakeMaster::start();
    for (line, wanted) in [
        ("gnt-cluster balancer --mode=on", json!({"mode": "on"})),
        (
            "gnt-cluster balancer --mode report --threshold=1.5 --hold=10m --margin 0.3 \
             --moves-per-hour=4 --copy-per-hour=50g --interval=15",
            json!({"mode": "report", "threshold": 1.5, "hold": 600, "margin": 0.3,
                   "moves_per_hour": 4, "copy_per_hour": 51200, "interval": 15}),
        ),
    ] {
        let ran = master.run(line).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        let submitted: Vec<Value> = master.submitted().into_iter().flatten().collect();
        let found = OpInput::from_json(submitted.last().expect("an opcode")).expect("a good one");
        let mut wanted = wanted;
        wanted["OP_ID"] = "OP_CLUSTER_SET_BALANCER".into();
        let wanted = OpInput::from_json(&wanted).expect("a good opcode");
        assert_eq!(found.op.to_json(), wanted.op.to_json(), "{line}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_not_sent() {
    let master = FakeMaster::start();
    for line in [
        "gnt-cluster balancer --mode=maybe",
        "gnt-cluster balancer --hold=long",
        "gnt-cluster balancer --copy-per-hour=much",
        "gnt-cluster balancer --moves-per-hour=-1",
    ] {
        assert_eq!(master.run(line).await.code, 2, "{line}");
    }
    assert!(master.submitted().is_empty());
}

#[tokio::test]
async fn without_options_it_tells_what_it_does_and_why() {
    let master = FakeMaster::start();
    let ran = master.run("gnt-cluster balancer").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let [looked, above, made, until, failed, at] =
        [1_000_000_000, 999_999_000, 1_000_000_000, 1_000_000_600, 999_999_500, 999_999_900]
            .map(stamp);
    let wanted = format!(
        "Mode: on
Threshold: 1
Hold time: 600 s
Margin: 0.2
Moves per hour: 10, 8 left
Copies per hour: 100.0G, 90.0G left
Interval: 30 s, looked last: {looked}
Node groups:
  default: begins a plan of 2 moves
    score 4.5000, 4.0000 above what cannot be avoided; above the threshold since {above}
    plan of {made}: score 4.5000 to 1.2500
      web1: node1:node2 to node2:node1
      web2: node1:node2 to node3:node2, copies 10.0G
  rack2: is left alone: node node9 has not reported lately
Resting after failed moves:
  db1: until {until}, failed in a row: 1
Moves of the last hour:
  {failed}: db1, job 17, copies 10.0G: failed
  {at}: web3, job 18: under way
"
    );
    assert_eq!(ran.out, wanted);
    assert!(master.submitted().is_empty());
    let ran = master.run("gnt-cluster balancer --json").await;
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["settings"]["mode"], "on");
    assert_eq!(json["groups"][0]["plan"]["moves"][1]["copy"], 10240);
}
