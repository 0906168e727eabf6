//! Opcodes about tags.

use super::define::opcodes;
use crate::choices::TagKind;

opcodes! {
    /// The tags of an object. Result: a list.
    struct TagsGet = "OP_TAGS_GET", summary name;
    required { kind: TagKind }
    optional {
        use_locking: bool = false,
        /// Absent for the cluster.
        name: Option<String> = None,
    }

    /// Tags that match a pattern. Result: `[[path, tag]]`.
    struct TagsSearch = "OP_TAGS_SEARCH", summary pattern;
    required { pattern: String }

    /// Adds tags.
    struct TagsSet = "OP_TAGS_SET";
    required {
        kind: TagKind,
        tags: Vec<String>,
    }
    optional {
        /// Absent for the cluster.
        name: Option<String> = None,
    }

    /// Removes tags.
    struct TagsDel = "OP_TAGS_DEL";
    required {
        kind: TagKind,
        tags: Vec<String>,
    }
    optional {
        /// Absent for the cluster.
        name: Option<String> = None,
    }
}
