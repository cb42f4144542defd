//! Everything that must be there before a packet is sent: engine, images, cluster, add-ons, workloads.

pub mod addons;
pub mod cluster;
pub mod engine;
pub mod gc;
pub mod images;
pub mod journal;
pub mod tutorial;
pub mod workloads;
