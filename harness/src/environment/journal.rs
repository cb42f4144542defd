//! Cluster-wide edits, recorded before they are made, so that they are always put back.
