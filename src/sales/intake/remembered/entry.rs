//! The bytes of an entry. Of a sale they hold only what the server added to the command: with the
//! command at hand, which a repeat brings again, the stored row follows, and so the same answer. Read
//! strictly: what is not exactly an entry of this version is none.

use std::time::Duration;

use counterfoil_proofs::{details, hex};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::{from_unix_ms, unix_ms};
use crate::ids::MerchantId;
use crate::limits;
use crate::sales::command::SaleCommand;
use crate::sales::details::Supplement;
use crate::sales::intake::added::Added;
use crate::sales::intake::{AnswerVersion, Outcome, Refusal};
use crate::sales::stored::{StoredSale, fixed};

/// What tells one process from others.
pub(super) type Token = [u8; 16];
type Hash = [u8; 32];

/// The version of entries. Another one is another number: what an older or newer program wrote is none.
const VERSION: u8 = 2;
const LOCK: u8 = 0;
const SALE: u8 = 1;
const REFUSAL: u8 = 2;
/// How much sooner a refusal ends here than in the database, whose clock may be behind ours.
const MARGIN: Duration = Duration::from_secs(60);

/// What a key holds.
pub(super) enum Entry {
    /// A process works on it.
    Lock(Token),
    /// It was answered.
    Answer(Answer),
}

/// What was answered, to a command with this fingerprint.
pub(super) struct Answer {
    fingerprint: Hash,
    kept: Kept,
}

enum Kept {
    Sale(Box<KeptSale>),
    Refusal {
        until: OffsetDateTime,
        refusal: Refusal,
    },
}

struct KeptSale {
    version: AnswerVersion,
    sale_id: Uuid,
    seq: i64,
    recorded_at: OffsetDateTime,
    refers_to: Option<Uuid>,
    details_salt: Hash,
    details_hash: Hash,
    salt: Hash,
    supplement: Supplement,
}

/// The entry of a lock.
pub(super) fn lock(token: &Token) -> Vec<u8> {
    [&[VERSION, LOCK], token.as_slice()].concat()
}

/// The entry of an outcome that was decided about `now`; none of one that is not to be remembered.
pub(super) fn of_outcome(
    fingerprint: &Hash,
    outcome: &Outcome,
    now: OffsetDateTime,
) -> Option<Vec<u8>> {
    match outcome {
        Outcome::Sale { sale, answer, .. } => of_sale(fingerprint, sale, *answer),
        // of an earlier one it is not known how old it is
        Outcome::Refused {
            refusal,
            replayed: false,
        } => {
            let until = unix_ms(now + limits::REFUSAL_KEPT - MARGIN);
            let mut entry = vec![VERSION, REFUSAL];
            entry.extend_from_slice(fingerprint);
            entry.extend_from_slice(&until.to_be_bytes());
            serde_json::to_writer(&mut entry, refusal).ok()?;
            Some(entry)
        }
        _ => None,
    }
}

fn of_sale(fingerprint: &Hash, sale: &StoredSale, version: AnswerVersion) -> Option<Vec<u8>> {
    let (supplement, _) = Supplement::take(std::str::from_utf8(&sale.details).ok()?)?;
    let supplement = supplement.text().as_bytes();
    let length = u16::try_from(supplement.len()).ok()?;
    let mut entry =
        Vec::with_capacity(2 + 32 + 1 + 16 + 8 + 8 + 3 * 32 + 2 + supplement.len() + 16);
    entry.extend_from_slice(&[VERSION, SALE]);
    entry.extend_from_slice(fingerprint);
    entry.push(version as u8);
    entry.extend_from_slice(sale.sale_id.as_bytes());
    entry.extend_from_slice(&sale.seq.to_be_bytes());
    entry.extend_from_slice(&unix_ms(sale.recorded_at).to_be_bytes());
    entry.extend_from_slice(&details_salt(&sale.details)?);
    entry.extend_from_slice(&fixed::<32>(&sale.details_hash)?);
    entry.extend_from_slice(&fixed::<32>(&sale.salt)?);
    entry.extend_from_slice(&length.to_be_bytes());
    entry.extend_from_slice(supplement);
    if let Some(refers_to) = sale.refers_to {
        entry.extend_from_slice(refers_to.as_bytes());
    }
    Some(entry)
}

/// The salt in the bytes of details. Fields stand in the order of their names, and after this one there
/// are only times and amounts, so the last that looks like it is it.
fn details_salt(details: &[u8]) -> Option<Hash> {
    const BEFORE: &[u8] = br#""salt":""#;
    const DIGITS: usize = 2 + 64;
    let name = details
        .windows(BEFORE.len())
        .rposition(|window| window == BEFORE)?;
    let digits = details.get(name + BEFORE.len()..)?.get(..DIGITS)?;
    hex::decode(std::str::from_utf8(digits).ok()?).ok()
}

impl Entry {
    /// What these bytes say.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        if bytes.byte()? != VERSION {
            return None;
        }
        let entry = match bytes.byte()? {
            LOCK => Self::Lock(bytes.take()?),
            SALE => Self::Answer(Answer {
                fingerprint: bytes.take()?,
                kept: Kept::Sale(Box::new(bytes.sale()?)),
            }),
            REFUSAL => Self::Answer(Answer {
                fingerprint: bytes.take()?,
                kept: Kept::Refusal {
                    until: from_unix_ms(i64::from_be_bytes(bytes.take()?)),
                    refusal: serde_json::from_slice(std::mem::take(&mut bytes.0)).ok()?,
                },
            }),
            _ => return None,
        };
        bytes.0.is_empty().then_some(entry)
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }

    fn supplement(&mut self) -> Option<Supplement> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Supplement::from_text(std::str::from_utf8(taken).ok()?)
    }

    fn sale(&mut self) -> Option<KeptSale> {
        Some(KeptSale {
            version: match self.byte()? {
                1 => AnswerVersion::Sale,
                2 => AnswerVersion::Transaction,
                _ => return None,
            },
            sale_id: self.uuid()?,
            seq: i64::from_be_bytes(self.take()?),
            recorded_at: from_unix_ms(i64::from_be_bytes(self.take()?)),
            details_salt: self.take()?,
            details_hash: self.take()?,
            salt: self.take()?,
            supplement: self.supplement()?,
            refers_to: match self.0 {
                [] => None,
                _ => Some(self.uuid()?),
            },
        })
    }
}

impl Answer {
    /// What the command is answered at the time `now`, which is what it was answered before. None when
    /// that cannot be said any more: a refusal is over, or the command's details are written in another
    /// way than they were.
    pub(super) fn outcome(
        self,
        command: &SaleCommand,
        merchant: MerchantId,
        now: OffsetDateTime,
    ) -> Option<Outcome> {
        match self.kept {
            // over: then the key is as good as new
            Kept::Refusal { until, .. } if now >= until => None,
            _ if self.fingerprint != *command.fingerprint() => Some(Outcome::KeyReused),
            Kept::Refusal { refusal, .. } => Some(Outcome::Refused {
                refusal,
                replayed: true,
            }),
            Kept::Sale(kept) => kept.outcome(command, merchant),
        }
    }
}

impl KeptSale {
    fn outcome(self, command: &SaleCommand, merchant: MerchantId) -> Option<Outcome> {
        let details = command
            .details()
            .salted(&self.details_salt, &self.supplement);
        let fits = self.refers_to.is_some() == command.refers_to().is_some()
            && details::hash(&details) == self.details_hash;
        if !fits {
            return None;
        }
        let added = Added {
            sale_id: self.sale_id,
            seq: self.seq,
            recorded_at: self.recorded_at,
            refers_to: self.refers_to,
            details,
            details_hash: self.details_hash,
            salt: self.salt,
        };
        Some(Outcome::Sale {
            sale: Box::new(added.to(command, merchant)),
            answer: self.version,
            replayed: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_proofs::leaf::Kind;
    use serde_json::json;

    use super::*;
    use crate::clock::{Clock, Entropy};
    use crate::ids::SaleId;
    use crate::sales::answer;

    const NOW_MS: i64 = 1_700_000_000_123;
    const MERCHANT: MerchantId = MerchantId(Uuid::from_u128(7));

    fn commands() -> Vec<SaleCommand> {
        let entropy = Entropy::seeded(1);
        let sale_id = SaleId::new(&Clock::manual(from_unix_ms(NOW_MS)), &entropy);
        let amount = json!({"value": "1500.75", "currency": "INR"});
        let bodies = [
            json!({"order_id": "A-1", "amount": amount}),
            json!({"order_id": "A-2", "amount": {"value": "12", "currency": "JPY"}, "kind": "sale",
                "customer_ref": "\"salt\":\"0x", "customer_address": format!("0x{}", "ab".repeat(20)),
                "register": "till", "cashier": "ünü", "sold_at": "2023-11-14T22:13:20Z",
                "tax_total": "1", "discount_total": "2", "metadata": {"salt": format!("0x{}", "0".repeat(64)),
                "a": "\\", "\u{10000}": "b", "\u{ffff}": "c"},
                "lines": [{"sku": "s", "name": "n", "quantity": "0.5", "unit_price": "24.000001", "tax": "1",
                "discount": "0"}], "payments": [{"method": "card", "amount": "12"}]}),
            json!({"order_id": "R-1", "kind": "refund", "refers_to": "A-1", "amount": amount}),
            json!({"order_id": "R-2", "kind": "refund", "refers_to": sale_id.to_string(), "amount": amount}),
        ];
        bodies
            .into_iter()
            .map(|body| {
                let request = serde_json::from_value(body).expect("a request");
                SaleCommand::parse(request, from_unix_ms(NOW_MS)).expect("a command")
            })
            .collect()
    }

    fn recorded(command: &SaleCommand, entropy: &Entropy) -> StoredSale {
        let points = json!({ "base": "15.5", "programme": "2" });
        let rate = json!({ "age_ms": "17", "wei": "6000000000000000" });
        // those that ask for no money have neither
        let supplement = match command.kind() {
            Kind::Sale => Supplement::new(Some(&points), Some(&rate)),
            Kind::Refund => Supplement::default(),
        };
        let details = command.details().salted(&entropy.bytes(), &supplement);
        let refers_to = command.refers_to().map(|_| Uuid::from_u128(9));
        let added = Added {
            sale_id: Uuid::from_bytes(entropy.bytes()),
            seq: 42,
            recorded_at: from_unix_ms(NOW_MS),
            refers_to,
            details_hash: details::hash(&details),
            details,
            salt: entropy.bytes(),
        };
        added.to(command, MERCHANT)
    }

    fn read(entry: &[u8], command: &SaleCommand, ms: i64) -> Option<Outcome> {
        match Entry::read(entry) {
            Some(Entry::Answer(answer)) => answer.outcome(command, MERCHANT, from_unix_ms(ms)),
            _ => None,
        }
    }

    fn sale(command: &SaleCommand, version: AnswerVersion) -> (StoredSale, Vec<u8>) {
        let sale = recorded(command, &Entropy::seeded(3));
        let outcome = Outcome::Sale {
            sale: Box::new(sale.clone()),
            answer: version,
            replayed: false,
        };
        let entry = of_outcome(command.fingerprint(), &outcome, from_unix_ms(NOW_MS));
        (sale, entry.expect("an entry"))
    }

    #[test]
    fn the_same_row_and_bytes_follow_from_an_entry_and_its_command() {
        for command in commands() {
            for version in [AnswerVersion::Sale, AnswerVersion::Transaction] {
                let (stored, entry) = sale(&command, version);
                let Some(Outcome::Sale {
                    sale: again,
                    answer,
                    replayed: true,
                }) = read(&entry, &command, NOW_MS)
                else {
                    panic!("{entry:?}")
                };
                assert_eq!(answer, version);
                assert_eq!(format!("{again:?}"), format!("{stored:?}"));
                let body = |sale| {
                    let body = answer::body(sale, version, "https://shop.example");
                    body.expect("a stored sale").get().to_owned()
                };
                assert_eq!(body(&again), body(&stored));
            }
        }
    }

    #[test]
    fn another_command_under_the_same_key_is_told_so() {
        let commands = commands();
        let (_, entry) = sale(&commands[0], AnswerVersion::Sale);
        assert!(matches!(
            read(&entry, &commands[1], NOW_MS),
            Some(Outcome::KeyReused)
        ));
    }

    #[test]
    fn what_is_not_exactly_an_entry_is_none() {
        let commands = commands();
        let (_, plain) = sale(&commands[0], AnswerVersion::Sale);
        let (_, refund) = sale(&commands[2], AnswerVersion::Sale);
        for (entry, command) in [(plain, &commands[0]), (refund, &commands[2])] {
            for length in 0..entry.len() {
                assert!(
                    read(&entry[..length], command, NOW_MS).is_none(),
                    "{length}"
                );
            }
            assert!(Entry::read(&[entry.as_slice(), &[0]].concat()).is_none());
            for at in [0, 1, 34] {
                let mut other = entry.clone();
                other[at] ^= 0x40;
                assert!(Entry::read(&other).is_none(), "byte {at}");
            }
            // a salt that is not the details'
            let mut other = entry.clone();
            other[2 + 32 + 1 + 16 + 8 + 8] ^= 1;
            assert!(read(&other, command, NOW_MS).is_none());
        }
        let token = [5; 16];
        assert!(matches!(Entry::read(&lock(&token)), Some(Entry::Lock(t)) if t == token));
        for none in [&b""[..], b"OK", b"\x01", b"\x01\x00short", b"{}"] {
            assert!(Entry::read(none).is_none(), "{none:?}");
        }
    }

    #[test]
    fn a_refusal_ends_before_the_database_forgets_it() {
        let command = &commands()[0];
        let refusal = Refusal {
            code: "refund_exceeds".to_owned(),
            request_id: "r".to_owned(),
            sale_id: Uuid::from_u128(1),
            left_minor: Some(5),
            currency: Some("INR".to_owned()),
        };
        let outcome = |replayed| Outcome::Refused {
            refusal: refusal.clone(),
            replayed,
        };
        let entry = |replayed| {
            let now = from_unix_ms(NOW_MS);
            of_outcome(command.fingerprint(), &outcome(replayed), now)
        };
        let kept = entry(false).expect("an entry");
        let again = read(&kept, command, NOW_MS);
        assert!(
            matches!(again, Some(Outcome::Refused { refusal: r, replayed: true }) if r == refusal)
        );
        let end = NOW_MS + 24 * 60 * 60 * 1000 - 60_000;
        assert!(read(&kept, command, end - 1).is_some());
        assert!(read(&kept, command, end).is_none());
        assert!(entry(true).is_none(), "its age is not known");
    }
}
