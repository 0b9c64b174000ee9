//! Anchoring: sales become batches, batches' roots go on chain, and are followed until they are final.
//!
//! Each of these is a step that does the next thing there is to do and says what it did; `worker` is
//! the loop around them. A step finds out from the database and the chain where things stand, so the
//! first one after a crash is no different from any other.
//!
//! # Layout
//! - [`seal`]: takes the sales that wait into a batch: leaves, tree, manifest, proofs
//! - [`registry`]: the contract: deploys one, and pins it in the database
//! - [`startup`]: before anything is anchored: is this the chain, and the database, that they were?
//! - [`fees`]: what is offered for a transaction, and what it may cost
//! - `budget`: what was spent in a day
//! - [`publish`]: reserves a nonce and a range of batches, commits the bytes; `sign` and `roots`:
//!   what is looked at once more before that
//! - [`replace`]: signs what waits too long again, at higher fees
//! - [`recover`]: what a database that lost commits does to go on
//! - [`broadcast`]: sends what is signed until the chain has it
//! - [`watch`]: mined, reorganised, finalized; `overtaken`: what becomes of a range whose nonce was used
//!   for something else
//! - [`guard`]: an alarm on what moves and is not ours
//! - [`handover`]: another account, another registry, or none
//! - [`gauges`]: how things stand; [`costs`]: what anchoring costs, and how long the wallet lasts
//! - [`lease`]: one worker at a time does a piece of work
//! - [`batches`]: what callers read of batches
//! - [`store`]: the SQL of all of it

pub mod batches;
pub mod broadcast;
mod budget;
pub mod costs;
pub mod fees;
pub mod gauges;
pub mod guard;
pub mod handover;
pub mod lease;
mod overtaken;
pub mod publish;
pub mod recover;
pub mod registry;
pub mod replace;
mod roots;
pub mod seal;
mod sign;
pub mod startup;
pub mod store;
pub mod watch;

use sqlx::PgConnection;

/// Stops anchoring on a chain until somebody has looked. Nothing is signed or sent there any more;
/// what is on the chain is still watched, other chains and recording go on.
async fn halt(conn: &mut PgConnection, chain_id: i64, reason: &str) -> Result<(), sqlx::Error> {
    if store::chains::halt(conn, chain_id, reason).await? {
        tracing::error!(chain_id, reason, "anchoring on this chain has stopped");
    }
    metrics::gauge!(crate::telemetry::CHAIN_HALTED, "chain" => chain_id.to_string()).set(1.0);
    Ok(())
}
