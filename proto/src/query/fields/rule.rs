//! The fields of placement rules.

use super::macros::fields;

fields! {
    /// A field of a placement rule.
    RuleField of Rule;
    plain {
        Name: "name", "Rule", Text, [], "Its name";
        Uuid: "uuid", "UUID", Text, [], "Its UUID";
        Kind: "kind", "Kind", Text, [], "together, apart, only-on or prefer";
        Instances: "instances", "Instances", Text, [], "Which instances it is about, in the filter language";
        Nodes: "nodes", "Nodes", Text, [], "On which nodes they may be, in the filter language";
        Domain: "domain", "Domain", Text, [], "What counts as one place: node, group, or a family of node tags";
        Mirrors: "mirrors", "Mirrors", Boolean, [], "Whether instances stay apart when one has failed over";
        Strength: "strength", "Strength", Text, [], "hard, or what each violation counts";
        Enabled: "enabled", "Enabled", Boolean, [], "Whether it counts";
        Comment: "comment", "Comment", Text, [], "Why it is there";
        Line: "line", "Line", Text, [], "The whole rule, as files of rules have it";
        Status: "status", "Status", Text, [], "satisfied, violated or disabled";
        Violations: "violations", "Violations", Number, [], "How badly it is violated";
        Violators: "violators", "Violators", Other, [HostName], "The instances that violate it";
        Problems: "problems", "Problems", Other, [], "What is wrong, in sentences";
        Members: "members", "Members", Other, [HostName], "The instances it is about";
        MemberCount: "member_cnt", "Members", Number, [], "Number of instances it is about";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
        SerialNo: "serial_no", "SerialNo", Number, [], "Number of changes so far";
    }
}
