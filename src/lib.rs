//! Counterfoil: a retail transaction engine with a Merkle-batching anchor at its core.
//!
//! A sale commits to Postgres at once; sales become keccak-256 leaves of one Merkle tree an interval;
//! only the tree's root goes on chain; every sale row keeps its inclusion proof.
//!
//! # Layout
//! - [`server`]: the route table, its layers, `serve(listener, shutdown)`
//! - [`worker`]: the loops around the steps: seal, watch, publish, broadcast, partitions, purge
//! - [`audit`]: everything stored computed again, down to the row that is wrong
//! - [`sales`]: recording and reading sales, receipts and proofs
//! - [`shop`]: catalogue, carts, orders, their payments and refunds
//! - [`accounts`]: who may call, as far as a merchant decides it itself: its API keys
//! - [`loyalty`]: a merchant's programme, its members and their points
//! - [`rates`]: amounts of money in wei
//! - [`webhooks`]: others are told of what happens
//! - [`anchor`]: sealing batches, publishing their roots, watching them to finality
//! - [`payments`]: the payment provider: what is asked of it, and what it tells
//! - [`retention`]: what is kept where, and for how long
//! - [`http`]: what every route uses: problems, authentication, idempotency keys, paging
//! - [`dev`]: private Postgres, Redis and chain for demonstrations, development and tests
//! - [`chain`]: the only file that talks to an RPC
//! - [`cache`]: the only part that talks to Redis
//! - [`config`], [`database`], [`limits`], [`clock`], [`money`], [`ids`], [`telemetry`]: the ground everything stands on
//!
//! The formats that others rely on are the crate `counterfoil-proofs`. An import goes down this list
//! only; `docs/ARCHITECTURE.md` says why, and a test holds it.

pub mod accounts;
pub mod anchor;
pub mod audit;
pub mod cache;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod dev;
pub mod http;
pub mod ids;
pub mod limits;
pub mod loyalty;
pub mod money;
pub mod payments;
pub mod rates;
pub mod retention;
pub mod sales;
pub mod server;
pub mod shop;
pub mod telemetry;
pub mod webhooks;
pub mod worker;
