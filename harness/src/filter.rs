//! Which cells a run probes: `--only "laptop/*, !*/pod-ip"`.

use std::{fmt, str::FromStr};

use crate::{
    Error, ErrorCode, ErrorKind, Result,
    matrix::{Cell, Stage},
};

/// How many near misses an error names.
const NEAR_MISSES: usize = 5;

/// A choice of cells by `stage/vantage/method`.
///
/// - A pattern of three segments matches a whole id; one of two, `stage/vantage` or `vantage/method`;
///   one of one, any of the three. In a segment, `*` is any text and `?` any one character.
/// - `,` is *or*. A leading `!` is *not*: what it matches is left out, whatever else matches it.
///   A filter of such patterns alone starts from every cell.
///
/// ```
/// use reachmap::filter::Filter;
/// let filter = Filter::parse("laptop/*, !*/pod-ip")?;
/// assert!(filter.matches("load-balancer-ready", "laptop", "clusterip-fqdn"));
/// assert!(!filter.matches("load-balancer-ready", "laptop", "pod-ip"));
/// assert!(!filter.matches("load-balancer-ready", "testpod", "clusterip-fqdn"));
/// # Ok::<(), reachmap::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    segments: Vec<String>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if a pattern is empty, or has more than three segments.
    pub fn parse(text: &str) -> Result<Self> {
        let patterns = text.split(',').map(|pattern| Pattern::parse(pattern.trim(), text)).collect::<Result<_>>()?;
        Ok(Self { patterns })
    }

    /// Whether the filter chooses this cell.
    pub fn matches(&self, stage: &str, vantage: &str, method: &str) -> bool {
        let cell = [stage, vantage, method];
        let (not, only): (Vec<&Pattern>, Vec<&Pattern>) = self.patterns.iter().partition(|pattern| pattern.negated);
        let any = |patterns: &[&Pattern]| patterns.iter().any(|pattern| pattern.matches(cell));
        (only.is_empty() || any(&only)) && !any(&not)
    }

    /// Whether the filter chooses the stage as a whole, with what is in it and about no single cell.
    pub fn matches_stage(&self, stage: &str) -> bool {
        self.matches(stage, "", "")
    }

    /// The cells that the filter chooses, in their order. Each of `stages` can be chosen as a whole, too: there are
    /// tests in it that are about no single cell.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if one of its patterns matches nothing at all, which is a slip of the pen, or if
    /// they choose nothing together. The hint names what is near.
    pub fn choose(&self, cells: &[Cell], stages: &[Stage]) -> Result<Vec<Cell>> {
        let tried = || format!("choose cells by `{self}`");
        for pattern in &self.patterns {
            let whole_stage = stages.iter().any(|stage| pattern.matches([stage.id(), "", ""]));
            if !whole_stage && !cells.iter().any(|cell| pattern.matches(segments(cell))) {
                let cause = format!("`{}` matches none of the {} cells", pattern.text(), cells.len());
                return Err(Error::new(ErrorKind::Usage, tried(), cause)
                    .with_code(ErrorCode::Cells)
                    .hint(pattern.near_misses(cells)));
            }
        }
        let chosen: Vec<Cell> =
            cells.iter().filter(|cell| self.matches(cell.stage.id(), &cell.vantage, &cell.method)).cloned().collect();
        if chosen.is_empty() && !stages.iter().any(|stage| self.matches_stage(stage.id())) {
            return Err(Error::new(ErrorKind::Usage, tried(), "its patterns leave no cell").with_code(ErrorCode::Cells).hint(
                "What a pattern with `!` matches is left out, whatever the others choose. `--list` shows every cell.",
            ));
        }
        Ok(chosen)
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<String> = self
            .patterns
            .iter()
            .map(|pattern| format!("{}{}", if pattern.negated { "!" } else { "" }, pattern.text()))
            .collect();
        f.write_str(&patterns.join(", "))
    }
}

impl Pattern {
    fn parse(text: &str, whole: &str) -> Result<Self> {
        let (negated, pattern) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let segments: Vec<String> = pattern.split('/').map(str::to_owned).collect();
        let cause = if segments.iter().any(String::is_empty) {
            "there is an empty pattern, or an empty segment in one"
        } else if segments.len() > 3 {
            "a pattern has more than three segments"
        } else {
            return Ok(Self { negated, segments });
        };
        Err(Error::new(ErrorKind::Usage, format!("read the filter `{whole}`"), cause).with_code(ErrorCode::Cells).hint(
            "A pattern is `stage/vantage/method`, with `*`; one or two of these segments do as well. \
             `,` is or, a leading `!` is not.",
        ))
    }

    fn matches(&self, cell: [&str; 3]) -> bool {
        cell.windows(self.segments.len()).any(|window| {
            self.segments.iter().zip(window).all(|(segment, text)| is_match(segment.as_bytes(), text.as_bytes()))
        })
    }

    fn text(&self) -> String {
        self.segments.join("/")
    }

    /// The names that are nearest to the segments of which no cell has anything.
    fn near_misses(&self, cells: &[Cell]) -> String {
        let mut names: Vec<&str> = cells.iter().flat_map(segments).collect();
        names.sort_unstable();
        names.dedup();
        let unknown: Vec<&String> = self
            .segments
            .iter()
            .filter(|segment| !names.iter().any(|name| is_match(segment.as_bytes(), name.as_bytes())))
            .collect();
        if unknown.is_empty() {
            return "Each of its segments is known, but no cell has them together. `--list` shows every cell."
                .to_owned();
        }
        names.sort_by_key(|name| unknown.iter().map(|segment| distance(segment, name)).min());
        names.truncate(NEAR_MISSES);
        format!("Near are: {}. `--list` shows every cell.", names.join(", "))
    }
}

fn segments(cell: &Cell) -> [&str; 3] {
    [cell.stage.id(), &cell.vantage, &cell.method]
}

/// Whether `pattern`, with `*` and `?`, matches the whole of `text`.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on if the text runs dry: after the last star, one character further than last time.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = star else {
                    return false;
                };
                star = Some((after, from + 1));
                p = after + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// The Levenshtein distance of two texts; where one is part of the other, they are near.
fn distance(a: &str, b: &str) -> usize {
    let stem = a.trim_matches('*');
    if !stem.is_empty() && b.contains(stem) {
        return 0;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::matrix::Matrix;

    #[rstest]
    #[case("laptop", true)]
    #[case("pod-ip", true)]
    #[case("load-balancer-ready", true)]
    #[case("load-balancer-*", true)]
    #[case("laptop/pod-ip", true)]
    #[case("load-balancer-ready/laptop", true)]
    #[case("load-balancer-ready/laptop/pod-ip", true)]
    #[case("*/*/pod-??", true)]
    #[case("testpod, laptop", true)]
    #[case("!testpod", true)]
    #[case("lap", false)]
    #[case("pod-ip/laptop", false)]
    #[case("load-balancer-ready/pod-ip", false)]
    #[case("laptop, !pod-*", false)]
    #[case("! laptop", false)]
    fn patterns_match_whole_segments(#[case] filter: &str, #[case] expected: bool) {
        let filter = Filter::parse(filter).unwrap();
        assert_eq!(filter.matches("load-balancer-ready", "laptop", "pod-ip"), expected);
    }

    #[rstest]
    #[case("")]
    #[case("laptop,")]
    #[case("laptop//pod-ip")]
    #[case("!")]
    #[case("a/b/c/d")]
    fn what_is_no_filter_is_refused(#[case] text: &str) {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().is_some());
    }

    #[test]
    fn a_filter_that_matches_nothing_names_what_is_near() {
        let error = Filter::parse("laptop/clusterip-fdqn").unwrap().choose(&Matrix::tutorial(3), &[]).unwrap_err();
        insta::assert_snapshot!(format!("{error:?}"), @"
        failed to choose cells by `laptop/clusterip-fdqn`: `laptop/clusterip-fdqn` matches none of the 210 cells [Usage]
          hint: Near are: clusterip-fqdn, clusterip-svc, clusterip-short, clusterip-address, clusterip-absolute. `--list` shows every cell.
        ");
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_not_covered_by_one_that_does() {
        let cells = Matrix::tutorial(3);
        for text in ["laptop, worker-9", "laptop, !worker-9"] {
            let error = Filter::parse(text).unwrap().choose(&cells, &[]).unwrap_err();
            assert!(error.to_string().contains("`worker-9` matches none"), "{error}");
            assert!(error.hint_text().unwrap().contains("worker-1"), "{error:?}");
        }
    }

    #[test]
    fn known_segments_that_no_cell_has_together_are_told_apart_from_unknown_ones() {
        let error = Filter::parse("pod-ip/laptop").unwrap().choose(&Matrix::tutorial(3), &[]).unwrap_err();
        assert!(error.hint_text().unwrap().starts_with("Each of its segments is known"), "{error:?}");
        let error = Filter::parse("laptop, !laptop").unwrap().choose(&Matrix::tutorial(3), &[]).unwrap_err();
        assert!(error.to_string().ends_with("its patterns leave no cell"), "{error}");
    }

    proptest! {
        #[test]
        fn a_cells_id_chooses_that_cell_and_no_other(index in 0..100_usize) {
            let cells = Matrix::tutorial(3);
            let cell = &cells[index % cells.len()];
            prop_assert_eq!(Filter::parse(&cell.id()).unwrap().choose(&cells, &[]).unwrap(), vec![cell.clone()]);
        }

        #[test]
        fn a_filter_and_its_negation_divide_the_cells(pattern in "[a-z*?-]{1,8}(/[a-z*?-]{1,8}){0,2}") {
            let (yes, no) = (Filter::parse(&pattern).unwrap(), Filter::parse(&format!("!{pattern}")).unwrap());
            for cell in Matrix::tutorial(2) {
                let [stage, vantage, method] = segments(&cell);
                prop_assert_ne!(yes.matches(stage, vantage, method), no.matches(stage, vantage, method));
            }
        }

        #[test]
        fn a_star_matches_whatever_stands_in_its_place(before in "[a-z]{0,4}", between in "[a-z-]{0,8}", after in "[a-z]{0,4}") {
            let (pattern, text) = (format!("{before}*{after}"), format!("{before}{between}{after}"));
            prop_assert!(is_match(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn without_wildcards_only_the_same_text_matches(a in "[ab]{0,4}", b in "[ab]{0,4}") {
            prop_assert_eq!(is_match(a.as_bytes(), b.as_bytes()), a == b);
        }

        #[test]
        fn whatever_is_typed_is_a_filter_or_a_usage_error(text in ".{0,40}") {
            match Filter::parse(&text) {
                Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Usage),
            }
        }
    }

    #[test]
    fn stages_are_told_apart() {
        let chosen = Filter::parse("load-balancer-ready").unwrap().choose(&Matrix::tutorial(3), &[]).unwrap();
        assert!(chosen.iter().all(|cell| cell.stage == Stage::LoadBalancerReady));
        let changing = Filter::parse("changing").unwrap();
        assert!(changing.choose(&Matrix::tutorial(3), &[]).is_err());
        assert_eq!(changing.choose(&Matrix::tutorial(3), &[Stage::Changing]).unwrap(), []);
    }
}
