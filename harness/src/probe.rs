//! Agents at their vantages, and what they observe.
