//! The wires: one bridge in the switch's namespace, one cable to each node's own bridge `br0`.
//!
//! ```text
//!   switch: br0 10.78.0.254 ── node1 ═══ eth0 ── br0 10.78.0.1 (node1; guests' taps join here)
//!                           └─ node2 ═══ eth0 ── br0 10.78.0.2 (node2)
//! ```
//! A cut drops frames in the switch, so guests on a node are cut off with it.

use super::error::Result;
use super::exec;
use super::layout::{SWITCH, SWITCH_IP, node_ip, node_name};
use super::process::Process;
use super::state::Cut;

/// Sets up the switch's bridge.
pub fn prepare_switch(switch: Process) -> Result<()> {
    ip(
        switch,
        &format!(
            "link set lo up\n\
         link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         addr add {SWITCH_IP}/24 dev br0\n\
         link set br0 up\n"
        ),
    )
}

/// Lays the cable between a node and the switch, and sets up the node's side.
pub fn wire(switch: Process, node: Process, n: usize) -> Result<()> {
    let (name, address) = (node_name(n), node_ip(n));
    unplug(switch, n)?;
    ip(
        switch,
        &format!(
            "link add {name} type veth peer name eth0 netns {pid}\nlink set {name} master br0 up\n",
            pid = node.pid
        ),
    )?;
    let mut commands = String::new();
    if !node.path("/sys/class/net/br0").exists() {
        // A fixed address: else the bridge takes that of whichever tap comes along.
        commands += &format!(
            "link set lo up\n\
             link add br0 address 02:00:78:00:00:{n:02x} type bridge stp_state 0 mcast_snooping 0\n\
             addr add {address}/24 dev br0\n\
             link set br0 up\n"
        );
    }
    ip(node, &(commands + "link set eth0 master br0 up\n"))
}

/// Pulls a node's cable out of the switch; fine when there is none.
pub fn unplug(switch: Process, n: usize) -> Result<()> {
    let name = node_name(n);
    if switch.path(&format!("/sys/class/net/{name}")).exists() {
        ip(switch, &format!("link del {name}\n"))?;
    }
    Ok(())
}

/// Whether a node's cable is plugged in.
pub fn plugged(switch: Process, n: usize) -> bool {
    switch.path(&format!("/sys/class/net/{}", node_name(n))).exists()
}

/// Makes exactly these cuts hold.
pub fn apply_cuts(switch: Process, cuts: &[Cut]) -> Result<()> {
    let pid = switch.pid.to_string();
    exec::check_with_input(&["nsenter", "-t", &pid, "-n", "nft", "-f", "-"], &rules(cuts))?;
    Ok(())
}

fn ip(process: Process, commands: &str) -> Result<()> {
    let pid = process.pid.to_string();
    exec::check_with_input(&["nsenter", "-t", &pid, "-n", "ip", "-batch", "-"], commands)?;
    Ok(())
}

/// One transaction: the old table goes, the new one comes.
fn rules(cuts: &[Cut]) -> String {
    let (mut forward, mut input, mut output) = (String::new(), String::new(), String::new());
    for Cut { a, b } in cuts {
        match b.as_deref() {
            Some(b) if a != SWITCH && b != SWITCH => {
                forward += &format!("    iifname {a} oifname {b} drop\n");
                forward += &format!("    iifname {b} oifname {a} drop\n");
            }
            Some(b) => {
                let node = if a == SWITCH { b } else { a };
                input += &format!("    iifname {node} drop\n");
                output += &format!("    oifname {node} drop\n");
            }
            None => {
                forward += &format!("    iifname {a} drop\n    oifname {a} drop\n");
                input += &format!("    iifname {a} drop\n");
                output += &format!("    oifname {a} drop\n");
            }
        }
    }
    let chain = |hook: &str, rules: &str| {
        format!("  chain {hook} {{\n    type filter hook {hook} priority 0;\n{rules}  }}\n")
    };
    format!(
        "table bridge cuts {{}}\ndelete table bridge cuts\ntable bridge cuts {{\n{}{}{}}}\n",
        chain("forward", &forward),
        chain("input", &input),
        chain("output", &output)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(a: &str, b: Option<&str>) -> Cut {
        Cut { a: a.into(), b: b.map(str::to_owned) }
    }

    #[test]
    fn a_cut_between_nodes_works_both_ways_and_spares_the_outside() {
        let text = rules(&[cut("node1", Some("node2"))]);
        assert!(text.contains("iifname node1 oifname node2 drop"));
        assert!(text.contains("iifname node2 oifname node1 drop"));
        assert!(!text.contains("    iifname node1 drop"));
    }

    #[test]
    fn a_cut_from_the_outside_spares_the_other_nodes() {
        let text = rules(&[cut("switch", Some("node2"))]);
        assert!(text.contains("hook input priority 0;\n    iifname node2 drop"));
        assert!(text.contains("hook output priority 0;\n    oifname node2 drop"));
        assert!(text.contains("hook forward priority 0;\n  }"));
    }

    #[test]
    fn a_cut_from_everybody_closes_all_three_ways() {
        assert_eq!(rules(&[cut("node3", None)]).matches("node3 drop").count(), 4);
        assert_eq!(rules(&[]).matches("drop").count(), 0);
    }
}
