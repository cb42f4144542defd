//! The Service states in which a suite's cells are probed, in the order in which a run goes through them.

use std::fmt;

/// A state of the Services that decides what must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// MetalLB is installed and has no addresses to give: the LoadBalancer Service waits for one.
    LoadBalancerPending,
    /// MetalLB has an address pool, and the Service has an address that a node announces.
    LoadBalancerReady,
}

impl Stage {
    /// Every stage, in the order in which a run goes through them.
    pub const ALL: [Self; 2] = [Self::LoadBalancerPending, Self::LoadBalancerReady];

    /// Its name in reports and filters.
    ///
    /// ```
    /// use reachmap::session::stage::Stage;
    /// assert_eq!(Stage::LoadBalancerReady.id(), "load-balancer-ready");
    /// ```
    pub const fn id(self) -> &'static str {
        match self {
            Self::LoadBalancerPending => "load-balancer-pending",
            Self::LoadBalancerReady => "load-balancer-ready",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
