//! Opcodes about placement rules. Ganeti has none.

use super::define::opcodes;
use crate::choices::RuleKind;
use crate::placement::{Domain, Strength};

opcodes! {
    /// Makes a placement rule. Result: its UUID.
    struct PlacementRuleAdd = "OP_PLACEMENT_RULE_ADD", summary rule_name;
    required {
        rule_name: String,
        kind: RuleKind,
        /// Which instances it is about, in the filter language.
        instances: String,
    }
    optional {
        /// Where they may be, in the filter language.
        nodes: Option<String> = None,
        /// `node`, `group`, or a family of node tags.
        domain: Domain = Domain::Node,
        mirrors: bool = false,
        /// `hard`, `soft`, or what each violation counts.
        strength: Option<Strength> = None,
        rule_comment: String = String::new(),
        enabled: bool = true,
    }

    /// Changes a placement rule; what is absent stays, unless the new kind has no such thing.
    struct PlacementRuleModify = "OP_PLACEMENT_RULE_MODIFY", summary rule_name;
    required { rule_name: String }
    optional {
        new_name: Option<String> = None,
        kind: Option<RuleKind> = None,
        instances: Option<String> = None,
        nodes: Option<String> = None,
        domain: Option<Domain> = None,
        mirrors: Option<bool> = None,
        strength: Option<Strength> = None,
        rule_comment: Option<String> = None,
        enabled: Option<bool> = None,
    }

    /// Removes a placement rule.
    struct PlacementRuleRemove = "OP_PLACEMENT_RULE_REMOVE", summary rule_name;
    required { rule_name: String }
}
