//! The parameters of instances: own ones over what the cluster says.
//!
//! What instances have in common is merged once for each hypervisor and OS.

use roost_proto::choices::Hypervisor;
use roost_proto::objects::{Cluster, Instance, ParamMap};
use roost_proto::params::{FilledNic, fill, hypervisor};
use serde_json::{Map, Value};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Parameters that many instances share.
pub(super) type Shared = Rc<Map<String, Value>>;

/// Parameters below those of instances.
#[derive(Debug)]
pub(super) struct Bases<'a> {
    cluster: &'a Cluster,
    be: OnceCell<Map<String, Value>>,
    nic: OnceCell<FilledNic>,
    hv: RefCell<HashMap<(Hypervisor, &'a str), Shared>>,
}

impl<'a> Bases<'a> {
    pub fn new(cluster: &'a Cluster) -> Bases<'a> {
        Bases { cluster, be: OnceCell::new(), nic: OnceCell::new(), hv: RefCell::default() }
    }

    /// Backend parameters of instances that have none of their own.
    pub fn be(&self) -> &Map<String, Value> {
        self.be.get_or_init(|| to_json(fill::beparams_map(self.cluster, &ParamMap::new())))
    }

    /// Parameters of network cards that have none of their own.
    pub fn nic(&self) -> &FilledNic {
        self.nic.get_or_init(|| fill::nicparams(self.cluster, &ParamMap::new()))
    }

    /// Hypervisor parameters of instances of that hypervisor and OS that have none of their own,
    /// without those that only a cluster has.
    pub fn hv(&self, instance: &'a Instance) -> Shared {
        let make = || {
            let (hv, os) = (instance.hypervisor, &instance.os);
            let mut map = fill::hvparams(self.cluster, hv, os, &ParamMap::new());
            map.retain(|name, _| !hypervisor::GLOBAL.contains(&name.as_str()));
            Rc::new(to_json(map))
        };
        let key = (instance.hypervisor, instance.os.as_str());
        self.hv.borrow_mut().entry(key).or_insert_with(make).clone()
    }
}

fn to_json(map: ParamMap) -> Map<String, Value> {
    map.into_iter().collect()
}

/// Own parameters as they are.
pub(super) fn own(map: &ParamMap) -> Value {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Own parameters over others.
pub(super) fn merged(base: &Map<String, Value>, own: &ParamMap) -> Value {
    let mut map = base.clone();
    for (name, value) in own {
        map.insert(name.clone(), value.clone());
    }
    Value::Object(map)
}
