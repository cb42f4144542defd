//! Where images come from: a registry, or Debian packages and Go modules, built once.
