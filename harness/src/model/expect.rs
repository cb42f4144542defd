//! From state, vantage and method to an expectation.

use super::{Expectation, Method, Vantage};
use crate::{Error, ErrorKind, Result, state::State};

/// What must happen when a request from `vantage` takes `method` in a cluster in this `state`.
///
/// # Errors
/// [`ErrorKind::Usage`] if the state does not have what the method names.
pub fn expect(state: &State, vantage: &Vantage, method: &Method) -> Result<Expectation> {
    let _ = state;
    Err(Error::new(ErrorKind::Internal, format!("derive what {method} does from {vantage}"), "not written yet"))
}
