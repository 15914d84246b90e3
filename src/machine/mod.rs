//! A whole machine: the CPU plugged into its board, and what drives and observes both.

pub mod board;
