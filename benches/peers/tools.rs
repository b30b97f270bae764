//! What is measured: countd's builds, the peers that are installed, and the clients that are built here.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::processes::{find, output};

/// The options of the release profile, for what is built without cargo.
const RELEASE: [&str; 5] =
    ["opt-level=3", "lto=fat", "codegen-units=1", "panic=abort", "strip=symbols"];

/// The programs. What is `None` is not here, and `missing` says why.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// The default build: dynamic, with the system's libc.
    pub(crate) countd: PathBuf,
    /// The static build, with musl.
    pub(crate) countd_musl: Option<PathBuf>,
    pub(crate) c_client: Option<PathBuf>,
    pub(crate) rust_client: Option<PathBuf>,
    pub(crate) redis_server: Option<PathBuf>,
    pub(crate) redis_cli: Option<PathBuf>,
    pub(crate) mawk: Option<PathBuf>,
    pub(crate) nc: Option<PathBuf>,
    pub(crate) flock: Option<PathBuf>,
    pub(crate) sqlite3: Option<PathBuf>,
    pub(crate) xargs: Option<PathBuf>,
    /// node, and the folder of the package statsd.
    pub(crate) statsd: Option<(PathBuf, PathBuf)>,
    /// How the C client was linked.
    pub(crate) c_linked: &'static str,
    pub(crate) missing: Vec<String>,
}

impl Tools {
    /// Finds them, and builds into `folder` what is not there.
    pub(crate) fn find(folder: &Path) -> Result<Tools> {
        let mut tools = Tools { countd: env!("CARGO_BIN_EXE_countd").into(), ..Tools::default() };
        let mut missing = Vec::new();
        let mut program = |name: &str| {
            // Debian's name for the nc that knows Unix sockets.
            let found = find(format!("{name}.openbsd")).or_else(|| find(name));
            if found.is_none() {
                missing.push(format!("{name} is not installed"));
            }
            found
        };
        tools.redis_server = program("redis-server");
        tools.redis_cli = program("redis-cli");
        tools.mawk = program("mawk");
        tools.nc = program("nc");
        tools.flock = program("flock");
        tools.sqlite3 = program("sqlite3");
        tools.xargs = program("xargs");
        let node = program("node");
        let mut or_missing = |what: &str, built: Result<PathBuf>| {
            built.map_err(|error| missing.push(format!("{what}: {error}"))).ok()
        };
        let statsd = or_missing("statsd (npm install --global statsd)", statsd());
        tools.statsd = node.zip(statsd);
        tools.countd_musl = or_missing("countd with musl", countd_musl(&tools.countd));
        tools.rust_client = or_missing("the Rust client", rust_client(folder));
        match c_client(folder) {
            Ok((path, linked)) => (tools.c_client, tools.c_linked) = (Some(path), linked),
            Err(error) => missing.push(format!("the C client: {error}")),
        }
        tools.missing = missing;
        Ok(tools)
    }

    /// The build that is packaged: with musl, if it is here.
    pub(crate) fn packaged(&self) -> &Path {
        self.countd_musl.as_ref().unwrap_or(&self.countd)
    }

    /// The versions of the peers, each as it says itself.
    pub(crate) fn versions(&self) -> Vec<String> {
        let first_line = |program: &Option<PathBuf>, argument: &str| {
            let text = output(Command::new(program.as_ref()?).arg(argument)).ok()?;
            Some(text.lines().next()?.trim().to_owned())
        };
        let statsd = self.statsd.as_ref().and_then(|(node, folder)| {
            let manifest = std::fs::read_to_string(folder.join("package.json")).ok()?;
            let manifest: serde_json::Value = serde_json::from_str(&manifest).ok()?;
            let node = first_line(&Some(node.clone()), "--version")?;
            Some(format!("statsd {} on node {node}", manifest.get("version")?.as_str()?))
        });
        let redis = first_line(&self.redis_server, "--version");
        let redis = redis.map(|text| text.split(" sha=").next().unwrap_or_default().to_owned());
        let sqlite = first_line(&self.sqlite3, "--version");
        let sqlite = sqlite.and_then(|text| Some(format!("sqlite {}", text.split(' ').next()?)));
        let rustc = first_line(&Some(rustc()), "--version");
        let mawk = first_line(&self.mawk, "-Wversion");
        [rustc, redis, mawk, sqlite, statsd].into_iter().flatten().collect()
    }
}

fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

fn musl_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// The parts of musl that come with Rust's target.
fn musl_parts() -> Result<PathBuf> {
    let print = ["--print", "target-libdir", "--target", &musl_target()];
    let folder = output(Command::new(rustc()).args(print))?;
    let parts = Path::new(folder.trim()).join("self-contained");
    if parts.is_dir() {
        Ok(parts)
    } else {
        Err(format!("rustup target add {}", musl_target()).into())
    }
}

fn countd_musl(countd: &Path) -> Result<PathBuf> {
    musl_parts()?;
    let target = countd.ancestors().nth(2).ok_or("no target folder")?;
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--release", "--bin", "countd"]);
    command.arg("--target").arg(musl_target()).arg("--target-dir").arg(target);
    output(&mut command)?;
    Ok(target.join(musl_target()).join("release/countd"))
}

fn rust_client(folder: &Path) -> Result<PathBuf> {
    let client = folder.join("client-rust");
    let mut command = Command::new(rustc());
    command.args(["--edition", "2024", "-o"]).arg(&client);
    command.args(RELEASE.iter().flat_map(|option| ["-C", option]));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/client.rs"));
    output(&mut command)?;
    Ok(client)
}

/// Builds the C client, position-independent as what is packaged is. musl-gcc does not know `-static-pie`, so it is
/// linked by hand with the musl that countd is linked with.
fn c_client(folder: &Path) -> Result<(PathBuf, &'static str)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/client.c");
    let (object, client) = (folder.join("client.o"), folder.join("client-c"));
    let mut compile = Command::new("musl-gcc");
    output(compile.args(["-O2", "-fPIE", "-c", "-o"]).arg(&object).arg(&source))?;
    let parts = musl_parts().and_then(|parts| {
        let mut link = Command::new("cc");
        link.args(["-static-pie", "-nostdlib", "-nostartfiles", "-s", "-o"]).arg(&client);
        link.args([parts.join("rcrt1.o"), parts.join("crti.o"), object]);
        output(link.args([parts.join("libc.a"), parts.join("crtn.o")]))
    });
    if parts.is_ok() && output(&mut Command::new(&client)).is_ok() {
        return Ok((client, "static and position-independent (static-pie)"));
    }
    output(
        Command::new("musl-gcc").args(["-O2", "-static", "-s", "-o"]).arg(&client).arg(&source),
    )?;
    Ok((client, "static, not position-independent"))
}

/// The folder of statsd: `STATSD_DIR`, or where npm installs packages for everyone.
fn statsd() -> Result<PathBuf> {
    let folder = match std::env::var_os("STATSD_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(output(Command::new("npm").args(["root", "-g"]))?.trim()).join("statsd"),
    };
    if folder.join("stats.js").is_file() { Ok(folder) } else { Err("not found".into()) }
}
