//! Plans keep placement rules, step by step.

mod generated;

use generated::clusters;
use proptest::prelude::*;
use roost_htools::balance::{self, Algorithm, Scope, Selection};
use roost_htools::model::GroupIdx;
use roost_htools::rules;
use roost_htools::score::Score;
use roost_htools::state::{Options, Placement};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_step_of_a_plan_breaks_a_hard_rule(cluster in clusters(), greedy in any::<bool>()) {
        let start = Placement::new(cluster.clone(), &Options::default());
        let scope = Scope::of(&cluster, GroupIdx(0), &Selection::default());
        let algorithm = if greedy { Algorithm::Greedy } else { Algorithm::Search };
        let options = balance::Options { algorithm, max_moves: 8, effort: 3000, threads: 1, ..balance::Options::default() };
        let plan = balance::plan(&start, &scope, &options);
        let hard = |placement: &Placement| -> Vec<i64> {
            let verdicts = rules::judge(&placement.to_cluster());
            let both = cluster.rules.iter().zip(verdicts);
            both.filter(|(rule, _)| rule.is_hard()).map(|(_, verdict)| verdict.broken).collect()
        };
        let mut now = start;
        for step in &plan.steps {
            let before = hard(&now);
            let outcome = step.what.outcome(&now, false);
            prop_assert!(outcome.is_ok(), "{step:?}: {outcome:?}");
            now.apply(step.what.instance, &outcome.unwrap_or_default());
            let worse = before.into_iter().zip(hard(&now)).any(|(was, is)| is > was);
            prop_assert!(!worse, "{step:?} breaks a hard rule");
            let is = Score::of(&now, &scope.nodes).total;
            prop_assert!((step.score - is).abs() <= 1e-9 * is.max(1.0), "{step:?}: {is}");
        }
    }
}
