//! How a run goes: which part of it, how often, and what happens when something is not as expected.

use super::shard::Shard;

/// What decides the course of a run, and nothing of its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
#[command(next_help_heading = "Course of the run")]
pub struct CourseOptions {
    /// Only the Kth of N parts of what is chosen; `report merge` puts the reports of all N together.
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// Run everything N times on the same cluster, and write down which test was green or red in which repetition.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: Option<u32>,
    /// Repeat until a repetition is not as expected; at most as often as `--repeat` says, if it does.
    #[arg(long)]
    pub until_fail: bool,
    /// Stop after the stage in which something is not as expected, keep the cluster, and say how to look at it.
    #[arg(long, conflicts_with_all = ["list", "plan"])]
    pub interactive_on_failure: bool,
}

impl CourseOptions {
    /// Whether there is more than one repetition, or may be.
    pub fn is_repeated(&self) -> bool {
        self.until_fail || self.repeat.is_some()
    }

    /// Whether another repetition follows after so many, the last of which was red or not.
    ///
    /// ```
    /// use reachmap::plan::course::CourseOptions;
    /// let five = CourseOptions { repeat: Some(5), ..CourseOptions::default() };
    /// assert!(five.goes_on(4, true) && !five.goes_on(5, false));
    /// assert!(!CourseOptions { until_fail: true, ..five }.goes_on(4, true));
    /// ```
    pub fn goes_on(&self, done: u32, last_was_red: bool) -> bool {
        if last_was_red && (self.until_fail || self.interactive_on_failure) {
            return false;
        }
        match self.repeat {
            Some(times) => done < times,
            None => self.until_fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, false, 1, false, false)]
    #[case(Some(1), false, 1, false, false)]
    #[case(Some(3), false, 1, true, true)]
    #[case(Some(3), false, 3, true, false)]
    #[case(None, true, 1000, false, true)]
    #[case(None, true, 7, true, false)]
    #[case(Some(3), true, 2, false, true)]
    #[case(Some(3), true, 3, false, false)]
    fn a_run_is_repeated_as_often_as_it_was_asked_for(
        #[case] repeat: Option<u32>,
        #[case] until_fail: bool,
        #[case] done: u32,
        #[case] red: bool,
        #[case] expected: bool,
    ) {
        let course = CourseOptions { repeat, until_fail, ..CourseOptions::default() };
        assert_eq!(course.goes_on(done, red), expected);
    }
}
