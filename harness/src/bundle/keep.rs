//! When a run keeps a bundle.

use crate::report::Run;

/// When a run keeps a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Keep {
    /// Always: what the cluster says is collected in every suite and stage, as far as the limits go.
    Always,
    /// If a cell or a test is not as expected, or the run could not be carried out.
    #[default]
    OnFailure,
    /// Never.
    Never,
}

impl Keep {
    /// Whether what the cluster says is to be collected after a suite in a stage, in which something failed or nothing
    /// did.
    pub(crate) const fn collects(self, something_failed: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => something_failed,
            Self::Never => false,
        }
    }
}

/// Whether `run` is one that a bundle is kept of.
///
/// ```
/// use reachmap::{bundle::{Keep, worth_keeping}, report::Run};
/// let all_went_well = Run::started("20260101-120000-1", &[]);
/// assert!(!worth_keeping(&all_went_well, Keep::OnFailure));
/// assert!(worth_keeping(&all_went_well, Keep::Always));
/// ```
pub fn worth_keeping(run: &Run, keep: Keep) -> bool {
    // Whoever interrupts a run knows why it ended.
    let interrupted = run.failure.as_ref().is_some_and(|failure| failure.exit_code == 130);
    keep.collects(run.exit_code() != 0 && !interrupted)
}
