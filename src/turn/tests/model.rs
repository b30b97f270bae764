//! Any requests, failing appends, failing sinks and restarts, against a plain map of totals: nothing that was
//! acknowledged is lost or counted twice, in totals and in what each sink gets.

mod carbon;

use std::collections::BTreeSet;

use proptest::prelude::*;

use carbon::Carbon;

use super::*;
use crate::format::ReportFormat;
use crate::format::layout::Layout;
use crate::window::spans::Spans;

const NAMES: [&str; 4] = ["a", "b", "c,k=v", "-bad"];
const SINKS: [&str; 3] = ["stdout", "file:/x", "graphite://h:1"];
/// The one whose reports have timestamps.
const GRAPHITE: usize = 2;
/// How long it may take to store what it has.
const KEEPS_NS: u64 = 20 * S;

/// The sinks of a run: the last has its reports as often as it was told this time.
fn places(run: usize) -> [SinkPlace; SINKS.len()] {
    let mut places = SINKS.map(place);
    let layout = Layout::of(ReportFormat::Graphite);
    let spans = [layout.spans, Some(Spans::new(Duration::from_secs(10)))];
    places[GRAPHITE].layout = Layout { spans: spans[run % 2], ..layout };
    places[GRAPHITE].at_a_time = 1 + run % 3;
    places[GRAPHITE].keeps_ns = KEEPS_NS;
    places
}

#[derive(Debug, Clone)]
enum Event {
    /// A request: entries (name, amount), whether it is atomic.
    Incr(Vec<(usize, u64)>, bool),
    /// The same request again, the nth last.
    Retry(usize),
    Delete(usize),
    /// A sink goes on with what it was told, or fails.
    Sink(usize, bool),
    /// The last sink is started anew, without what it had not stored.
    CarbonDies,
    /// Appends begin to fail, or work again: first, second.
    Disk(bool, bool),
    Flush,
    Pass(u64),
    /// The wall clock is set back.
    SetBack(u64),
    Restart,
    /// A request whose turn is appended but not answered: killed, started again, asked again.
    KilledBeforeReply(Vec<(usize, u64)>, bool),
    /// Killed when what a sink says is appended but not acted upon.
    KilledBeforeActions(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let entries = prop::collection::vec((0..NAMES.len(), 0..4_u64), 1..4);
    let others = entries.clone();
    prop_oneof![
        6 => (entries, any::<bool>()).prop_map(|(entries, atomic)| Event::Incr(entries, atomic)),
        2 => (0..6_usize).prop_map(Event::Retry),
        1 => (0..NAMES.len()).prop_map(Event::Delete),
        8 => (0..SINKS.len(), prop::bool::weighted(0.8)).prop_map(|(s, ok)| Event::Sink(s, ok)),
        1 => Just(Event::CarbonDies),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(a, b)| Event::Disk(a, b)),
        2 => Just(Event::Flush),
        2 => (1..7_000_u64).prop_map(Event::Pass),
        1 => (1..3_000_u64).prop_map(Event::SetBack),
        1 => Just(Event::Restart),
        1 => (others, any::<bool>()).prop_map(|(e, atomic)| Event::KilledBeforeReply(e, atomic)),
        1 => (0..SINKS.len()).prop_map(Event::KilledBeforeActions),
    ]
}

/// What a sink of the test is at.
#[derive(Debug, Default, Clone)]
struct FakeSink {
    layout: Option<Layout>,
    prepared: Vec<std::sync::Arc<Report>>,
    /// What it is to prepare again instead.
    again: Option<Vec<(Layout, Vec<std::sync::Arc<Report>>)>>,
    /// What it was told and has not answered.
    order: Option<Order>,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Prepare,
    Write,
    Look,
}

type Totals = BTreeMap<String, u64>;

/// A request, what it adds, and what was answered.
#[derive(Debug, Clone)]
struct Sent {
    payload: Vec<u8>,
    entries: Vec<(usize, u64)>,
    answer: Option<Answer>,
}

struct Model {
    world: World,
    /// What there is, by what was acknowledged.
    totals: Totals,
    /// What was ever gained, deleted counters too.
    gained: Totals,
    /// What each sink has written and had acknowledged.
    taken: [Totals; SINKS.len()],
    sinks: [FakeSink; SINKS.len()],
    sent: Vec<Sent>,
    runs: usize,
    /// The latest moment there was.
    latest_ms: u64,
    /// What was written with each timestamp, acknowledged or not.
    written: BTreeMap<u64, Vec<u8>>,
    /// The timestamps of what was acknowledged.
    seconds: BTreeSet<u64>,
    carbon: Carbon,
}

fn add(totals: &mut Totals, name: &str, amount: u64) {
    *totals.entry(name.into()).or_default() += amount;
}

impl Model {
    fn new() -> Model {
        let mut world = World::new();
        world.restart(&places(0));
        Model {
            world,
            totals: Totals::new(),
            gained: Totals::new(),
            taken: Default::default(),
            sinks: Default::default(),
            sent: Vec::new(),
            runs: 0,
            latest_ms: BEGIN.wall_ms,
            written: BTreeMap::new(),
            seconds: BTreeSet::new(),
            carbon: Carbon::default(),
        }
    }

    /// A turn; orders to sinks are noted, acknowledged ranges are booked.
    fn turn(&mut self, requests: &[(Peer, Vec<u8>)], news: Vec<(usize, SinkNews)>) -> Turned {
        let before = self.acknowledged();
        let turned = self.world.turn(requests, news);
        self.book(&before);
        for action in &turned.actions {
            match action {
                Action::Prepare { sink, layout, reports, .. } => {
                    let (layout, order) = (Some(layout.clone()), Some(Order::Prepare));
                    let prepared = reports.clone();
                    self.sinks[*sink] = FakeSink { layout, prepared, order, again: None };
                }
                Action::Again { sink, offers } => {
                    let (again, order) = (Some(offers.clone()), Some(Order::Prepare));
                    self.sinks[*sink] = FakeSink { again, order, ..FakeSink::default() };
                }
                Action::Look { sink } => self.sinks[*sink].order = Some(Order::Look),
                Action::Write { sink } => {
                    self.sinks[*sink].order = Some(Order::Write);
                    self.write(*sink);
                }
                Action::Reply(..) | Action::Note(_) | Action::Flushed(_) => {}
            }
        }
        turned
    }

    /// Writes what was prepared: a timestamp that comes again has the same bytes, and none is in the future.
    fn write(&mut self, sink: usize) {
        if let Some(again) = &self.sinks[sink].again {
            for (layout, portion) in again
                .iter()
                .flat_map(|(l, reports)| l.portions(reports).into_iter().map(move |p| (l, p)))
            {
                let mut bytes = Vec::new();
                layout.render_portion(&portion, &mut bytes);
                assert_eq!(self.written.get(&portion.second), Some(&bytes), "{}", portion.second);
            }
            return;
        }
        let FakeSink { layout: Some(layout), prepared, .. } = &self.sinks[sink] else { panic!() };
        for portion in layout.portions(prepared).iter().filter(|_| sink == GRAPHITE) {
            let mut bytes = Vec::new();
            layout.render_portion(portion, &mut bytes);
            let before = self.written.insert(portion.second, bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "{}", portion.second);
        }
    }

    /// Books what sinks have had acknowledged since `before`.
    fn book(&mut self, before: &[u64]) {
        let after = self.acknowledged();
        for sink in 0..SINKS.len() {
            if after[sink] > before[sink] {
                let done = std::mem::take(&mut self.sinks[sink].prepared);
                assert_eq!(done.last().map(|report| report.window.number), Some(after[sink]));
                let layout = self.sinks[sink].layout.clone().filter(|_| sink == GRAPHITE);
                for portion in layout.iter().flat_map(|layout| layout.portions(&done)) {
                    assert!(self.seconds.last().is_none_or(|last| *last < portion.second));
                    assert!(portion.second <= self.latest_ms / 1_000);
                    self.seconds.insert(portion.second);
                }
                for count in done.iter().flat_map(|report| report.counts().iter()) {
                    add(&mut self.taken[sink], count.name, count.count);
                }
            }
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        let state = &self.world.core.state;
        SINKS.iter().map(|sink| state.sink(sink).unwrap().acknowledged).collect()
    }

    fn write_request(&mut self, entries: Vec<(usize, u64)>, atomic: bool) -> usize {
        let id = self.world.new_id();
        let named: Vec<_> = entries.iter().map(|&(name, amount)| (NAMES[name], amount)).collect();
        let request = if atomic { incr(id, &named) } else { stream(id, &named) };
        let payload = payload(&request);
        self.sent.push(Sent { payload, entries, answer: None });
        self.sent.len() - 1
    }

    /// What a sink says to what it was told.
    fn news_of(&mut self, sink: usize, works: bool) -> Vec<SinkNews> {
        let order = self.sinks[sink].order.take();
        let mut news = Vec::new();
        if sink == GRAPHITE && matches!(order, Some(Order::Write | Order::Look)) {
            if std::mem::take(&mut self.carbon.is_another) {
                news.push(SinkNews::Lost);
            }
            if let (Some(Order::Write), true) = (order, works) {
                let FakeSink { layout, prepared, again, .. } = self.sinks[sink].clone();
                let first = || vec![(layout.unwrap(), prepared)];
                self.carbon.take(&again.unwrap_or_else(first), self.world.now.boot_ns);
            }
        }
        news.push(match order {
            // It may say what it likes when it was told nothing.
            None => SinkNews::Written,
            Some(Order::Look) => SinkNews::Looked,
            Some(_) if !works => SinkNews::Failed("no".into()),
            Some(Order::Prepare) => SinkNews::Prepared(Prepared::Anywhere),
            Some(Order::Write) => SinkNews::Written,
        });
        news
    }

    fn ask(&mut self, at: usize) {
        let Sent { payload, entries, answer } = self.sent[at].clone();
        let turned = self.turn(&[(peer(OWNER), payload)], Vec::new());
        let Some((_, Reply::Message(response))) = turned.replies.into_iter().next() else {
            panic!("no answer")
        };
        let Response::Counted(new) = response else {
            // Ids are forgotten after a while, and the client is told so; nothing else may become of them.
            let forgotten = matches!(response, Response::TooOld { .. });
            assert!(
                forgotten || answer.is_none(),
                "what was acknowledged is refused: {response:?}"
            );
            return;
        };
        let new = new.into_owned();
        if let Some(first) = answer {
            assert_eq!(first, new);
            return;
        }
        let refused: Vec<usize> = new.refused.iter().map(|r| r.entry as usize).collect();
        for (place, (name, amount)) in entries.into_iter().enumerate() {
            if !refused.contains(&place) {
                add(&mut self.totals, NAMES[name], amount);
                add(&mut self.gained, NAMES[name], amount);
            }
        }
        self.sent[at].answer = Some(new);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Incr(entries, atomic) => {
                let at = self.write_request(entries, atomic);
                self.ask(at);
            }
            Event::Retry(back) => {
                if let Some(at) = self.sent.len().checked_sub(back + 1) {
                    self.ask(at);
                }
            }
            Event::Delete(name) => {
                let wanted = Wanted { patterns: vec![NAMES[name]], tags: vec![] };
                let request = payload(&Request::Delete { wanted, dry_run: false });
                let turned = self.turn(&[(peer(OWNER), request)], Vec::new());
                if let Some((_, Reply::Snapshot(_))) = turned.replies.first() {
                    self.totals.remove(NAMES[name]);
                }
            }
            Event::Sink(sink, works) => {
                let news = self.news_of(sink, works);
                self.turn(&[], news.into_iter().map(|news| (sink, news)).collect());
            }
            Event::CarbonDies => self.carbon.die(self.world.now.boot_ns),
            Event::Disk(first, second) => {
                self.world.first_fails = first.then_some("first");
                self.world.second_fails = second.then_some("second");
            }
            Event::Flush => {
                self.world.core.flush_soon();
                self.turn(&[], Vec::new());
            }
            Event::SetBack(ms) => {
                self.world.now.wall_ms -= ms;
                self.turn(&[], Vec::new());
            }
            Event::Pass(ms) => {
                self.world.pass(ms);
                self.latest_ms = self.latest_ms.max(self.world.now.wall_ms);
                self.turn(&[], Vec::new());
            }
            Event::Restart => self.restart(),
            Event::KilledBeforeReply(entries, atomic) => {
                let at = self.write_request(entries, atomic);
                let request = self.sent[at].payload.clone();
                let asked = std::iter::once((peer(OWNER), request.as_slice()));
                let now = self.world.now;
                let records = self.world.core.step(now, SNAPSHOTS_MAX, asked).to_vec();
                self.world.blocks.push((records, now.wall_ms));
                self.restart();
                self.ask(at);
            }
            Event::KilledBeforeActions(sink) => {
                let (news, before) = (self.news_of(sink, true), self.acknowledged());
                self.world.core.flush_soon();
                let now = self.world.now;
                let events = news.into_iter().map(|news| SinkEvent { sink, news });
                let records = self.world.core.advance(now, events).to_vec();
                self.world.blocks.push((records, now.wall_ms));
                self.runs += 1;
                self.world.restart(&places(self.runs));
                self.book(&before);
                (self.sinks, self.carbon.is_another) = (Default::default(), true);
            }
        }
    }

    /// All goes well until there is nothing left to do for carbon, which has everything then.
    fn check_carbon(&mut self) {
        (self.world.first_fails, self.world.second_fails) = (None, None);
        for _ in 0..150 {
            self.happen(Event::Pass(1_000));
            self.happen(Event::Flush);
            self.happen(Event::Sink(GRAPHITE, true));
        }
        let mut gained = self.gained.clone();
        gained.retain(|_, count| *count > 0);
        assert_eq!(self.carbon.sums(), gained);
        let left = &self.world.core.state.sink(SINKS[GRAPHITE]).unwrap().kept;
        assert!(left.is_empty(), "{left:?}");
    }

    fn restart(&mut self) {
        self.runs += 1;
        self.world.restart(&places(self.runs));
        (self.sinks, self.carbon.is_another) = (Default::default(), true);
    }

    fn check(&mut self) {
        let columns = self.world.core.state.table.columns();
        let totals: Totals =
            columns.iter().map(|(_, d, v)| (d.name.to_string(), v.total)).collect();
        assert_eq!(totals, self.totals);
        // Closing a copy of the state tells what the open window holds.
        let mut replay = Replay::new(7);
        for (payload, wall_ms) in &self.world.blocks {
            replay.block(payload, *wall_ms).unwrap();
        }
        let mut state = replay.finish();
        let open = state.open;
        let window = crate::window::Window {
            first: open.number,
            number: open.number,
            start: open.start,
            start_boot: open.start_boot,
            end: self.world.now,
            end_boot: BOOT,
        };
        let open = state.close(window, false);
        for (sink, name) in SINKS.iter().enumerate() {
            let mut sum = self.taken[sink].clone();
            let acknowledged = self.world.core.state.sink(name).unwrap().acknowledged;
            let owed = self.world.core.state.closed();
            let owed = owed.filter(|report| report.window.number > acknowledged);
            for count in owed.flat_map(|report| report.counts().iter()).chain(open.counts().iter())
            {
                add(&mut sum, count.name, count.count);
            }
            sum.retain(|_, count| *count > 0);
            let mut gained = self.gained.clone();
            gained.retain(|_, count| *count > 0);
            assert_eq!(sum, gained, "{name}");
        }
    }

    /// Once a turn is over, whatever is due later is due later.
    fn check_that_it_may_sleep(&mut self) {
        self.turn(&[], Vec::new());
        let due = self.world.core.deadline_ns();
        assert!(due.is_none_or(|due| due > self.world.now.boot_ns), "{due:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_acknowledged_is_lost_or_counted_twice(
        events in prop::collection::vec(event(), 1..120)
    ) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
            model.check();
            model.check_that_it_may_sleep();
        }
        model.happen(Event::Restart);
        model.check();
        model.check_carbon();
    }
}
