//! The host's side of a machine: its cables, its process, its relay.
//!
//! ```text
//!   switch: br0 ═══ eth0 ─ br0 ─ uplink ─ [eth0 of the machine]     cut, like that of any node
//!                                 agent ─ [eth1 of the machine]     169.254.77.0/30, never cut
//! ```
//! All of it is in the namespaces of the node's first process and ends with them, so nothing is left
//! of a machine that was killed.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::error::{Context as _, Error, Result};
use super::super::exec;
use super::super::faults::MASTER_SOCKET;
use super::super::layout::Layout;
use super::super::process::{self, Process, Stat, wait_until};
use super::wire::Frame;
use super::{Machine, agent_socket, client, master_socket};

/// The agent's address, on a cable of its own.
pub const AGENT_IP: &str = "169.254.77.2";
/// Its port.
pub const AGENT_PORT: u16 = 1;
const OUR_IP: &str = "169.254.77.1";
const AGENT_MAC: &str = "02:00:4d:00:00:01";
/// How long a machine may take to boot, also on a host that is very busy.
pub const BOOT: Duration = Duration::from_secs(180);

/// Starts a machine in the namespaces of the calling process and returns when its agent answers.
pub fn start(layout: &Layout, machine: &Machine) -> Result<Child> {
    if !machine.image.exists() {
        let text =
            format!("its image {} is gone: the lab must be made anew", machine.image.display());
        return Err(Error::Invalid(text));
    }
    lay_cables()?;
    let dir = layout.node(&machine.name);
    // What a machine that was killed left there.
    let run = dir.join("uml");
    let _ = fs::remove_dir_all(&run);
    fs::create_dir_all(&run).what(|| format!("cannot make {}", run.display()))?;
    let (booted, layer) = (dir.join("booted"), dir.join("system.cow"));
    if !booted.exists() && layer.exists() {
        // Whoever made it was killed, perhaps while making it.
        fs::remove_file(&layer).what(|| format!("cannot remove {}", layer.display()))?;
    }
    let argv = arguments(machine, &dir);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let mut child = exec::command(&argv).spawn().what(|| "cannot run linux.uml".into())?;
    let mut ended = false;
    let answers = || {
        ended = !matches!(child.try_wait(), Ok(None));
        ended || agent().is_ok_and(|mut a| matches!(Frame::receive(&mut a), Ok(Frame::Hello)))
    };
    wait_until(BOOT, || format!("boot of {}", machine.name), answers)?;
    if ended {
        // What it said is in the console's file, which whoever reports this quotes.
        let log = fs::read_to_string(layout.init_log(&machine.name)).unwrap_or_default();
        let lines: Vec<&str> = log.trim_end().lines().collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n");
        return Err(Error::Invalid(format!("the machine ended while booting:\n{end}")));
    }
    fs::write(&booted, "").what(|| format!("cannot write {}", booted.display()))?;
    relay(layout, &machine.name)?;
    Ok(child)
}

fn lay_cables() -> Result<()> {
    let commands = format!(
        "link set lo up\n\
         link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         link set br0 addrgenmode none up\n\
         tuntap add uplink mode tap\n\
         link set uplink addrgenmode none master br0 up\n\
         tuntap add agent mode tap\n\
         link set agent addrgenmode none\n\
         addr add {OUR_IP}/30 dev agent\n\
         link set agent up\n\
         neigh replace {AGENT_IP} lladdr {AGENT_MAC} dev agent\n"
    );
    exec::check_with_input(&["ip", "-batch", "-"], &commands).map(|_| ())
}

/// The machine's command line.
fn arguments(machine: &Machine, dir: &Path) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut argv = vec![
        "linux.uml".to_owned(),
        format!("mem={}M", machine.memory_mib),
        format!("umid={}", machine.name),
        format!("uml_dir={}/", file("uml")),
        format!("ubda={},{}", file("system.cow"), machine.image.display()),
    ];
    let letters = 'b'..='z';
    argv.extend(letters.zip(&machine.disks).map(|(l, disk)| format!("ubd{l}={}", file(disk))));
    argv.extend([
        "root=/dev/ubda".to_owned(),
        "rw".into(),
        "init=/sbin/lab-init".into(),
        // Not vec0: it drops what the host sends in large pieces.
        format!("eth0=tuntap,uplink,02:00:4e:00:00:{:02x},", machine.number),
        format!("eth1=tuntap,agent,{AGENT_MAC},"),
        "con=null".into(),
        "con0=null,fd:1".into(),
        "quiet".into(),
        // A kernel that stopped has no power.
        "panic=-1".into(),
        format!("programs={}", machine.programs.display()),
        format!("machine={}", dir.display()),
    ]);
    argv
}

/// Stops everything of a machine at once.
pub fn freeze(node: &str, init: Process) -> Result<()> {
    let kernel = kernel(init);
    for process in &kernel {
        signal(process, Signal::SIGSTOP)?;
    }
    let stands = |p: &Process| {
        let stat = Stat::read(Path::new(&format!("/proc/{}/stat", p.pid)));
        stat.is_none_or(|s| s.state == 'T')
    };
    let what = || format!("standing still of {node}");
    wait_until(Duration::from_secs(30), what, || kernel.iter().all(stands))
}

/// Lets it go on.
pub fn thaw(init: Process) -> Result<()> {
    kernel(init).iter().try_for_each(|process| signal(process, Signal::SIGCONT))
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(process.pid), signal)
        .what(|| format!("cannot send {signal} to process {}", process.pid))
}

/// The processes that are the machine's kernel. Those of its programs are traced by it and do not
/// get far without it; a signal of ours to one of them it would take for the program's own.
fn kernel(init: Process) -> Vec<Process> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(init.pid) else { return Vec::new() };
    let traced = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|pid| pid.trim() != "0")
    };
    process::find(|_| true)
        .into_iter()
        .filter(|p| *p != init && namespace(p.pid).as_ref() == Some(&wanted) && !traced(p.pid))
        .collect()
}

/// A connection to the agent.
fn agent() -> io::Result<TcpStream> {
    let address = SocketAddr::from((
        AGENT_IP.parse::<std::net::IpAddr>().map_err(io::Error::other)?,
        AGENT_PORT,
    ));
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(250))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Serves the sockets the host reaches the machine by, as long as this process lives.
fn relay(layout: &Layout, node: &str) -> Result<()> {
    let plain = |_: &mut TcpStream| Ok(());
    listen(&agent_socket(layout, node), plain)?;
    listen(&master_socket(layout, node), |stream| client::become_socket(stream, MASTER_SOCKET))
}

fn listen(
    path: &Path,
    prepare: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Copy + 'static,
) -> Result<()> {
    let _ = fs::remove_file(path);
    let listener =
        UnixListener::bind(path).what(|| format!("cannot listen at {}", path.display()))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let inside = agent().and_then(|mut inside| prepare(&mut inside).map(|()| inside));
                // Otherwise it is closed, which tells all.
                if let Ok(inside) = inside {
                    splice(inside.into(), stream.into());
                }
            });
        }
    });
    Ok(())
}

/// One end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Unix(stream)
    }
}

impl Stream {
    fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(s) => Stream::Tcp(s.try_clone()?),
            Stream::Unix(s) => Stream::Unix(s.try_clone()?),
        })
    }

    fn end(&self) {
        // The other side may have left already.
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buffer),
            Stream::Unix(s) => s.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(bytes),
            Stream::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Carries everything between two streams until both have ended.
pub fn splice(a: Stream, b: Stream) {
    let (Ok(a2), Ok(b2)) = (a.try_clone(), b.try_clone()) else { return };
    let back = thread::spawn(move || carry(b2, a2));
    carry(a, b);
    let _ = back.join();
}

fn carry(mut from: Stream, mut to: Stream) {
    // However it ends, the other side learns it as the end of what is said.
    let _ = io::copy(&mut from, &mut to);
    to.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_passed_on_each_way_by_itself() {
        let (mut left, a) = UnixStream::pair().unwrap();
        let (mut right, b) = UnixStream::pair().unwrap();
        let all = thread::spawn(move || splice(a.into(), b.into()));
        left.write_all(b"question").unwrap();
        left.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        right.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        right.write_all(b"answer").unwrap();
        drop(right);
        text.clear();
        left.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
        all.join().unwrap();
    }

    #[test]
    fn a_machine_gets_its_disks_in_order() {
        let machine = Machine {
            number: 3,
            name: "node3".into(),
            memory_mib: 256,
            disks: vec!["disk1".into(), "disk2".into()],
            disk_mib: 10,
            image: "/i/root.img".into(),
            programs: "/p".into(),
            folders: vec![],
            hosts: String::new(),
        };
        let argv = arguments(&machine, Path::new("/l/nodes/node3"));
        for wanted in [
            "ubda=/l/nodes/node3/system.cow,/i/root.img",
            "ubdb=/l/nodes/node3/disk1",
            "ubdc=/l/nodes/node3/disk2",
            "eth0=tuntap,uplink,02:00:4e:00:00:03,",
            "mem=256M",
        ] {
            assert!(argv.iter().any(|a| a == wanted), "{wanted}: {argv:?}");
        }
    }
}
