//! Balancers whose law is known.

/// A generator of random numbers: `SplitMix64` (G. L. Steele, D. Lea and C. H. Flood, *Fast splittable pseudorandom number
/// generators*, OOPSLA 2014). Small, quick, and good enough to deal connections.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of one run of one row: a stream of its own, whoever draws from it and when.
    pub(super) const fn of_run(seed: u64, row: u64, run: u64) -> Self {
        let seed = mix(seed ^ mix(row.wrapping_add(1)));
        Self(mix(seed ^ mix(run.wrapping_add(1))))
    }

    /// 64 random bits.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// How a balancer chooses.
#[derive(Debug, Clone)]
pub(super) struct Balancer {
    /// Where each endpoint's part of all numbers ends.
    ends: Vec<u64>,
    /// Numbers below it keep the last endpoint.
    stick: u64,
}

/// What a test looks at.
#[derive(Debug, Clone, Default)]
pub(super) struct Dealt {
    /// How many connections each endpoint got.
    pub(super) counts: Vec<u64>,
    /// How often one got two in a row.
    pub(super) repeats: u64,
}

impl Balancer {
    /// At random with these shares.
    pub(super) fn random(shares: &[f64]) -> Self {
        let mut sum = 0.0;
        let mut ends: Vec<u64> = shares
            .iter()
            .map(|share| {
                sum += share;
                threshold(sum)
            })
            .collect();
        if let Some(last) = ends.last_mut() {
            *last = u64::MAX;
        }
        Self { ends, stick: 0 }
    }

    /// The same, but with a chance of `stick` the last endpoint is simply taken again.
    pub(super) fn sticky(shares: &[f64], stick: f64) -> Self {
        Self { stick: threshold(stick), ..Self::random(shares) }
    }

    /// Deals `n` connections.
    pub(super) fn deal(&self, n: u64, random: &mut Random) -> Dealt {
        let mut dealt = Dealt { counts: vec![0; self.ends.len()], repeats: 0 };
        let mut last = None;
        for _ in 0..n {
            let endpoint = match last {
                Some(last) if self.stick > 0 && random.next() < self.stick => last,
                _ => {
                    let drawn = random.next();
                    self.ends.iter().position(|end| drawn <= *end).unwrap_or_default()
                }
            };
            dealt.counts[endpoint] += 1;
            dealt.repeats += u64::from(last == Some(endpoint));
            last = Some(endpoint);
        }
        dealt
    }
}

/// A share of all numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "53 bits of a share are enough, and the cast saturates"
)]
fn threshold(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers of the reference implementation for the seed 1234567.
        let mut random = Random(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn balancers_deal_as_they_were_told() {
        let near = |count: u64, expected: u64| count.abs_diff(expected) < 1_000;
        let dealt = Balancer::random(&[0.5, 0.3, 0.2]).deal(100_000, &mut Random::of_run(1, 0, 0));
        assert!(near(dealt.counts[0], 50_000) && near(dealt.counts[1], 30_000) && near(dealt.counts[2], 20_000));
        assert!(near(dealt.repeats, 38_000), "{dealt:?}");
        let sticky = Balancer::sticky(&[0.5, 0.5], 0.2).deal(100_000, &mut Random::of_run(1, 0, 0));
        assert!(near(sticky.repeats, 60_000), "{sticky:?}");
    }
}
