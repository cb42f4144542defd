//! The Corefile: parsed, edited and printed without losing anything, and evaluated.
