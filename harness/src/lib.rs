//! Reachmap proves, on a real Kubernetes cluster, who can reach a Service, by which way, and why.
//!
//! It makes a [kind](https://kind.sigs.k8s.io) cluster (or takes one that is there), sends real requests from every
//! place a person stands in, and holds what each of them met against what an executable model derives from the
//! cluster's state. The right answer for the wrong reason is a failure.
//!
//! # Ten minutes
//!
//! ## Without a cluster: ask the model
//!
//! A *vantage* is where a request starts, an *access method* what it names. What must happen follows from the cluster's state
//! alone, so that it can be asked of any state that was written down:
//!
//! ```
//! use reachmap::{model::{Method, Vantage, expect}, state::State};
//!
//! # fn main() -> reachmap::Result<()> {
//! let state = State::example();
//! let laptop = Vantage::find(&state, "laptop")?;
//! let expectation = expect(&state, &laptop, &Method::find("pod-ip", 3)?)?;
//! assert!(!expectation.reachable);
//! assert_eq!(expectation.reason.kind(), "no_route_to_pods");
//! # Ok(())
//! # }
//! ```
//!
//! ## A cluster, and a first verdict
//!
//! ```toml
//! [dev-dependencies]
//! reachmap = "0.1"
//! # The library leaves the version of the API to you: choose one for the whole repository.
//! k8s-openapi = { version = "0.29", features = ["v1_33"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! [`Cluster::kind`] makes a cluster with every type of Service in it, or takes one that was kept; [`Cluster::existing`] goes to
//! the one of a kubeconfig. Docker is used if it answers; as root on Debian, a private engine is built if not, once, which takes a while.
//!
//! ```no_run
//! use reachmap::prelude::*;
//!
//! #[tokio::test]
//! async fn the_laptop_reaches_the_load_balancer_and_no_pod() -> Result<()> {
//!     let report = Cluster::kind()
//!         .run(async |cluster| {
//!             for method in ["loadbalancer-address", "nodeport-worker-1", "pod-ip"] {
//!                 let verdict = cluster.check("laptop", method).await?;
//!                 assert_as_expected!(verdict);
//!             }
//!             Ok(())
//!         })
//!         .await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! ```
//!
//! [`check`](Cluster::check) sends one request and gives a [`Verdict`](verdict::Verdict): expectation, observation step by step,
//! and how they compare. That the laptop does not reach the pod is *as expected*. [`assert_as_expected!`] fails with the whole
//! explanation. The ids of vantages and methods are those of
//! [the matrix](https://github.com/reachmap/reachmap/blob/main/docs/src/matrix.md); `cluster.vantages()` and [`model::Method::all`] have them, too.
//!
//! However the closure ends (an error, a panic, Ctrl-C), everything is given back afterwards: the cluster is deleted, or on one
//! that is not ours whatever was made there. `.keep()` keeps it, and the next run finds it again instead of making one.
//! [`ClusterBuilder::start`] is the same without a closure, for those who can promise to call [`Started::end`].
//!
//! ## The report
//!
//! Every verdict is in `target/reachmap/latest`: `report.html` (open it), `report.md`, `report.json`, `junit.xml`. As a value it
//! is what `run` returns: [`Report`].
//!
//! ## Your own Service
//!
//! ```no_run
//! use reachmap::prelude::*;
//!
//! /// Who can reach the shop, and do all of them get there as Kubernetes promises?
//! async fn ask(cluster: &mut Cluster, shop_yaml: &str) -> Result<()> {
//!     cluster.deploy("shop.yaml", shop_yaml).await?;
//!     let service = ServiceRef::new("shop", "storefront");
//!     let methods = [
//!         Method::new("shop-name", Way::ServiceName { service: service.clone(), form: NameForm::Full }),
//!         Method::new("shop-cluster-ip", Way::ClusterIp { service }),
//!     ];
//!     for vantage in cluster.vantages() {
//!         for method in &methods {
//!             assert_as_expected!(cluster.check(vantage, method.clone()).await?);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`deploy`](Cluster::deploy) applies YAML, waits until pods, endpoints and every node's rules are there, and puts it all into
//! the state that expectations are derived from. In the YAML, `{{ image }}` and `{{ pull_policy }}` stand for an nginx that the cluster has.
//! A probe knows the pod that answered, and the client address that it saw, by the headers `X-Served-By` and `X-Client-Address`;
//! [`shop.yaml`](https://github.com/reachmap/reachmap/blob/main/examples/consumer/suite/manifests/shop.yaml) is a Service of fifty lines that sends them.
//!
//! ## Many tests, one cluster
//!
//! A cluster for each test is slow. In a suite, every test opens the session that is there, in whichever process it runs:
//!
//! ```no_run
//! mod load_balancer_ready {
//!     use reachmap::prelude::*;
//!
//!     #[tokio::test]
//!     async fn the_laptop_reaches_the_load_balancer() -> Result<()> {
//!         assert_as_expected!(Session::current()?.check("laptop", "loadbalancer-address").await?);
//!         Ok(())
//!     }
//! }
//! ```
//!
//! With an xtask of five lines (see [`cli::Cli`]), `cargo xtask e2e` runs such a suite stage by stage and reports on it, and
//! `cargo xtask session -- cargo nextest run --test shop` gives one stage to a test runner of yours. The module is the
//! stage that a test needs; in another one it fails. Without a session it fails, too.
//!
//! # Further
//!
//! | your own … | |
//! |---|---|
//! | access methods | [`model::Way`]: any Service by name, cluster IP, node port or load balancer, any pod, any name, any address and port, over HTTP |
//! | suites | [`session::suite::Suite`], [`cli::Cli`]; loads, UDP, programs at a vantage, changes of a node: [`session::Session`] |
//! | images | a registry or a table of images: [`plan::EnvironmentOptions`], [docs/src/registry.md](https://github.com/reachmap/reachmap/blob/main/docs/src/registry.md) |
//! | vantages | an agent in any pod or container with a shell: [`probe::Agent::in_pod`], [`probe::Agent::in_container`]; with [`probe::probe_target`], [`model::expect()`] and [`verdict::judge`] the four lines of a check are yours. The model knows where it stands if it is a pod ([`model::Vantage::pod`]) or a node. [`Cluster::check`] and the suites have the vantages of the cluster and no others |
//! | rules of the model | none can be plugged in: the reasons are a closed set, [`model::Reason`]. An [`Expectation`](model::Expectation) is plain data, which you can make or change before it is judged |
//! | loops over them | [`environment::Environment`], [`state::collect()`], [`report::Run`]: what [`Cluster`] is made of |
//!
//! # How it is built
//!
//! Data goes one way:
//!
//! ```text
//! options -> environment (engine, images, cluster, add-ons, workloads)
//!              -> state         a typed snapshot; nothing in it is measured
//!                   -> expectations   pure functions of the state
//!              -> observations  agents at the vantages
//!         expectations x observations -> verdicts -> reports
//! ```
//!
//! The model never looks at observations and the probes never look at expectations: that is what makes a green
//! cell worth something.

mod browser;
pub mod bundle;
pub mod claims;
pub mod cli;
mod colors;
pub mod command;
pub mod docs;
pub mod doctor;
pub mod environment;
mod error;
pub mod filter;
pub mod home;
pub mod kubernetes;
pub mod lint;
pub mod load;
pub mod matrix;
pub mod model;
pub mod plan;
pub mod prelude;
pub mod probe;
pub mod process;
pub mod progress;
pub mod report;
pub mod session;
pub mod state;
#[cfg(test)]
mod testing;
pub mod verdict;
mod versioned;
mod watch;

pub use error::{Context, Error, ErrorCode, ErrorKind, Result};
pub use k8s_openapi;
pub use kube;
pub use reachmap_wire as wire;
pub use session::cluster::{Asked, Cluster, ClusterBuilder, Report, Started};
