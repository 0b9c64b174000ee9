//! A step over anchors: ranges without a gap, states that fit their rows, and transactions that say
//! exactly what is stored of them.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::finding::{Findings, Part as Of, Subject};
use super::steps::Part;
use super::store::anchors::{self as store, AnchorRow, AttemptRow, ChainRow, RegistryRow};
use super::store::batches::{self, Heads};
use crate::chain::{Signed, anchor_call, runtime_code_hash};
use counterfoil_proofs::{Hash, keccak256};

/// Anchors of a step.
const ANCHORS: i64 = 64;
/// How far a chain's clock may be behind the database's.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(15);

/// The last anchor of the next step. The first step is there without an anchor: it checks the heads too.
pub(super) async fn next(conn: &mut PgConnection, after: i64) -> Result<Option<i64>, sqlx::Error> {
    let page = store::page(conn, after, ANCHORS).await?;
    let last = page.last().map(|anchor| anchor.anchor_id);
    // ids begin at 1, so 0 is before the first step
    Ok(last.or((after == BEFORE_FIRST).then_some(0)))
}

/// Where the steps begin: no anchor has a number below 1.
pub(super) const BEFORE_FIRST: i64 = -1;

/// Checks the anchors of a page after `after`; with the first page the heads.
pub(super) async fn check(conn: &mut PgConnection, after: i64) -> Result<Part, sqlx::Error> {
    let mut part = Part::default();
    if after == BEFORE_FIRST {
        check_seal_head(batches::heads(conn).await?, &mut part.findings);
        part.counts.lost_batches += batches::lost(conn, 0, i64::MAX).await?.len() as u64;
        for (anchor, attempt) in store::orphans(conn).await? {
            let subject = Subject::Attempt { anchor, attempt };
            part.findings
                .add(&subject, Of::Attempt, "there is no such anchor");
        }
        check_registries(&store::registries(conn).await?, &mut part.findings);
        for chain in store::chains(conn).await? {
            check_chain(&chain, &mut part.findings);
        }
    }
    let anchors = store::page(conn, after, ANCHORS).await?;
    let ids: Vec<i64> = anchors.iter().map(|anchor| anchor.anchor_id).collect();
    let attempts = store::attempts(conn, &ids).await?;
    for anchor in &anchors {
        part.counts.anchors += 1;
        let roots = store::roots(conn, anchor.first_batch, anchor.last_batch).await?;
        let own: Vec<&AttemptRow> = attempts
            .iter()
            .filter(|attempt| attempt.anchor_id == anchor.anchor_id)
            .collect();
        check_anchor(anchor, &own, &mut part.findings);
        let newest = roots.iter().map(|(_, _, sealed_at)| *sealed_at).max();
        let roots: Option<Vec<Hash>> = roots
            .into_iter()
            .map(|(_, root, _)| <Hash>::try_from(root).ok())
            .collect();
        for attempt in own {
            check_attempt(anchor, attempt, roots.as_deref(), &mut part.findings);
            check_times(anchor, attempt, newest, &mut part.findings);
        }
    }
    Ok(part)
}

fn check_seal_head(heads: Option<Heads>, findings: &mut Findings) {
    let Some(heads) = heads else {
        findings.add(&Subject::Heads, Of::Missing, "seal_head has no row");
        return;
    };
    let (newest, root, sealed_at) =
        heads
            .newest
            .unwrap_or((0, vec![0; 32], OffsetDateTime::UNIX_EPOCH));
    if newest + 1 < heads.next_batch {
        let subject = Subject::Batch { batch: newest + 1 };
        let what = format!(
            "there is no such batch, nor any up to {}",
            heads.next_batch - 1
        );
        findings.add(&subject, Of::Missing, what);
    } else if newest + 1 > heads.next_batch {
        let subject = Subject::Batch { batch: newest };
        let what = format!("seal_head gives {} as the next batch", heads.next_batch);
        findings.add(&subject, Of::Double, what);
    } else {
        let same = heads.last_root == root && heads.last_sealed_at == sealed_at;
        let what = "seal_head is not that of the last batch";
        findings.check(same, &Subject::Heads, Of::Copy, what);
    }
}

/// Registries of a chain follow one another: each begins where the one before ends, and the last is open.
fn check_registries(registries: &[RegistryRow], findings: &mut Findings) {
    for (index, registry) in registries.iter().enumerate() {
        let subject = Subject::Chain {
            chain: registry.chain_id,
        };
        let mut check = |holds: bool, what: &str| findings.check(holds, &subject, Of::Chain, what);
        let code = registry.code_hash == runtime_code_hash();
        check(code, "a registry's code_hash is not that of the registry");
        let next = registries.get(index + 1);
        let next = next.filter(|next| next.chain_id == registry.chain_id);
        let follows = next.is_none_or(|next| {
            registry.last_batch.and_then(|last| last.checked_add(1)) == Some(next.first_batch)
        });
        check(
            follows,
            "a registry does not begin where the one before ends",
        );
    }
}

fn check_chain(chain: &ChainRow, findings: &mut Findings) {
    let subject = Subject::Chain {
        chain: chain.chain_id,
    };
    if let Some(reason) = &chain.halted {
        let what = format!("anchoring has stopped: {reason}");
        findings.add(&subject, Of::Hold, what);
    }
    // a range whose nonce was used for something else is given out again first
    let next = chain.first_free.or(chain.last_batch.map(|last| last + 1));
    let follows = next.map_or(chain.begins, |next| next == chain.next_batch);
    let what = "next_batch is not the one after its last anchor";
    findings.check(follows, &subject, Of::Copy, what);
    let follows = chain
        .last_nonce
        .is_none_or(|last| last + 1 == chain.next_nonce);
    let what = "next_nonce is not the one after its last anchor";
    findings.check(follows, &subject, Of::Copy, what);
    let whole = chain.account.len() == 20;
    findings.check(whole, &subject, Of::Copy, "account is none");
}

fn check_anchor(anchor: &AnchorRow, attempts: &[&AttemptRow], findings: &mut Findings) {
    let subject = Subject::Anchor {
        anchor: anchor.anchor_id,
    };
    let live = anchor.state != "reverted";
    let what = "no anchor of its chain ends before its range";
    findings.check(!live || anchor.follows, &subject, Of::Anchor, what);
    let begins = |first: i64| first <= anchor.first_batch;
    let ends = |last: i64| anchor.last_batch <= last;
    // a range that is free again may be another registry's now
    let begun =
        !live || anchor.registry_first.is_some_and(begins) && anchor.registry_last.is_none_or(ends);
    findings.check(
        begun,
        &subject,
        Of::Anchor,
        "its registry is not one for its range",
    );
    let mined = attempts
        .iter()
        .filter(|attempt| attempt.block_hash.is_some())
        .count();
    let (signed, mined_at, finalized_at) = (
        !attempts.is_empty(),
        anchor.mined_at.is_some(),
        anchor.finalized_at.is_some(),
    );
    let fits = match anchor.state.as_str() {
        "reserved" => !signed && !mined_at && !finalized_at,
        "submitted" => signed && mined == 0 && !mined_at && !finalized_at,
        "mined" => mined == 1 && mined_at && !finalized_at,
        // by its own transaction, or without one, where others brought its roots into the registry
        "finalized" => {
            signed && finalized_at && (mined == 1 && mined_at || mined == 0 && !mined_at)
        }
        "reverted" => signed && mined == 0 && !mined_at && !finalized_at,
        _ => false,
    };
    let what = format!(
        "{} with {} transactions, {mined} of them in a block",
        anchor.state,
        attempts.len()
    );
    findings.check(fits, &subject, Of::State, &what);
    let numbered = (1..)
        .zip(attempts)
        .all(|(number, attempt)| attempt.attempt == number);
    let what = "its attempts are not numbered from 1";
    findings.check(numbered, &subject, Of::Attempt, what);
    let in_order = anchor.mined_at.is_none_or(|at| anchor.reserved_at <= at)
        && anchor
            .mined_at
            .zip(anchor.finalized_at)
            .is_none_or(|(mined, finalized)| mined <= finalized);
    let what = "reserved, mined and finalized are not in this order";
    findings.check(in_order, &subject, Of::Times, what);
}

/// A signed transaction says everything that is stored of it, but where it was mined.
fn check_attempt(
    anchor: &AnchorRow,
    attempt: &AttemptRow,
    roots: Option<&[Hash]>,
    findings: &mut Findings,
) {
    let subject = attempt.subject();
    let mut check = |holds: bool, what: &str| findings.check(holds, &subject, Of::Attempt, what);
    let hash = keccak256(&attempt.raw);
    if hash != *attempt.tx_hash {
        return check(false, "tx_hash is not the hash of raw");
    }
    let Some((transaction, account)) = Signed::read(&attempt.raw) else {
        return check(false, "raw is not a signed transaction of ours");
    };
    let fees = transaction.fees;
    check(
        fees.max_fee_per_gas.to_string() == attempt.max_fee
            && fees.max_priority_fee_per_gas.to_string() == attempt.max_priority_fee
            && transaction.gas_limit.cast_signed() == attempt.gas_limit,
        "its fees or gas are not those of raw",
    );
    let used = attempt
        .gas_used
        .is_none_or(|used| (0..=attempt.gas_limit).contains(&used) && attempt.block_hash.is_some());
    check(used, "gas_used is more than its limit, or without a block");
    let paid = attempt.gas_price.as_deref().is_none_or(|price| {
        let within = price
            .parse()
            .is_ok_and(|wei: u128| wei <= fees.max_fee_per_gas);
        within && attempt.block_hash.is_some()
    });
    check(paid, "gas_price is more than its cap, or without a block");
    let beside = attempt.rollup_fee.as_deref();
    let beside =
        beside.is_none_or(|fee| fee.parse::<u128>().is_ok() && attempt.block_hash.is_some());
    check(beside, "rollup_fee is no fee, or without a block");
    let anchor_subject = Subject::Anchor {
        anchor: anchor.anchor_id,
    };
    let mut check = |holds: bool, what: &str| {
        findings.check(holds, &anchor_subject, Of::Anchor, what);
    };
    check(
        account == *anchor.account,
        "account is not the one that signed",
    );
    check(
        transaction.nonce == anchor.nonce.cast_unsigned(),
        "nonce is not the signed one",
    );
    check(
        transaction.chain_id == anchor.chain_id.cast_unsigned(),
        "chain_id is not the signed one",
    );
    check(
        transaction.to.is_some_and(|to| to == *anchor.registry),
        "registry is not the signed one",
    );
    let length = anchor.last_batch - anchor.first_batch + 1;
    let same = roots.is_some_and(|roots| {
        roots.len() as i64 == length
            && transaction.input == anchor_call(anchor.first_batch.cast_unsigned(), roots)
    });
    let what = "what was signed is not the range, or not the roots of its batches";
    check(same, what);
}

fn check_times(
    anchor: &AnchorRow,
    attempt: &AttemptRow,
    sealed_at: Option<OffsetDateTime>,
    findings: &mut Findings,
) {
    let subject = attempt.subject();
    let sent = attempt.sent_at.is_none_or(|sent| attempt.signed_at <= sent);
    let mut check = |holds: bool, what: &str| findings.check(holds, &subject, Of::Times, what);
    check(
        anchor.reserved_at <= attempt.signed_at && sent,
        "reserved, signed and sent are not in this order",
    );
    let after_seal = attempt
        .block_time
        .zip(sealed_at)
        .is_none_or(|(block, sealed)| sealed <= block + CLOCKS_DIFFER);
    check(after_seal, "its block is older than its batches");
    let whole = attempt
        .block_hash
        .as_ref()
        .is_none_or(|hash| hash.len() == 32)
        && attempt.block_number.is_none_or(|number| number >= 0);
    check(whole, "its block is none");
}

impl AttemptRow {
    pub(super) fn subject(&self) -> Subject {
        Subject::Attempt {
            anchor: self.anchor_id,
            attempt: self.attempt,
        }
    }
}
