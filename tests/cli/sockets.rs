//! Sockets and state folders: who owns them, where they are looked for, who may do what.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::harness::{Home, Ran};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_socket_has_the_mode_asked_for_whatever_the_umask() {
    for (option, expected) in [(None, 0o600), (Some("0666"), 0o666), (Some("660"), 0o660)] {
        let home = Home::new();
        let options: Vec<&str> = option.map_or(vec![], |mode| vec!["--socket-mode", mode]);
        let serve = home.serve_command(&options);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
        command.arg(serve.get_program()).args(serve.get_args());
        let _daemon = crate::harness::Daemon::spawn(command);
        assert_eq!(mode(&home.socket()), expected);
    }
}

#[test]
fn a_second_daemon_on_the_socket_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let other = home.path("other-state");
    let other = other.to_str().unwrap();
    let ran = Ran::of(home.serve_command(&["--state-dir", other]).output().unwrap());
    ran.refused(1, &["sock", "--socket"]);
    assert_eq!(home.ok(&["incr", "--print", "a"]), "1\n");
}

#[test]
fn a_second_daemon_on_the_state_folder_is_refused() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut command = crate::harness::countd();
    command.arg("serve").arg("--socket").arg(home.path("other"));
    command.arg("--state-dir").arg(home.state());
    Ran::of(command.output().unwrap()).refused(1, &["state", "another countd"]);
    assert!(!home.path("other").exists());
}

#[test]
fn a_socket_left_by_a_killed_daemon_is_replaced() {
    let home = Home::new();
    home.serve(&[]).kill();
    assert!(home.socket().exists());
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "a"]);
}

#[test]
fn a_file_or_a_live_socket_in_the_place_is_left_alone() {
    let home = Home::new();
    std::fs::write(home.socket(), "precious").unwrap();
    Ran::of(home.serve_command(&[]).output().unwrap()).refused(1, &["sock", "no socket"]);
    assert_eq!(std::fs::read_to_string(home.socket()).unwrap(), "precious");
    std::fs::remove_file(home.socket()).unwrap();
    let foreign = UnixListener::bind(home.socket()).unwrap();
    Ran::of(home.serve_command(&[]).output().unwrap()).refused(1, &["sock"]);
    assert!(home.socket().exists());
    drop(foreign);
}

#[test]
fn an_empty_path_is_refused_and_an_empty_variable_is_none() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.run(&["incr", "a", "--socket", ""]).refused(2, &["--socket", "empty"]);
    let runtime = home.path("run");
    std::fs::create_dir(&runtime).unwrap();
    std::fs::create_dir(runtime.join("countd")).unwrap();
    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(home.socket(), runtime.join("countd/countd.sock")).unwrap();
    if !std::path::Path::new("/run/countd/countd.sock").exists() {
        let mut command = home.client(["incr", "--print", "a"]);
        command.env("COUNTD_SOCKET", "").env("XDG_RUNTIME_DIR", &runtime);
        assert_eq!(Ran::of(command.output().unwrap()).stdout, "1\n");
    }
}

#[test]
fn the_option_goes_before_the_variable_and_before_or_after_the_command() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let socket = home.socket();
    let socket = socket.to_str().unwrap();
    for args in [["--socket", socket, "incr", "a"], ["incr", "a", "--socket", socket]] {
        let mut command = home.client(args);
        assert!(command.env("COUNTD_SOCKET", "/nowhere/at/all").status().unwrap().success());
    }
    assert_eq!(home.total("a"), 2);
}

#[test]
fn an_explicit_socket_never_falls_through_to_another() {
    let home = Home::new();
    let mut command = home.client(["incr", "a"]);
    command.env("COUNTD_SOCKET", "/nowhere/at/all");
    Ran::of(command.output().unwrap()).refused(3, &["/nowhere/at/all", "COUNTD_SOCKET"]);
}

/// A client run by nobody, whose home it may enter. Only root can do that.
fn as_nobody(home: &Home, args: &[&str]) -> Ran {
    std::fs::set_permissions(home.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let binary = home.path("countd");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_countd"), &binary).unwrap();
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary);
    Ran::of(command.args(args).env("COUNTD_SOCKET", home.socket()).output().unwrap())
}

/// Where the tests run as root.
#[test]
fn other_users_may_count_and_look_but_not_flush_or_delete() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let _daemon = home.serve(&["--socket-mode", "0666", "--max-counters-per-user", "2"]);
    let nobody = |args: &[&str]| as_nobody(&home, args);
    assert_eq!(nobody(&["incr", "a", "b"]).code, 0);
    assert_eq!(nobody(&["get", "a"]).stdout, "1\n");
    nobody(&["incr", "c"]).refused(1, &["65534", "--max-counters-per-user"]);
    nobody(&["flush"]).refused(1, &["root"]);
    nobody(&["delete", "a"]).refused(1, &["root"]);
    home.ok(&["incr", "c", "d", "e"]);
    assert_eq!(home.ok(&["delete", "a"]), "a 1\n");
}

#[test]
fn a_socket_one_may_not_reach_is_exit_3() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let _daemon = home.serve(&[]);
    as_nobody(&home, &["incr", "a"]).refused(3, &["sock", "no permission"]);
}
