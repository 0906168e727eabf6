//! Tags of instances.

use crate::commands::tags::tag_verbs;
use roost_proto::choices::TagKind;

tag_verbs!(TagKind::Instance, name: "INSTANCE");
