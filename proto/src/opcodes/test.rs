//! Opcodes that test the cluster's own machinery.

use super::define::opcodes;
use super::secret::SecretParams;
use super::spec::{DiskSpec, NicSpec};
use crate::choices::{DiskTemplate, EvacMode, Hypervisor, IAllocatorMode, IAllocatorTestDir};
use serde_json::Value;

opcodes! {
    /// Sleeps.
    struct TestDelay = "OP_TEST_DELAY", summary duration;
    required {
        /// Seconds.
        duration: f64,
    }
    optional {
        on_master: bool = true,
        on_nodes: Vec<String> = Vec::new(),
        on_node_uuids: Option<Vec<String>> = None,
        /// How often; 0 is once.
        repeat: u64 = 0,
        interruptible: bool = false,
        no_locks: bool = true,
    }

    /// Asks an allocator about something hypothetical. Result: the request's or answer's text.
    struct TestAllocator = "OP_TEST_ALLOCATOR", summary iallocator;
    required {
        direction: IAllocatorTestDir,
        mode: IAllocatorMode,
        name: String,
    }
    optional {
        nics: Option<Vec<NicSpec>> = None,
        disks: Option<Vec<DiskSpec>> = None,
        hypervisor: Option<Hypervisor> = None,
        iallocator: Option<String> = None,
        tags: Vec<String> = Vec::new(),
        /// MiB.
        memory: Option<u64> = None,
        vcpus: Option<u64> = None,
        os: Option<String> = None,
        disk_template: Option<DiskTemplate> = None,
        instances: Option<Vec<String>> = None,
        evac_mode: Option<EvacMode> = None,
        target_groups: Option<Vec<String>> = None,
        spindle_use: u64 = 1,
        count: u64 = 1,
        group_name: Option<String> = None,
    }

    /// Exercises the job queue. Result: true.
    struct TestJqueue = "OP_TEST_JQUEUE";
    optional {
        notify_waitlock: bool = false,
        notify_exec: bool = false,
        log_messages: Vec<String> = Vec::new(),
        fail: bool = false,
    }

    /// Exercises secret parameters.
    struct TestOsParams = "OP_TEST_OS_PARAMS";
    optional { osparams_secret: Option<SecretParams> = None }

    /// Known, but does nothing; for tests of clients.
    struct TestDummy = "OP_TEST_DUMMY";
    optional {
        result: Option<Value> = None,
        messages: Option<Value> = None,
        fail: Option<Value> = None,
        submit_jobs: Option<Value> = None,
    }
}
