//! Look-ups in made-up machines, and folders in a temporary one.

use std::collections::HashMap;

use super::*;

/// A made-up machine: variables, files, a user.
#[derive(Default)]
struct Machine {
    variables: HashMap<&'static str, &'static str>,
    places: HashMap<PathBuf, Place>,
    euid: u32,
}

impl Machine {
    fn of(euid: u32) -> Machine {
        Machine { euid, ..Machine::default() }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Machine {
        self.variables.insert(name, value);
        self
    }

    fn having(mut self, path: &str, place: Place) -> Machine {
        self.places.insert(path.into(), place);
        self
    }

    fn ask<T>(&self, question: impl FnOnce(&Environment<'_>) -> T) -> T {
        question(&Environment {
            variable: &|name| self.variables.get(name).map(OsString::from),
            euid: self.euid,
            look: &|path| self.places.get(path).copied().unwrap_or(Place::Missing),
        })
    }

    fn client(&self, option: Option<&str>) -> Result<SocketPath, PathError> {
        self.ask(|environment| client_socket(option.map(OsStr::new), environment))
    }

    fn serve(&self, option: Option<&str>) -> Result<ServeSocket, PathError> {
        self.ask(|environment| serve_socket(option.map(OsStr::new), environment))
    }

    fn state(&self, option: Option<&str>) -> Result<PathBuf, PathError> {
        self.ask(|environment| state_folder(option.map(OsStr::new), environment))
    }
}

fn folder(owner: u32, mode: u32) -> Place {
    Place::Folder { owner, mode, by_link: false }
}

fn found(socket: Result<SocketPath, PathError>) -> String {
    socket.unwrap().path().to_str().unwrap().to_owned()
}

#[test]
fn clients_look_in_order() {
    let mut machine = Machine::of(1000);
    assert_eq!(found(machine.client(None)), "/tmp/countd-1000/countd.sock");
    machine = machine.having("/run/user/1000", folder(1000, 0o700));
    assert_eq!(found(machine.client(None)), "/run/user/1000/countd/countd.sock");
    machine = machine.having("/x", folder(1000, 0o755)).with("XDG_RUNTIME_DIR", "/x");
    assert_eq!(found(machine.client(None)), "/x/countd/countd.sock");
    machine = machine.having(SYSTEM_SOCKET, Place::Other);
    assert_eq!(found(machine.client(None)), SYSTEM_SOCKET);
    machine = machine.with("COUNTD_SOCKET", "/v.sock");
    assert_eq!(found(machine.client(None)), "/v.sock");
    assert_eq!(found(machine.client(Some("/o.sock"))), "/o.sock");
}

#[test]
fn a_choice_never_falls_through_to_another_daemon() {
    let machine = Machine::of(0).having(SYSTEM_SOCKET, Place::Other);
    assert_eq!(found(machine.client(Some("/missing"))), "/missing");
    assert_eq!(found(machine.with("COUNTD_SOCKET", "/gone").client(None)), "/gone");
}

#[test]
fn an_empty_variable_is_unset_and_an_empty_option_refused() {
    let machine = Machine::of(7).with("COUNTD_SOCKET", "").with("XDG_RUNTIME_DIR", "");
    assert_eq!(found(machine.client(None)), "/tmp/countd-7/countd.sock");
    let error = machine.client(Some("")).unwrap_err();
    assert_eq!(error.to_string(), "--socket: the path is empty");
    assert_eq!(SocketPath::new(""), Err(PathError::Empty { origin: Origin::Caller }));
}

#[test]
fn a_path_longer_than_a_socket_can_have_is_refused() {
    assert!(SocketPath::new(format!("/{}", "a".repeat(106))).is_ok());
    let error = SocketPath::new(format!("/{}", "a".repeat(107))).unwrap_err();
    assert!(error.to_string().contains("108 bytes, but the path of a socket has at most 107"));
}

#[test]
fn a_runtime_folder_of_another_user_is_passed_by() {
    let machine = Machine::of(1000)
        .with("XDG_RUNTIME_DIR", "/run/user/0")
        .having("/run/user/0", folder(0, 0o700));
    assert_eq!(found(machine.client(None)), "/tmp/countd-1000/countd.sock");
}

#[test]
fn a_hidden_system_socket_is_there() {
    let machine = Machine::of(1000).having(SYSTEM_SOCKET, Place::Hidden);
    assert_eq!(found(machine.client(None)), SYSTEM_SOCKET);
}

#[test]
fn a_folder_below_tmp_has_to_be_ours_alone() {
    let with = |place| Machine::of(1000).having("/tmp/countd-1000", place).client(None);
    assert!(with(folder(1000, 0o700)).is_ok());
    let link = Place::Folder { owner: 1000, mode: 0o700, by_link: true };
    for bad in [folder(1001, 0o700), folder(1000, 0o755), link, Place::Other, Place::Hidden] {
        let error = with(bad).unwrap_err();
        assert!(matches!(error, PathError::Untrusted { .. }), "{bad:?}: {error}");
    }
}

#[test]
fn the_message_says_where_it_looked() {
    let machine = Machine::of(1000);
    let socket = machine.client(None).unwrap();
    assert_eq!(
        socket.to_string(),
        "/tmp/countd-1000/countd.sock, nothing at /run/countd/countd.sock, nothing at /run/user/1000"
    );
    let socket = machine.with("COUNTD_SOCKET", "/v").client(None).unwrap();
    assert_eq!(socket.to_string(), "/v (from COUNTD_SOCKET)");
}

#[test]
fn root_serves_everyone() {
    let serve = Machine::of(0).serve(None).unwrap();
    assert_eq!(serve.socket.path(), Path::new(SYSTEM_SOCKET));
    assert_eq!((serve.mode, serve.clients_look_at), (0o666, None));
    assert_eq!(serve.folder, Some((PathBuf::from("/run/countd"), 0o755)));
}

#[test]
fn the_user_of_a_unit_serves_everyone_too() {
    let machine = Machine::of(999).having("/run/countd", folder(999, 0o755));
    let serve = machine.serve(None).unwrap();
    assert_eq!((serve.socket.path(), serve.mode), (Path::new(SYSTEM_SOCKET), 0o666));
}

#[test]
fn a_user_serves_where_the_user_s_clients_look() {
    let machine = Machine::of(1000);
    let serve = machine.serve(None).unwrap();
    assert_eq!(serve.socket.path(), Path::new("/tmp/countd-1000/countd.sock"));
    assert_eq!((serve.mode, serve.clients_look_at), (0o600, None));
    assert_eq!(serve.folder, Some((PathBuf::from("/tmp/countd-1000"), 0o700)));
    let serve = machine.having("/run/user/1000", folder(1000, 0o700)).serve(None).unwrap();
    assert_eq!(serve.folder, Some((PathBuf::from("/run/user/1000/countd"), 0o700)));
}

#[test]
fn serve_knows_when_clients_would_find_another_socket() {
    let machine = Machine::of(1000).having(SYSTEM_SOCKET, Place::Other);
    let serve = machine.serve(None).unwrap();
    assert_eq!(serve.socket.path(), Path::new("/tmp/countd-1000/countd.sock"));
    assert_eq!(serve.clients_look_at, Some(PathBuf::from(SYSTEM_SOCKET)));
    let machine = Machine::of(1000).with("COUNTD_SOCKET", "/v.sock");
    let serve = machine.serve(None).unwrap();
    assert_eq!((serve.socket.path(), serve.folder), (Path::new("/v.sock"), None));
    assert_eq!(serve.clients_look_at, None, "who has set it for serve has it for clients too");
    let serve = Machine::of(1000).serve(Some("/o.sock")).unwrap();
    assert_eq!(serve.clients_look_at, Some(PathBuf::from("/tmp/countd-1000/countd.sock")));
}

#[test]
fn the_state_is_looked_for_in_order() {
    let mut machine = Machine::of(1000);
    assert_eq!(machine.state(None), Err(PathError::NoHome));
    machine = machine.with("HOME", "/home/u");
    assert_eq!(machine.state(None).unwrap(), Path::new("/home/u/.local/state/countd"));
    machine = machine.with("XDG_STATE_HOME", "relative");
    assert_eq!(machine.state(None).unwrap(), Path::new("/home/u/.local/state/countd"));
    machine = machine.with("XDG_STATE_HOME", "/s");
    assert_eq!(machine.state(None).unwrap(), Path::new("/s/countd"));
    machine.euid = 0;
    assert_eq!(machine.state(None).unwrap(), Path::new("/var/lib/countd"));
    machine = machine.with("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
    assert_eq!(machine.state(None).unwrap(), Path::new("/var/lib/a"));
    machine = machine.with("COUNTD_STATE_DIR", "/v");
    assert_eq!(machine.state(None).unwrap(), Path::new("/v"));
    assert_eq!(machine.state(Some("/o")).unwrap(), Path::new("/o"));
    assert!(machine.state(Some("")).is_err());
}

#[test]
fn an_empty_entry_in_the_folders_of_a_unit_is_no_folder() {
    let machine = Machine::of(0).with("STATE_DIRECTORY", ":/var/lib/b");
    assert_eq!(machine.state(None).unwrap(), Path::new("/var/lib/b"));
    let machine = machine.with("STATE_DIRECTORY", ":");
    assert_eq!(machine.state(None).unwrap(), Path::new("/var/lib/countd"));
}

#[test]
fn a_private_folder_is_made_once_and_then_checked() {
    let place = tempfile::tempdir().unwrap();
    let euid = rustix::process::geteuid().as_raw();
    let folder = place.path().join("countd");
    make_private_folder(&folder, euid).unwrap();
    assert!(matches!(look(&folder), Place::Folder { mode: 0o700, by_link: false, .. }));
    make_private_folder(&folder, euid).unwrap();
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let error = make_private_folder(&link, euid).unwrap_err();
    assert_eq!(error.to_string(), "is a symbolic link");
    assert!(make_private_folder(&folder, euid + 1).is_err());
    assert_eq!(look(&place.path().join("missing")), Place::Missing);
    assert_eq!(look(Path::new("/dev/null")), Place::Other);
}

fn spooled(machine: &Machine, option: Option<&str>, socket: Option<&str>) -> String {
    let socket = machine.client(socket).unwrap();
    let found = machine.ask(|e| spool::client_spool(option.map(OsStr::new), e, &socket));
    found.map_or_else(|error| error.to_string(), |found| found.path().display().to_string())
}

#[test]
fn a_client_spools_where_the_daemon_it_looked_for_takes_from() {
    let machine = || Machine::of(1000).with("HOME", "/h");
    assert_eq!(spooled(&machine(), None, None), "/h/.local/state/countd/spool");
    // A unit's own state is not that of its user's daemon.
    let unit = machine().with("STATE_DIRECTORY", "/var/lib/backup").with("XDG_STATE_HOME", "/x");
    assert_eq!(spooled(&unit, None, None), "/x/countd/spool");
    let told = machine().with("COUNTD_STATE_DIR", "/mine");
    assert_eq!(spooled(&told, None, None), "/mine/spool");
    let system = || machine().having(spool::SYSTEM_SPOOL, folder(5, 0o3733));
    assert_eq!(spooled(&system(), None, None), spool::SYSTEM_SPOOL);
    // A user with a daemon of one's own that is down for a moment means that one.
    let killed = system().having("/run/user/1000", folder(1000, 0o700));
    assert_eq!(spooled(&killed, None, None), spool::SYSTEM_SPOOL);
    let killed = killed.having("/run/user/1000/countd/countd.sock", Place::Other);
    assert_eq!(spooled(&killed, None, None), "/h/.local/state/countd/spool");
    let stopped = system().having("/h/.local/state/countd/lock", Place::Other);
    assert_eq!(spooled(&stopped, None, None), "/h/.local/state/countd/spool");
    assert_eq!(spooled(&machine(), None, Some(SYSTEM_SOCKET)), spool::SYSTEM_SPOOL);
    let up = machine().having(SYSTEM_SOCKET, Place::Other);
    assert_eq!(spooled(&up, None, None), spool::SYSTEM_SPOOL);
    let chosen = system().with("COUNTD_SPOOL_DIR", "/v");
    assert_eq!(spooled(&chosen, None, None), "/v");
    assert_eq!(spooled(&chosen, Some("/o"), Some("/s")), "/o");
    assert_eq!(spooled(&chosen, Some(""), None), "--spool-dir: the path is empty");
}

#[test]
fn a_client_that_cannot_know_where_its_daemon_takes_from_spools_nowhere() {
    let unknown = "it is not known where a daemon at /s takes spooled requests from: say so with \
                   --spool-dir";
    let machine = Machine::of(1000).with("HOME", "/h").having(spool::SYSTEM_SPOOL, folder(5, 0));
    assert_eq!(spooled(&machine, None, Some("/s")), unknown);
    assert_eq!(spooled(&machine.with("COUNTD_SOCKET", "/s"), None, None), unknown);
    // A daemon of root's serves the system, from the system's spool.
    let root = Machine::of(0).with("HOME", "/root").with("COUNTD_STATE_DIR", "/x");
    assert!(spooled(&root, None, None).starts_with("it is not known where"));
}

#[test]
fn a_daemon_takes_from_the_spool_that_its_clients_find() {
    let at = |machine: Machine, option: Option<&str>, socket: &str| {
        let (socket, state) = (Path::new(socket), Path::new("/state"));
        let option = option.map(OsStr::new);
        machine.ask(|e| spool::serve_spool(option, e, socket, state)).unwrap()
    };
    assert_eq!(at(Machine::of(1), None, SYSTEM_SOCKET), spool::SpoolPath::System);
    let private = spool::SpoolPath::Private("/state/spool".into());
    assert_eq!(at(Machine::of(1), None, "/s"), private);
    let told = || Machine::of(1).with("COUNTD_SPOOL_DIR", "/v");
    assert_eq!(at(told(), None, "/s"), spool::SpoolPath::Chosen("/v".into()));
    assert_eq!(at(told(), Some("/o"), SYSTEM_SOCKET), spool::SpoolPath::Chosen("/o".into()));
}
