//! countd in a freshly booted systemd, as a new user has it. Each test is a script of that name, which
//! `boot` runs as root in a machine with the package installed: the one `COUNTD_DEB` names, else the same files
//! with cargo's own binary. Skipped where nobody is root, which is a failure under CI, and where the kernel lets even
//! root make no machine, as in most containers.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panics, and say what they skip"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::process::geteuid;

/// A test for each script, with the programs that it needs beside systemd, and the list of them.
macro_rules! scripts {
    ($($name:ident $needed:tt)*) => {
        $(#[test] fn $name() { run_script(stringify!($name), &$needed); })*
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    the_units_are_sound ["systemd-analyze", "man"]
    the_first_caller_starts_the_service []
    five_crashes_leave_the_socket_up []
    a_restart_keeps_the_socket_and_callers_wait ["ss"]
    restarts_under_load_lose_nothing []
    a_hang_is_noticed []
    a_journal_that_hangs_or_is_gone_stops_nothing []
    a_reload_opens_the_log_file_anew []
    rotated_files_add_up ["logrotate"]
    settings_are_the_administrators []
    folders_that_were_removed_are_made_anew []
    a_reboot_keeps_what_was_counted []
    cron_jobs_count ["cron", "crontab"]
    a_unit_counts_how_it_ended []
    spooled_requests_wait_for_the_service []
    the_examples_do_what_they_say []
    a_user_has_a_daemon_of_her_own []
    it_runs_in_a_container []
    supervisors_run_it ["runsvdir", "chpst", "s6-svscan"]
}

/// What is no test in the folder of the scripts.
const OTHERS: &[&str] = &["boot", "install", "lib.sh", "main.rs", "the_package_comes_and_goes"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn script(name: &str) -> PathBuf {
    repository().join("tests/systemd").join(name)
}

/// The package to test, if somebody names one.
fn package() -> Option<PathBuf> {
    let path = std::env::var_os("COUNTD_DEB").filter(|path| !path.is_empty())?;
    Some(repository().join(path))
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says why a test is not run; a failure where all are to be.
#[track_caller]
fn skip(why: &str) {
    assert!(!is_ci(), "{why}");
    eprintln!("skipped: {why}");
}

/// Where root finds programs.
const FOLDERS: &[&str] = &["/usr/sbin", "/usr/bin", "/usr/lib/systemd"];

/// What a machine is made of: namespaces, files laid over others, control groups.
const PROBE: &str = "mount -t tmpfs none \"$0\" && cd \"$0\" && mkdir up work root groups && \
    mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root && \
    mount -t cgroup2 none groups && mkdir \"groups/${0##*/}\" && rmdir \"groups/${0##*/}\"";

/// What keeps this machine from having another one in it, if anything does.
fn hindered() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(|| {
        let place = tempfile::Builder::new().prefix("countd-probe.").tempdir().unwrap();
        let mut probe = Command::new("unshare");
        probe.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork"]);
        let probed = probe.args(["sh", "-c", PROBE]).arg(place.path()).output().unwrap();
        let complaint = String::from_utf8_lossy(&probed.stderr).into_owned();
        (!probed.status.success()).then_some(complaint)
    });
    why.as_deref()
}

/// Whether a systemd can be booted here, and these programs are there.
fn can_boot(needed: &[&str]) -> bool {
    if !geteuid().is_root() {
        skip("only root can boot a systemd");
        return false;
    }
    if let Some(why) = hindered() {
        eprintln!("skipped: no machine can be made in this one: {why}");
        return false;
    }
    let is_there = |name: &str| FOLDERS.iter().any(|folder| Path::new(folder).join(name).exists());
    let always = ["systemd", "systemd-logind", "dbus-daemon", "unshare", "setpriv", "ps"];
    match always.iter().chain(needed).find(|name| !is_there(name)) {
        Some(missing) => skip(&format!("there is no {missing}")),
        None => return true,
    }
    false
}

/// A boot with countd's files beside it.
fn boot() -> Command {
    let mut command = Command::new(script("boot"));
    command.arg("-b").arg(format!("{}:/mnt/countd", repository().display()));
    match package() {
        Some(package) => command.arg("-b").arg(format!("{}:/mnt/countd.deb", package.display())),
        None => command.arg("-b").arg(concat!(env!("CARGO_BIN_EXE_countd"), ":/mnt/bin")),
    };
    command
}

#[track_caller]
fn succeeded(name: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}{complained}", output.status);
    eprint!("{said}");
}

/// A machine on which countd was just installed, made once.
fn installed() -> &'static Path {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(|| {
        let layer = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
        let output = boot().arg("-s").arg(&layer).arg(script("install")).output().unwrap();
        succeeded("install", &output);
        layer
    })
}

fn run_script(name: &str, needed: &[&str]) {
    if can_boot(needed) {
        let output = boot().arg("-l").arg(installed()).arg(script(name)).output().unwrap();
        succeeded(name, &output);
    }
}

#[test]
fn the_package_comes_and_goes() {
    if package().is_none() {
        skip("COUNTD_DEB names no package");
    } else if can_boot(&["dpkg", "dpkg-deb"]) {
        let name = "the_package_comes_and_goes";
        succeeded(name, &boot().arg(script(name)).output().unwrap());
    }
}

#[test]
fn every_script_is_run() {
    for entry in std::fs::read_dir(script("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_known = SCRIPTS.contains(&name.as_str()) || OTHERS.contains(&name.as_str());
        assert!(is_known, "tests/systemd/{name} is in no list of tests/systemd/main.rs");
    }
}
