//! How long answers took, small enough for a report.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many buckets a decade has: Renard's R10 series, 1, 1.26, 1.58, 2 … (ISO 3), rounded to whole microseconds.
const A_DECADE: i32 = 10;

/// Decades up to 10,000 s: nothing that is measured here takes longer.
const DECADES: i32 = 10;

/// How long answers took, in microseconds; from the intended start where there was a rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// How many answers.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// The shortest.
    pub min_us: u64,
    /// Half of them took at most so long.
    pub p50_us: u64,
    /// 90 of 100 took at most so long.
    pub p90_us: u64,
    /// 99 of 100 took at most so long.
    pub p99_us: u64,
    /// 999 of 1,000 took at most so long.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// The histogram: ten buckets a decade, those without an answer left out.
    pub buckets: Vec<LatencyBucket>,
}

/// Answers that took about as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyBucket {
    /// At least so long, in microseconds.
    pub from_us: u64,
    /// Less than so long, in microseconds.
    pub to_us: u64,
    /// How many.
    pub count: u64,
}

impl Latency {
    /// The outline of a histogram of microseconds.
    ///
    /// ```
    /// use hdrhistogram::Histogram;
    /// use reachmap::report::Latency;
    /// let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
    /// (0..99).for_each(|_| histogram.record(550).unwrap());
    /// histogram.record(21_000).unwrap();
    /// let latency = Latency::of(&histogram);
    /// assert_eq!((latency.p50_us, latency.count), (550, 100));
    /// let buckets: Vec<_> = latency.buckets.iter().map(|bucket| (bucket.from_us, bucket.to_us, bucket.count)).collect();
    /// assert_eq!(buckets, [(501, 631, 99), (19_953, 25_119, 1)]);
    /// ```
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let bounds = bounds();
        let mut buckets: Vec<LatencyBucket> = Vec::new();
        for step in histogram.iter_recorded() {
            let value = step.value_iterated_to();
            // The last bound at or below the value; a time of 0 counts as 1, the shortest that can be measured.
            let place = bounds.partition_point(|bound| *bound <= value.max(1)).clamp(1, bounds.len() - 1);
            let (from_us, to_us) = (bounds[place - 1], bounds[place]);
            let count = step.count_at_value();
            match buckets.last_mut() {
                Some(last) if last.from_us == from_us => last.count += count,
                _ => buckets.push(LatencyBucket { from_us, to_us, count }),
            }
        }
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            min_us: histogram.min(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max(),
            buckets,
        }
    }
}

/// The bounds of all buckets, from 1 µs on; where rounding makes two equal, there is one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 10^10, rounded")]
fn bounds() -> Vec<u64> {
    let power = |tenth: i32| 10_f64.powf(f64::from(tenth) / f64::from(A_DECADE)).round() as u64;
    let mut bounds: Vec<u64> = (0..=A_DECADE * DECADES).map(power).collect();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for value in values {
            histogram.saturating_record(*value);
        }
        histogram
    }

    #[test]
    fn nothing_measured_is_no_bucket() {
        assert_eq!(Latency::of(&histogram(&[])), Latency::default());
    }

    proptest! {
        #[test]
        fn every_answer_is_in_one_bucket(values in prop::collection::vec(0_u64..=3_600_000_000, 1..200)) {
            let latency = Latency::of(&histogram(&values));
            prop_assert_eq!(latency.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), values.len() as u64);
            for pair in latency.buckets.windows(2) {
                prop_assert!(pair[0].to_us <= pair[1].from_us, "{:?}", pair);
            }
            for bucket in &latency.buckets {
                prop_assert!(bucket.from_us < bucket.to_us && bucket.count > 0, "{bucket:?}");
            }
            prop_assert!(latency.p50_us <= latency.p90_us && latency.p99_us <= latency.max_us);
        }
    }
}
