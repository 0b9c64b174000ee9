//! The roots that are about to be published, each computed again from what is stored.

use counterfoil_proofs::manifest::ManifestError;
use counterfoil_proofs::{Hash, hex};
use sqlx::PgPool;

use super::publish::PublishError;
use super::store::anchors::Anchor;
use super::store::batches;

/// A stored batch that does not give its stored root.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootFault {
    #[error("batch {0} is not in the database")]
    Missing(i64),
    #[error("batch {batch} does not hold together: {fault}")]
    Parts { batch: i64, fault: ManifestError },
    #[error("batch {batch} is stored with the root {}, its manifest and leaves give {}",
        hex::encode(.stored), hex::encode(.computed))]
    Root {
        batch: i64,
        stored: Hash,
        computed: Hash,
    },
    #[error("batch {batch} does not follow the batch before")]
    Previous { batch: i64 },
}

/// The roots of an anchor's batches, each computed again from what is stored.
pub(super) async fn checked_roots(
    pool: &PgPool,
    anchor: &Anchor,
) -> Result<Result<Vec<Hash>, RootFault>, PublishError> {
    let mut conn = pool.acquire().await?;
    let mut roots: Vec<Hash> = Vec::new();
    let mut previous = match anchor.first_batch {
        1 => Some([0; 32]),
        first => batches::roots(&mut conn, first - 1, first - 1)
            .await?
            .first()
            .map(|batch| batch.1),
    };
    // one batch at a time: a full one is megabytes
    for batch in anchor.first_batch..=anchor.last_batch {
        let Some(stored) = batches::load(&mut conn, batch).await? else {
            return Ok(Err(RootFault::Missing(batch)));
        };
        if Some(stored.file.manifest.previous) != previous {
            return Ok(Err(RootFault::Previous { batch }));
        }
        let root = stored.root;
        match tokio::task::spawn_blocking(move || stored.file.check()).await? {
            Ok(computed) if computed == root => roots.push(root),
            Ok(computed) => {
                return Ok(Err(RootFault::Root {
                    batch,
                    stored: root,
                    computed,
                }));
            }
            Err(fault) => return Ok(Err(RootFault::Parts { batch, fault })),
        }
        previous = Some(root);
    }
    Ok(Ok(roots))
}
