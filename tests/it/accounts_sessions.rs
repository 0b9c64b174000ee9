//! Sessions: refresh tokens that are good once, what happens when one comes twice, and how a session ends.

use std::time::Duration;

use counterfoil::clock::Clock;
use counterfoil::limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::log_in;
use crate::harness::{Answer, App, Client, PASSWORD, Running, eventually};

const EMAIL: &str = "ada@shop.example";

/// A session of a new account: its tokens, and a server whose clock is the test's.
struct Session {
    app: App,
    server: Running,
    clock: Clock,
    tokens: Value,
}

impl Session {
    async fn open() -> Self {
        let app = App::start().await;
        app.customer_called(EMAIL).await;
        let clock = Clock::manual(Clock::system().now());
        let server = Running::start(&app.db, clock.clone()).await;
        let tokens = log_in(&app, EMAIL, PASSWORD).await.expect(200).json()["tokens"].clone();
        Self {
            app,
            server,
            clock,
            tokens,
        }
    }

    fn nobody(&self) -> Client {
        self.app.admin.with_key(None).at(&self.server.url)
    }

    async fn refresh(&self, token: &str) -> Answer {
        refresh(&self.nobody(), token).await
    }

    fn first(&self) -> String {
        text(&self.tokens, "refresh_token")
    }

    async fn ended_by(&self) -> Option<String> {
        let id = text(&self.tokens, "session_id");
        let rows: Vec<(Option<String>, uuid::Uuid)> =
            sqlx::query_as("select ended_by, session_id from session")
                .fetch_all(&self.app.db.owner)
                .await
                .expect("the sessions");
        let row = rows
            .into_iter()
            .find(|row| counterfoil::ids::SessionId(row.1).to_string() == id);
        row.expect("the session").0
    }
}

async fn refresh(client: &Client, token: &str) -> Answer {
    let body = json!({"refresh_token": token});
    client.send_json("/v1/auth/refresh", &body).await
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().expect(name).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_another_refresh_token_each_time() {
    let it = Session::open().await;
    let mut token = it.first();
    for _ in 0..3 {
        it.clock.advance(Duration::from_secs(700));
        let answer = it.refresh(&token).await.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let tokens = answer.json();
        assert_eq!(tokens["session_id"], it.tokens["session_id"]);
        assert_ne!(text(&tokens, "refresh_token"), token);
        let ada = it.nobody().with_key(tokens["access_token"].as_str());
        ada.get("/v1/me").await.expect(200);
        token = text(&tokens, "refresh_token");
    }
    assert_eq!(it.ended_by().await, None);
    // nothing of a token is stored
    let dump: String = sqlx::query_scalar("select string_agg(s::text, '') from session s")
        .fetch_one(&it.app.db.owner)
        .await
        .unwrap();
    assert!(!dump.contains(&token[token.len() - 26..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_comes_twice_ends_the_session_for_both() {
    let it = Session::open().await;
    let stolen = it.first();
    let second = text(
        &it.refresh(&stolen).await.expect(200).json(),
        "refresh_token",
    );
    it.clock
        .advance(limits::REFRESH_GRACE + Duration::from_millis(1));
    it.refresh(&stolen).await.problem("refresh_token_reused");
    assert_eq!(it.ended_by().await.as_deref(), Some("reused"));
    it.refresh(&second).await.problem("refresh_token_invalid");
    let ada = it.nobody().with_key(it.tokens["access_token"].as_str());
    eventually("its access ends", async || {
        (ada.get("/v1/me").await.status == 401).then_some(())
    })
    .await;
    // and no other session of the account
    log_in(&it.app, EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_can_be_asked_for_again() {
    let it = Session::open().await;
    let first = it.first();
    let (one, other) = tokio::join!(it.refresh(&first), it.refresh(&first));
    let (one, other) = (one.expect(200).json(), other.expect(200).json());
    assert_eq!(one["refresh_token"], other["refresh_token"]);
    it.clock.advance(limits::REFRESH_GRACE);
    let again = it.refresh(&first).await.expect(200).json();
    assert_eq!(again["refresh_token"], one["refresh_token"]);
    assert_eq!(again["refresh_expires_at"], one["refresh_expires_at"]);
    // once the next one was used, nobody waits for that answer any more
    let second = text(&one, "refresh_token");
    it.refresh(&second).await.expect(200);
    it.refresh(&first).await.problem("refresh_token_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_refresh_token_ends_nothing() {
    let it = Session::open().await;
    let good = it.first();
    let (head, secret) = good.split_at(good.len() - 26);
    let (session, family) = head.split_at(head.len() - 26);
    let zeros = "0".repeat(26);
    for bad in [
        format!("{session}{zeros}{secret}"),
        format!("{session}{zeros}{zeros}"),
        format!("{}{zeros}{family}{secret}", &session[..session.len() - 26]),
        good.to_uppercase(),
        format!("{good}0"),
        "é".repeat(52),
        String::new(),
    ] {
        it.refresh(&bad).await.problem("refresh_token_invalid");
        let leave = json!({"refresh_token": bad});
        it.nobody()
            .send_json("/v1/auth/logout", &leave)
            .await
            .expect(204);
    }
    it.refresh(&good).await.expect(200);
    // an access token is no refresh token, and the other way round
    let access = text(&it.tokens, "access_token");
    it.refresh(&access).await.problem("refresh_token_invalid");
    let wrong = it.nobody().with_key(Some(&good));
    wrong.get("/v1/me").await.problem("unauthenticated");
    // one of the family with a secret that never was has been made by whoever saw one
    let forged = format!("{head}{zeros}");
    it.refresh(&forged).await.problem("refresh_token_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_goes_on_with_is_over() {
    let it = Session::open().await;
    let mut token = it.first();
    // nearly the whole idle time, again and again, until the session itself is too old
    let step = limits::SESSION_IDLE - Duration::from_secs(60);
    for _ in 0..6 {
        it.clock.advance(step);
        token = text(
            &it.refresh(&token).await.expect(200).json(),
            "refresh_token",
        );
    }
    it.clock.advance(Duration::from_secs(7 * 60));
    it.refresh(&token).await.problem("refresh_token_invalid");

    let other = log_in(&it.app, EMAIL, PASSWORD).await.expect(200).json();
    let idle = Clock::manual(Clock::system().now());
    let server = Running::start(&it.app.db, idle.clone()).await;
    idle.advance(limits::SESSION_IDLE + Duration::from_secs(1));
    let token = text(&other["tokens"], "refresh_token");
    refresh(&it.nobody().at(&server.url), &token)
        .await
        .problem("refresh_token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_out_is_out() {
    let it = Session::open().await;
    let leave = json!({"refresh_token": it.first()});
    for _ in 0..2 {
        it.nobody()
            .send_json("/v1/auth/logout", &leave)
            .await
            .expect(204);
    }
    it.refresh(&it.first())
        .await
        .problem("refresh_token_invalid");
    assert_eq!(it.ended_by().await.as_deref(), Some("logged_out"));

    // everywhere
    let sessions = [
        log_in(&it.app, EMAIL, PASSWORD).await.json()["tokens"].clone(),
        log_in(&it.app, EMAIL, PASSWORD).await.json()["tokens"].clone(),
    ];
    let stays = it.app.customer().await;
    let ada = it.nobody().with_key(sessions[0]["access_token"].as_str());
    ada.send(Method::DELETE, "/v1/me/sessions", &[], "")
        .await
        .expect(204);
    for session in &sessions {
        let token = text(session, "refresh_token");
        it.refresh(&token).await.problem("refresh_token_invalid");
    }
    stays.get("/v1/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_as_narrow_as_it_was_opened() {
    let it = Session::open().await;
    let narrow = json!({"merchant_id": it.app.merchant.to_string(), "email": EMAIL, "password": PASSWORD,
        "scope": "sales:record"});
    let opened = it
        .nobody()
        .send_json("/v1/auth/login", &narrow)
        .await
        .expect(200)
        .json();
    // a customer may not record, and this session may do nothing else
    assert_eq!(opened["tokens"]["scope"], "");
    let token = text(&opened["tokens"], "refresh_token");
    let refreshed = it.refresh(&token).await.expect(200).json();
    assert_eq!(refreshed["scope"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session() {
    let it = Session::open().await;
    let other = log_in(&it.app, EMAIL, PASSWORD).await.expect(200).json()["tokens"].clone();
    let ada = it.app.admin.with_key(other["access_token"].as_str());
    let change = async |from: &str, to: &str| {
        let body = json!({"current_password": from, "new_password": to});
        ada.send_json("/v1/me/password", &body).await
    };
    change("not the sentence", "another sentence")
        .await
        .problem("credentials_wrong");
    let faults = change(&"x".repeat(257), "short").await.faults();
    assert_eq!(
        faults,
        [
            ("/current_password".to_owned(), "text_too_long".to_owned()),
            ("/new_password".to_owned(), "password_unfit".to_owned()),
        ]
    );
    // of two at once one finds the password as it was
    let (one, two) = tokio::join!(
        change(PASSWORD, "another sentence"),
        change(PASSWORD, "yet another sentence")
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401]);
    it.refresh(&it.first())
        .await
        .problem("refresh_token_invalid");
    assert_eq!(it.ended_by().await.as_deref(), Some("password"));
    it.refresh(&text(&other, "refresh_token")).await.expect(200);
    log_in(&it.app, EMAIL, PASSWORD)
        .await
        .problem("credentials_wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_keys_are_rotated_without_ending_a_session() {
    let it = Session::open().await;
    let (old, new) = (crate::harness::TOKEN_KEY, "02".repeat(32));
    let start = async |keys: Option<&str>| {
        let rpc = crate::harness::rpc_url();
        Running::with_accounts(&it.app.db, it.clock.clone(), |pool, site| {
            crate::harness::accounts_with(pool, site, keys, &rpc)
        })
        .await
    };
    let knows_both = start(Some(&format!("{old}\n{new}"))).await;
    let signs_new = start(Some(&format!("{new}\n{old}"))).await;
    let knows_new = start(Some(&new)).await;
    let nobody = it.nobody();
    let ada = nobody.with_key(it.tokens["access_token"].as_str());
    ada.at(&signs_new.url).get("/v1/me").await.expect(200);
    ada.at(&knows_new.url)
        .get("/v1/me")
        .await
        .problem("unauthenticated");
    let refreshed = refresh(&nobody.at(&signs_new.url), &it.first())
        .await
        .expect(200)
        .json();
    let ada = nobody.with_key(refreshed["access_token"].as_str());
    for server in [&knows_both, &signs_new, &knows_new] {
        ada.at(&server.url).get("/v1/me").await.expect(200);
    }
    ada.get("/v1/me").await.problem("unauthenticated");

    // without keys nobody signs in, and keys of the API work
    let without = start(None).await;
    let nobody = nobody.at(&without.url);
    let body =
        json!({"merchant_id": it.app.merchant.to_string(), "email": EMAIL, "password": PASSWORD});
    for path in ["/v1/auth/login", "/v1/auth/register"] {
        nobody
            .send_json(path, &body)
            .await
            .problem("accounts_not_configured");
    }
    nobody
        .get("/.well-known/jwks.json")
        .await
        .problem("accounts_not_configured");
    ada.at(&without.url)
        .get("/v1/me")
        .await
        .problem("unauthenticated");
    let forgotten = json!({"merchant_id": it.app.merchant.to_string(), "email": EMAIL});
    nobody
        .send_json("/v1/auth/password/forgotten", &forgotten)
        .await
        .problem("mail_not_configured");
    it.app
        .admin
        .at(&without.url)
        .get("/v1/sales")
        .await
        .expect(200);
}
