//! The integration tests: real Postgres, a real local chain.

mod anchor;
mod anchor_faults;
mod anchor_startup;
mod harness;
mod seal;
