//! Signed tokens: JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037), and the keys that sign them.

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::limits;

/// The keys of an installation: the first signs, all verify.
pub struct SigningKeys(Vec<Key>);

struct Key {
    pair: Ed25519KeyPair,
    /// `x`: the public key.
    public: String,
    /// The key's thumbprint (RFC 7638).
    id: String,
    /// The header of its tokens, as it stands in them.
    header: String,
}

/// A text that is no list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeysError {
    /// A line is none.
    #[error("line {0} is no key: 64 hexadecimal digits, as `counterfoil token-key` prints them")]
    Line(usize),
    /// A key stands twice.
    #[error("line {0} has a key that stands above it already")]
    Repeated(usize),
    /// There is no line.
    #[error(
        "there is no key in it: a line of 64 hexadecimal digits, as `counterfoil token-key` prints it"
    )]
    Empty,
}

impl SigningKeys {
    /// Reads keys, one a line: the 32 bytes of a seed (RFC 8032) in hexadecimal. Empty lines and those that
    /// begin with `#` say nothing.
    ///
    /// # Errors
    /// When a line is none, or there is none.
    pub fn parse(text: &SecretString) -> Result<Self, SigningKeysError> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.expose_secret().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let seed = data_encoding::HEXLOWER_PERMISSIVE
                .decode(line.as_bytes())
                .map_err(|_| SigningKeysError::Line(at + 1))?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
                .map_err(|_| SigningKeysError::Line(at + 1))?;
            let key = Key::new(pair);
            if keys.iter().any(|known| known.id == key.id) {
                return Err(SigningKeysError::Repeated(at + 1));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(SigningKeysError::Empty);
        }
        Ok(Self(keys))
    }

    /// A signed token of these claims.
    pub fn sign(&self, claims: &impl Serialize) -> String {
        let Some(key) = self.0.first() else {
            return String::new();
        };
        // strings and numbers: nothing here can fail to be written
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let signed = format!("{}.{}", key.header, BASE64URL_NOPAD.encode(&claims));
        let signature = key.pair.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    /// The claims of a token that one of the keys has signed. Its header must be the key's own, byte for
    /// byte, so a token chooses neither algorithm nor key (RFC 8725, 3.1).
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        if token.len() > limits::ACCESS_TOKEN_CHARS {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let key = self.0.iter().find(|key| key.header == header)?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        UnparsedPublicKey::new(&ED25519, key.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()
    }

    /// The public keys (RFC 7517).
    pub fn published(&self) -> KeySet {
        let published = |key: &Key| PublicKey {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            r#use: "sig".to_owned(),
            kid: key.id.clone(),
            x: key.public.clone(),
        };
        KeySet {
            keys: self.0.iter().map(published).collect(),
        }
    }
}

impl Key {
    fn new(pair: Ed25519KeyPair) -> Self {
        let public = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
        // the required members alone, in the order of their names (RFC 7638, 3)
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        let id = BASE64URL_NOPAD.encode(&Sha256::digest(thumbprint.as_bytes()));
        let header = json!({"alg": "EdDSA", "kid": id, "typ": "at+jwt"}).to_string();
        Self {
            header: BASE64URL_NOPAD.encode(header.as_bytes()),
            pair,
            public,
            id,
        }
    }
}

/// Keys that verify access tokens (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySet {
    /// The first one signs; tokens of the others are still taken.
    pub keys: Vec<PublicKey>,
}

/// A public key (RFC 8037, 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenKey)]
pub struct PublicKey {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    pub r#use: String,
    /// Its thumbprint (RFC 7638), as the header of a token names it.
    pub kid: String,
    /// The key, 32 bytes in base64url.
    pub x: String,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn keys(text: &str) -> Result<SigningKeys, SigningKeysError> {
        SigningKeys::parse(&SecretString::from(text))
    }

    /// The key of RFC 8037, appendix A: its public half, thumbprint and signature are known.
    #[test]
    fn the_keys_are_those_of_the_standard() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let keys = keys(&format!("# old\n\n {} \n", seed.to_uppercase())).unwrap();
        let published = &keys.published().keys[0];
        assert_eq!(published.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(published.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn only_whole_tokens_of_these_keys_are_taken() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let (old, new) = (keys(&one).unwrap(), keys(&format!("{two}\n{one}")).unwrap());
        let claims = json!({"sub": "cus_1"});
        let token = old.sign(&claims);
        assert_eq!(old.verify::<Value>(&token), Some(claims.clone()));
        assert_eq!(new.verify::<Value>(&token), Some(claims.clone()), "rotated");
        assert_eq!(
            old.verify::<Value>(&new.sign(&claims)),
            None,
            "not yet known"
        );

        let parts: Vec<&str> = token.split('.').collect();
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let other = BASE64URL_NOPAD.encode(br#"{"sub":"cus_2"}"#);
        for bad in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}.{}", parts[2]),
            format!("{token}="),
            format!("{token}{}", "A".repeat(limits::ACCESS_TOKEN_CHARS)),
        ] {
            assert_eq!(old.verify::<Value>(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_of_keys_is_read_strictly() {
        let key = "1".repeat(64);
        for (text, expected) in [
            ("", SigningKeysError::Empty),
            ("# none\n", SigningKeysError::Empty),
            ("11", SigningKeysError::Line(1)),
            (&format!("{key}\n0x{key}"), SigningKeysError::Line(2)),
            (&format!("{key}11"), SigningKeysError::Line(1)),
            (&format!("{key}\n\n{key}"), SigningKeysError::Repeated(3)),
        ] {
            assert_eq!(keys(text).err(), Some(expected), "{text}");
        }
    }
}
