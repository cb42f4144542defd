//! `resolv.conf` and the names that a resolver asks for.
