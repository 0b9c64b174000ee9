//! The integration tests: one binary, real Postgres and real chain. `DATABASE_URL` names a cluster on
//! which each test makes a database of its own, `RPC_URL` a local chain.

mod anchor;
mod anchor_faults;
mod anchor_startup;
mod anchor_verify;
mod anchor_worker;
mod anchored;
mod anchored_wire;
mod archive;
mod audit;
mod bounds;
mod cache;
mod cli;
mod coalescing;
mod crash;
mod deployment;
mod first_version;
mod growth;
mod harness;
mod hostile;
mod idempotency;
mod kept;
mod mutations;
mod openapi;
mod rates;
mod reading;
mod receipts;
mod record_sales;
mod refunds;
mod remembered;
mod roles;
mod schema;
mod seal;
mod serving;
mod storms;
mod tidy;
