//! Placement rules as they are stored. Not in Ganeti's file.

use crate::ids::RuleId;
use crate::placement::RuleSpec;
use serde::{Deserialize, Serialize};

/// A rule about where instances may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementRule {
    pub uuid: RuleId,
    #[serde(flatten)]
    pub spec: RuleSpec,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
}
