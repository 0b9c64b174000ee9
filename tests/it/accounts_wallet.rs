//! Signing in with an Ethereum account: with a real key, and with a real contract on the local chain.

use std::time::{Duration, Instant};

use alloy::primitives::Address;
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use counterfoil::clock::{Clock, Entropy, rfc3339_ms};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts_mail::{PostOffice, set_password, token_of};
use crate::harness::{
    Answer, App, CHAIN_ID, Client, PASSWORD, Running, TOKEN_KEY, accounts_with, rpc_url,
};

/// A key of nobody else's.
pub(crate) fn wallet() -> PrivateKeySigner {
    let key = Entropy::system().bytes::<32>();
    PrivateKeySigner::from_slice(&key).expect("a key")
}

/// A nonce of the merchant.
pub(crate) async fn nonce(app: &App, client: &Client) -> String {
    let body = json!({"merchant_id": app.merchant.to_string()});
    let given = client
        .send_json("/v1/auth/wallet/nonce", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(given["domains"], json!(["shop.example"]));
    assert_eq!(given["chain_ids"], json!([CHAIN_ID]));
    given["nonce"].as_str().expect("a nonce").to_owned()
}

/// The message that a wallet is asked to sign.
pub(crate) fn message(account: Address, nonce: &str) -> String {
    let now = rfc3339_ms(Clock::system().now());
    format!(
        "shop.example wants you to sign in with your Ethereum account:\n{}\n\nSign in to the shop.\n\n\
         URI: https://shop.example/login\nVersion: 1\nChain ID: {CHAIN_ID}\nNonce: {nonce}\nIssued At: {now}",
        account.to_checksum(None)
    )
}

pub(crate) fn sign(key: &PrivateKeySigner, message: &str) -> String {
    let signature = key
        .sign_message_sync(message.as_bytes())
        .expect("a signature");
    counterfoil_proofs::hex::encode(&signature.as_bytes())
}

async fn enter(app: &App, client: &Client, message: &str, signature: &str) -> Answer {
    let body = json!({"merchant_id": app.merchant.to_string(), "message": message, "signature": signature});
    client.send_json("/v1/auth/wallet/login", &body).await
}

/// Puts a contract on the local chain whose signatures are those of `owner`'s key:
///
/// ```solidity
/// address owner;
/// function isValidSignature(bytes32 hash, bytes calldata s) external view returns (bytes4) {
///     require(s.length == 65);
///     address signer = ecrecover(hash, uint8(s[64]), bytes32(s[0:32]), bytes32(s[32:64]));
///     return signer == owner && signer != address(0) ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
/// }
/// ```
async fn contract_of(owner: Address) -> Address {
    let contract = Address::from(Entropy::system().bytes::<20>());
    let owner = format!(
        "0x{:0>64}",
        &counterfoil_proofs::hex::encode(owner.as_slice())[2..]
    );
    rpc("anvil_setCode", json!([contract, CODE])).await;
    rpc("anvil_setStorageAt", json!([contract, "0x0", owner])).await;
    contract
}

/// That contract, as solc 0.8 compiles it for shanghai.
const CODE: &str = "0x608060405234801561000f575f5ffd5b5060043610610029575f3560e01c80631626ba7e1461002d575b5f5ffd5b61004061003b36600461015a565b61005d565b6040516001600160e01b0319909116815260200160405180910390f35b5f6041821461006a575f5ffd5b5f60018585856040818110610081576100816101cf565b919091013560f81c905061009860205f888a6101e3565b6100a19161020a565b6100af60406020898b6101e3565b6100b89161020a565b604080515f8152602081018083529590955260ff909316928401929092526060830152608082015260a0016020604051602081039080840390855afa158015610103573d5f5f3e3d5ffd5b5050604051601f1901515f549092506001600160a01b038084169116149050801561013657506001600160a01b03811615155b610148576001600160e01b0319610151565b630b135d3f60e11b5b95945050505050565b5f5f5f6040848603121561016c575f5ffd5b8335925060208401356001600160401b03811115610188575f5ffd5b8401601f81018613610198575f5ffd5b80356001600160401b038111156101ad575f5ffd5b8660208284010111156101be575f5ffd5b939660209190910195509293505050565b634e487b7160e01b5f52603260045260245ffd5b5f5f858511156101f1575f5ffd5b838611156101fd575f5ffd5b5050820193919092039150565b80356020831015610222575f19602084900360031b1b165b9291505056";

async fn rpc(method: &str, params: Value) {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let answer = http
        .post(rpc_url())
        .json(&call)
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert!(answer.get("error").is_none(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_signs_in_and_makes_its_account_once() {
    let app = App::start().await;
    let (nobody, key) = (app.admin.with_key(None), wallet());
    let text = message(key.address(), &nonce(&app, &nobody).await);
    let signature = sign(&key, &text);
    let made = enter(&app, &nobody, &text, &signature)
        .await
        .expect(201)
        .json();
    assert_eq!(made["account"]["role"], "customer");
    assert_eq!(
        made["account"]["wallet"],
        key.address().to_string().to_lowercase()
    );
    assert_eq!(
        (&made["account"]["email"], &made["account"]["has_password"]),
        (&Value::Null, &json!(false))
    );
    let it = nobody.with_key(made["tokens"]["access_token"].as_str());
    assert_eq!(it.get("/v1/me").await.expect(200).json(), made["account"]);
    // a nonce is good once
    enter(&app, &nobody, &text, &signature)
        .await
        .problem("wallet_nonce_over");

    let text = message(key.address(), &nonce(&app, &nobody).await);
    let signature = sign(&key, &text);
    // and also when it comes twice at once
    let (one, two) = tokio::join!(
        enter(&app, &nobody, &text, &signature),
        enter(&app, &nobody, &text, &signature)
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
    let again = if one.status == 200 { one } else { two }.json();
    assert_eq!(again["account"], made["account"]);
    // it has no password, and keeps its wallet
    it.send(Method::DELETE, "/v1/me/wallet", &[], "")
        .await
        .problem("wallet_needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_for_here_and_now_signs_nobody_in() {
    let app = App::start().await;
    let (nobody, key) = (app.admin.with_key(None), wallet());
    let given = nonce(&app, &nobody).await;
    let text = message(key.address(), &given);
    let chain = format!("Chain ID: {CHAIN_ID}");
    for (changed, code) in [
        (
            text.replace("shop.example", "evil.example"),
            "wallet_domain_unknown",
        ),
        (
            text.replace("https://shop", "https://evil"),
            "wallet_domain_unknown",
        ),
        (text.replace(&chain, "Chain ID: 1"), "wallet_chain_unknown"),
        (
            text.replace("Version: 1", "Version: 2"),
            "wallet_message_invalid",
        ),
        (
            format!("{text}\nExpiration Time: 2020-01-01T00:00:00Z"),
            "wallet_message_over",
        ),
        (
            format!("{text}\nNot Before: 2099-01-01T00:00:00Z"),
            "wallet_message_over",
        ),
        (
            text.replace(&given, "00000000000000000000000000"),
            "wallet_nonce_over",
        ),
        (text.replace("Sign in", &"x".repeat(4096)), "text_too_long"),
    ] {
        let refused = enter(&app, &nobody, &changed, &sign(&key, &changed)).await;
        refused.problem(code);
    }
    let signature = sign(&key, &text);
    for (given, code) in [
        (sign(&wallet(), &text), "wallet_signature_wrong"),
        (
            sign(&key, &text.replace("the shop", "a shop")),
            "wallet_signature_wrong",
        ),
        ("0x00".to_owned(), "wallet_signature_wrong"),
        (signature[2..].to_owned(), "wallet_signature_malformed"),
        (format!("{signature}0"), "wallet_signature_malformed"),
        ("0x".to_owned(), "wallet_signature_malformed"),
        (
            format!("0x{}", "00".repeat(4097)),
            "wallet_signature_malformed",
        ),
    ] {
        enter(&app, &nobody, &text, &given).await.problem(code);
    }
    // another merchant's nonce
    let (stranger, _) = app.stranger().await;
    let body =
        json!({"merchant_id": stranger.to_string(), "message": text, "signature": signature});
    let elsewhere = nobody.send_json("/v1/auth/wallet/login", &body).await;
    elsewhere.problem("wallet_nonce_over");
    // it was good all the time, until its five minutes are over
    let clock = Clock::manual(Clock::system().now() + Duration::from_secs(301));
    let later = Running::start(&app.db, clock).await;
    let late = enter(&app, &nobody.at(&later.url), &text, &signature).await;
    late.problem("wallet_nonce_over");
    enter(&app, &nobody, &text, &signature).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_signs_in_by_its_owners_key() {
    let app = App::start().await;
    let (nobody, owner) = (app.admin.with_key(None), wallet());
    let contract = contract_of(owner.address()).await;
    let text = message(contract, &nonce(&app, &nobody).await);
    let thief = sign(&wallet(), &text);
    enter(&app, &nobody, &text, &thief)
        .await
        .problem("wallet_signature_wrong");
    // the contract reverts at what is no signature to it
    enter(&app, &nobody, &text, "0x0102")
        .await
        .problem("wallet_signature_wrong");
    let made = enter(&app, &nobody, &text, &sign(&owner, &text))
        .await
        .expect(201)
        .json();
    let account = contract.to_string().to_lowercase();
    assert_eq!(made["account"]["wallet"], account);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_does_not_answer_is_waited_for_two_seconds() {
    let app = App::start().await;
    // it takes connections and never says a word
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let server = Running::with_accounts(&app.db, Clock::system(), |pool, site| {
        accounts_with(pool, site, Some(TOKEN_KEY), &address)
    })
    .await;
    let (nobody, owner) = (app.admin.with_key(None), wallet());
    let contract = contract_of(owner.address()).await;
    let text = message(contract, &nonce(&app, &nobody).await);
    let signature = sign(&owner, &text);
    let since = Instant::now();
    let refused = enter(&app, &nobody.at(&server.url), &text, &signature).await;
    let took = since.elapsed();
    assert_eq!(refused.header("retry-after"), "5");
    refused.problem("chain_unavailable");
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_millis(2800),
        "{took:?}"
    );
    // a key needs no chain
    let key = wallet();
    let own = message(key.address(), &nonce(&app, &nobody).await);
    enter(&app, &nobody.at(&server.url), &own, &sign(&key, &own))
        .await
        .expect(201);
    // nothing is lost by it: the nonce is good where the chain answers
    enter(&app, &nobody, &text, &signature).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_linked_to_an_account_that_shows_its_password() {
    let app = App::start().await;
    let (nobody, key) = (app.admin.with_key(None), wallet());
    let (ada, eve) = (app.customer().await, app.customer().await);
    let link = async |client: &Client, key: &PrivateKeySigner, password: Option<&str>| {
        let text = message(key.address(), &nonce(&app, &nobody).await);
        let mut body = json!({"message": text, "signature": sign(key, &text)});
        if let Some(password) = password {
            body["password"] = password.into();
        }
        client.send_json("/v1/me/wallet", &body).await
    };
    link(&ada, &key, None).await.problem("missing_field");
    link(&ada, &key, Some("not the sentence"))
        .await
        .problem("credentials_wrong");
    let linked = link(&ada, &key, Some(PASSWORD)).await.expect(200).json();
    assert_eq!(linked["wallet"], key.address().to_string().to_lowercase());
    link(&eve, &key, Some(PASSWORD))
        .await
        .problem("wallet_taken");

    let text = message(key.address(), &nonce(&app, &nobody).await);
    let entered = enter(&app, &nobody, &text, &sign(&key, &text))
        .await
        .expect(200)
        .json();
    assert_eq!(entered["account"], linked);
    // another in its place, and none
    link(&ada, &wallet(), Some(PASSWORD)).await.expect(200);
    link(&eve, &key, Some(PASSWORD)).await.expect(200);
    ada.send(Method::DELETE, "/v1/me/wallet", &[], "")
        .await
        .expect(204);
    assert_eq!(ada.get("/v1/me").await.json()["wallet"], Value::Null);
    // a key of the API has no wallet
    link(&app.admin, &wallet(), None).await.problem("forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_puts_no_other_wallet_in_its_place() {
    let app = App::start().await;
    let (nobody, key) = (app.admin.with_key(None), wallet());
    let text = message(key.address(), &nonce(&app, &nobody).await);
    let made = enter(&app, &nobody, &text, &sign(&key, &text)).await;
    let made = made.expect(201).json();
    let it = nobody.with_key(made["tokens"]["access_token"].as_str());
    let link = async |other: &PrivateKeySigner| {
        let text = message(other.address(), &nonce(&app, &nobody).await);
        let body = json!({"message": text, "signature": sign(other, &text)});
        it.send_json("/v1/me/wallet", &body).await
    };
    let signed_in = |minutes: i32| {
        sqlx::query("update session set created_at = now() - make_interval(mins => $1)")
            .bind(minutes)
            .execute(&app.db.owner)
    };
    signed_in(6).await.expect("a session");
    link(&wallet()).await.problem("sign_in_again");
    signed_in(4).await.expect("a session");
    link(&wallet()).await.expect(200);
}

/// Whoever knew the old password may have linked a wallet of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_reset_takes_the_wallet_away() {
    let app = App::start().await;
    let (nobody, key) = (app.admin.with_key(None), wallet());
    let ada = app.customer().await;
    let text = message(key.address(), &nonce(&app, &nobody).await);
    let body = json!({"message": text, "signature": sign(&key, &text), "password": PASSWORD});
    let linked = ada
        .send_json("/v1/me/wallet", &body)
        .await
        .expect(200)
        .json();
    let body = json!({"merchant_id": app.merchant.to_string(), "email": linked["email"]});
    nobody
        .send_json("/v1/auth/password/forgotten", &body)
        .await
        .expect(202);
    let mails = PostOffice::new(&app, &Clock::system()).deliver().await;
    set_password(&app, &token_of(&mails[0]), "another long sentence")
        .await
        .expect(204);
    // the wallet is nobody's, and makes an account of its own
    let text = message(key.address(), &nonce(&app, &nobody).await);
    let entered = enter(&app, &nobody, &text, &sign(&key, &text)).await;
    assert_ne!(entered.expect(201).json()["account"]["id"], linked["id"]);
}
