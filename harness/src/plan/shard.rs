//! Shards: a run divided into parts, each with a cluster of its own, whose reports `report merge` puts together.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorCode, ErrorKind, Result, environment::sha256, matrix::Cell};

/// The most shards that a run may be divided into: as many jobs as GitHub takes in a matrix
/// (<https://docs.github.com/actions/reference/limits>).
const MOST: u32 = 256;

/// One part of a run that is divided into several: `2/4` is the second of four.
///
/// ```
/// use reachmap::plan::shard::Shard;
/// let shard: Shard = "2/4".parse()?;
/// assert_eq!((shard.number(), shard.of(), shard.to_string().as_str()), (2, 4, "2/4"));
/// assert!("5/4".parse::<Shard>().is_err());
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Which part it is, from 1 on.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// How many parts there are.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// What this shard has of a run of `cells`.
    pub fn share(self, cells: &[Cell]) -> Share {
        let mut ranks = BTreeMap::new();
        for cell in cells {
            let next = ranks.len();
            ranks.entry(cell.id()).or_insert(next);
        }
        Share { shard: self, ranks }
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |cause: String| {
            Err(Error::new(ErrorKind::Usage, format!("read the shard `{text}`"), cause)
                .with_code(ErrorCode::Shard)
                .hint("Shards look like 1/4: the first of four. They go from 1/4 to 4/4."))
        };
        // Digits alone: `parse` would take a sign, too.
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        let Some((Some(own), Some(of))) = text.split_once('/').map(|(own, of)| (number(own), number(of))) else {
            return refused("it is not two numbers with a `/` between them".to_owned());
        };
        match (own, of) {
            (_, 0) => refused("a run cannot be divided into no parts".to_owned()),
            (_, of) if of > MOST => refused(format!("a run can be divided into {MOST} parts at most")),
            (0, _) => refused("the first shard is number 1".to_owned()),
            (own, of) if own > of => refused(format!("there are only {of}")),
            (number, of) => Ok(Self { number, of }),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// What one shard has of a run: every cell and every other test is in exactly one of them.
///
/// The cells of the run are dealt out in turn, so that no shard has more than one more than another. Whatever else there
/// is, such as a test that is about no single cell, goes by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    shard: Shard,
    ranks: BTreeMap<String, usize>,
}

impl Share {
    /// Whether this shard has what is called `id`: a cell, or a test.
    pub fn has(&self, id: &str) -> bool {
        let turn = match self.ranks.get(id) {
            Some(rank) => u64::try_from(*rank).unwrap_or_default(),
            None => by_name(id),
        };
        turn % u64::from(self.shard.of) == u64::from(self.shard.number - 1)
    }
}

/// A number that follows from a name alone, the same on every machine.
fn by_name(name: &str) -> u64 {
    u64::from_str_radix(&sha256(name)[..15], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::matrix::Matrix;

    #[rstest]
    #[case("0/4", "the first shard is number 1")]
    #[case("5/4", "there are only 4")]
    #[case("1/0", "a run cannot be divided into no parts")]
    #[case("0/0", "a run cannot be divided into no parts")]
    #[case("1/257", "a run can be divided into 256 parts at most")]
    #[case("", "it is not two numbers with a `/` between them")]
    #[case("1", "it is not two numbers with a `/` between them")]
    #[case("/", "it is not two numbers with a `/` between them")]
    #[case("+1/4", "it is not two numbers with a `/` between them")]
    #[case("-1/4", "it is not two numbers with a `/` between them")]
    #[case("1/4/2", "it is not two numbers with a `/` between them")]
    #[case("1/99999999999", "it is not two numbers with a `/` between them")]
    fn what_is_no_shard_is_refused(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<Shard>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert_eq!(error.to_string(), format!("failed to read the shard `{text}`: {why}"));
    }

    fn shares(of: u32, cells: &[Cell]) -> Vec<Share> {
        (1..=of).map(|number| Shard { number, of }.share(cells)).collect()
    }

    proptest! {
        #[test]
        fn every_cell_and_every_test_is_in_exactly_one_shard(of in 1..=12_u32, cut in 0..700_usize, tests in prop::collection::vec("[a-z_:]{1,20}", 0..40)) {
            let all: Vec<Cell> = [Matrix::tutorial(3), Matrix::policies(3), Matrix::lookups()].concat();
            // The last are no cells of the run, and go by their names.
            let (cells, others) = all.split_at(cut.min(all.len()));
            let shares = shares(of, cells);
            let names = cells.iter().chain(others).map(Cell::id).chain(tests);
            for name in names {
                prop_assert_eq!(shares.iter().filter(|share| share.has(&name)).count(), 1, "{}", name);
            }
        }

        #[test]
        fn no_shard_has_more_than_one_cell_more_than_another(of in 1..=12_u32, workers in 1..=8_u8) {
            let cells = Matrix::tutorial(workers);
            let counts = shares(of, &cells).into_iter().map(|share| cells.iter().filter(|cell| share.has(&cell.id())).count());
            let counts: Vec<usize> = counts.collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }

        #[test]
        fn whatever_is_typed_is_a_shard_or_a_usage_error(text in "[0-9/+ -]{0,8}") {
            match text.parse::<Shard>() {
                Ok(shard) => prop_assert_eq!(shard.to_string().parse::<Shard>().unwrap(), shard),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Usage),
            }
        }
    }

    #[test]
    fn the_tests_that_are_about_no_cell_are_spread_too() {
        let shares = shares(4, &[]);
        let counts = shares.iter().map(|share| (0..400).filter(|number| share.has(&format!("test_{number}"))).count());
        assert!(counts.into_iter().all(|count| (60..=140).contains(&count)));
    }

    #[test]
    fn a_cell_that_two_suites_have_is_in_one_shard() {
        let cells = Matrix::tutorial(3);
        assert_eq!(shares(4, &[cells.clone(), cells.clone()].concat()), shares(4, &cells));
    }
}
