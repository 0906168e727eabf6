//! Tags of node groups.

use crate::commands::tags::tag_verbs;
use roost_proto::choices::TagKind;

tag_verbs!(TagKind::NodeGroup, name: "GROUP");
