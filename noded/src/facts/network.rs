//! The node's network.

use std::path::Path;

/// Which of these are not there: neither a Linux bridge nor an Open vSwitch one.
pub fn missing_bridges(bridges: Vec<String>) -> Vec<String> {
    bridges.into_iter().filter(|name| !is_bridge(Path::new("/sys/class/net"), name)).collect()
}

fn is_bridge(net: &Path, name: &str) -> bool {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return false;
    }
    let device = net.join(name);
    // A switch of Open vSwitch is an ordinary device to the kernel, of no hardware and no parent.
    let virtual_switch = || Path::new("/run/openvswitch").is_dir() && device.exists();
    device.join("bridge").is_dir() || virtual_switch()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_known_by_the_kernel() {
        let net = tempfile::tempdir().expect("directory");
        std::fs::create_dir_all(net.path().join("br0/bridge")).expect("bridge");
        std::fs::create_dir_all(net.path().join("eth0")).expect("device");
        assert!(is_bridge(net.path(), "br0"));
        assert!(!is_bridge(net.path(), "br1"));
        assert!(!is_bridge(net.path(), "../br0") && !is_bridge(net.path(), ""));
        assert_eq!(missing_bridges(vec!["no-such-bridge".into()]), ["no-such-bridge"]);
    }
}
