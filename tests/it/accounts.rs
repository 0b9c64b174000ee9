//! Accounts: registering, signing in, and what an access token is worth.

use std::time::Duration;

use counterfoil::clock::{Clock, from_unix_ms};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client, PASSWORD, PUBLIC_URL, Running, eventually};

/// Tries to sign in.
pub(crate) async fn log_in(app: &App, email: &str, password: &str) -> Answer {
    let wanted =
        json!({"merchant_id": app.merchant.to_string(), "email": email, "password": password});
    app.admin
        .with_key(None)
        .send_json("/v1/auth/login", &wanted)
        .await
}

/// What a token says.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_registers_signs_in_and_is_known() {
    let app = App::start().await;
    let nobody = app.admin.with_key(None);
    let merchant = app.merchant.to_string();
    let wanted = json!({"merchant_id": merchant, "email": "Ada@Shop.Example", "password": PASSWORD, "name": "Ada"});
    let made = nobody
        .send_json("/v1/auth/register", &wanted)
        .await
        .expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!(made.header("location"), "/v1/me");
    assert!(!made.text.contains(PASSWORD) && !made.text.contains("argon2"));
    let made = made.json();
    let (account, tokens) = (&made["account"], &made["tokens"]);
    assert_eq!(account["role"], "customer");
    assert_eq!(account["merchant_id"], merchant);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 600);
    assert_eq!(tokens["scope"], "shop:buy");

    let token = tokens["access_token"].as_str().expect("a token");
    let said = claims(token);
    for (name, value) in [
        ("iss", json!(PUBLIC_URL)),
        ("sub", account["id"].clone()),
        ("merchant", json!(merchant)),
        ("role", json!("customer")),
        ("scope", json!("shop:buy")),
        ("sid", tokens["session_id"].clone()),
    ] {
        assert_eq!(said[name], value, "{name}");
    }
    assert_eq!(
        said["exp"].as_i64(),
        said["iat"].as_i64().map(|at| at + 600)
    );
    let ada = nobody.with_key(Some(token));
    let me = ada.get("/v1/me").await.expect(200).json();
    assert_eq!(&me, account);
    ada.get("/v1/sales").await.problem("forbidden");

    // an address is one account's, however it is written
    let again = json!({"merchant_id": merchant, "email": "ADA@shop.example", "password": "another sentence"});
    let refused = nobody.send_json("/v1/auth/register", &again).await;
    refused.problem("email_taken");
    let entered = log_in(&app, "ada@SHOP.example", PASSWORD).await.expect(200);
    assert_eq!(entered.json()["account"], me);
    let other = entered.json()["tokens"]["access_token"].clone();
    assert_ne!(other, json!(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike() {
    let app = App::start().await;
    app.customer_called("ada@shop.example").await;
    let wrong = log_in(&app, "ada@shop.example", "not the sentence").await;
    let unknown = log_in(&app, "eve@shop.example", "not the sentence").await;
    let (mut wrong, mut unknown) = (
        wrong.problem("credentials_wrong"),
        unknown.problem("credentials_wrong"),
    );
    for document in [&mut wrong, &mut unknown] {
        for name in ["request_id", "instance"] {
            document[name] = Value::Null;
        }
    }
    assert_eq!(wrong, unknown);
    // another merchant's customers are nobody here
    let (stranger, _) = app.stranger().await;
    let elsewhere = json!({"merchant_id": stranger.to_string(), "email": "ada@shop.example", "password": PASSWORD});
    let nobody = app.admin.with_key(None);
    nobody
        .send_json("/v1/auth/login", &elsewhere)
        .await
        .problem("credentials_wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_says_why() {
    let app = App::start().await;
    let nobody = app.admin.with_key(None);
    let merchant = app.merchant.to_string();
    let unknown = "mer_00000000000000000000000000";
    for (path, body, expected) in [
        (
            "/v1/auth/register",
            json!({"merchant_id": "shop", "email": "a@b", "password": "short", "name": "é".repeat(201)}),
            vec![
                ("/email", "email_invalid"),
                ("/merchant_id", "merchant_unknown"),
                ("/name", "text_too_long"),
                ("/password", "password_unfit"),
            ],
        ),
        (
            "/v1/auth/register",
            json!({"merchant_id": unknown, "email": "a@b.example", "password": PASSWORD}),
            vec![("/merchant_id", "merchant_unknown")],
        ),
        (
            "/v1/auth/register",
            json!({"merchant_id": merchant, "email": "a.long.one@b.example", "password": "A.Long.one@b.example"}),
            vec![("/password", "password_unfit")],
        ),
        (
            "/v1/auth/register",
            json!({"merchant_id": merchant, "email": "a@b.example", "password": "é".repeat(257), "name": "a\u{0}", "role": "admin"}),
            vec![
                ("/name", "text_has_nul"),
                ("/password", "password_unfit"),
                ("/role", "unknown_field"),
            ],
        ),
        (
            "/v1/auth/login",
            json!({"merchant_id": unknown, "email": "a@b.example", "password": PASSWORD}),
            vec![("/merchant_id", "merchant_unknown")],
        ),
        (
            "/v1/auth/login",
            json!({"merchant_id": merchant, "email": 1, "password": "x".repeat(257), "scope": "sales:record all"}),
            vec![
                ("/email", "wrong_type"),
                ("/password", "text_too_long"),
                ("/scope", "scope_unknown"),
            ],
        ),
    ] {
        let answer = nobody.send_json(path, &body).await;
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(at, code)| (at.to_owned(), code.to_owned()))
            .collect();
        assert_eq!(answer.faults(), expected, "{path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_works_for_ten_minutes() {
    let app = App::start().await;
    let ada = app.customer().await;
    // a server whose clock goes on
    let clock = Clock::manual(Clock::system().now());
    let later = Running::start(&app.db, clock.clone()).await;
    let there = ada.at(&later.url);
    clock.advance(Duration::from_secs(598));
    there.get("/v1/me").await.expect(200);
    clock.advance(Duration::from_secs(3));
    // and although it was good a moment ago
    there.get("/v1/me").await.problem("unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tokens_that_this_installation_signed_are_taken() {
    let app = App::start().await;
    let ada = app.customer().await;
    ada.get("/v1/me").await.expect(200);
    let parts: Vec<&str> = ada.key().split('.').collect();
    let mut said = claims(ada.key());
    said["role"] = "admin".into();
    let text = BASE64URL_NOPAD.encode(said.to_string().as_bytes());
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"at+jwt"}"#);
    let hs256 = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"at+jwt"}"#);
    // the same claims under another installation's key
    let foreign = counterfoil::http::tokens::SigningKeys::parse(&"02".repeat(32).into()).unwrap();
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{hs256}.{}.{}", parts[1], parts[2]),
        format!("{}.{text}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        foreign.sign(&claims(ada.key())),
        "a.b.c".to_owned(),
    ] {
        let thief = ada.with_key(Some(&forged));
        thief.get("/v1/me").await.problem("unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_session_within_five_seconds() {
    let app = App::start().await;
    let ada = app.customer().await;
    ada.get("/v1/me").await.expect(200);
    sqlx::query("update session set ended_at = now(), ended_by = 'logged_out'")
        .execute(&app.db.owner)
        .await
        .unwrap();
    let since = std::time::Instant::now();
    eventually("it works no more", async || {
        (ada.get("/v1/me").await.status == 401).then_some(())
    })
    .await;
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_keys_verify_the_tokens() {
    let app = App::start().await;
    let ada = app.customer().await;
    let published = ada
        .with_key(None)
        .get("/.well-known/jwks.json")
        .await
        .expect(200);
    assert_eq!(published.header("cache-control"), "public, max-age=300");
    let key = published.json()["keys"][0].clone();
    let (signed, signature) = ada.key().rsplit_once('.').expect("three parts");
    let header = signed.split('.').next().expect("a header");
    let header = BASE64URL_NOPAD
        .decode(header.as_bytes())
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    assert_eq!(
        header,
        json!({"alg": "EdDSA", "kid": key["kid"], "typ": "at+jwt"})
    );
    let public = BASE64URL_NOPAD
        .decode(key["x"].as_str().unwrap().as_bytes())
        .unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(signed.as_bytes(), &signature)
        .expect("the token's signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_to_sign_in_are_counted_by_all_servers() {
    let app = App::start().await;
    app.customer_called("ada@shop.example").await;
    let clock = Clock::manual(from_unix_ms(4_000_000_000_000));
    let servers = [
        Running::start(&app.db, clock.clone()).await,
        Running::start(&app.db, clock.clone()).await,
    ];
    let nobody = app.admin.with_key(None);
    let attempt = async |server: usize, email: &str, password: &str| {
        let at: Client = nobody.at(&servers[server].url);
        let body =
            json!({"merchant_id": app.merchant.to_string(), "email": email, "password": password});
        at.send_json("/v1/auth/login", &body).await
    };
    for email in ["ada@shop.example", "nobody@shop.example"] {
        for n in 0..10 {
            let answer = attempt(n % 2, email, "not the sentence").await;
            answer.problem("credentials_wrong");
        }
        // however it is written, and though it would be right
        let refused = attempt(0, &email.to_uppercase(), PASSWORD).await;
        refused.problem("too_many_attempts");
        assert_eq!(refused.header("retry-after"), "60");
    }
    clock.advance(Duration::from_secs(59));
    let refused = attempt(1, "ada@shop.example", PASSWORD).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem("too_many_attempts");
    clock.advance(Duration::from_secs(1));
    attempt(1, "ada@shop.example", PASSWORD).await.expect(200);
    // all are there again
    for n in 0..10 {
        let answer = attempt(n % 2, "ada@shop.example", "not the sentence").await;
        answer.problem("credentials_wrong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_hashed_anew_when_the_parameters_have_changed() {
    let app = App::start().await;
    app.customer_called("ada@shop.example").await;
    let stored = async || -> String {
        sqlx::query_scalar("select password_hash from account")
            .fetch_one(&app.db.owner)
            .await
            .unwrap()
    };
    let now = "$argon2id$v=19$m=19456,t=2,p=1$";
    assert!(stored().await.starts_with(now), "{}", stored().await);
    let weak = argon2::Params::new(64, 1, 1, None).expect("parameters");
    let weak = argon2::Argon2::from(weak);
    let weak =
        argon2::PasswordHasher::hash_password_with_salt(&weak, PASSWORD.as_bytes(), &[7; 16]);
    sqlx::query("update account set password_hash = $1")
        .bind(weak.expect("a hash").to_string())
        .execute(&app.db.owner)
        .await
        .unwrap();
    log_in(&app, "ada@shop.example", "not the sentence")
        .await
        .problem("credentials_wrong");
    assert!(stored().await.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    log_in(&app, "ada@shop.example", PASSWORD).await.expect(200);
    assert!(stored().await.starts_with(now), "{}", stored().await);
    log_in(&app, "ada@shop.example", PASSWORD).await.expect(200);
}
