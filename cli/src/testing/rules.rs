//! `gnt-rule`.

use super::FakeMaster;
use roost_proto::opcodes::OpInput;
use roost_proto::query::Resource;
use serde_json::{Value, json};

#[tokio::test]
async fn rules_are_jobs() {
    let master = FakeMaster::start();
    for (line, wanted) in [
        (
            r#"gnt-rule add db apart --instances '"service:db" in tags' --domain rack --mirrors
               --comment 'one rack may burn'"#,
            json!({"OP_ID": "OP_PLACEMENT_RULE_ADD", "rule_name": "db", "kind": "apart",
                   "instances": "\"service:db\" in tags", "domain": "rack", "mirrors": true,
                   "rule_comment": "one rack may burn"}),
        ),
        (
            r#"gnt-rule add --strength=2.5 --disabled web prefer --instances='name =* "web*"'
               --nodes='"disk:ssd" in tags'"#,
            json!({"OP_ID": "OP_PLACEMENT_RULE_ADD", "rule_name": "web", "kind": "prefer",
                   "instances": "name =* \"web*\"", "nodes": "\"disk:ssd\" in tags",
                   "strength": 2.5, "enabled": false}),
        ),
        (
            "gnt-rule modify web --kind only-on --strength hard --enable --mirrors no --comment ''",
            json!({"OP_ID": "OP_PLACEMENT_RULE_MODIFY", "rule_name": "web", "kind": "only-on",
                   "strength": "hard", "enabled": true, "mirrors": false, "rule_comment": ""}),
        ),
        (
            "gnt-rule modify web --disable --new-name www",
            json!({"OP_ID": "OP_PLACEMENT_RULE_MODIFY", "rule_name": "web", "new_name": "www",
                   "enabled": false}),
        ),
        ("gnt-rule remove www", json!({"OP_ID": "OP_PLACEMENT_RULE_REMOVE", "rule_name": "www"})),
    ] {
        let ran = master.run(&line.replace('\n', " ")).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        let submitted: Vec<Value> = master.submitted().into_iter().flatten().collect();
        let found = OpInput::from_json(submitted.last().expect("an opcode")).expect("a good one");
        let wanted = OpInput::from_json(&wanted).expect("a good opcode");
        assert_eq!(found.op.to_json(), wanted.op.to_json(), "{line}");
    }
}

#[tokio::test]
async fn what_is_no_rule_is_not_sent() {
    let master = FakeMaster::start();
    for line in [
        "gnt-rule add db near --instances 'name == \"a\"'",
        "gnt-rule add db apart --instances 'name == \"a\"' --strength firm",
        "gnt-rule add db apart --instances 'name == \"a\"' --strength 0",
        "gnt-rule add db apart --instances 'name == \"a\"' --domain 'a b'",
        "gnt-rule modify db --enable --disable",
        "gnt-rule modify db --mirrors maybe",
    ] {
        assert_eq!(master.run(line).await.code, 2, "{line}");
    }
    let ran = master.run("gnt-rule add db apart").await;
    assert!(ran.code == 2 && ran.err.contains("--instances"), "{ran:?}");
    assert!(master.submitted().is_empty());
}

#[tokio::test]
async fn rules_are_listed() {
    let rule = json!({
        "name": "db", "kind": "apart", "domain": "node", "strength": "hard", "status": "violated",
        "violators": ["db1", "db2"], "members": ["db1", "db2"], "enabled": true,
        "problems": ["db1, db2 are on node1"], "violations": 1,
    });
    let master = FakeMaster::start().table(Resource::Rule, json!([rule]));
    let ran = master.run("gnt-rule list --no-headers --separator=:").await;
    assert_eq!(ran.out, "db:apart:node:hard:violated:db1,db2\n", "{ran:?}");
    let ran = master.run("gnt-rule info db").await;
    assert!(ran.out.contains("  Problems:\n    - db1, db2 are on node1\n"), "{ran:?}");
    let ran = master.run("gnt-rule list-fields --no-headers").await;
    assert!(ran.out.contains("violators"), "{ran:?}");
}
