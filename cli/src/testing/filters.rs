//! `gnt-filter`.

use super::FakeMaster;
use roost_proto::query::Resource;
use serde_json::json;

#[tokio::test]
async fn rules_are_put_and_deleted() {
    let master = FakeMaster::start();
    let ran = master.run("gnt-filter add").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "new-uuid\n"));
    let line = "gnt-filter add --priority=5 --action='RATE_LIMIT 3' --reason=busy \
                --predicates='[[\"jobid\", [\">\", \"id\", \"watermark\"]]]'";
    assert_eq!(master.run(line).await.code, 0);
    let ran = master.run("gnt-filter replace --action PAUSE u-1").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "u-1\n"));
    let ran = master.run("gnt-filter delete u-1").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(
        master.calls(),
        [
            "put filter '' 0 [] \"CONTINUE\" []",
            "put filter '' 5 [[\"jobid\",[\">\",\"id\",\"watermark\"]]] [\"RATE_LIMIT\",3] \
             [[\"gnt:user\",\"busy\"]]",
            "put filter 'u-1' 0 [] \"PAUSE\" []",
            "delete filter u-1",
        ]
    );
}

#[tokio::test]
async fn what_is_no_rule_is_not_sent() {
    let master = FakeMaster::start();
    for line in [
        "gnt-filter add --action=STOP",
        "gnt-filter add --action=RATE_LIMIT",
        "gnt-filter add --predicates=x",
        "gnt-filter add --predicates={}",
        "gnt-filter add --priority=-1",
    ] {
        assert_eq!(master.run(line).await.code, 2, "{line}");
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn rules_are_listed() {
    let rule = json!({
        "uuid": "u-1", "watermark": 7, "priority": 0, "predicates": [["jobid", ["=", "id", 3]]],
        "action": ["RATE_LIMIT", 2], "reason_trail": [["gnt:user", "busy", 5]],
    });
    let master = FakeMaster::start().table(Resource::Filter, json!([rule]));
    let ran = master.run("gnt-filter list --no-headers --separator=:").await;
    assert_eq!(
        ran.out,
        "u-1:7:0:[['jobid', ['=', 'id', 3]]]:['RATE_LIMIT', 2]:[['gnt:user', 'busy', 5]]\n"
    );
    let ran = master.run("gnt-filter info u-1").await;
    assert!(ran.out.starts_with("UUID: u-1\n  Watermark: 7\n"), "{ran:?}");
    let ran = master.run("gnt-filter list-fields --no-headers").await;
    assert!(ran.out.contains("watermark"), "{ran:?}");
}

#[tokio::test]
async fn killing_must_be_meant() {
    let master = FakeMaster::start();
    let ran = master.run("gnt-job cancel --kill 7").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--yes-do-it") && master.calls().is_empty(), "{ran:?}");
    assert_eq!(master.run("gnt-job cancel --kill --yes-do-it 7").await.code, 0);
    assert_eq!(master.calls(), ["cancel 7 kill=true"]);
}
