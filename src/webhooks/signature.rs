//! Secrets of endpoints, and the signatures of a delivery: Standard Webhooks 1.0.
//!
//! Signed is `id.timestamp.body`, by HMAC-SHA256 with the secret that the endpoint has too (`v1`), and by Ed25519
//! (RFC 8032) with a key whose public half the endpoint has (`v1a`). While a secret is rotated a delivery has the
//! signatures of both.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

use crate::clock::Entropy;

/// Bytes of a key of HMAC: 24 to 64 in the standard.
const HMAC_BYTES: usize = 32;

/// A key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret of a webhook endpoint is not usable")]
pub struct SecretError;

/// A new secret of an endpoint.
pub struct Secret {
    /// Of HMAC.
    pub hmac_key: SecretSlice<u8>,
    /// Of Ed25519; it never leaves us.
    pub seed: SecretSlice<u8>,
    /// Its public key.
    pub public_key: [u8; 32],
}

impl Secret {
    /// A random one.
    ///
    /// # Errors
    /// When no key pair can be made of the seed.
    pub fn new(entropy: &Entropy) -> Result<Self, SecretError> {
        let seed: [u8; 32] = entropy.bytes();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SecretError)?;
        let public_key = pair.public_key().as_ref().try_into();
        Ok(Self {
            hmac_key: entropy.bytes::<HMAC_BYTES>().to_vec().into(),
            seed: seed.to_vec().into(),
            public_key: public_key.map_err(|_| SecretError)?,
        })
    }

    /// As the endpoint is given it: `whsec_…`.
    pub fn text(&self) -> SecretString {
        let text = BASE64.encode(self.hmac_key.expose_secret());
        format!("whsec_{text}").into()
    }
}

/// A public key as endpoints are given it: `whpk_…`.
pub fn public_text(key: &[u8]) -> String {
    format!("whpk_{}", BASE64.encode(key))
}

/// What a delivery is signed with.
#[derive(Debug)]
pub struct Keys {
    hmac_keys: Vec<SecretSlice<u8>>,
    pairs: Vec<Ed25519KeyPair>,
}

impl Keys {
    /// Of stored secrets, the newest first.
    ///
    /// # Errors
    /// When a seed is none, or there is no secret.
    pub fn new(hmac_keys: Vec<Vec<u8>>, seeds: &[Vec<u8>]) -> Result<Self, SecretError> {
        let pair = |seed: &Vec<u8>| Ed25519KeyPair::from_seed_unchecked(seed);
        let pairs = seeds.iter().map(pair).collect::<Result<Vec<_>, _>>();
        let pairs = pairs.map_err(|_| SecretError)?;
        if hmac_keys.is_empty() || pairs.is_empty() {
            return Err(SecretError);
        }
        Ok(Self {
            hmac_keys: hmac_keys.into_iter().map(SecretSlice::from).collect(),
            pairs,
        })
    }

    /// The value of `webhook-signature`: one signature a key, separated by spaces. `timestamp` is seconds since
    /// 1970 UTC.
    ///
    /// # Errors
    /// When a key of HMAC is none.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String, SecretError> {
        let mut content = format!("{id}.{timestamp}.").into_bytes();
        content.extend_from_slice(body);
        let mut all = Vec::new();
        for key in &self.hmac_keys {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(key.expose_secret()).map_err(|_| SecretError)?;
            mac.update(&content);
            let bytes = mac.finalize().into_bytes();
            all.push(format!("v1,{}", BASE64.encode(&bytes)));
        }
        for pair in &self.pairs {
            let bytes = pair.sign(&content);
            all.push(format!("v1a,{}", BASE64.encode(bytes.as_ref())));
        }
        Ok(all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(base64: &str) -> Vec<u8> {
        BASE64.decode(base64.as_bytes()).unwrap()
    }

    /// The vectors of the standard's own library.
    #[test]
    fn the_published_vectors_hold() {
        let keys = Keys::new(
            vec![key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
            &[key("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")],
        )
        .unwrap();
        let signed = keys.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= \
             v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
        );
    }

    #[test]
    fn a_secret_signs_as_it_says() {
        let entropy = Entropy::seeded(1);
        let [old, new] = [(); 2].map(|()| Secret::new(&entropy).unwrap());
        let bytes = |secret: &SecretSlice<u8>| secret.expose_secret().to_vec();
        let keys = Keys::new(
            vec![bytes(&new.hmac_key), bytes(&old.hmac_key)],
            &[bytes(&new.seed), bytes(&old.seed)],
        );
        let signed = keys.unwrap().sign("evt_1", 7, b"{}").unwrap();
        let names: Vec<&str> = signed
            .split(' ')
            .map(|one| one.split_once(',').unwrap().0)
            .collect();
        assert_eq!(names, ["v1", "v1", "v1a", "v1a"]);
        let last = key(signed.rsplit_once(',').unwrap().1);
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, old.public_key)
            .verify(b"evt_1.7.{}", &last)
            .unwrap();
        assert!(new.text().expose_secret().starts_with("whsec_"));
        assert!(Keys::new(vec![], &[]).is_err());
    }
}
