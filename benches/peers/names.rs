//! Names to count, and in which order they come: the same in each run.

/// How often each name comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Each as often as any other.
    Uniform,
    /// The n-th most frequent one n times less often than the first (Zipf's law, s = 1).
    Zipf,
}

/// A counter's name.
pub(crate) fn name(number: u32) -> String {
    format!("http.requests.{number}")
}

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The numbers of `records` names out of `names`.
pub(crate) fn draw(mix: Mix, names: u32, records: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let weight = |rank: u32| match mix {
        Mix::Uniform => 1.0,
        Mix::Zipf => 1.0 / f64::from(rank + 1),
    };
    let mut sum = 0.0;
    let reached = |rank| {
        sum += weight(rank);
        sum
    };
    let reached: Vec<f64> = (0..names).map(reached).collect();
    let draw = |_| {
        let at = random.fraction() * sum;
        let rank = reached.partition_point(|&reached| reached <= at).min(reached.len() - 1);
        // Frequent names are not neighbours.
        ((rank as u64 * 2_654_435_761) % u64::from(names)) as u32
    };
    (0..records).map(draw).collect()
}
