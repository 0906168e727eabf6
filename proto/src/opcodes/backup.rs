//! Opcodes about exports.

use super::define::opcodes;
use super::spec::ExportTarget;
use crate::choices::ExportMode;
use serde_json::Value;

opcodes! {
    /// Makes keys for an export to another cluster.
    /// Result: `{handshake, x509_key_name, x509_ca}`, or null for a local export.
    struct BackupPrepare = "OP_BACKUP_PREPARE", summary instance_name;
    required {
        instance_name: String,
        mode: ExportMode,
    }
    optional { instance_uuid: Option<String> = None }

    /// Writes an instance to a node, or to another cluster. Result: `[finalized, [disk ok]]`.
    struct BackupExport = "OP_BACKUP_EXPORT", summary instance_name;
    required {
        instance_name: String,
        target_node: ExportTarget,
    }
    optional {
        instance_uuid: Option<String> = None,
        compress: String = "none".into(),
        /// Seconds.
        shutdown_timeout: u64 = 120,
        target_node_uuid: Option<String> = None,
        shutdown: bool = true,
        remove_instance: bool = false,
        ignore_remove_failures: bool = false,
        mode: ExportMode = ExportMode::Local,
        x509_key_name: Option<Vec<Value>> = None,
        destination_x509_ca: Option<String> = None,
        zero_free_space: bool = false,
        /// Seconds.
        zeroing_timeout_fixed: Option<i64> = None,
        /// Seconds for each MiB.
        zeroing_timeout_per_mib: Option<f64> = None,
        /// Keep the instance down for the whole export where there are no snapshots.
        long_sleep: bool = false,
    }

    /// Removes exports of an instance.
    struct BackupRemove = "OP_BACKUP_REMOVE", summary instance_name;
    required { instance_name: String }
    optional { instance_uuid: Option<String> = None }
}
