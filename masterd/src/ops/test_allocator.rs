//! `OP_TEST_ALLOCATOR`: shows what an allocator is asked, or what it answers. Nothing comes of it.

use super::placement::allocator::Settings;
use super::placement::{self, Allocator, Asking, NewDisk, NewInstance, Request, named};
use super::{Context, Operate, locking};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use roost_htools::allocate::Rules;
use roost_htools::request;
use roost_htools::state::Options;
use roost_proto::choices::InstCreateMode;
use roost_proto::choices::{EvacMode, IAllocatorMode as Mode, IAllocatorTestDir as Direction};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::opcodes::{DiskSpec, InstanceCreate, TestAllocator};
use serde_json::json;

impl Operate for TestAllocator {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let nodes = placement::candidates(config, None, &[]);
        Ok(nodes.map(|node| (node.uuid, Question::Node)).collect())
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        match self.direction {
            Direction::In => Ok(vec![]),
            Direction::Out => Ok(asking(self, cx.config())?.further(cx)),
        }
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let asking = asking(self, cx.config())?;
        let text = match (self.direction, &asking.allocator) {
            (Direction::In, _) => asking.text(cx),
            (Direction::Out, Allocator::Hail) => hail(cx, &asking)?,
            (Direction::Out, Allocator::Script(name)) => placement::said(cx, name)?.to_owned(),
        };
        let mut plan = cx.start_plan();
        plan.result = json!(text);
        Ok(plan)
    }
}

/// What the command `hail` would answer to the request: it goes all the way through the protocol.
fn hail(cx: &Context<'_, '_>, asking: &Asking) -> Result<String> {
    let settings = Settings::of(cx.config());
    let rules = Rules {
        capacity_checks: !settings.no_capacity_checks,
        ignore_soft_errors: settings.ignore_soft_errors,
        ..Rules::default()
    };
    let request = request::read(&asking.text(cx))
        .map_err(|error| Error::internal(format!("our own request is malformed: {error}")))?;
    let answer =
        request::answer(request.known.cluster, &Options::default(), &request.wanted, &rules);
    Ok(answer.map_err(Error::exec)?.to_json())
}

fn asking(op: &TestAllocator, config: &Config) -> Result<Asking> {
    let instances = || named(config, op.instances.as_deref().unwrap_or_default());
    let request = match op.mode {
        Mode::Allocate => Request::Allocate(Box::new(new(op, config, &op.name)?)),
        Mode::MultiAllocate => {
            let name = |number| format!("{}{number}", op.name);
            let all = (0..op.count).map(|number| new(op, config, &name(number)));
            Request::MultiAllocate(all.collect::<Result<_>>()?)
        }
        Mode::AllocateSecondary => Request::AllocateSecondary(config.instance(&op.name)?.clone()),
        Mode::Relocate => {
            let instance = config.instance(&op.name)?;
            let secondary = config.secondaries(instance).first().copied();
            Request::Relocate(instance.clone(), secondary.unwrap_or(instance.primary_node))
        }
        Mode::NodeEvacuate => {
            Request::Evacuate(instances()?, op.evac_mode.unwrap_or(EvacMode::PrimaryOnly))
        }
        Mode::ChangeGroup => {
            let groups = op.target_groups.iter().flatten();
            let groups = groups.map(|name| config.group(name).map(|group| group.uuid));
            Request::ChangeGroup(instances()?, groups.collect::<Result<_>>()?)
        }
    };
    if op.direction == Direction::Out && op.iallocator.is_none() {
        return Err(Error::wrong_input("Missing allocator name: -I NAME, or . for the default"));
    }
    Asking::new(config, op.iallocator.as_deref(), request)
}

/// The instance that is asked for.
fn new(op: &TestAllocator, config: &Config, name: &str) -> Result<NewInstance> {
    if config.index.instance_by_name.contains_key(name) {
        return Err(Error::exists(format!("Instance '{name}' already in the cluster")));
    }
    let template = op.disk_template.or(config.cluster.default_disk_template());
    let template =
        template.ok_or_else(|| Error::wrong_state("The cluster has no disk template enabled"))?;
    let disks: Vec<DiskSpec> = op.disks.clone().unwrap_or_default();
    let mut create = InstanceCreate::new(
        name,
        InstCreateMode::Create,
        disks,
        op.nics.clone().unwrap_or_default(),
    );
    create.os_type.clone_from(&op.os);
    create.tags.clone_from(&op.tags);
    create.group_name.clone_from(&op.group_name);
    let hypervisor = op.hypervisor.or(config.cluster.default_hypervisor());
    let mut new = NewInstance::of(&create, config, template, hypervisor)?;
    new.be.maxmem = op.memory.unwrap_or(new.be.maxmem);
    new.be.vcpus = op.vcpus.and_then(|n| u32::try_from(n).ok()).unwrap_or(new.be.vcpus);
    new.be.spindle_use = u32::try_from(op.spindle_use).unwrap_or(u32::MAX);
    let unsized_disk = |disk: &NewDisk| disk.size == 0;
    if new.disks.iter().any(unsized_disk) {
        return Err(Error::wrong_input("Each disk needs a size (--disks SIZE,…)"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, group_of_nodes};
    use roost_proto::choices::DiskTemplate;
    use roost_proto::node::Answer;
    use serde_json::Value;

    /// Two racks of two nodes with volumes, `web` mirrored in the first.
    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        group_of_nodes(&mut site, "rack2", &["node3", "node4"]);
        site.cluster(|cluster| {
            cluster.volume_group_name = Some("xenvg".into());
            cluster.enabled_disk_templates = vec![DiskTemplate::Drbd, DiskTemplate::Plain];
        });
        site.instance("web", "node1", |_| {});
        site.mirrored_volumes("web", "node2");
        for node in ["node1", "node2", "node3", "node4"] {
            site.room(node, 50_000);
        }
        site
    }

    fn op(direction: Direction, mode: Mode, name: &str) -> TestAllocator {
        TestAllocator {
            iallocator: Some("hail".into()),
            memory: Some(256),
            vcpus: Some(1),
            disks: Some(vec![DiskSpec::sized(1024)]),
            disk_template: Some(DiskTemplate::Drbd),
            instances: Some(vec!["web".into()]),
            count: 2,
            ..TestAllocator::new(direction, mode, name)
        }
    }

    fn result(site: &Site, op: TestAllocator) -> Value {
        let plan = site.plan(op).expect("a plan");
        serde_json::from_str(plan.result.as_str().expect("text")).expect("JSON")
    }

    #[test]
    fn requests_have_what_the_protocol_says() {
        let site = site();
        let told = result(&site, op(Direction::In, Mode::Allocate, "new"));
        let keys: Vec<_> = told.as_object().expect("a dict").keys().cloned().collect();
        let mut expected = [
            "version",
            "cluster_name",
            "cluster_tags",
            "enabled_hypervisors",
            "ipolicy",
            "nodegroups",
            "nodes",
            "instances",
            "request",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let node = &told["nodes"]["node1"];
        assert_eq!(node["free_memory"], 4096 - 128, "web is to run there, and does not yet");
        assert_eq!((&node["total_disk"], &node["free_disk"]), (&json!(1 << 20), &json!(50_000)));
        assert_eq!((&node["i_pri_memory"], &node["total_cpus"]), (&json!(128), &json!(16)));
        assert_eq!(told["instances"]["web"]["nodes"], json!(["node1", "node2"]));
        assert_eq!(told["instances"]["web"]["disk_space_total"], 1152);
        let group = &told["nodegroups"][node["group"].as_str().expect("a group")];
        assert_eq!(
            (&group["name"], &group["alloc_policy"]),
            (&json!("default"), &json!("preferred"))
        );
        let request = &told["request"];
        assert_eq!(request["type"], "allocate");
        assert_eq!((&request["required_nodes"], &request["memory"]), (&json!(2), &json!(256)));
        assert_eq!(request["disk_space_total"], 1152);
        assert!(request.get("restrict-to-nodes").is_none());
    }

    #[test]
    fn every_mode_goes_through_the_protocol() {
        let mut site = site();
        site.instance("plain", "node3", |_| {});
        let modes = [
            (Mode::Allocate, "new"),
            (Mode::MultiAllocate, "new"),
            (Mode::Relocate, "web"),
            (Mode::NodeEvacuate, "web"),
            (Mode::ChangeGroup, "web"),
        ];
        for (mode, name) in modes {
            let told = result(&site, op(Direction::In, mode, name));
            assert_eq!(told["request"]["type"], mode.as_str());
            let answer = result(&site, op(Direction::Out, mode, name));
            // With two nodes in the rack there is no third one to go to.
            let expected = mode != Mode::Relocate;
            assert_eq!(answer["success"], expected, "{}: {answer}", mode.as_str());
        }
        let answer = result(&site, op(Direction::Out, Mode::Allocate, "new"));
        assert_eq!(answer["result"].as_array().map(Vec::len), Some(2), "{answer}");
        let answer = result(&site, op(Direction::Out, Mode::ChangeGroup, "web"));
        assert_eq!(answer["result"][0][0][1], "rack2", "{answer}");
    }

    #[test]
    fn a_script_says_what_it_says() {
        let mut site = site();
        let op = || TestAllocator {
            iallocator: Some("spread".into()),
            ..op(Direction::Out, Mode::Relocate, "web")
        };
        let asked = site.further(op());
        let [(node, Question::Iallocator { name, request, .. })] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert_eq!((node.as_str(), name.as_str()), ("node1", "spread"));
        assert!(request.contains(r#""relocate_from""#));
        let question = asked[0].1.clone();
        site.answer("node1", question, Ok(Answer::Iallocator("nonsense\n".into())));
        assert_eq!(site.plan(op()).expect("a plan").result, "nonsense\n");
    }

    #[test]
    fn what_is_missing() {
        let site = site();
        let none = TestAllocator { iallocator: None, ..op(Direction::Out, Mode::Relocate, "web") };
        assert!(site.refusal(none).message.contains("Missing allocator name"));
        let taken = op(Direction::In, Mode::Allocate, "web");
        assert!(site.refusal(taken).message.contains("already in the cluster"));
        let nobody =
            TestAllocator { instances: None, ..op(Direction::In, Mode::NodeEvacuate, "x") };
        assert!(site.refusal(nobody).message.contains("Name the instances"));
    }
}
