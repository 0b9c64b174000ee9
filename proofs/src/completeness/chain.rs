//! The batches among themselves and against the chain.

use super::Finding;
use crate::{Hash, manifest::BatchFile};

/// Checks that the batches go on from 1 without gaps, each from the root before, each with the
/// root that the chain has, up to the last that it has. Returns those whose parts agree, each number once.
pub(super) fn check<'b>(
    batches: &'b [BatchFile],
    anchored: impl Fn(u64) -> Option<Hash>,
    findings: &mut Vec<Finding>,
) -> Vec<&'b BatchFile> {
    let mut sound = Vec::with_capacity(batches.len());
    let mut expected = 1;
    // The root of the batch before, where that is known.
    let mut previous = Some([0; 32]);
    for file in batches {
        let manifest = &file.manifest;
        let batch = manifest.batch;
        if batch < expected {
            findings.push(Finding::BatchRepeated { batch });
            continue;
        }
        if batch > expected {
            findings.push(Finding::BatchSkipped {
                expected,
                found: batch,
            });
            previous = anchored(batch - 1);
        }
        expected = batch.saturating_add(1);
        match previous {
            Some(expected) if expected != manifest.previous => {
                let found = manifest.previous;
                findings.push(Finding::PreviousWrong {
                    batch,
                    expected,
                    found,
                });
            }
            _ => {}
        }
        match file.check() {
            Ok(root) => {
                check_anchor(batch, root, anchored(batch), findings);
                previous = Some(root);
                sound.push(file);
            }
            Err(error) => {
                findings.push(Finding::BatchFaulty { batch, error });
                previous = anchored(batch);
            }
        }
    }
    // Leaving out the last batches, and the rows in them, is the easiest way to hide a sale.
    if anchored(expected).is_some() {
        findings.push(Finding::BatchLeftOut { batch: expected });
    }
    sound
}

fn check_anchor(batch: u64, found: Hash, anchored: Option<Hash>, findings: &mut Vec<Finding>) {
    match anchored {
        None => findings.push(Finding::NotAnchored { batch }),
        Some(anchored) if anchored != found => {
            findings.push(Finding::RootWrong {
                batch,
                found,
                anchored,
            });
        }
        Some(_) => {}
    }
}
