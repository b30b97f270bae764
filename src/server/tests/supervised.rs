//! What a supervisor hears and when, and that nobody wakes up where there is none.

use super::*;
use crate::system::supervisor::Told;

/// Writes down what it is told.
#[derive(Debug, Clone)]
struct Listening {
    told: Arc<Mutex<Vec<String>>>,
    watchdog: Option<Duration>,
    hears: bool,
}

impl Supervisor for Listening {
    fn tell(&mut self, what: Told<'_>) -> io::Result<()> {
        self.told.lock().unwrap().push(format!("{what:?}"));
        if self.hears { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}

impl Listening {
    fn new(watchdog: Option<Duration>) -> Listening {
        Listening { told: Arc::default(), watchdog, hears: true }
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// A daemon that has told it that it is ready.
    fn daemon(&self) -> Daemon {
        let supervisor: Option<Box<dyn Supervisor>> = Some(Box::new(self.clone()));
        let mut daemon = Daemon::with(Kind { sinks: 1, supervisor, ..Kind::default() });
        assert!(self.heard().is_empty(), "before it is ready");
        let now_ns = daemon.clock.now().boot_ns;
        daemon.server.supervision.ready(daemon.server.counters(), now_ns);
        daemon
    }
}

#[test]
fn the_loop_gives_a_sign_of_life_at_half_of_the_time_it_has() {
    let supervisor = Listening::new(Some(Duration::from_secs(30)));
    let mut daemon = supervisor.daemon();
    supervisor.heard();
    for _ in 0..3 {
        assert_eq!(daemon.sleeps(), Some(Duration::from_secs(15)));
        daemon.pass(14_999);
        assert!(supervisor.heard().is_empty());
        daemon.pass(1);
        daemon.server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(supervisor.heard(), ["Alive"]);
    }
}

#[test]
fn a_loop_that_is_kept_busy_gives_its_signs_too_and_no_more_of_them() {
    let supervisor = Listening::new(Some(Duration::from_secs(2)));
    let mut daemon = supervisor.daemon();
    supervisor.heard();
    for _ in 0..100 {
        daemon.count("a");
        daemon.pass(100);
    }
    let alive = supervisor.heard().into_iter().filter(|told| told == "Alive").count();
    assert_eq!(alive, 10);
}

#[test]
fn the_signs_go_on_while_a_long_stop_waits() {
    let supervisor = Listening::new(Some(Duration::from_secs(1)));
    let mut daemon = supervisor.daemon();
    daemon.count("a");
    daemon.gates[0].shut(true);
    supervisor.heard();
    daemon.server.stop().unwrap();
    let told = supervisor.heard();
    assert_eq!(told[0], "Stopping");
    // Four seconds for a sink that takes nothing.
    assert!(told[1..].len() >= 7 && told[1..].iter().all(|told| told == "Alive"), "{told:?}");
    daemon.gates[0].shut(false);
}

#[test]
fn without_a_supervisor_or_its_watchdog_the_loop_wakes_up_for_nothing() {
    let supervisor = Listening::new(None);
    let mut daemon = supervisor.daemon();
    assert_eq!(daemon.sleeps(), None);
    assert_eq!(supervisor.heard(), ["Ready(\"0 counters, nothing flushed yet\")"]);
    daemon.server.reopen();
    daemon.server.stop().unwrap();
    let heard = supervisor.heard().join(" ");
    assert!(heard.starts_with("Reloading Ready(") && heard.ends_with(" Stopping"), "{heard}");

    let mut daemon = Daemon::new();
    daemon.server.supervision.ready(0, daemon.clock.now().boot_ns);
    assert_eq!(daemon.sleeps(), None);
    daemon.count("a");
    daemon.server.core.flush_soon();
    daemon.settle();
    daemon.pass(1_000);
    daemon.until(|daemon| daemon.server.journal.synced() >= daemon.server.journal.position());
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn a_flush_is_told_within_five_seconds_of_the_last_and_with_its_numbers() {
    let supervisor = Listening::new(None);
    let mut daemon = supervisor.daemon();
    supervisor.heard();
    daemon.count("a");
    daemon.server.core.flush_soon();
    daemon.until(|daemon| daemon.written(0) == "a 1\n" && daemon.server.core.sinks_are_even());
    assert!(supervisor.heard().is_empty(), "not more often");
    daemon.pass(5_000);
    daemon.server.turn(Some(Duration::ZERO)).unwrap();
    let told = supervisor.heard().join(" ");
    assert!(told.starts_with("Status(\"1 counter, flushed window 1 of 0.000 s"), "{told}");
    daemon.pass(5_000);
    assert!(supervisor.heard().is_empty(), "nothing new");
}

#[test]
fn a_supervisor_that_cannot_be_told_is_named_once_and_counting_goes_on() {
    let supervisor = Listening { hears: false, ..Listening::new(None) };
    let mut daemon = supervisor.daemon();
    daemon.server.say_if_supervisor_fails();
    daemon.server.say_if_supervisor_fails();
    assert_eq!(daemon.notices.lock().unwrap().len(), 1);
    assert_eq!(daemon.count("a"), total(1));
}
