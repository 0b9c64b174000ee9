//! Each pinned registry on its chain, and the account that anchors.

use anyhow::Context;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use secrecy::SecretString;
use sqlx::PgPool;

use super::postgres::Known;
use super::{Checks, span};
use crate::anchor::store::chains::{ChainHead, Registry};
use crate::anchor::store::{anchors, batches};
use crate::chain::{At, Block, Chain, is_local};
use crate::clock::{Clock, unix_ms};

/// A newest block older than this is of an RPC that is behind, seconds.
const STALE: i64 = 120;

pub(super) async fn check(
    rpcs: &[SecretString],
    pool: &PgPool,
    known: &Known,
    checks: &mut Checks,
) {
    let mut chains = Vec::new();
    for rpc in rpcs {
        match open(rpc).await {
            Ok(chain) => chains.push(chain),
            Err(error) => checks.fail("rpc", format!("{error:#}")),
        }
    }
    for (registry, head) in &known.registries {
        let chain_id = registry.chain_id.cast_unsigned();
        let name = format!("registry on {chain_id}");
        let mut any = false;
        for (_, chain) in chains.iter().filter(|(id, _)| *id == chain_id) {
            any = true;
            if let Err(error) = registry_on(chain, pool, registry, head.as_ref(), checks).await {
                checks.fail(&name, format!("{} does not tell: {error:#}", chain.host()));
            }
        }
        if !any {
            checks.not_checked(&name, "no RPC of its chain was given (--rpc)");
        }
    }
}

async fn open(rpc: &SecretString) -> anyhow::Result<(u64, Chain)> {
    let chain = Chain::new(rpc)?;
    let id = chain.chain_id().await;
    let id = id.with_context(|| format!("{} does not answer", chain.host()))?;
    Ok((id, chain))
}

async fn registry_on(
    chain: &Chain,
    pool: &PgPool,
    registry: &Registry,
    head: Option<&ChainHead>,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let chain_id = registry.chain_id.cast_unsigned();
    let latest = chain.latest().await?;
    check_height(chain, chain_id, &latest, checks);
    let at = At::Block(latest.hash);
    let name = format!("registry on {chain_id}");
    let caip = Caip10 {
        chain_id,
        address: registry.address,
    };
    let code = chain.code_hash(registry.address, at).await?;
    if code != Some(registry.code_hash) {
        let mend = "has not the code that was pinned: is it the right chain? See \"Another chain\"";
        checks.fail(name, format!("{caip} {mend} in docs/OPERATIONS.md"));
        return Ok(());
    }
    checks.ok(&name, format!("{caip} has the code that was pinned"));
    let publisher = chain.publisher(registry.address, at).await?;
    let Some(head) = head else {
        return Ok(());
    };
    checks.hold(
        format!("publisher on {chain_id}"),
        publisher == head.account,
        &format!("{} may anchor", hex::encode(&publisher)),
        &format!(
            "{} may anchor, not {}: see \"Another publisher\" in docs/OPERATIONS.md",
            hex::encode(&publisher),
            hex::encode(&head.account)
        ),
    );
    check_account(chain, head, chain_id, checks).await?;
    check_batches(chain, pool, registry, head, checks).await
}

fn check_height(chain: &Chain, chain_id: u64, latest: &Block, checks: &mut Checks) {
    let now = unix_ms(Clock::system().now()) / 1000;
    let age = now - latest.time.cast_signed();
    let says = format!(
        "{}: block {}, {} old",
        chain.host(),
        latest.number,
        span(age)
    );
    let name = format!("rpc of {chain_id}");
    // a local chain makes a block when there is something to put into it
    if age > STALE && !is_local(chain_id) {
        checks.warn(name, format!("{says}: it may be behind; ask another one"));
    } else {
        checks.ok(name, says);
    }
}

/// What the account has used, against what was signed, and whether it can pay.
async fn check_account(
    chain: &Chain,
    head: &ChainHead,
    chain_id: u64,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let balance = chain.balance(head.account, At::Latest).await?;
    checks.hold(
        format!("wallet on {chain_id}"),
        balance > 0,
        &format!("{balance} wei"),
        &format!(
            "empty, so nothing is anchored: send {} something",
            hex::encode(&head.account)
        ),
    );
    let nonce = chain.nonce(head.account, At::Latest).await?;
    checks.hold(
        format!("account on {chain_id}"),
        nonce <= head.next_nonce.cast_unsigned(),
        &format!("it has used {nonce} nonces, all of them from here"),
        &format!(
            "it has used {nonce} nonces and the database knows of {}: somebody else has the key, or the \
             database has lost anchors; run `counterfoil recover`",
            head.next_nonce
        ),
    );
    Ok(())
}

/// What the registry has at the finalized block, against the rows.
async fn check_batches(
    chain: &Chain,
    pool: &PgPool,
    registry: &Registry,
    head: &ChainHead,
    checks: &mut Checks,
) -> anyhow::Result<()> {
    let name = format!("batches on {}", registry.chain_id);
    let Some(finalized) = chain.finalized().await? else {
        checks.warn(name, "the chain has no finalized block yet");
        return Ok(());
    };
    let at = At::Block(finalized.hash);
    if chain.code_hash(registry.address, at).await?.is_none() {
        checks.warn(name, "the registry is not final yet");
        return Ok(());
    }
    let next = chain.next_batch(registry.address, at).await?;
    if next > head.next_batch.cast_unsigned() {
        let mend = "the database has lost what was anchored; run `counterfoil recover`";
        checks.fail(
            name,
            format!(
                "the registry takes batch {next} next, the database sends {}: {mend}",
                head.next_batch
            ),
        );
        return Ok(());
    }
    let mut conn = pool.acquire().await?;
    let last = next.cast_signed() - 1;
    let ours = batches::roots(&mut conn, last, last).await?;
    let is_final = anchors::last_finalized(&mut conn, registry.chain_id).await?;
    let theirs = chain
        .root_of(registry.address, last.cast_unsigned(), at)
        .await?;
    let same = last < registry.first_batch
        || ours
            .first()
            .is_none_or(|(_, root)| theirs.as_ref() == Some(root));
    let up_to = is_final.map_or(0, |anchor| anchor.last_batch);
    checks.hold(
        name,
        same && up_to <= last.max(0),
        &format!("up to {last} final on the chain, up to {up_to} known to be"),
        &format!(
            "batch {last} has another root on the chain, or batch {up_to} is not there: run `counterfoil \
             audit --rpc …`, see \"Another root\" in docs/OPERATIONS.md"
        ),
    );
    Ok(())
}
