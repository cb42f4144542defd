//! What cells can be chosen by: each facet with its values, and how many cells have each.

use minijinja::{Value, context};

use crate::{
    report::{
        grid::{Grid, Mark},
        words,
    },
    verdict::Verdict,
};

/// The facets in the order in which the page shows them. A value is what stands in the page's address.
pub(super) fn facets(grids: &[Grid<'_>]) -> Vec<Value> {
    let mark = |verdict: &Verdict| {
        let mark = Mark::of(verdict);
        Some((mark.class().to_owned(), format!("{} {}", mark.symbol(), mark.words())))
    };
    let reason = |verdict: &Verdict| {
        let kind = verdict.expectation.as_ref()?.reason.kind();
        Some((kind.to_owned(), kind.replace('_', " ")))
    };
    let same = |text: &str| Some((super::anchor(text), words::visible(text)));
    vec![
        facet("stage", "Stage", grids, |verdict| same(&verdict.stage)),
        facet("vantage", "Vantage", grids, |verdict| same(&verdict.vantage.id)),
        facet("method", "Access method", grids, |verdict| same(&verdict.method.id)),
        facet("verdict", "Verdict", grids, mark),
        facet("reason", "Reason", grids, reason),
    ]
}

fn facet(name: &str, label: &str, grids: &[Grid<'_>], value: impl Fn(&Verdict) -> Option<(String, String)>) -> Value {
    let mut options: Vec<(String, String, usize)> = Vec::new();
    for verdict in grids.iter().flat_map(|grid| &grid.verdicts) {
        let Some((value, label)) = value(verdict) else { continue };
        match options.iter_mut().find(|(known, ..)| *known == value) {
            Some((.., cells)) => *cells += 1,
            None => options.push((value, label, 1)),
        }
    }
    let options = options.into_iter().map(|(value, label, cells)| context! { value, label, cells });
    context! { name, label, options => options.collect::<Vec<_>>() }
}
