//! Choosing cells by their ids: `stage/vantage/method`, with `*`.

use crate::{Error, ErrorKind, Result, matrix::Cell};

/// A choice of cells.
///
/// Patterns are separated by commas: a cell is chosen if one of them matches it, and none that starts
/// with `!` does. A pattern with slashes is compared with `stage/vantage/method`, or with
/// `vantage/method` if it has one slash only; one without slashes with each of the three parts.
///
/// ```
/// use reachmap::filter::Filter;
/// let filter = Filter::parse("laptop/*, !*/pod-ip*").unwrap();
/// assert!(filter.matches("load-balancer-ready", "laptop", "loadbalancer-address"));
/// assert!(!filter.matches("load-balancer-ready", "laptop", "pod-ip"));
/// assert!(!filter.matches("load-balancer-ready", "testpod", "clusterip-short"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Filter {
    /// Understands a filter.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is empty, or a pattern has more than two slashes.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |cause: &str| {
            Err(Error::new(ErrorKind::Usage, format!("understand the filter `{text}`"), cause)
                .hint("Filters look like `laptop`, `laptop/pod-ip`, `load-balancer-ready/*/clusterip-*` or `!worker-*`."))
        };
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for pattern in text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
            let (list, pattern) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut unwanted, rest),
                None => (&mut wanted, pattern),
            };
            if pattern.is_empty() || pattern.matches('/').count() > 2 {
                return refused("a pattern is empty or has more than two slashes");
            }
            list.push(pattern.to_owned());
        }
        if wanted.is_empty() && unwanted.is_empty() {
            return refused("it has no pattern");
        }
        Ok(Self { text: text.to_owned(), wanted, unwanted })
    }

    /// Whether the cell of these parts is chosen.
    pub fn matches(&self, stage: &str, vantage: &str, method: &str) -> bool {
        let hits = |pattern: &String| match pattern.matches('/').count() {
            0 => [stage, vantage, method].iter().any(|part| glob(pattern, part)),
            1 => glob(pattern, &format!("{vantage}/{method}")),
            _ => glob(pattern, &format!("{stage}/{vantage}/{method}")),
        };
        (self.wanted.is_empty() || self.wanted.iter().any(hits)) && !self.unwanted.iter().any(hits)
    }

    /// The cells of `all` that are chosen.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is none, with ids that are nearly what was asked for.
    pub fn choose(&self, all: &[Cell]) -> Result<Vec<Cell>> {
        let chosen: Vec<Cell> =
            all.iter().filter(|cell| self.matches(cell.stage.id(), &cell.vantage, &cell.method)).cloned().collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let mut parts: Vec<&str> =
            all.iter().flat_map(|cell| [cell.stage.id(), &cell.vantage, &cell.method]).collect();
        parts.sort_unstable();
        parts.dedup();
        parts.sort_by_key(|part| self.wanted.iter().map(|wanted| distance(wanted, part)).min().unwrap_or(usize::MAX));
        let near = parts.into_iter().take(6).collect::<Vec<_>>().join(", ");
        Err(Error::new(ErrorKind::Usage, format!("choose cells by `{}`", self.text), "no cell matches")
            .hint(format!("Nearest are: {near}. `--list` prints every cell.")))
    }
}

/// Whether `pattern`, in which `*` stands for any text, is the whole of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| glob(rest, &text[at..]))
}

/// The number of letters to change, to add or to leave out (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let best = (diagonal + usize::from(a != *b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn a_filter_that_matches_nothing_says_what_is_near() {
        let error = Filter::parse("lptop").unwrap().choose(&Matrix::tutorial(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().unwrap().starts_with("Nearest are: laptop,"), "{error:?}");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", " , ", "!", "a/b/c/d"] {
            assert_eq!(Filter::parse(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_id_of_a_cell_chooses_that_cell_alone(at in 0_usize..100) {
            let all = Matrix::tutorial(3);
            let chosen = Filter::parse(&all[at].id()).unwrap().choose(&all).unwrap();
            prop_assert_eq!(chosen, vec![all[at].clone()]);
        }

        #[test]
        fn a_pattern_and_its_opposite_divide_the_cells(pattern in "[a-z0-9*-]{1,8}") {
            let all = Matrix::tutorial(3);
            let yes = Filter::parse(&pattern).unwrap().choose(&all).map_or(0, |cells| cells.len());
            let no = Filter::parse(&format!("!{pattern}")).unwrap().choose(&all).map_or(0, |cells| cells.len());
            prop_assert_eq!(yes + no, all.len());
        }
    }
}
