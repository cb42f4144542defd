//! Cells that are probed again whenever the cluster changes: what `cargo xtask watch` is made of.

mod cells;
mod changes;
mod stream;

pub(crate) use cells::{Cells, Turn};
pub(crate) use stream::Changes;
