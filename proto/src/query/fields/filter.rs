//! The fields of job filter rules.

use super::macros::fields;

fields! {
    /// A field of a job filter rule.
    FilterField of Filter;
    plain {
        Uuid: "uuid", "UUID", Text, [], "Filter UUID";
        Watermark: "watermark", "Watermark", Number, [], "Number of the last job when the rule was made";
        Priority: "priority", "Priority", Number, [], "Order of the rules, lowest first";
        Predicates: "predicates", "Predicates", Other, [], "What a job must be like for the rule to apply";
        Action: "action", "Action", Other, [], "What becomes of such a job";
        ReasonTrail: "reason_trail", "ReasonTrail", Other, [], "Why the rule was made, and by whom";
    }
}
