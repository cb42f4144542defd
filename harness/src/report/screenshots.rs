//! Pictures of the page, as the documentation shows them: taken by Chromium, of what a reader would see.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    LoadRecord, LookupGroup, Run, changes, html,
    html::{Way, cell_anchor},
    loads, lookups,
};
use crate::{
    Context as _, ErrorKind, Result,
    browser::{Browser, View},
    home::write_atomically,
    model::VantageKind,
    verdict::Verdict,
};

/// What is shown, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Picture {
    /// The top of the page, with the first matrices.
    Matrix,
    /// The same for someone who prefers it dark.
    Dark,
    /// The same on a telephone.
    Phone,
    /// A cell that was reached, opened.
    Cell,
    /// A cell that is not as expected, opened.
    Failed,
    /// Lookups, question by question.
    Names,
    /// A load, with its plots.
    Load,
    /// A load while something changed.
    Change,
}

impl Picture {
    /// All there are.
    pub const ALL: [Self; 8] =
        [Self::Matrix, Self::Dark, Self::Phone, Self::Cell, Self::Failed, Self::Names, Self::Load, Self::Change];

    /// The name of its file, without the ending.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Dark => "dark",
            Self::Phone => "phone",
            Self::Cell => "cell",
            Self::Failed => "failed",
            Self::Names => "names",
            Self::Load => "load",
            Self::Change => "change",
        }
    }

    const fn view(self) -> View {
        match self {
            Self::Phone => View { width: 390, height: 844, dark: false },
            Self::Matrix => View { width: 1280, height: 960, dark: false },
            Self::Dark => View { width: 1280, height: 960, dark: true },
            _ => View { width: 1280, height: 800, dark: false },
        }
    }

    /// Where in the page it is; nothing if the run has nothing of the kind.
    pub(super) fn place(self, run: &Run) -> Option<String> {
        let cell = |verdict: &Verdict| cell_anchor(verdict);
        match self {
            Self::Phone if !run.verdicts.is_empty() => Some("matrix".to_owned()),
            Self::Matrix | Self::Dark | Self::Phone => Some(String::new()),
            Self::Failed => run.not_as_expected().next().map(cell),
            Self::Cell => {
                let reached = |verdict: &&Verdict| verdict.is_as_expected() && verdict.is_reached() == Some(true);
                let far = |verdict: &&Verdict| {
                    let from_outside = verdict.vantage.kind == VantageKind::Laptop;
                    (Way::of(verdict, run.state_in(&verdict.stage)).places(), from_outside, verdict.method.id.clone())
                };
                run.verdicts.iter().filter(reached).max_by_key(far).map(cell)
            }
            Self::Names => {
                let questions = |group: &&LookupGroup| -> usize {
                    group.timelines.iter().map(|timeline| timeline.questions.len()).sum()
                };
                let group = run.lookups.iter().filter(|group| !group.timelines.is_empty()).max_by_key(questions)?;
                Some(lookups::html::anchor(group))
            }
            Self::Load => {
                let load = run.loads.iter().max_by_key(|load: &&LoadRecord| load.judgements.len())?;
                Some(loads::html::anchor(load))
            }
            Self::Change => {
                let failed =
                    |change: &&super::ChangeRecord| change.errors.iter().map(|error| error.requests).sum::<u64>();
                run.changes.iter().max_by_key(failed).map(changes::anchor)
            }
        }
    }
}

/// Takes those pictures of the run's page that the run has anything for, each into a PNG in `directory`.
///
/// # Errors
/// [`ErrorKind::Missing`] if there is no Chromium, [`ErrorKind::Environment`] if it does not do its part, and
/// [`ErrorKind::Storage`] if a file cannot be written.
pub async fn screenshots(run: &Run, directory: &Path, pictures: &[Picture]) -> Result<Vec<PathBuf>> {
    let place = tempfile::tempdir().tried(ErrorKind::Storage, || "make a directory for the page")?;
    let page = place.path().join("report.html");
    write_atomically(&page, html(run).as_bytes())?;
    let mut browser = Browser::start().await?;
    let written = take(&mut browser, run, &page, directory, pictures).await;
    browser.close().await;
    written
}

async fn take(
    browser: &mut Browser,
    run: &Run,
    page: &Path,
    directory: &Path,
    pictures: &[Picture],
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).tried(ErrorKind::Storage, || format!("make {}", directory.display()))?;
    let mut written = Vec::new();
    for picture in pictures {
        let Some(place) = picture.place(run) else { continue };
        browser.look(picture.view()).await?;
        browser.open(page, &place).await?;
        let file = directory.join(format!("{}.png", picture.name()));
        write_atomically(&file, &browser.picture().await?)?;
        written.push(file);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_picture_shows_a_place_that_the_page_has() {
        let run = sample::run();
        let page = html(&run);
        for picture in Picture::ALL {
            let place = picture.place(&run).unwrap();
            let ends = [' ', '>'].map(|end| format!(" id={place}{end}"));
            assert!(place.is_empty() || ends.iter().any(|id| page.contains(id)), "{place}");
        }
    }

    #[test]
    fn a_run_without_cells_has_a_page_and_nothing_to_open() {
        let run = Run::started("one", &[]);
        let there = Picture::ALL.into_iter().filter(|picture| picture.place(&run).is_some());
        assert_eq!(there.collect::<Vec<_>>(), [Picture::Matrix, Picture::Dark, Picture::Phone]);
    }
}
