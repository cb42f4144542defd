//! A comparison as one page.

use minijinja::{AutoEscape, Environment, Value, context};

use super::{Comparison, Difference, Said};
use crate::report::words;

const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/report/compare.html.jinja"));

/// The comparison as one HTML page that needs nothing else, light or dark as the reader prefers.
pub(super) fn html(comparison: &Comparison) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let rendered = environment.render_str(
        TEMPLATE,
        context! {
            same => comparison.is_same(),
            headline => comparison.headline(),
            runs => comparison.runs.iter().map(|id| words::visible(id)).collect::<Vec<_>>(),
            environment => comparison.environment.iter().map(|(name, values)| {
                let values: Vec<String> = values.iter().map(|value| words::visible(value)).collect();
                context! { name => words::visible(name), values }
            }).collect::<Vec<_>>(),
            subjects => comparison.by_subject().map(|(subject, differences)| context! {
                heading => subject.heading(),
                differences => differences.into_iter().map(value).collect::<Vec<_>>(),
            }).collect::<Vec<_>>(),
        },
    );
    rendered.unwrap_or_else(|error| unreachable!("the page's template is part of this crate, and tested: {error:#}"))
}

fn value(difference: &Difference) -> Value {
    let said = difference.said.iter().map(|said| {
        said.as_ref()
            .map(|Said { verdict, reason }| context! { verdict => verdict.as_str(), reason => reason.as_str() })
    });
    context! { name => difference.name.as_str(), said => said.collect::<Vec<_>>() }
}
