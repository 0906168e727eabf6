//! Whether placement rules are kept. A hard one that is not is an error, a wish that is not fulfilled a note.

use super::findings::{self, Findings};
use crate::config::Config;
use crate::placement_rules::Judged;
use roost_htools::rules;

/// Checks all that are enabled. Says nothing where there are none.
pub fn verify(findings: &mut Findings<'_>, config: &Config) {
    if config.rules.is_empty() {
        return;
    }
    findings.heading("Verifying placement rules");
    let judged = Judged::new(config);
    for (rule, verdict) in judged.cluster.rules.iter().zip(&judged.verdicts) {
        let name = &rule.spec.name;
        if verdict.problems.is_empty() {
            findings.detail(format!("Placement rule '{name}' is satisfied"));
        }
        for problem in &verdict.problems {
            let text = format!("{}: {}", rule.spec.kind, problem.text);
            match rule.is_hard() {
                true => findings.error(findings::ERULEVIOLATED, name, text),
                false => findings.notice(format!("wish '{name}' not fulfilled: {text}")),
            }
        }
    }
    for (at, doubt) in rules::doubts(&judged.cluster) {
        let name = &judged.cluster.rules[at].spec.name;
        findings.notice(format!("placement rule '{name}': {doubt}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::RuleKind;
    use roost_proto::opcodes::PlacementRuleAdd;
    use roost_proto::placement::Strength;

    fn said(site: &Site, ignored: &[String]) -> (Vec<String>, bool) {
        let mut findings = Findings::new(false, ignored, true);
        verify(&mut findings, &site.config);
        findings.finish()
    }

    #[test]
    fn hard_ones_are_errors_and_wishes_notes() {
        let mut site = Site::new(&["node1", "node2"]);
        assert_eq!(said(&site, &[]), (vec![], true));
        for name in ["db1", "db2"] {
            site.instance(name, "node1", |_| {});
        }
        let all = r#"name =* "db*""#;
        site.run(PlacementRuleAdd::new("far", RuleKind::Apart, all));
        let near = PlacementRuleAdd::new("near", RuleKind::Together, all);
        site.run(PlacementRuleAdd { strength: Some(Strength::Soft(1.0)), ..near });
        let nodes = Some(r#"name == "node2""#.to_owned());
        let wish = PlacementRuleAdd::new("wish", RuleKind::Prefer, r#"name == "db1""#);
        site.run(PlacementRuleAdd { nodes, ..wish });
        let lines = [
            "* Verifying placement rules",
            "  - ERROR: rule far: apart: db1, db2 are on node1",
            "* Placement rule 'near' is satisfied",
            "  - NOTICE: wish 'wish' not fulfilled: prefer: db1 is on node1",
        ];
        assert_eq!(said(&site, &[]), (lines.map(str::to_owned).to_vec(), false));
        let (lines, good) = said(&site, &["ERULEVIOLATED".to_owned()]);
        assert!(good && lines[1].contains("WARNING"), "{lines:?}");
    }
}
