//! The integration tests: one binary, real Postgres and real chain. `DATABASE_URL` names a cluster on
//! which each test makes a database of its own, `RPC_URL` a local chain.

mod anchor;
mod anchor_faults;
mod anchor_startup;
mod anchor_verify;
mod anchor_worker;
mod anchored;
mod anchored_wire;
mod cli;
mod crash;
mod deployment;
mod harness;
mod recording;
mod seal;
mod tidy;
