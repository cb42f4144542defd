//! What is installed into the cluster: the network plugin, the CoreDNS edit, MetalLB.
