//! Final answers in Redis, for those that are asked for again and again. A final receipt never changes, and
//! was verified before it came here. Without Redis, and for what is asked for once, the database answers.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::cache::{self, Cache};
use crate::ids::MerchantId;
use crate::limits;

/// The length of a link (`counterfoil_proofs::link`).
const LINK_CHARS: usize = 26;

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The link of its sale, which whoever has no key must show.
    pub link: String,
    /// The body.
    pub body: String,
}

impl Kept {
    fn to_bytes(&self) -> Vec<u8> {
        [self.link.as_bytes(), self.body.as_bytes()].concat()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut link = String::from_utf8(bytes).ok()?;
        let body = (link.len() > LINK_CHARS && link.is_char_boundary(LINK_CHARS))
            .then(|| link.split_off(LINK_CHARS))?;
        Some(Self { link, body })
    }
}

/// Where final answers are kept, if anywhere. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Keeper(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    cache: Cache,
    /// What was asked for lately. Redis is asked for nothing else, so that a read of all receipts, one
    /// after the other, neither waits for it nor fills it.
    asked: moka::future::Cache<u64, ()>,
    hash: RandomState,
}

/// The place of an answer that was asked for before.
#[derive(Debug)]
pub struct Place {
    inner: Arc<Inner>,
    key: cache::Key,
}

impl Keeper {
    /// In this cache.
    pub fn new(cache: Cache) -> Self {
        let asked = moka::future::Cache::builder()
            .max_capacity(limits::ASKED_RECEIPTS)
            .time_to_live(limits::ASKED_TIME)
            .build();
        let hash = RandomState::new();
        Self(Some(Arc::new(Inner { cache, asked, hash })))
    }

    /// The place of an answer of `kind`, which names its form and version; none when it is asked for the
    /// first time, or nothing is kept.
    pub async fn place(
        &self,
        merchant: MerchantId,
        kind: &'static str,
        name: &str,
    ) -> Option<Place> {
        let inner = self.0.as_ref()?;
        let asked = inner.hash.hash_one((merchant, kind, name));
        if inner.asked.get(&asked).await.is_none() {
            inner.asked.insert(asked, ()).await;
            return None;
        }
        let key = inner.cache.key(merchant, kind, name)?;
        let inner = inner.clone();
        Some(Place { inner, key })
    }
}

impl Place {
    /// What is kept there.
    pub async fn get(&self) -> Option<Kept> {
        self.inner
            .cache
            .get(&self.key)
            .await
            .and_then(Kept::from_bytes)
    }

    /// Keeps an answer there, if it is not too large, without anybody waiting for it.
    pub fn put(self, kept: &Kept) {
        if kept.body.len() > limits::KEPT_BYTES || kept.link.len() != LINK_CHARS {
            return;
        }
        let value = kept.to_bytes();
        let keeping = async move {
            let Self { inner, key } = self;
            inner.cache.put(&key, &value, limits::KEPT_TIME).await;
        };
        tokio::spawn(keeping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_nothing_else_does() {
        let kept = Kept {
            link: "0123456789abcdefghjkmnpqrs".to_owned(),
            body: "{\"é\":1}".to_owned(),
        };
        assert_eq!(Kept::from_bytes(kept.to_bytes()), Some(kept.clone()));
        let mut broken = kept.to_bytes();
        broken.truncate(LINK_CHARS);
        assert_eq!(Kept::from_bytes(broken), None);
        assert_eq!(Kept::from_bytes(Vec::new()), None);
        assert_eq!(Kept::from_bytes([0xff; 40].to_vec()), None);
        // a character across the place where the link ends
        let text = format!("x{}", "é".repeat(20));
        assert_eq!(Kept::from_bytes(text.into_bytes()), None);
    }
}
