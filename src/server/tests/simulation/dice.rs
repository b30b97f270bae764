//! Chance that a seed repeats, and how the seed spreads it: each seed stresses other things.

/// A generator of numbers: splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Whether something happens that does so in so many of a thousand cases.
    pub(super) fn happens(&mut self, in_thousand: u64) -> bool {
        self.below(1_000) < in_thousand
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A number of any size up to `max`: small ones are as likely as large ones.
    pub(super) fn any_size(&mut self, max: u64) -> u64 {
        let bits = self.below(65 - u64::from(max.max(1).leading_zeros()));
        self.below(1 << bits).min(max) + self.below(2).min(max)
    }
}

/// How often each kind of thing happens, drawn from the seed.
#[derive(Debug, Clone)]
pub(super) struct Swarm {
    pub(super) clients_max: usize,
    pub(super) steps: u64,
    /// In a thousand, each.
    pub(super) newcomers: u64,
    pub(super) streams: u64,
    pub(super) other_requests: u64,
    pub(super) deletes: u64,
    pub(super) strangers: u64,
    pub(super) hang_ups: u64,
    pub(super) repeats: u64,
    pub(super) torn_sends: u64,
    pub(super) slow_readers: u64,
    pub(super) jobs: u64,
    pub(super) long_waits: u64,
    pub(super) clock_steps: u64,
    pub(super) disk_failures: u64,
    pub(super) full_disks: u64,
    pub(super) sink_failures: u64,
    pub(super) rotations: u64,
    pub(super) kills: u64,
    pub(super) power_cuts: u64,
    pub(super) stops: u64,
    pub(super) carbon_kills: u64,
    /// What is spooled; there is a spool if anything ever is.
    pub(super) spools: u64,
}

impl Swarm {
    pub(super) fn new(dice: &mut Dice) -> Swarm {
        let mut rate = |max: u64| if dice.happens(400) { 0 } else { 1 + dice.below(max) };
        let (other_requests, deletes, strangers) = (rate(300), rate(150), rate(200));
        let (hang_ups, repeats, torn_sends) = (rate(60), rate(60), rate(1_000));
        let (slow_readers, long_waits, clock_steps) = (rate(1_000), rate(40), rate(30));
        let (disk_failures, full_disks, sink_failures) = (rate(25), rate(15), rate(400));
        let (rotations, kills, power_cuts, stops) = (rate(30), rate(15), rate(10), rate(8));
        let (streams, spools, carbon_kills) = (rate(800), rate(100), rate(15));
        Swarm {
            clients_max: 2 + dice.index(14),
            steps: 1 + dice.below(4),
            newcomers: 20 + dice.below(300),
            jobs: 50 + dice.below(900),
            streams,
            other_requests,
            deletes,
            strangers,
            hang_ups,
            repeats,
            torn_sends,
            slow_readers,
            long_waits,
            clock_steps,
            disk_failures,
            full_disks,
            sink_failures,
            rotations,
            kills,
            power_cuts,
            stops,
            carbon_kills,
            spools,
        }
    }

    /// Nothing goes wrong, and nothing new begins.
    pub(super) fn calm() -> Swarm {
        Swarm {
            clients_max: 0,
            steps: 1,
            newcomers: 0,
            streams: 0,
            other_requests: 0,
            deletes: 0,
            strangers: 0,
            hang_ups: 0,
            repeats: 0,
            torn_sends: 0,
            slow_readers: 0,
            jobs: 1_000,
            long_waits: 0,
            clock_steps: 0,
            disk_failures: 0,
            full_disks: 0,
            sink_failures: 0,
            rotations: 0,
            kills: 0,
            power_cuts: 0,
            stops: 0,
            carbon_kills: 0,
            spools: 0,
        }
    }
}
