//! Inside a machine: its first process. Makes a system of the bare kernel, starts the agent, then
//! reaps until the power goes.
//!
//! ```text
//!   mounts → what it is (machine.json) → host name, host's folders → modules → br0 → volume group
//!          → agent → reap          any failure: a word on the console, power off
//! ```
//! Volumes are not activated: whoever uses them does that.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::waitpid;

use super::super::error::{Context as _, Error, Result};
use super::super::exec;
use super::super::layout::{PRIVATE, node_ip};
use super::super::process::wait_until;
use super::{FILE, Machine, VOLUME_GROUP, agent};

/// The hidden subcommand of `gnt-lab` that is a machine's first process.
pub const SUBCOMMAND: &str = "machine-init";
/// Exists once the volume group was made: it is not made again, whatever becomes of it.
const GROUP_MADE: &str = "/var/lib/gnt-lab/volume-group";
/// Modules without parameters.
const MODULES: &[&str] = &[
    "dm-mod",
    "dm-thin-pool",
    "dm-snapshot",
    "dm-mirror",
    "dm-raid",
    "raid1",
    "loop",
    "tun",
    "bridge",
    "veth",
];

/// Runs as process 1. Never returns.
pub fn run() -> ! {
    let failed = match prepare().and_then(|program| serve(&program)) {
        Ok(ended) => format!("its agent ended: {ended}"),
        Err(e) => e.to_string(),
    };
    // The console is what the host keeps of a machine that could not boot.
    eprintln!("gnt-lab: {failed}");
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    std::process::exit(1)
}

fn prepare() -> Result<PathBuf> {
    // Where the kernel has mounted it already, it says "busy".
    let _ = fresh("devtmpfs", "/dev", "mode=755");
    for (kind, target, options) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("tmpfs", "/run", "mode=755"),
        ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
    ] {
        fs::create_dir_all(target).what(|| format!("cannot make {target}"))?;
        fresh(kind, target, options)?;
    }
    for dir in ["/run/lock", "/run/lvm"] {
        fs::create_dir_all(dir).what(|| format!("cannot make {dir}"))?;
    }
    if !Path::new("/dev/fd").exists() {
        symlink("/proc/self/fd", "/dev/fd").what(|| "cannot make /dev/fd".into())?;
    }
    let machine = identity()?;
    nix::unistd::sethostname(&machine.name).what(|| "cannot set the host name".into())?;
    put("/etc/hostname", &format!("{}\n", machine.name))?;
    put("/etc/hosts", &machine.hosts)?;
    for (inside, _) in PRIVATE {
        fs::create_dir_all(inside).what(|| format!("cannot make {inside}"))?;
    }
    for folder in &machine.folders {
        hostfs(&folder.host, &folder.inside, folder.writable)?;
    }
    modules()?;
    network(machine.number)?;
    volume_group(machine.disks.len())?;
    Ok(machine.programs.join("gnt-lab"))
}

/// What the host says this machine is.
fn identity() -> Result<Machine> {
    let dir = std::env::var("machine")
        .map_err(|_| Error::Invalid("the kernel's command line has no machine=".into()))?;
    let here = Path::new("/run/gnt-lab");
    hostfs(Path::new(&dir), here, false)?;
    let machine = Machine::read(&here.join(FILE))
        .ok_or_else(|| Error::Invalid(format!("{dir}/{FILE} cannot be understood")));
    umount(here).what(|| format!("cannot unmount {}", here.display()))?;
    machine
}

fn fresh(kind: &str, target: &str, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(options))
        .what(|| format!("cannot mount a {kind} on {target}"))
}

fn hostfs(host: &Path, inside: &Path, writable: bool) -> Result<()> {
    let what = || format!("cannot mount the host's {} on {}", host.display(), inside.display());
    fs::create_dir_all(inside).what(what)?;
    let flags = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    mount(Some("hostfs"), inside, Some("hostfs"), flags, Some(host)).what(what)
}

fn put(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).what(|| format!("cannot write {path}"))
}

fn run_command(argv: &[&str]) -> Result<String> {
    exec::collect(exec::command(argv), argv)?.success(&argv.join(" "))
}

fn modules() -> Result<()> {
    run_command(&[&["modprobe", "-a"], MODULES].concat())?;
    // Ganeti's documentation asks for the helper: there is no cluster manager to be called. DRBD keeps a
    // megabyte ready for each of `minor_count`; more minors than that work as well.
    run_command(&["modprobe", "drbd", "usermode_helper=/bin/true", "minor_count=8"])?;
    run_command(&["modprobe", "nbd", "nbds_max=16"])?;
    let tun = Path::new("/dev/net/tun");
    wait_until(Duration::from_secs(10), || "making of /dev/net/tun".into(), || tun.exists())
}

fn network(n: usize) -> Result<()> {
    let address = node_ip(n);
    // A fixed address of the bridge: else it takes that of whichever tap comes along.
    let commands = format!(
        "link set lo up\n\
         link add br0 address 02:00:78:00:00:{n:02x} type bridge stp_state 0 mcast_snooping 0\n\
         addr add {address}/24 dev br0\n\
         link set br0 up\n\
         link set eth0 master br0 up\n"
    );
    exec::check_with_input(&["ip", "-batch", "-"], &commands).map(|_| ())
}

/// Once in the life of the machine's disks.
fn volume_group(disks: usize) -> Result<()> {
    let made = Path::new(GROUP_MADE);
    if disks == 0 || made.exists() {
        return Ok(());
    }
    // An attempt that lost power half-way leaves nothing worth keeping.
    let devices: Vec<String> =
        ('b'..='z').take(disks).map(|letter| format!("/dev/ubd{letter}")).collect();
    let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
    let zero = |device: &&str| {
        let of = format!("of={device}");
        run_command(&["dd", "if=/dev/zero", &of, "bs=1M", "count=2", "status=none"]).map(|_| ())
    };
    devices.iter().try_for_each(zero)?;
    run_command(&[&["vgcreate", "--quiet", "--yes", VOLUME_GROUP], devices.as_slice()].concat())?;
    if let Some(dir) = made.parent() {
        fs::create_dir_all(dir).what(|| format!("cannot make {}", dir.display()))?;
    }
    put(GROUP_MADE, "")?;
    nix::unistd::sync();
    Ok(())
}

/// Starts the agent, then reaps until it ends.
fn serve(program: &Path) -> Result<String> {
    let text = program.display().to_string();
    let mut command = exec::command(&[&text, agent::SUBCOMMAND, "eth1"]);
    command.env_clear().env("PATH", exec::PATH).current_dir("/");
    let agent = command.spawn().what(|| format!("cannot run {text}"))?;
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid().is_some_and(|p| p.as_raw() == agent.id() as i32) => {
                return Ok(format!("{status:?}"));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).what(|| "cannot wait for children".into()),
        }
    }
}
