//! Where the publisher's key may be: files, encrypted keystores, and signers outside, which may lie.

mod outside;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use counterfoil::chain::{KeyError, Signer};
use counterfoil::config::KeySource;
use counterfoil_proofs::hex;
use secrecy::SecretString;
use serde_json::{Value, json};

/// One key, encrypted in two ways: the definition's own vector for PBKDF2, and with the parameters that geth
/// writes for scrypt (the definition's vector has some that RFC 7914 does not allow), by another program.
const KEYSTORES: [(&str, &str); 2] = [
    (
        "pbkdf2",
        r#"{"crypto":{"cipher":"aes-128-ctr",
            "cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
            "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
            "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
            "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#,
    ),
    (
        "scrypt",
        r#"{"crypto":{"cipher":"aes-128-ctr",
            "cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
            "ciphertext":"b160ff7e6d855b53a3f8d65e4b2850584cfaa01751807f19d07c298de16f802d",
            "kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":1,"r":8,
            "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
            "mac":"daeeba49ffae86381ae33f74c05dc0038888a7806267a04a1ae2183a7f2b7b17"},
            "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#,
    ),
];
const KEYSTORE_KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const PASSWORD: &str = "testpassword";

/// A directory that is gone when the test is over.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let name = format!("counterfoil-keys-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a file");
        Self(dir)
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a file");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("a file");
    }
}

fn file(path: &Path) -> KeySource {
    KeySource {
        file: Some(path.to_owned()),
        ..KeySource::default()
    }
}

#[test]
fn a_keystore_opens_with_its_password_alone() {
    let files = Files::new("opens");
    let known = Signer::parse(&SecretString::from(KEYSTORE_KEY)).unwrap();
    let right = files.write("password", &format!("{PASSWORD}\n"), 0o600);
    let wrong = files.write("wrong", "another", 0o600);
    for (kdf, content) in KEYSTORES {
        // who reads it without the password has nothing
        let store = files.write(kdf, content, 0o644);
        let with = |password: Option<&PathBuf>| {
            let source = KeySource {
                password_file: password.cloned(),
                ..file(&store)
            };
            Signer::open(&source)
        };
        assert_eq!(with(Some(&right)).unwrap().account(), known.account());
        let error = with(Some(&wrong)).unwrap_err().to_string();
        assert!(error.contains("the password is not its own"), "{error}");
        assert!(!error.contains("another"), "{error}");
        assert!(matches!(with(None), Err(KeyError::NoPassword(_))));
    }
}

#[test]
fn a_keystore_that_is_damaged_is_an_error() {
    let files = Files::new("damaged");
    let (_, whole) = KEYSTORES[0];
    let password = files.write("password", PASSWORD, 0o600);
    for (from, to) in [
        ("\"dklen\":32", "\"dklen\":16"),
        ("1a909735c1e6\"", "\""),
        ("aes-128-ctr", "aes-128-cbc"),
        ("\"version\":3", "\"version\":4"),
        ("\"crypto\"", "\"other\""),
        ("517ead", "xx7ead"),
        ("}", ""),
    ] {
        let damaged = whole.replace(from, to);
        assert_ne!(damaged, whole);
        let source = KeySource {
            password_file: Some(password.clone()),
            ..file(&files.write("store", &damaged, 0o600))
        };
        assert!(
            matches!(Signer::open(&source), Err(KeyError::Keystore { .. })),
            "{to}"
        );
    }
}

#[test]
fn a_file_that_everybody_may_read_is_refused() {
    let files = Files::new("open");
    let closed = files.write("closed", KEYSTORE_KEY, 0o640);
    assert!(Signer::open(&file(&closed)).is_ok());
    let open = files.write("open", KEYSTORE_KEY, 0o644);
    let error = Signer::open(&file(&open)).unwrap_err();
    assert!(matches!(error, KeyError::Open(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains("7a28"));
    let source = KeySource {
        password_file: Some(files.write("password", PASSWORD, 0o604)),
        ..file(&files.write("store", KEYSTORES[0].1, 0o600))
    };
    assert!(matches!(Signer::open(&source), Err(KeyError::Open(_))));
    assert!(matches!(
        Signer::open(&file(&files.0.join("none"))),
        Err(KeyError::File { .. })
    ));
}

#[test]
fn where_a_key_is_is_said_once() {
    let read = |json: Value| serde_json::from_value::<KeySource>(json);
    let account = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    let outside = read(json!({ "signer": "http://127.0.0.1:1/key", "account": account })).unwrap();
    let signer = Signer::open(&outside).unwrap();
    assert_eq!(hex::encode(&signer.account()), account);
    assert!(!format!("{outside:?} {signer:?}").contains("/key"));
    for source in [
        json!({}),
        json!({ "signer": "http://127.0.0.1:1" }),
        json!({ "account": account }),
        json!({ "file": "publisher.key", "env": "PATH" }),
        json!({ "env": "PATH", "signer": "http://127.0.0.1:1", "account": account }),
    ] {
        let source = read(source).unwrap();
        assert!(
            matches!(Signer::open(&source), Err(KeyError::Source)),
            "{source:?}"
        );
    }
    let unset = read(json!({ "env": "COUNTERFOIL_NO_SUCH_KEY" })).unwrap();
    assert!(matches!(Signer::open(&unset), Err(KeyError::Unset(_))));
    // a configuration file holds no key, and no word that nobody knows
    assert!(read(json!({ "key": KEYSTORE_KEY })).is_err());
    assert!(read(json!({ "fil": "publisher.key" })).is_err());
    let short = read(json!({ "signer": "http://127.0.0.1:1", "account": "0x1" })).unwrap();
    assert!(matches!(Signer::open(&short), Err(KeyError::Account(_))));
}
