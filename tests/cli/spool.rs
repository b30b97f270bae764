//! Increments that find no daemon, and the daemon that takes them in.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Home, Ran, countd, until};

/// A home with a spool folder that every user may put requests in.
struct Spool {
    home: Home,
}

impl Spool {
    fn new() -> Spool {
        let home = Home::new();
        // Other users have to get through to it.
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(&home.path(""), 0o711);
        std::fs::create_dir(home.path("spool")).unwrap();
        mode(&home.path("spool"), 0o3733);
        Spool { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path("spool").join(name)
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = self.home.client(["incr"].iter().chain(args));
        command.env("COUNTD_SPOOL", "1").env("COUNTD_SPOOL_DIR", self.path(""));
        command
    }

    /// Runs an increment that finds no daemon.
    #[track_caller]
    fn spooled(&self, args: &[&str]) {
        let ran = Ran::of(self.client(args).output().unwrap());
        assert!(ran.code == 0 && ran.stderr.contains("spooled in"), "{ran:?}");
    }

    fn serve(&self, options: &[&str]) -> crate::harness::Daemon {
        let folder = self.path("");
        let spool = ["--spool-dir", folder.to_str().unwrap()];
        self.home.serve(&[&spool, options].concat())
    }

    /// Names of slots in one of the folders.
    fn slots(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('r') && name != "refused").collect()
    }

    fn until_empty(&self) {
        until("the spool is empty", || {
            // Each look is a question to the daemon.
            self.home.run(&["status"]);
            self.slots("").is_empty() && self.slots("taken").is_empty()
        });
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn without_a_daemon_an_increment_is_spooled_and_counts_once_when_there_is_one() {
    let spool = Spool::new();
    let ran = Ran::of(spool.client(&["a", "b=2", "-t", "h=x"]).output().unwrap());
    let folder = spool.path("");
    let expected = format!(
        "countd: no daemon: looked at {} (from COUNTD_SOCKET): start one with `countd serve`: \
         spooled in {}, and counted once a daemon takes it from there\n",
        spool.home.socket().display(),
        folder.display()
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", expected.as_str()));
    let [slot] = &spool.slots("")[..] else { panic!("{:?}", spool.slots("")) };
    assert_eq!(std::fs::metadata(spool.path(slot)).unwrap().mode() & 0o7777, 0o640);
    spool.spooled(&["a,h=x"]);
    let daemon = spool.serve(&[]);
    spool.until_empty();
    assert_eq!((spool.home.total("a,h=x"), spool.home.total("b,h=x")), (2, 2));
    let status = spool.home.ok(&["status", "--format", "json"]);
    assert!(status.contains("\"spool_taken\":2,\"spool_refused\":0"), "{status}");
    // With a daemon nothing is spooled.
    let ran = Ran::of(spool.client(&["a", "-t", "h=x"]).output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    daemon.kill();
    let _daemon = spool.serve(&[]);
    assert_eq!(spool.home.total("a,h=x"), 3);
}

#[test]
fn an_idle_daemon_takes_a_request_as_soon_as_it_is_spooled() {
    let spool = Spool::new();
    let _daemon = spool.serve(&[]);
    let mut command = spool.client(&["--socket", "/nonexistent/s", "a"]);
    assert_eq!(Ran::of(command.output().unwrap()).code, 0);
    spool.until_empty();
    assert_eq!(spool.home.total("a"), 1);
}

#[test]
fn each_spooled_request_counts_once_however_often_the_daemon_is_killed() {
    let spool = Spool::new();
    let mut sent = 0;
    for round in 0_u32..12 {
        for _ in 0..5 {
            // The socket of a killed daemon is waited for, in case it is being started again.
            spool.spooled(&["a", "b=3", "--timeout", "10ms"]);
            sent += 1;
        }
        let fsync = ["no", "always", "everysec"][round as usize % 3];
        let daemon = spool.serve(&["--fsync", fsync]);
        for _ in 0..round {
            spool.home.run(&["status"]);
        }
        daemon.kill();
    }
    let _daemon = spool.serve(&[]);
    spool.until_empty();
    assert_eq!((spool.home.total("a"), spool.home.total("b")), (sent, 3 * sent));
}

#[test]
fn clients_that_count_while_a_daemon_starts_and_ends_count_once() {
    let spool = Spool::new();
    let mut children = Vec::new();
    for _ in 0..4 {
        let mut script = Command::new("sh");
        let client = spool.client(&["--timeout", "60s", "a"]);
        script.args(["-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do \"$0\" \"$@\" || exit; done"]);
        script.arg(client.get_program()).args(client.get_args());
        script.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        children.push(script.stderr(std::process::Stdio::null()).spawn().unwrap());
    }
    for _ in 0..3 {
        let daemon = spool.serve(&[]);
        spool.home.run(&["status"]);
        // A socket that is left would be waited for.
        assert_eq!(daemon.stop().code, 0);
    }
    let _daemon = spool.serve(&[]);
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    spool.until_empty();
    assert_eq!(spool.home.total("a"), 48);
}

#[test]
fn three_thousand_requests_are_taken_in() {
    let spool = Spool::new();
    let mut bytes = None;
    for number in 0..3_000_u32 {
        use countd::ids::RequestId;
        use countd::protocol::{Entry, Request, spooled};
        let id = RequestId { session: number.into(), seq: 0, born_ns: 1 };
        let entries = vec![Entry { name: "a", amount: 1 }];
        let request = Request::Incr { id, atomic: true, totals: false, entries };
        let file = bytes.insert(spooled::to_bytes(&request).unwrap());
        std::fs::write(spool.path(&spooled::slot_name(number)), file).unwrap();
    }
    let _daemon = spool.serve(&["--fsync", "no"]);
    spool.until_empty();
    assert_eq!(spool.home.total("a"), 3_000);
}

#[test]
fn what_cannot_be_accepted_is_moved_aside_and_named_in_the_status() {
    let spool = Spool::new();
    symlink("/etc/passwd", spool.path("r00001")).unwrap();
    std::fs::hard_link(file(&spool.home, "precious"), spool.path("r00002")).unwrap();
    let made = Command::new("mkfifo").arg(spool.path("r00003")).status().unwrap();
    assert!(made.success());
    std::fs::create_dir(spool.path("r00004")).unwrap();
    std::fs::write(spool.path("r00005"), "").unwrap();
    std::fs::write(spool.path("r00006"), "garbage").unwrap();
    std::fs::File::create(spool.path("r00007")).unwrap().set_len(10 << 30).unwrap();
    spool.spooled(&["a"]);
    let daemon = spool.serve(&[]);
    spool.until_empty();
    assert_eq!(spool.home.total("a"), 1);
    let ran = spool.home.run(&["status"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("problem: 7 spooled files are not counted, see "), "{ran:?}");
    assert!(ran.stdout.contains("; the last: refused/r0000"), "{ran:?}");
    assert_eq!(spool.slots("refused").len(), 7);
    assert_eq!(std::fs::read_to_string(spool.home.path("precious")).unwrap(), "precious");
    assert!(std::fs::read_to_string("/etc/passwd").unwrap().contains("root"));
    let said = daemon.stop().stderr;
    assert_eq!(said.matches("not counted: refused/").count(), 7, "{said}");
    std::fs::remove_dir_all(spool.path("refused")).unwrap();
    let _daemon = spool.serve(&[]);
    assert_eq!(spool.home.run(&["status"]).code, 0);
}

fn file(home: &Home, name: &str) -> PathBuf {
    std::fs::write(home.path(name), name).unwrap();
    home.path(name)
}

#[test]
fn a_request_that_the_daemon_refuses_is_moved_aside_and_can_be_put_back() {
    let spool = Spool::new();
    spool.spooled(&["a=18446744073709551615"]);
    spool.spooled(&["a=18446744073709551615"]);
    let _daemon = spool.serve(&[]);
    spool.until_empty();
    assert_eq!(spool.home.total("a"), u64::MAX);
    until("it is refused", || spool.home.run(&["status"]).stdout.contains("would overflow"));
    spool.home.ok(&["delete", "a"]);
    let [refused] = &spool.slots("refused")[..] else { panic!("{:?}", spool.slots("refused")) };
    let slot = refused.split_once('.').unwrap().0;
    std::fs::rename(spool.path("refused").join(refused), spool.path(slot)).unwrap();
    spool.until_empty();
    until("the problem is gone", || spool.home.run(&["status"]).code == 0);
    assert_eq!(spool.home.total("a"), u64::MAX);
}

#[test]
fn other_users_spool_and_can_neither_list_nor_change_what_others_did() {
    if !is_root() {
        return;
    }
    let spool = Spool::new();
    // The binary has to be where they can reach it.
    let binary = spool.home.path("countd");
    std::fs::copy(countd().get_program(), &binary).unwrap();
    let by = |uid: u32, args: &[&str]| {
        let client = spool.client(args);
        let mut command = Command::new(&binary);
        command.args(client.get_args()).env_clear().uid(uid).gid(uid);
        command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(command.output().unwrap())
    };
    for uid in [4_001, 4_002] {
        for name in ["a", "b", "c"] {
            let ran = by(uid, &[&format!("{name}.{uid}")]);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
    }
    let slots = spool.slots("");
    let of = |uid| {
        let owned = |slot: &&String| std::fs::metadata(spool.path(slot)).unwrap().uid() == uid;
        slots.iter().find(owned).unwrap().clone()
    };
    let sh = |uid: u32, script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir("/").uid(uid).gid(uid);
        command.env("S", spool.path("")).output().unwrap().status.success()
    };
    assert!(!sh(4_001, "ls $S"));
    assert!(!sh(4_001, &format!("rm -f $S/{}", of(4_002))));
    assert!(!sh(4_001, &format!("cat $S/{}", of(4_002))));
    // His own he may replace, by what is not a file too.
    assert!(sh(4_001, &format!("rm -f $S/{0}; ln -s /etc/shadow $S/{0}", of(4_001))));
    let daemon = spool.serve(&["--max-counters-per-user", "2"]);
    spool.until_empty();
    assert!(!sh(4_001, "ls $S/taken || ls $S/refused"));
    let counted = spool.home.ok(&["dump"]);
    assert_eq!(counted.lines().filter(|line| line.contains(".4001")).count(), 2, "{counted}");
    assert_eq!(counted.lines().filter(|line| line.contains(".4002")).count(), 2, "{counted}");
    let said = daemon.stop().stderr;
    assert!(said.contains(" of uid 4001: it is not a regular file"), "{said}");
    assert!(said.contains(" of uid 4002: uid 4002 has created 2 counters"), "{said}");
}

#[test]
fn a_daemon_that_is_not_root_moves_aside_what_it_cannot_read_and_renames_folders() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    std::fs::set_permissions(home.path(""), PermissionsExt::from_mode(0o777)).unwrap();
    let binary = home.path("countd");
    std::fs::copy(countd().get_program(), &binary).unwrap();
    let spool = Spool { home };
    std::fs::create_dir(spool.path("")).unwrap();
    std::fs::create_dir(spool.path("r00001")).unwrap();
    std::fs::write(spool.path("r00001/x"), "").unwrap();
    std::fs::write(spool.path("r00002"), "secret").unwrap();
    std::fs::set_permissions(spool.path("r00002"), PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(spool.path(""), Some(4_001), Some(4_001)).unwrap();
    std::fs::set_permissions(spool.path(""), PermissionsExt::from_mode(0o3733)).unwrap();
    spool.spooled(&["a"]);
    let serve = spool.home.serve_command(&["--spool-dir", spool.path("").to_str().unwrap()]);
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM,HUP").arg(&binary).args(serve.get_args());
    command.uid(4_001).gid(4_001).current_dir("/");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let daemon = crate::harness::Daemon::spawn(command);
    until("it is counted", || spool.home.run(&["get", "a"]).stdout == "1\n");
    let said = daemon.stop().stderr;
    let folder = "r00001.1.stuck of uid 0: it is a folder, and cannot be moved to refused";
    assert!(said.contains(folder), "{said}");
    assert!(said.contains("refused/r00002.1 of uid 0: it cannot be read: Permission"), "{said}");
    assert!(spool.path("r00001.1.stuck/x").exists());
}

#[test]
fn a_request_is_spooled_only_where_its_daemon_takes_it_from() {
    let home = Home::new();
    home.run(&["incr", "--spool", "a"])
        .refused(3, &["no daemon", "cannot be spooled", "--spool-dir"]);
    let none = home.path("none");
    let none = none.to_str().unwrap();
    home.run(&["incr", "--spool", "--spool-dir", none, "a"]).refused(3, &["no daemon", none]);
    let ran = home.run(&["incr", "--spool", "--best-effort", "a"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("cannot be spooled"), "{ran:?}");
    home.run(&["incr", "--spool-dir", none, "a"]).refused(2, &["--spool"]);
    let _daemon = home.serve(&[]);
    let status = home.ok(&["status", "--format", "json"]);
    let spool = home.state().join("spool");
    assert!(status.contains(&format!("\"spool_dir\":\"{}\"", spool.display())), "{status}");
    assert_eq!(std::fs::metadata(&spool).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_spool_that_was_asked_for_and_cannot_be_had_is_a_reason_not_to_start() {
    let home = Home::new();
    let file = file(&home, "file");
    let file = file.to_str().unwrap();
    let serve = |options: &[&str]| Ran::of(home.serve_command(options).output().unwrap());
    serve(&["--spool-dir", file]).refused(1, &["spool folder", file]);
    serve(&["--spool-dir", ""]).refused(2, &["--spool-dir", "empty"]);
    serve(&["--spool-dir", file, "--ephemeral"]).refused(2, &["--spool-dir", "--ephemeral"]);
    // The one in the state folder is not asked for.
    std::fs::create_dir_all(home.state()).unwrap();
    std::fs::write(home.state().join("spool"), "").unwrap();
    let daemon = home.serve(&[]);
    assert!(
        daemon.said.iter().any(|line| line.contains("no spooled requests")),
        "{:?}",
        daemon.said
    );
    home.ok(&["incr", "a"]);
}

#[test]
fn when_every_slot_is_taken_the_folder_is_full() {
    let spool = Spool::new();
    for number in 0..countd::protocol::spooled::SLOTS {
        std::fs::hard_link(
            if number % 30_000 == 0 {
                file(&spool.home, &format!("file{number}"))
            } else {
                spool.home.path(&format!("file{}", number / 30_000 * 30_000))
            },
            spool.path(&countd::protocol::spooled::slot_name(number)),
        )
        .unwrap();
    }
    let ran = Ran::of(spool.client(&["a"]).output().unwrap());
    ran.refused(3, &["no daemon", "cannot be spooled", "it is full"]);
    assert_eq!(spool.slots("").len(), 1 << 16, "nothing is left of it");
}

/// The system's own places, in a world where nobody else sees them.
const SYSTEM: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool
cp "$0" /run/countd-program
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups /run/countd-program "$@"; }
daemon() {
    mkdir /run/countd; chown 12345:12345 /run/countd
    STATE_DIRECTORY=/run/state setpriv --reuid=12345 --regid=12345 --clear-groups \
        /run/countd-program serve >/dev/null &
    nobody status --wait 60s >/dev/null
}
mkdir /run/state; chown 12345:12345 /run/state
install -d -o 12345 -g 12345 -m 3733 /var/spool/countd
nobody incr --spool jobs
daemon
until [ "$(nobody get jobs --default 0)" = 1 ]; do :; done
kill $!; wait; rm -r /run/countd
nobody incr --spool jobs=2
daemon
until [ "$(nobody get jobs)" = 3 ]; do :; done
kill $!; wait
ls -A /var/spool/countd
"#;

#[test]
fn the_systems_spool_takes_from_everyone_while_the_systems_daemon_is_stopped() {
    let works = Command::new("unshare").args(["-m", "true"]).status();
    if !is_root() || !works.is_ok_and(|status| status.success()) {
        return;
    }
    let program = countd();
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-m", "sh", "-c", SYSTEM]).arg(program.get_program());
    command.env("HOME", "/nonexistent").env_remove("XDG_RUNTIME_DIR").env_remove("COUNTD_SOCKET");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "refused\ntaken\n"), "{ran:?}");
}
