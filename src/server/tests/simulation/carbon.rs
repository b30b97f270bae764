//! Carbon as a sink of a simulated daemon: it has points in memory for a while before it stores them, and loses those when
//! it is killed. A point that comes again has the same value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::world::{Mode, Shared, World};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::sink::{Sink, SinkError};
use crate::turn::Prepared;

/// How long it takes at most to store what it has.
pub(super) const STORES_NS: u64 = 20_000_000_000;

/// Of a second and a counter.
type Point = (u64, String);

#[derive(Debug, Default)]
pub(super) struct Carbon {
    /// Which it is, as it is killed now and then.
    process: u64,
    is_away: bool,
    /// What it has, and when that came last, by a clock that no reboot of the daemon's machine sets back.
    pub(super) points: BTreeMap<Point, (u64, u64)>,
    /// What it ever got.
    pub(super) ever: BTreeMap<Point, u64>,
}

impl World {
    /// Carbon is killed, and started anew or not yet.
    pub(super) fn kill_carbon(&mut self) {
        let lost_ns = self.dice.pick(&[STORES_NS, STORES_NS, STORES_NS / 2, 0]);
        let (now_ns, had) = (self.elapsed_ns, self.carbon.points.len());
        self.carbon.points.retain(|_, (_, at_ns)| *at_ns + lost_ns <= now_ns);
        self.carbon.process += 1;
        self.carbon.is_away = self.mode == Mode::Wild && self.dice.happens(500);
        let (has, is_away) = (self.carbon.points.len(), self.carbon.is_away);
        self.note(|| format!("carbon is killed; of {had} points it has {has}; away: {is_away}"));
    }

    pub(super) fn carbon_comes_back(&mut self) {
        if std::mem::take(&mut self.carbon.is_away) {
            self.note(|| "carbon is back".into());
        }
    }

    fn carbon_takes(&mut self, points: &[(Point, u64)]) {
        let now_ns = self.elapsed_ns;
        self.note(|| format!("carbon takes {points:?}"));
        for (point, count) in points {
            let before = self.carbon.ever.insert(point.clone(), *count);
            let same = before.is_none_or(|before| before == *count);
            assert!(same, "carbon: {point:?} was {before:?} and comes again as {count}");
            self.carbon.points.insert(point.clone(), (*count, now_ns));
        }
    }
}

/// What the daemon has of it.
pub(super) struct SimCarbon {
    world: Shared,
    rendered: Vec<(Point, u64)>,
    /// To which it is connected.
    connection: Option<u64>,
    lost: bool,
}

impl SimCarbon {
    pub(super) fn new(world: Shared) -> SimCarbon {
        SimCarbon { world, rendered: Vec::new(), connection: None, lost: false }
    }

    fn render(&mut self, layout: &Layout, reports: &[Arc<Report>]) {
        for portion in layout.portions(reports) {
            let counts = portion.report.counts().iter().filter(|count| count.count > 0);
            let point = |name: &str| (portion.second, name.to_owned());
            self.rendered.extend(counts.map(|count| (point(count.name), count.count)));
        }
    }

    fn prepared(&self) -> Prepared {
        if self.rendered.is_empty() { Prepared::Already } else { Prepared::AnyTimes }
    }
}

impl std::fmt::Debug for SimCarbon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimCarbon")
    }
}

impl Sink for SimCarbon {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        self.render(layout, reports);
        Ok(self.prepared())
    }

    fn prepare_again(
        &mut self,
        offers: &[(Layout, Vec<Arc<Report>>)],
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        offers.iter().for_each(|(layout, reports)| self.render(layout, reports));
        Ok(self.prepared())
    }

    fn write(&mut self) -> Result<(), SinkError> {
        self.check();
        let mut world = self.world.lock();
        if world.is_dead() {
            return Err(SinkError::Failed("dead".into()));
        }
        if world.carbon.is_away {
            return Err(SinkError::Failed("cannot connect".into()));
        }
        let fails = world.swarm.sink_failures;
        if world.dice.happens(fails) {
            let most = world.dice.index(self.rendered.len() + 1);
            world.carbon_takes(&self.rendered[..most]);
            if world.doom.is_some() {
                world.die();
            }
            self.connection = None;
            return Err(SinkError::Failed("not delivered".into()));
        }
        world.carbon_takes(&self.rendered);
        self.connection = Some(world.carbon.process);
        Ok(())
    }

    fn check(&mut self) {
        let world = self.world.lock();
        let living = self.connection.take_if(|of| *of == world.carbon.process);
        let living = living.filter(|_| !world.carbon.is_away);
        self.lost |= living.is_none();
        self.connection = living;
    }

    fn has_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }
}
