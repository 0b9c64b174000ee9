//! `Stripe-Signature`, against vectors that are computed here from the definition of HMAC (RFC 2104).

use counterfoil::clock::from_unix_ms;
use counterfoil::payments::signature::{self, SecretsError, SignatureError, WebhookSecrets};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::SECRET;

/// The second of all vectors.
const AT: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;

/// HMAC-SHA256 as RFC 2104 defines it: H(K ^ opad, H(K ^ ipad, text)), for keys of at most a block.
fn hmac(key: &str, text: &[u8]) -> String {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key.as_bytes());
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(secret: &str, time: &str, body: &[u8]) -> String {
    hmac(secret, &[time.as_bytes(), b".", body].concat())
}

fn now() -> OffsetDateTime {
    from_unix_ms(AT * 1000)
}

fn secrets(all: &[&str]) -> WebhookSecrets {
    let all = all.iter().map(|&secret| secret.into()).collect();
    WebhookSecrets::new(all).expect("secrets")
}

#[track_caller]
fn check(header: &str, body: &[u8], at: OffsetDateTime, expected: Result<(), SignatureError>) {
    let verified = secrets(&[SECRET]).verify(Some(header.as_bytes()), body, at);
    assert_eq!(verified.map(|_| ()), expected, "{header}");
}

#[test]
fn the_computation_of_these_tests_is_hmac() {
    // RFC 4231, test case 2
    let digest = hmac("Jefe", b"what do ya want for nothing?");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(digest, expected);
}

#[test]
fn what_the_provider_signed_is_taken() {
    let right = signed(SECRET, &AT.to_string(), BODY);
    for header in [
        format!("t={AT},v1={right}"),
        format!("v1={right},t={AT}"),
        format!("t={AT}, v1={right}, v0=00"),
        format!("t={AT},v1={},v1={right}", "00".repeat(32)),
        format!("t={AT},v1={}", right.to_uppercase()),
    ] {
        check(&header, BODY, now(), Ok(()));
    }
    // the secret as a key longer than a block is hashed first
    let long = "whsec_".to_owned() + &"x".repeat(100);
    let header = format!("t={AT},v1={}", signed(&long, &AT.to_string(), BODY));
    let verified = secrets(&[&long]).verify(Some(header.as_bytes()), BODY, now());
    assert_eq!(verified, Ok(now()));
}

#[test]
fn what_is_signed_here_is_what_the_definition_says() {
    let other = "whsec_another_secret_than_that";
    let both: Vec<SecretString> = vec![SECRET.into(), other.into()];
    let time = AT.to_string();
    assert_eq!(
        signature::sign(&both, BODY, now()),
        format!(
            "t={AT},v1={},v1={}",
            signed(SECRET, &time, BODY),
            signed(other, &time, BODY)
        )
    );
}

#[test]
fn a_change_of_anything_is_a_mismatch() {
    let time = AT.to_string();
    let right = signed(SECRET, &time, BODY);
    let mismatch = Err(SignatureError::Mismatch);
    check(&format!("t={AT},v1={right}"), b"{}", now(), mismatch);
    check(&format!("t={AT},v1={right}"), b"", now(), mismatch);
    check(&format!("t={},v1={right}", AT + 1), BODY, now(), mismatch);
    // the characters of the time are signed, not its value
    check(&format!("t=0{AT},v1={right}"), BODY, now(), mismatch);
    let others = signed("whsec_the_secret_of_somebody_else", &time, BODY);
    check(&format!("t={AT},v1={others}"), BODY, now(), mismatch);
    for at in 0..32 {
        let mut wrong = right.clone();
        let flipped = if &right[at * 2..at * 2 + 1] == "0" {
            "1"
        } else {
            "0"
        };
        wrong.replace_range(at * 2..at * 2 + 1, flipped);
        check(&format!("t={AT},v1={wrong}"), BODY, now(), mismatch);
    }
    // version 0 alone is never enough
    let malformed = Err(SignatureError::Malformed);
    check(&format!("t={AT},v0={right}"), BODY, now(), malformed);
}

#[test]
fn a_header_of_another_shape_is_malformed() {
    let right = signed(SECRET, &AT.to_string(), BODY);
    let many = format!("t={AT}{}", format!(",v1={right}").repeat(17));
    let long = format!("t={AT},v1={right},x={}", "y".repeat(4096));
    for header in [
        "",
        "t",
        "t=",
        "v1",
        &format!("t={AT}"),
        &format!("v1={right}"),
        &format!("t=,v1={right}"),
        &format!("t=-1,v1={right}"),
        &format!("t=+{AT},v1={right}"),
        &format!("t={AT}.0,v1={right}"),
        &format!("t=9999999999999,v1={right}"),
        &format!("t={AT},t={AT},v1={right}"),
        &format!("t={AT},v1={}", &right[1..]),
        &format!("t={AT},v1={right}00"),
        &format!("t={AT},v1=zz{}", &right[2..]),
        &format!("t={AT},v1={right},"),
        &many,
        &long,
    ] {
        check(header, BODY, now(), Err(SignatureError::Malformed));
    }
    let broken = secrets(&[SECRET]).verify(Some(b"t=1,v1=\xff"), BODY, now());
    assert_eq!(broken, Err(SignatureError::Malformed));
    let none = secrets(&[SECRET]).verify(None, BODY, now());
    assert_eq!(none, Err(SignatureError::Missing));
}

#[test]
fn a_time_is_within_five_minutes_either_way() {
    let header = format!("t={AT},v1={}", signed(SECRET, &AT.to_string(), BODY));
    let five = Duration::seconds(300);
    let little = Duration::milliseconds(1);
    check(&header, BODY, now() + five, Ok(()));
    check(&header, BODY, now() - five, Ok(()));
    let late = Err(SignatureError::TooOld);
    check(&header, BODY, now() + five + little, late);
    let early = Err(SignatureError::TooNew);
    check(&header, BODY, now() - five - little, early);
    // whose signature is wrong is told nothing of the time
    let forged = format!("t={AT},v1={}", "00".repeat(32));
    let mismatch = Err(SignatureError::Mismatch);
    check(&forged, BODY, now() + five + five, mismatch);
}

#[test]
fn while_a_secret_is_rotated_both_are_taken() {
    let (old, new) = ("whsec_the_old_secret_of_it", "whsec_the_new_secret_of_it");
    let time = AT.to_string();
    let by = |secret| format!("t={AT},v1={}", signed(secret, &time, BODY));
    let verify =
        |ours: &[&str], header: &str| secrets(ours).verify(Some(header.as_bytes()), BODY, now());
    for ours in [[old, new], [new, old]] {
        assert!(verify(&ours, &by(old)).is_ok());
        assert!(verify(&ours, &by(new)).is_ok());
    }
    let provider_rotates = format!("{},v1={}", by(old), signed(new, &time, BODY));
    assert!(verify(&[new], &provider_rotates).is_ok());
    assert!(verify(&[old], &provider_rotates).is_ok());
    assert_eq!(verify(&[new], &by(old)), Err(SignatureError::Mismatch));
}

#[test]
fn secrets_are_a_few_and_none_is_guessed() {
    let open = |all: Vec<&str>| {
        WebhookSecrets::new(all.into_iter().map(SecretString::from).collect()).map(|_| ())
    };
    assert_eq!(open(vec![]), Err(SecretsError::Count));
    assert_eq!(open(vec![SECRET; 9]), Err(SecretsError::Count));
    assert_eq!(open(vec![SECRET, ""]), Err(SecretsError::Short));
    assert_eq!(
        open(vec!["               whsec "]),
        Err(SecretsError::Short)
    );
    assert_eq!(open(vec![SECRET; 8]), Ok(()));
    // space around one is the shell's
    let spaced = format!(" {SECRET}\n");
    let header = format!("t={AT},v1={}", signed(SECRET, &AT.to_string(), BODY));
    let verified = secrets(&[&spaced]).verify(Some(header.as_bytes()), BODY, now());
    assert!(verified.is_ok());
}
