//! The fields of locks.

use super::macros::fields;

fields! {
    /// A field of a lock that is held or waited for.
    LockField of Lock;
    plain {
        Name: "name", "Name", Text, [], "Lock name";
        Mode: "mode", "Mode", Other, [], "How it is held: exclusive, shared, or null if nobody holds it";
        Owner: "owner", "Owner", Other, [], "Jobs that hold it";
        Pending: "pending", "Pending", Other, [], "Jobs that wait for it, by mode";
    }
}
