//! What one run owns, and what a test gets in its hands.
