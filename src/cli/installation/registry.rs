//! The registry on the local chain: deployed once a chain, remembered in the database.

use anyhow::{Context, bail};
use counterfoil_proofs::caip::Caip10;
use sqlx::{Connection, PgConnection};

use crate::anchor::registry::{Terms, check_free, deploy, pin};
use crate::anchor::store::{chains, handover};
use crate::chain::{Account, At, Chain, Signer};
use crate::clock::Clock;

/// The registry of an earlier start, if it is on the chain; a new one where there was none, or where the
/// chain was begun anew.
///
/// # Errors
/// When the chain is not the one the registry was deployed on, and it was not to be begun anew.
pub(super) async fn current(
    db: &mut PgConnection,
    chain: &Chain,
    owner: &Signer,
    publisher: Account,
    reset_chain: bool,
) -> anyhow::Result<Caip10> {
    let chain_id = chain
        .chain_id()
        .await
        .context("the local chain does not answer")?;
    if let Some(known) = chains::registry(db, chain_id.cast_signed()).await? {
        let found = chain.code_hash(known.address, At::Latest).await?;
        if found == Some(known.code_hash) {
            return Ok(Caip10 {
                chain_id,
                address: known.address,
            });
        }
        if !reset_chain {
            bail!(
                "the local chain is another one than before, without our registry; use --reset-chain to anchor everything anew"
            );
        }
        let mut tx = db.begin().await?;
        handover::forget_chain(&mut tx, chain_id.cast_signed()).await?;
        tx.commit().await?;
    }
    let terms = Terms {
        owner: owner.account(),
        publisher,
        first_batch: 1,
    };
    check_free(db, chain_id.cast_signed(), terms.first_batch).await?;
    let deployed = deploy(chain, owner, &terms).await?;
    pin(db, &deployed, &Clock::system()).await?;
    Ok(deployed.registry)
}
