//! What a program or a test that asks a cluster has in its hands, by one `use`.
//!
//! ```no_run
//! use reachmap::prelude::*;
//!
//! #[tokio::test]
//! async fn the_laptop_reaches_the_load_balancer() -> Result<()> {
//!     let ask = async |cluster: &mut Cluster| {
//!         assert_as_expected!(cluster.check("laptop", "loadbalancer-address").await?);
//!         Ok(())
//!     };
//!     Cluster::kind().run(ask).await.map(drop)
//! }
//! ```

pub use crate::{
    Result, assert_as_expected,
    matrix::Stage,
    model::{Method, NameForm, ServiceRef, Way},
    session::{
        Session,
        cluster::{Cluster, Report},
    },
    verdict::Verdict,
};
