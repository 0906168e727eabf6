//! Inside a machine: runs commands for clients on the host. Each connection is one request, see
//! [`super::wire`].
//!
//! It is reached by a network card that was moved into a network namespace of its own: nothing in
//! the machine sees it, and no cut wire is in its way.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{fs, thread};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, gettid};

use super::super::error::{Context as _, Error, Result};
use super::super::exec;
use super::Environment;
use super::host::{AGENT_IP, AGENT_PORT, splice};
use super::wire::{Frame, Request};

/// The hidden subcommand of `gnt-lab` that is the agent.
pub const SUBCOMMAND: &str = "machine-agent";
/// How long a command that ended is waited for to close its output: what it left behind may never.
const LINGER: Duration = Duration::from_secs(1);
const CHUNK: usize = 64 << 10;

/// Serves until the machine has no power; `card` is the network card that leads to the host.
pub fn run(card: &str) -> Result<std::convert::Infallible> {
    let listener = listen_apart(card)?;
    loop {
        let (stream, _) = listener.accept().what(|| "the agent cannot accept".into())?;
        thread::spawn(move || {
            // A client that left has nobody to tell.
            let _ = serve(stream);
        });
    }
}

/// A socket stays in the namespace it was made in, whoever uses it.
fn listen_apart(card: &str) -> Result<TcpListener> {
    let (tell_id, id) = mpsc::channel();
    let (tell_moved, moved) = mpsc::channel::<()>();
    let name = card.to_owned();
    let apart = thread::spawn(move || -> Result<TcpListener> {
        unshare(CloneFlags::CLONE_NEWNET).what(|| "cannot make a network namespace".into())?;
        let _ = tell_id.send(gettid());
        // Dropped without a word where it could not be moved, which the other side reports.
        let _ = moved.recv();
        let address = format!("addr add {AGENT_IP}/30 dev {name}\nlink set {name} up\n");
        exec::check_with_input(&["ip", "-batch", "-"], &address)?;
        TcpListener::bind((AGENT_IP, AGENT_PORT)).what(|| format!("cannot listen at {AGENT_IP}"))
    });
    if let Ok(id) = id.recv() {
        let there = format!("link set {card} netns {id}\n");
        exec::check_with_input(&["ip", "-batch", "-"], &there)?;
        let _ = tell_moved.send(());
    }
    apart.join().unwrap_or_else(|_| Err(Error::Invalid("the agent's listener died".into())))
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    Frame::Hello.send(&mut stream)?;
    let Frame::Request(request) = Frame::receive(&mut stream)? else {
        return Frame::Refused("a connection begins with a request".into()).send(&mut stream);
    };
    let done = match request {
        Request::Run { argv, environment, terminal } => {
            command(&stream, &argv, environment, terminal)
        }
        Request::Read { path } => read(&mut stream, Path::new(&path)),
        Request::Write { path, mode } => write(&mut stream, Path::new(&path), mode),
        Request::Connect { path } => {
            let there = UnixStream::connect(&path);
            let there = there.map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")));
            there.and_then(|there| {
                Frame::Exit(0).send(&mut stream)?;
                splice(stream.try_clone()?.into(), there.into());
                Ok(())
            })
        }
    };
    if let Err(e) = done {
        Frame::Refused(e.to_string()).send(&mut stream)?;
    }
    Ok(())
}

fn read(stream: &mut TcpStream, path: &Path) -> io::Result<()> {
    for chunk in fs::read(path)?.chunks(CHUNK) {
        Frame::Data(1, chunk.to_vec()).send(stream)?;
    }
    Frame::Exit(0).send(stream)
}

fn write(stream: &mut TcpStream, path: &Path, mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".gnt-lab-new");
    let new = PathBuf::from(new);
    let mut file = fs::File::create(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    loop {
        match Frame::receive(stream)? {
            Frame::Data(0, bytes) if bytes.is_empty() => break,
            Frame::Data(0, bytes) => file.write_all(&bytes)?,
            other => return Err(io::Error::other(format!("{other:?} instead of contents"))),
        }
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    Frame::Exit(0).send(stream)
}

/// The command line that gives a command a terminal of this size.
fn on_terminal(argv: &[String], rows: u16, columns: u16) -> Vec<String> {
    let quoted: Vec<String> =
        argv.iter().map(|a| format!("'{}'", a.replace('\'', r"'\''"))).collect();
    let script = format!("stty rows {rows} cols {columns}; exec {}", quoted.join(" "));
    ["script", "-q", "-e", "-f", "-E", "always", "-c", &script, "/dev/null"]
        .map(str::to_owned)
        .into()
}

fn command(
    stream: &TcpStream,
    argv: &[String],
    environment: Environment,
    terminal: Option<(u16, u16)>,
) -> io::Result<()> {
    let wrapped = terminal.map(|(rows, columns)| on_terminal(argv, rows, columns));
    let argv: Vec<&str> = wrapped.as_deref().unwrap_or(argv).iter().map(String::as_str).collect();
    let mut command = exec::command(&argv);
    command.env_clear().envs(environment).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        // As a shell tells it, and its codes.
        Err(e) => {
            let mut stream = stream;
            let code = if e.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let program = argv.first().copied().unwrap_or_default();
            Frame::Data(2, format!("{program}: {e}\n").into_bytes()).send(&mut stream)?;
            return Frame::Exit(code).send(&mut stream);
        }
    };
    let ended = Arc::new(AtomicBool::new(false));
    feed(stream.try_clone()?, &mut child, ended.clone());
    let pumps = Pumps::start(stream, &mut child)?;
    let status = child.wait();
    ended.store(true, Ordering::SeqCst);
    pumps.finish();
    let code = exec::code(status?);
    let mut to = pumps.to.lock().unwrap_or_else(PoisonError::into_inner);
    // Whatever is still written by processes left behind has no reader.
    Frame::Exit(code).send(&mut *to)?;
    to.shutdown(std::net::Shutdown::Both)
}

/// Hands on what the client says; kills the command where the client leaves before its end.
fn feed(mut from: TcpStream, child: &mut Child, ended: Arc<AtomicBool>) {
    let (mut input, group) = (child.stdin.take(), child.id() as i32);
    thread::spawn(move || {
        while let Ok(Frame::Data(0, bytes)) = Frame::receive(&mut from) {
            // A command that does not read is its own business.
            let reads = input.as_mut().is_some_and(|to| to.write_all(&bytes).is_ok());
            if bytes.is_empty() || !reads {
                input = None;
            }
        }
        if !ended.load(Ordering::SeqCst) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    });
}

/// Carries a command's output to the client.
struct Pumps {
    to: Arc<Mutex<TcpStream>>,
    /// How often something was carried.
    carried: Arc<AtomicU64>,
    /// How many are carrying right now, perhaps to a client that takes its time.
    busy: Arc<AtomicU64>,
    ends: mpsc::Receiver<()>,
}

impl Pumps {
    fn start(stream: &TcpStream, child: &mut Child) -> io::Result<Pumps> {
        let (tell, ends) = mpsc::channel();
        let to = Arc::new(Mutex::new(stream.try_clone()?));
        let pumps = Pumps { to, carried: Arc::default(), busy: Arc::default(), ends };
        pumps.start_one(1, child.stdout.take(), tell.clone());
        pumps.start_one(2, child.stderr.take(), tell);
        Ok(pumps)
    }

    fn start_one(
        &self,
        kind: u8,
        from: Option<impl Read + Send + 'static>,
        tell: mpsc::Sender<()>,
    ) {
        let (to, carried, busy) = (self.to.clone(), self.carried.clone(), self.busy.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            let mut from = from;
            while let Some(n) =
                from.as_mut().and_then(|f| f.read(&mut buffer).ok()).filter(|n| *n > 0)
            {
                busy.fetch_add(1, Ordering::SeqCst);
                carried.fetch_add(1, Ordering::SeqCst);
                let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
                let sent = Frame::Data(kind, buffer[..n].to_vec()).send(&mut *to);
                busy.fetch_sub(1, Ordering::SeqCst);
                if sent.is_err() {
                    break;
                }
            }
            let _ = tell.send(());
        });
    }

    /// Returns once all output was carried, or once nothing has come for a while from a command
    /// that ended.
    fn finish(&self) {
        let mut open = 2;
        while open > 0 {
            let before = self.carried.load(Ordering::SeqCst);
            match self.ends.recv_timeout(LINGER) {
                Ok(()) => open -= 1,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let still = before == self.carried.load(Ordering::SeqCst);
                    if still && self.busy.load(Ordering::SeqCst) == 0 {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// What the agent answers to a request, and how long it took.
    fn ask(request: Request, input: &[Frame]) -> (String, String, Option<Frame>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        thread::spawn(move || serve(server));
        assert_eq!(Frame::receive(&mut client).unwrap(), Frame::Hello);
        Frame::Request(request).send(&mut client).unwrap();
        for frame in input {
            frame.send(&mut client).unwrap();
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match Frame::receive(&mut client) {
                Ok(Frame::Data(1, bytes)) => out.extend(bytes),
                Ok(Frame::Data(_, bytes)) => err.extend(bytes),
                last => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), last.ok());
                }
            }
        }
    }

    fn sh(script: &str, input: &[Frame]) -> (String, String, Option<Frame>) {
        let argv = ["sh", "-c", script].map(str::to_owned).into();
        let environment = Environment::from([("PATH".into(), exec::PATH.into())]);
        ask(Request::Run { argv, environment, terminal: None }, input)
    }

    #[test]
    fn a_command_gets_its_input_and_its_output_and_code_come_out_whole() {
        let input = [Frame::Data(0, b"abc".to_vec()), Frame::Data(0, vec![])];
        let (out, err, end) = sh("cat; echo no >&2; exit 7", &input);
        assert_eq!((out.as_str(), err.as_str(), end), ("abc", "no\n", Some(Frame::Exit(7))));
        let (out, _, end) = sh("head -c 3000000 /dev/zero | tr '\\0' x", &[]);
        assert_eq!((out.len(), end), (3_000_000, Some(Frame::Exit(0))));
        assert_eq!(sh("kill -9 $$", &[]).2, Some(Frame::Exit(137)));
    }

    #[test]
    fn what_a_command_left_behind_holds_nobody_up() {
        let start = Instant::now();
        let (out, _, end) = sh("echo a; sleep 60 & exit 3", &[]);
        assert_eq!((out.as_str(), end), ("a\n", Some(Frame::Exit(3))));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_as_a_shell_would() {
        let argv = vec!["/no/such/program".to_owned()];
        let request = Request::Run { argv, environment: Environment::new(), terminal: None };
        let (_, err, end) = ask(request, &[]);
        assert_eq!(end, Some(Frame::Exit(127)));
        assert!(err.starts_with("/no/such/program: "), "{err}");
    }

    #[test]
    fn files_are_written_whole_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").display().to_string();
        let contents = [Frame::Data(0, b"new".to_vec()), Frame::Data(0, vec![])];
        let write = Request::Write { path: path.clone(), mode: 0o640 };
        assert_eq!(ask(write, &contents).2, Some(Frame::Exit(0)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let (text, _, end) = ask(Request::Read { path: path.clone() }, &[]);
        assert_eq!((text.as_str(), end), ("new", Some(Frame::Exit(0))));
        let missing = ask(Request::Read { path: format!("{path}x") }, &[]).2;
        assert!(matches!(missing, Some(Frame::Refused(_))), "{missing:?}");
    }

    #[test]
    fn words_reach_a_command_on_a_terminal_as_they_are() {
        let argv = on_terminal(&["echo".into(), "it's $HOME".into()], 24, 80);
        assert!(argv.contains(&r"stty rows 24 cols 80; exec 'echo' 'it'\''s $HOME'".to_owned()));
    }
}
