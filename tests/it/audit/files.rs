//! Tampering with exported files: each change of one is named with its batch, and taken back.
//! `COUNTERFOIL_TAMPER_ROUNDS` says how many, `COUNTERFOIL_TAMPER_SEED` where they begin.

use std::fs;
use std::path::{Path, PathBuf};

use counterfoil::audit::registries::Trusted;
use counterfoil::audit::{Audit, Finding, Subject};
use counterfoil::chain::Chain;
use counterfoil::clock::Entropy;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;

use super::tamper::setting;
use super::{Kept, shop};
use crate::cli::program::{Scratch, program, run};

/// Rounds unless `COUNTERFOIL_TAMPER_ROUNDS` says otherwise.
const ROUNDS: u64 = 300;
/// Batches of the shop that a chain has.
const ANCHORED: u64 = 3;

/// Audits a directory against a registry from batch 1.
async fn audit(directory: &Path, chain: &Chain, registry: [u8; 20]) -> Vec<Finding> {
    let kept = Kept::default();
    let audit = Audit::new(&Entropy::system(), &kept);
    let batches = audit.directory(directory).expect("the directory");
    let trusted = Trusted {
        registry,
        first_batch: 1,
        last_batch: None,
    };
    audit
        .roots_on_chains(&batches, &[(chain, vec![trusted])])
        .await
        .expect("the chain");
    kept.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_an_exported_file_is_named_with_its_batch() {
    let it = shop().await;
    let scratch = Scratch::new();
    let directory = &scratch.join("files");
    let mut export = program(&["export", "--all", directory.to_str().expect("UTF-8")]);
    export.env("DATABASE_URL", it.db.db.url.expose_secret());
    run(&mut export).await.expect(0);
    let (chain, registry) = (&it.publisher.chain, it.registry.registry.address);
    assert_eq!(audit(directory, chain, registry).await, []);
    let (rounds, first) = (
        setting("COUNTERFOIL_TAMPER_ROUNDS", ROUNDS),
        setting("COUNTERFOIL_TAMPER_SEED", 0),
    );
    let mut missed = Vec::new();
    for seed in first..first + rounds {
        let mut random = StdRng::seed_from_u64(seed);
        let damage = Damage::inflict(directory, &mut random);
        let findings = audit(directory, chain, registry).await;
        if !findings.iter().any(|finding| damage.is_named(finding)) {
            missed.push(format!("seed {seed}: {}: {findings:#?}", damage.what));
        }
        damage.take_back();
    }
    assert!(
        missed.is_empty(),
        "{} of {rounds}:\n{}",
        missed.len(),
        missed.join("\n")
    );
    assert_eq!(audit(directory, chain, registry).await, []);
}

/// What was done, and the files as they were.
struct Damage {
    what: String,
    batch: Option<u64>,
    sound: Vec<(PathBuf, Vec<u8>)>,
}

impl Damage {
    fn inflict(directory: &Path, random: &mut StdRng) -> Self {
        let mut pick = |below: usize| random.next_u32() as usize % below;
        let batch = 1 + pick(4) as u64;
        let (batch, name) = match pick(9) {
            0..=3 => (Some(batch), format!("batch-{batch}.json")),
            4..=7 => (Some(batch), format!("batch-{batch}.sales.jsonl")),
            _ => (None, "declared.json".to_owned()),
        };
        let path = directory.join(&name);
        let sound = fs::read(&path).expect("the file");
        let mut files = vec![(path.clone(), sound.clone())];
        let lines: Vec<&[u8]> = sound.split_inclusive(|byte| *byte == b'\n').collect();
        let (at, bit) = (pick(sound.len()), pick(8));
        let (what, damaged) = match (pick(6), batch) {
            (0, _) if lines.len() > 1 => {
                let mut lines = lines;
                let line = pick(lines.len());
                lines.remove(line);
                (format!("without line {line}"), Some(lines.concat()))
            }
            (1, _) if lines.len() > 1 => {
                let mut lines = lines;
                let line = pick(lines.len());
                lines.insert(line, lines[line]);
                (format!("line {line} twice"), Some(lines.concat()))
            }
            (2, _) if lines.len() > 1 => {
                let mut lines = lines;
                let line = pick(lines.len() - 1);
                lines.swap(line, line + 1);
                (format!("line {line} after the next"), Some(lines.concat()))
            }
            // nobody knows what came after the last batch that a chain has
            (3, Some(1..=ANCHORED)) => ("without it".to_owned(), None),
            (4, Some(batch)) => {
                let other =
                    directory.join(name.replace(&batch.to_string(), &(batch % 4 + 1).to_string()));
                let content = fs::read(&other).expect("the file");
                files.push((other.clone(), content.clone()));
                fs::write(&other, &sound).expect("the file");
                (format!("for {}", other.display()), Some(content))
            }
            _ => {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                (format!("bit {bit} of byte {at}"), Some(bytes))
            }
        };
        match damaged {
            Some(damaged) => fs::write(&path, damaged).expect("the file"),
            None => fs::remove_file(&path).expect("the file"),
        }
        let what = format!("{name} {what}");
        Self {
            what,
            batch,
            sound: files,
        }
    }

    /// Whether a finding is of its batch, or of a sale.
    fn is_named(&self, finding: &Finding) -> bool {
        let Some(expected) = self.batch else {
            return finding.subject == Subject::Heads;
        };
        match finding.subject {
            Subject::Batch { batch } | Subject::Mark { batch, .. } => {
                batch.cast_unsigned() == expected
            }
            Subject::Sale { .. } => true,
            _ => false,
        }
    }

    fn take_back(self) {
        for (path, sound) in self.sound {
            fs::write(path, sound).expect("the file");
        }
    }
}
