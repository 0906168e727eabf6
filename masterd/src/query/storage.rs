//! Where disks are made, as far as nodes report how much room is there.

use roost_proto::choices::DiskTemplate;
use roost_proto::node::NodeReport;
use roost_proto::objects::Cluster;

/// Storage whose room nodes report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage<'a> {
    Directory(&'a str),
    Group(&'a str),
}

impl<'a> Storage<'a> {
    /// Of a disk template, if it has one.
    pub fn of(cluster: &'a Cluster, template: DiskTemplate) -> Option<Storage<'a>> {
        let directory = match template {
            DiskTemplate::File => cluster.file_storage_dir.as_str(),
            DiskTemplate::SharedFile => cluster.shared_file_storage_dir.as_str(),
            DiskTemplate::Gluster => cluster.gluster_storage_dir.as_str(),
            template if template.uses_lvm() => {
                return cluster.volume_group_name.as_deref().map(Storage::Group);
            }
            _ => "",
        };
        (!directory.is_empty()).then_some(Storage::Directory(directory))
    }

    /// Of the first enabled disk template that has one.
    pub fn usual(cluster: &'a Cluster) -> Option<Storage<'a>> {
        let mut enabled = cluster.enabled_disk_templates.iter();
        enabled.find_map(|template| Storage::of(cluster, *template))
    }

    /// (total, free) in MiB on a node, if it reports that.
    pub fn room(self, report: &NodeReport) -> Option<(u64, u64)> {
        let room = match self {
            Storage::Directory(dir) => report.storage.get(dir),
            Storage::Group(group) => report.volume_groups.get(group),
        };
        room.copied()
    }
}
