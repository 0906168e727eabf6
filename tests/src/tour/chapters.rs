//! The parts of the tour, in order. The master is node1; guests live and lose their node on the
//! others.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::stage::Stage;
use crate::guest::{self, Answer, Watch};
use crate::lab::{init_command, wait_until};

const MASTER: &str = "node1";
const WEB: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 50);
const MAIL: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 51);
/// Emulated guests on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// Plays all of it; returns the node on which the guest `web` is in the end.
pub fn play(stage: &mut Stage) -> Result<String> {
    cluster(stage)?;
    nodes(stage)?;
    let born = guest(stage)?;
    console(stage, &born)?;
    let moved = migrate(stage, &born)?;
    power_cut(stage, &moved)?;
    power_back(stage)?;
    evacuate(stage)?;
    look(stage)?;
    verify(stage)?;
    let home = stage.output(MASTER, "gnt-instance list --no-headers -o pnode web")?;
    Ok(home.trim_end_matches(".lab").to_owned())
}

fn cluster(stage: &mut Stage) -> Result<()> {
    stage.chapter("A cluster of one");
    let seconds =
        stage.run(MASTER, &init_command(stage.lab.hypervisor(), stage.lab.kernel()).join(" "))?;
    let master = stage.output(MASTER, "gnt-cluster getmaster")?;
    ensure!(master == "node1.lab", "the master is `{master}`, not node1.lab");
    stage.good(&format!("node1 is the master of cluster.lab after {seconds:.1} s"));
    Ok(())
}

fn nodes(stage: &mut Stage) -> Result<()> {
    stage.chapter("Two more nodes");
    stage.say("A machine joins with a token, good for once; certificates come with it.");
    for node in ["node2", "node3"] {
        let print = format!("gnt-node token {node}");
        let token = stage.output(MASTER, &print)?;
        let token = token.lines().map(str::trim).find(|l| !l.is_empty());
        let token = token.with_context(|| format!("`{print}` printed no token"))?;
        stage.run_as(MASTER, &format!("TOKEN=$({print})"), &["true"])?;
        stage.run_as(node, "roost-noded join $TOKEN", &["roost-noded", "join", token])?;
        stage.run(node, "gnt daemon start-all")?;
        stage.run(MASTER, &format!("gnt-node add {node}"))?;
    }
    let live = || {
        let list = "gnt-node list --no-headers --separator=, -o name,mfree,role";
        let rows = stage.output(MASTER, list).unwrap_or_default();
        let reports = |row: &str| {
            let mut cells = row.split(',').skip(1);
            cells.next().is_some_and(|free| free.starts_with(|c: char| c.is_ascii_digit()))
                && cells.next().is_some_and(|role| role == "M" || role == "C")
        };
        rows.lines().count() == 3 && rows.lines().all(reports)
    };
    wait_until(LONG, || "a report of every node".into(), live)?;
    stage.run(MASTER, "gnt-node list")?;
    stage.good("all three report their memory and disks; all are master candidates");
    Ok(())
}

fn guest(stage: &mut Stage) -> Result<Answer> {
    stage.chapter("A guest");
    stage.say("The OS definition `tiny` installs a small Linux on the disk; QEMU boots it.");
    let began = Instant::now();
    stage.run(MASTER, &add("web", WEB, "node2"))?;
    expect_instance(stage, "web", "node2", "running")?;
    let born = guest::wait_for(&stage.lab, WEB, LONG, |a| a.name == "web.lab")?;
    stage
        .good(&format!("it answers {:.1} s after it was asked for", began.elapsed().as_secs_f32()));
    stage.run("switch", "curl -s http://10.78.0.50/")?;
    ensure!(born.boots == 1, "its disk was booted {} times before anybody saw it", born.boots);
    Ok(born)
}

fn console(stage: &mut Stage, born: &Answer) -> Result<()> {
    stage.chapter("Its console");
    let read = "grep ^tiny: /var/log/ganeti/console/web.lab.log";
    let counts = || {
        stage
            .output("node2", read)
            .is_ok_and(|text| text.lines().count() >= 3 && text.contains(&born.boot))
    };
    wait_until(LONG, || "the guest's count on its console".into(), counts)?;
    // Without the shell's own control sequences.
    let shown = format!("{read} | tail -n 3");
    stage.run_as("node2", &shown, &["sh", "-c", &shown])?;
    stage.say("To type there yourself:");
    stage.run(MASTER, "gnt-instance console --show-cmd web")?;
    stage.good("the console's log has the boot id that the guest gave over the network");
    Ok(())
}

fn migrate(stage: &mut Stage, born: &Answer) -> Result<Answer> {
    stage.chapter("Live migration");
    stage.say("A client asks the guest some thirty times a second while it moves.");
    let watch = Watch::start(&stage.lab, WEB)?;
    let before = guest::wait_for(&stage.lab, WEB, LONG, |a| a.boot == born.boot)?;
    let seconds = stage.run(MASTER, "gnt-instance migrate -f -n node3 web")?;
    let after = guest::wait_for(&stage.lab, WEB, LONG, |a| a.count > before.count)?;
    let seen = watch.stop();
    expect_instance(stage, "web", "node3", "running")?;
    ensure!(after.boot == born.boot, "it booted anew: {} was {}", after.boot, born.boot);
    ensure!(seen.steady, "an answer had another boot id or an older count: {:?}", seen.ends);
    ensure!(seen.answers > 1, "nobody saw it during its migration");
    let gap = seen.longest_gap.as_millis();
    stage.good(&format!(
        "it moved to node3 in {seconds:.1} s and counted on, {} to {}, same boot",
        before.count, after.count
    ));
    stage.good(&format!("{} answers meanwhile; the longest wait for one: {gap} ms", seen.answers));
    Ok(after)
}

fn power_cut(stage: &mut Stage, before: &Answer) -> Result<()> {
    stage.chapter("A power cut");
    stage.show_host("gnt-lab kill node3");
    stage.lab.kill("node3")?;
    ensure!(guest::ask(&stage.lab, WEB).is_none(), "the guest answers though its node is off");
    stage.good("node3 is dark, and the guest with it");
    stage.say("An administrator says so, and starts the guest elsewhere from its shared disk.");
    let began = Instant::now();
    stage.run(MASTER, "gnt-node modify -O yes node3")?;
    stage.run(MASTER, "gnt-instance failover -f -n node2 web")?;
    let after = guest::wait_for(&stage.lab, WEB, LONG, |a| a.boot != before.boot)?;
    expect_instance(stage, "web", "node2", "running")?;
    ensure!(after.boots == 2, "its disk was booted {} times, not twice", after.boots);
    ensure!(
        after.before >= before.count,
        "its disk remembers count {}, but it had said {}",
        after.before,
        before.count
    );
    stage.good(&format!(
        "it answers from node2 after {:.1} s: another boot, and its disk remembers count {}",
        began.elapsed().as_secs_f32(),
        after.before
    ));
    Ok(())
}

fn power_back(stage: &mut Stage) -> Result<()> {
    stage.chapter("Power comes back");
    stage.show_host("gnt-lab start node3");
    stage.lab.start("node3")?;
    stage.run(MASTER, "gnt-node modify -O no -f node3")?;
    let role = || {
        let list = "gnt-node list --no-headers --separator=, -o role,mfree node3";
        stage.output(MASTER, list).is_ok_and(|row| row.starts_with("C,") && !row.ends_with('?'))
    };
    wait_until(LONG, || "node3 as a master candidate that reports".into(), role)?;
    stage.run(MASTER, "gnt-node list")?;
    stage.good("node3 is a master candidate again, and has no guest");
    Ok(())
}

fn evacuate(stage: &mut Stage) -> Result<()> {
    stage.chapter("Emptying a node");
    stage.run(MASTER, &add("mail", MAIL, "node2"))?;
    let mail = guest::wait_for(&stage.lab, MAIL, LONG, |a| a.name == "mail.lab")?;
    let web = guest::wait_for(&stage.lab, WEB, LONG, |_| true)?;
    stage.run(MASTER, "gnt-node evacuate -f -p node2")?;
    let left = stage.output(MASTER, "gnt-node list --no-headers -o pinst_cnt node2")?;
    ensure!(left.trim() == "0", "node2 still has {left} guests");
    for (ip, before) in [(WEB, &web), (MAIL, &mail)] {
        let after = guest::wait_for(&stage.lab, ip, LONG, |a| a.count > before.count)?;
        ensure!(after.boot == before.boot, "{} booted anew", before.name);
    }
    stage.run(MASTER, "gnt-instance list -o name,pnode,status,oper_ram,oper_vcpus,disk.sizes")?;
    stage.good("node2 is empty; both guests moved live");
    Ok(())
}

fn look(stage: &mut Stage) -> Result<()> {
    stage.chapter("What there is to see");
    stage.run(MASTER, "gnt-node list")?;
    let shown = "gnt-instance info web | head -n 16";
    stage.run_as(MASTER, shown, &["sh", "-c", shown])?;
    stage.run(MASTER, "gnt-job list")?;
    let list = "gnt-job list --no-headers --separator=, -o id,status,summary";
    let jobs = stage.output(MASTER, list)?;
    let failed: Vec<&str> = jobs.lines().filter(|job| !job.contains(",success,")).collect();
    ensure!(failed.is_empty(), "these jobs did not succeed: {}", failed.join("; "));
    let id =
        jobs.lines().find(|j| j.contains("INSTANCE_MIGRATE(")).and_then(|j| j.split(',').next());
    let id = id.context("no job is a migration")?;
    let log = format!("gnt-job info {id} | grep -A 20 'Execution log'");
    stage.run_as(MASTER, &log, &["sh", "-c", &log])?;
    stage.good("every job is kept with its log, and all succeeded");
    Ok(())
}

fn verify(stage: &mut Stage) -> Result<()> {
    stage.chapter("Is all well?");
    stage.run(MASTER, "gnt-cluster verify")?;
    stage.good("gnt-cluster verify found nothing wrong");
    Ok(())
}

/// The command that makes a guest.
fn add(name: &str, ip: Ipv4Addr, node: &str) -> String {
    format!(
        "gnt-instance add -t sharedfile --disk 0:size=1G -o tiny+default -B memory=128M,vcpus=1 \
         --net 0:ip={ip} -n {node} {name}.lab"
    )
}

/// The cluster says that a guest is on a node, in this state.
fn expect_instance(stage: &Stage, name: &str, node: &str, status: &str) -> Result<()> {
    let list = format!("gnt-instance list --no-headers --separator=, -o pnode,status {name}");
    let row = stage.output(MASTER, &list)?;
    let wanted = format!("{node}.lab,{status}");
    ensure!(row == wanted, "gnt-instance list says `{row}` of {name}, not `{wanted}`");
    Ok(())
}
