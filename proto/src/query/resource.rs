//! What can be listed.

use std::fmt;

/// A kind of object with fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The cluster: one row.
    Cluster,
    /// Instances.
    Instance,
    /// Nodes.
    Node,
    /// Node groups.
    Group,
    /// Jobs.
    Job,
    /// Networks.
    Network,
    /// Locks held or waited for.
    Lock,
    /// Job filter rules.
    Filter,
    /// Placement rules.
    Rule,
    /// Instance exports lying on nodes.
    Export,
    /// Guest operating system definitions, through `OP_OS_DIAGNOSE`.
    Os,
    /// External storage providers, through `OP_EXT_STORAGE_DIAGNOSE`.
    ExtStorage,
    /// Logical volumes of nodes, through `OP_NODE_QUERYVOLS`.
    NodeVolume,
    /// Storage units of nodes, through `OP_NODE_QUERY_STORAGE`.
    NodeStorage,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 14] = [
        Resource::Cluster,
        Resource::Instance,
        Resource::Node,
        Resource::Group,
        Resource::Job,
        Resource::Network,
        Resource::Lock,
        Resource::Filter,
        Resource::Rule,
        Resource::Export,
        Resource::Os,
        Resource::ExtStorage,
        Resource::NodeVolume,
        Resource::NodeStorage,
    ];

    /// Its word in queries. Those of nodes are ours (Ganeti has them as opcode results only), and so are placement rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Cluster => "cluster",
            Resource::Instance => "instance",
            Resource::Node => "node",
            Resource::Group => "group",
            Resource::Job => "job",
            Resource::Network => "network",
            Resource::Lock => "lock",
            Resource::Filter => "filter",
            Resource::Rule => "rule",
            Resource::Export => "export",
            Resource::Os => "os",
            Resource::ExtStorage => "extstorage",
            Resource::NodeVolume => "node-volume",
            Resource::NodeStorage => "node-storage",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|r| r.as_str() == word)
    }

    /// Whether it is answered at once from the master's state. The others need an opcode in a job.
    pub fn is_direct(self) -> bool {
        !matches!(
            self,
            Resource::Cluster
                | Resource::Os
                | Resource::ExtStorage
                | Resource::NodeVolume
                | Resource::NodeStorage
        )
    }

    /// The field that names a row: what plain arguments of a `list` command are compared with.
    pub fn name_field(self) -> &'static str {
        match self {
            Resource::Job => "id",
            Resource::Filter => "uuid",
            Resource::Export | Resource::NodeVolume | Resource::NodeStorage => "node",
            Resource::Cluster => "cluster_name",
            _ => "name",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
