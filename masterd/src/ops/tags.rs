//! Tags: words on objects. `OP_TAGS_GET`, `OP_TAGS_SEARCH`, `OP_TAGS_SET`, `OP_TAGS_DEL`.

use super::{Context, Operate, locking};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use roost_proto::choices::TagKind;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::{TagsDel, TagsGet, TagsSearch, TagsSet};
use serde_json::json;

/// The longest tag.
const MAX_LENGTH: usize = 128;
/// The most tags of one object.
const MAX_TAGS: usize = 4096;

/// A tag is made of word characters and `. + * / : @ -`.
pub fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.len() > MAX_LENGTH {
        return Err(Error::wrong_input(format!(
            "Invalid tag '{tag}': it must have 1 to {MAX_LENGTH} characters"
        )));
    }
    match tag.chars().find(|c| !(c.is_alphanumeric() || "_.+*/:@-".contains(*c))) {
        Some(c) => {
            Err(Error::wrong_input(format!("Invalid tag '{tag}': character '{c}' is not allowed")))
        }
        None => Ok(()),
    }
}

impl Operate for TagsGet {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        match self.use_locking {
            true => locks(config, self.kind, self.name.as_deref(), Mode::Shared),
            false => Ok(LockSet::new()),
        }
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let mut object = find(cx.config(), self.kind, self.name.as_deref())?;
        let mut plan = cx.start_plan();
        plan.result = json!(tags_of(&mut object));
        Ok(plan)
    }
}

impl Operate for TagsSearch {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let pattern = regex::Regex::new(&self.pattern).map_err(|e| {
            Error::wrong_input(format!("Invalid search pattern '{}': {e}", self.pattern))
        })?;
        let config = cx.config();
        let mut tagged = vec![("/cluster".to_owned(), &config.cluster.tags)];
        let instances = config.instances.values();
        tagged.extend(instances.map(|o| (format!("/instances/{}", o.name), &o.tags)));
        tagged.extend(config.nodes.values().map(|o| (format!("/nodes/{}", o.name), &o.tags)));
        tagged.extend(config.groups.values().map(|o| (format!("/nodegroup/{}", o.name), &o.tags)));
        tagged.extend(config.networks.values().map(|o| (format!("/network/{}", o.name), &o.tags)));
        let mut found: Vec<(&str, &str)> = Vec::new();
        for (path, tags) in &tagged {
            let matching = tags.iter().filter(|tag| pattern.is_match(tag));
            found.extend(matching.map(|tag| (path.as_str(), tag.as_str())));
        }
        found.sort_unstable();
        let mut plan = cx.start_plan();
        plan.result = json!(found);
        Ok(plan)
    }
}

impl Operate for TagsSet {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        locks(config, self.kind, self.name.as_deref(), Mode::Exclusive)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let mut object = find(cx.config(), self.kind, self.name.as_deref())?;
        let tags = tags_of(&mut object);
        let before = tags.len();
        for tag in &self.tags {
            check_tag(tag)?;
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(Error::wrong_input(format!(
                "Too many tags: an object can have {MAX_TAGS}, it would have {}",
                tags.len()
            )));
        }
        let changed = tags.len() != before;
        tags.sort_unstable();
        let mut plan = cx.start_plan();
        plan.pivot.changes.extend(changed.then_some(Change::Update(object)));
        Ok(plan)
    }
}

impl Operate for TagsDel {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        locks(config, self.kind, self.name.as_deref(), Mode::Exclusive)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let mut object = find(cx.config(), self.kind, self.name.as_deref())?;
        let tags = tags_of(&mut object);
        let missing: Vec<_> =
            self.tags.iter().filter(|tag| !tags.contains(tag)).map(|t| format!("'{t}'")).collect();
        if !missing.is_empty() {
            return Err(Error::unknown(format!("Tag(s) {} not found", missing.join(", "))));
        }
        tags.retain(|tag| !self.tags.contains(tag));
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Update(object));
        Ok(plan)
    }
}

/// A copy of the object that is meant.
fn find(config: &Config, kind: TagKind, name: Option<&str>) -> Result<Object> {
    let name = match (kind, name) {
        (TagKind::Cluster, _) => "",
        (_, Some(name)) => name,
        (_, None) => {
            return Err(Error::wrong_input(format!("Tags of a {kind} need the {kind}'s name")));
        }
    };
    Ok(match kind {
        TagKind::Cluster => Object::Cluster(Box::new((*config.cluster).clone())),
        TagKind::Node => Object::Node(Box::new((**config.node(name)?).clone())),
        TagKind::NodeGroup => Object::Group((**config.group(name)?).clone()),
        TagKind::Instance => Object::Instance(Box::new((**config.instance(name)?).clone())),
        TagKind::Network => Object::Network((**config.network(name)?).clone()),
    })
}

fn tags_of(object: &mut Object) -> &mut Vec<String> {
    match object {
        Object::Cluster(o) => &mut o.tags,
        Object::Node(o) => &mut o.tags,
        Object::Group(o) => &mut o.tags,
        Object::Instance(o) => &mut o.tags,
        Object::Network(o) => &mut o.tags,
        Object::Disk(_) | Object::Filter(_) | Object::Rule(_) => {
            unreachable!("`find` finds only what has tags")
        }
    }
}

fn locks(config: &Config, kind: TagKind, name: Option<&str>, mode: Mode) -> Result<LockSet> {
    let lock = match find(config, kind, name)? {
        Object::Node(o) => locking::node(o.uuid),
        Object::Group(o) => locking::group(o.uuid),
        Object::Instance(o) => LockName::new(Level::Instance, &o.name),
        Object::Network(o) => LockName::new(Level::Network, o.uuid),
        _ => locking::cluster_object(),
    };
    Ok(LockSet::new().with(lock, mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::error::ErrorType;

    fn set(kind: TagKind, name: Option<&str>, tags: &[&str]) -> TagsSet {
        let tags: Vec<_> = tags.iter().map(|t| (*t).to_owned()).collect();
        TagsSet { name: name.map(str::to_owned), ..TagsSet::new(kind, tags) }
    }

    #[test]
    fn tags_are_added_found_and_removed() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        site.run(set(TagKind::Cluster, None, &["b", "a"]));
        site.run(set(TagKind::Instance, Some("web"), &["role:web"]));
        site.run(set(TagKind::Node, Some("node2"), &["a"]));
        site.run(set(TagKind::NodeGroup, Some("default"), &["rack:1"]));
        let get = site.plan(TagsGet::new(TagKind::Cluster)).expect("a plan");
        assert_eq!(get.result, json!(["a", "b"]));
        let search = site.plan(TagsSearch::new("^a$|:")).expect("a plan");
        let all = json!([
            ["/cluster", "a"],
            ["/instances/web", "role:web"],
            ["/nodegroup/default", "rack:1"],
            ["/nodes/node2", "a"]
        ]);
        assert_eq!(search.result, all);
        site.run(TagsDel::new(TagKind::Cluster, vec!["a".to_owned()]));
        assert_eq!(site.config.cluster.tags, ["b"]);
    }

    #[test]
    fn the_same_tag_twice_changes_nothing() {
        let mut site = Site::new(&["node1"]);
        site.run(set(TagKind::Cluster, None, &["a"]));
        let plan = site.plan(set(TagKind::Cluster, None, &["a"])).expect("a plan");
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn refusals() {
        let site = Site::new(&["node1"]);
        let wrong = site.refusal(set(TagKind::Cluster, None, &["a b"]));
        assert_eq!(wrong, Error::wrong_input("Invalid tag 'a b': character ' ' is not allowed"));
        let gone = site.refusal(TagsDel::new(TagKind::Cluster, vec!["x".to_owned()]));
        assert_eq!(gone, Error::unknown("Tag(s) 'x' not found"));
        let nobody = site.refusal(set(TagKind::Node, Some("other"), &["a"]));
        assert_eq!(nobody.error_type, Some(ErrorType::UnknownEntity));
        let nameless = site.refusal(set(TagKind::Node, None, &["a"]));
        assert_eq!(nameless, Error::wrong_input("Tags of a node need the node's name"));
        let pattern = site.refusal(TagsSearch::new("("));
        assert_eq!(pattern.error_type, Some(ErrorType::WrongInput));
    }
}
