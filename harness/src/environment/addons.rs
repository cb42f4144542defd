//! What is installed into the cluster: the network plugin, the CoreDNS edit, MetalLB.

pub mod cni;
pub mod coredns;
pub mod metallb;
