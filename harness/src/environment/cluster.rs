//! A kind cluster that we made, or one named by a kubeconfig.

pub mod connect;
