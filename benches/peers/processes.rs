//! The programs that are measured: where they are, and servers of them in a temporary folder, which end with
//! the benchmark.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use countd::client::{Client, SocketPath};
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::floor::Role;
use crate::measure::until;
use crate::wire;

/// Servers that run, for the case that the benchmark is interrupted.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends all servers at once.
pub(crate) fn kill_all() {
    let running = RUNNING.lock().map(|running| running.clone()).unwrap_or_default();
    for pid in running {
        signal(pid, Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has ended is what is wanted.
        let _ = kill_process(pid, signal);
    }
}

/// A server, and its socket. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Server {
    /// Starts one that listens on `socket`, and waits until `is_ready`.
    pub(crate) fn start(
        command: &mut Command,
        socket: &Path,
        mut is_ready: impl FnMut(&Path) -> bool,
    ) -> Result<Server> {
        let log = std::fs::File::create(socket.with_extension("messages"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        if let Ok(mut running) = RUNNING.lock() {
            running.push(child.id());
        }
        let mut server = Server { child, socket: socket.to_owned() };
        let mut ended = None;
        until(&format!("{command:?} is ready"), || {
            ended = server.child.try_wait().unwrap_or_default();
            ended.is_some() || is_ready(socket)
        })?;
        match ended {
            Some(status) => {
                let said = std::fs::read_to_string(socket.with_extension("messages"))?;
                Err(format!("{command:?}: {status}: {said}").into())
            }
            None => Ok(server),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(mut self) -> Result<()> {
        signal(self.pid(), Signal::TERM);
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(mut running) = RUNNING.lock() {
            running.retain(|&pid| pid != self.child.id());
        }
    }
}

/// Whether somebody listens there.
pub(crate) fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// A client of the library at this socket.
pub(crate) fn client(socket: &Path) -> Result<Client> {
    Ok(Client::new(SocketPath::new(socket)?, Duration::from_secs(30)))
}

/// `countd serve` as it runs by default, but for its places: journalled, synced every second, flushed every five
/// seconds into a log file.
pub(crate) fn countd(binary: &Path, folder: &Path, name: &str) -> Result<Server> {
    let socket = folder.join(format!("{name}.sock"));
    let mut command = countd_command(binary, &socket, "serve");
    command.arg("--state-dir").arg(folder.join(format!("{name}.state")));
    command.arg("--log-file").arg(folder.join(format!("{name}.counts")));
    command.args(["--fsync", "everysec", "--max-counters", "4000000"]);
    Server::start(&mut command, &socket, |socket| {
        client(socket).and_then(|mut client| Ok(client.status()?)).is_ok()
    })
}

/// A command of countd. It is told of its socket by the environment, and of nothing else.
pub(crate) fn countd_command(binary: &Path, socket: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("LANG", "C.UTF-8").env("COUNTD_SOCKET", socket).arg(subcommand);
    command
}

/// `redis-server` with an append-only file that is synced every second. Files are not rewritten in the background,
/// which would only cost it time.
pub(crate) fn redis(program: &Path, folder: &Path, name: &str) -> Result<Server> {
    let (socket, state) =
        (folder.join(format!("{name}.sock")), folder.join(format!("{name}.redis")));
    std::fs::create_dir_all(&state)?;
    let mut command = Command::new(program);
    command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--daemonize", "no", "--unixsocket"]);
    command.arg(&socket).arg("--dir").arg(&state);
    Server::start(&mut command, &socket, |socket| {
        wire::redis_ask(socket, "PING").is_ok_and(|answer| answer.starts_with("+PONG"))
    })
}

/// One of the floor's servers.
pub(crate) fn floor(role: Role, folder: &Path, name: &str) -> Result<Server> {
    let socket = folder.join(format!("{name}.sock"));
    let mut command = floor_command(role)?;
    command.arg(&socket);
    if role == Role::Prototype {
        command.arg(folder.join(format!("{name}.log")));
    }
    Server::start(&mut command, &socket, listens)
}

/// One of the floor's programs.
pub(crate) fn floor_command(role: Role) -> Result<Command> {
    let role = clap::ValueEnum::to_possible_value(&role).ok_or("a role without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--role").arg(role.get_name());
    Ok(command)
}

/// Where a program is, as the shell finds it.
pub(crate) fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&paths).map(|folder| folder.join(program.as_ref()));
    places.into_iter().find(|place| place.is_file())
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {said}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
