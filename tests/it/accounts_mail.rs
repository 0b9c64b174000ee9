//! A new password by mail, and the sending of mails.

use std::path::PathBuf;
use std::time::Duration;

use counterfoil::accounts::mail::{self, Mailer, Outcome};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::limits;
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::accounts::log_in;
use crate::harness::{Answer, App, PASSWORD, Running};

const EMAIL: &str = "ada@shop.example";
const FROM: &str = "Shop <no-reply@shop.example>";
const NEW: &str = "a longer sentence is better";

/// What sends the mails of a test: the worker's step, into a directory.
pub(crate) struct PostOffice {
    pool: PgPool,
    directory: PathBuf,
    mailer: Mailer,
    clock: Clock,
}

impl PostOffice {
    pub(crate) fn new(app: &App, clock: &Clock) -> Self {
        let id = uuid::Uuid::from_bytes(Entropy::system().bytes()).simple();
        let directory = std::env::temp_dir().join(format!("counterfoil-mail-{id}"));
        let page = Some("https://shop.example/password".to_owned());
        let mailer = Mailer::directory(directory.clone(), FROM, page).expect("a mailer");
        Self {
            pool: app.db.pool(DatabaseRole::Worker),
            directory,
            mailer,
            clock: clock.clone(),
        }
    }

    pub(crate) async fn step(&self) -> Result<Outcome, mail::StepError> {
        mail::step(&self.pool, &self.mailer, &self.clock, &Entropy::system()).await
    }

    /// Sends what is to be sent; the mails that there are.
    pub(crate) async fn deliver(&self) -> Vec<String> {
        while self.step().await.expect("a step") != Outcome::Nothing {}
        let files = std::fs::read_dir(&self.directory).into_iter().flatten();
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a mail");
        files.iter().map(read).collect()
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The token that a mail carries.
pub(crate) fn token_of(mail: &str) -> String {
    let at = mail.find("cf_reset_").expect("a token");
    mail[at..]
        .split_whitespace()
        .next()
        .expect("a token")
        .to_owned()
}

pub(crate) async fn set_password(app: &App, token: &str, password: &str) -> Answer {
    let body = json!({"token": token, "password": password});
    let nobody = app.admin.with_key(None);
    nobody.send_json("/v1/auth/password/reset", &body).await
}

async fn forget(app: &App, url: &str, email: &str) -> Answer {
    let body = json!({"merchant_id": app.merchant.to_string(), "email": email});
    let nobody = app.admin.with_key(None).at(url);
    nobody.send_json("/v1/auth/password/forgotten", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_once() {
    let app = App::start().await;
    let ada = app.customer_called(EMAIL).await;
    let post = PostOffice::new(&app, &Clock::system());
    let refresh = log_in(&app, EMAIL, PASSWORD).await.json()["tokens"]["refresh_token"].clone();
    forget(&app, &app.server.url, "ADA@shop.example")
        .await
        .expect(202);
    let mails = post.deliver().await;
    let [mail] = mails.as_slice() else {
        panic!("{mails:?}");
    };
    for part in [
        "From: Shop <no-reply@shop.example>",
        "To: ADA@shop.example",
        "Subject: Shop: a new password",
        "https://shop.example/password#token=cf_reset_",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    let token = token_of(mail);
    let dump: String = sqlx::query_scalar(
        "select (select string_agg(t::text, '') from account_token t)
             || coalesce((select string_agg(m::text, '') from account_mail m), '')",
    )
    .fetch_one(&app.db.owner)
    .await
    .unwrap();
    assert!(
        !dump.contains(&token[token.len() - 26..]),
        "a token is stored"
    );

    set_password(&app, &token, "short")
        .await
        .problem("password_unfit");
    set_password(&app, &token, EMAIL)
        .await
        .problem("password_unfit");
    set_password(&app, &token, NEW).await.expect(204);
    set_password(&app, &token, "and one more sentence")
        .await
        .problem("reset_token_over");
    log_in(&app, EMAIL, PASSWORD)
        .await
        .problem("credentials_wrong");
    log_in(&app, EMAIL, NEW).await.expect(200);
    // whoever was in is out
    let body = json!({"refresh_token": refresh});
    let nobody = app.admin.with_key(None);
    nobody
        .send_json("/v1/auth/refresh", &body)
        .await
        .problem("refresh_token_invalid");
    crate::harness::eventually("its access ends", async || {
        (ada.get("/v1/me").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_whether_an_address_is_known() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let post = PostOffice::new(&app, &Clock::system());
    let known = forget(&app, &app.server.url, EMAIL).await.expect(202);
    let unknown = forget(&app, &app.server.url, "eve@shop.example")
        .await
        .expect(202);
    assert_eq!(known.text, unknown.text);
    let names = |answer: &Answer| -> Vec<String> {
        answer
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect()
    };
    assert_eq!(names(&known), names(&unknown));
    // the same rows are written for both; only who sends the mail finds out
    let rows: i64 = sqlx::query_scalar("select count(*) from account_mail")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(rows, 2);
    let outcomes = [post.step().await.unwrap(), post.step().await.unwrap()];
    assert!(outcomes.contains(&Outcome::Sent) && outcomes.contains(&Outcome::NobodysAddress));
    assert_eq!(post.deliver().await.len(), 1);
    // nor by how often it may be asked
    for email in [EMAIL, "eve@shop.example"] {
        forget(&app, &app.server.url, email).await.expect(202);
        forget(&app, &app.server.url, email).await.expect(202);
        let refused = forget(&app, &app.server.url, email).await;
        assert!((590..=600).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
        refused.problem("too_many_attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_resets_at_once_one_counts() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let post = PostOffice::new(&app, &Clock::system());
    for _ in 0..2 {
        forget(&app, &app.server.url, EMAIL).await.expect(202);
    }
    let tokens: Vec<String> = post
        .deliver()
        .await
        .iter()
        .map(|mail| token_of(mail))
        .collect();
    assert_eq!(tokens.len(), 2);
    // the same token, and one token beside another of the account
    let tries = [
        (&tokens[0], "one sentence of mine"),
        (&tokens[0], "two sentences of mine"),
        (&tokens[1], "three sentences of mine"),
    ];
    let resets = tries.map(|(token, password)| set_password(&app, token, password));
    let answers = futures_util::future::join_all(resets).await;
    let done: Vec<usize> = (0..3).filter(|&at| answers[at].status == 204).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    for (at, (_, password)) in tries.iter().enumerate() {
        let entered = log_in(&app, EMAIL, password).await;
        assert_eq!(entered.status, if done.contains(&at) { 200 } else { 401 });
        if !done.contains(&at) {
            answers[at].problem("reset_token_over");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_mail_is_good_for_twenty_minutes() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let clock = Clock::manual(Clock::system().now());
    let server = Running::start(&app.db, clock.clone()).await;
    let post = PostOffice::new(&app, &clock);
    forget(&app, &server.url, EMAIL).await.expect(202);
    let token = token_of(&post.deliver().await[0]);
    clock.advance(limits::RESET_TIME);
    let body = json!({"token": token, "password": NEW});
    let late = app.admin.with_key(None).at(&server.url);
    late.send_json("/v1/auth/password/reset", &body)
        .await
        .problem("reset_token_over");
    for made_up in [
        "",
        "cf_reset_",
        &token[..token.len() - 1],
        &token.to_uppercase(),
    ] {
        set_password(&app, made_up, NEW)
            .await
            .problem("reset_token_over");
    }
    // by the other server's clock it is good still, and with another secret it never was
    let guessed = format!("{}{}", &token[..token.len() - 26], "0".repeat(26));
    set_password(&app, &guessed, NEW)
        .await
        .problem("reset_token_over");
    set_password(&app, &token, NEW).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_sent_is_tried_again_for_a_day() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let clock = Clock::manual(Clock::system().now() + Duration::from_secs(1));
    let mut post = PostOffice::new(&app, &clock);
    let works = post.mailer.clone();
    // nobody listens there
    post.mailer = Mailer::smtp(&"smtp://127.0.0.1:1".into(), FROM, None).expect("a mailer");
    forget(&app, &app.server.url, EMAIL).await.expect(202);
    post.step().await.expect_err("no mail server");
    assert_eq!(post.step().await.unwrap(), Outcome::Nothing, "not at once");
    clock.advance(Duration::from_secs(60));
    post.step().await.expect_err("no mail server");
    clock.advance(Duration::from_secs(119));
    assert_eq!(
        post.step().await.unwrap(),
        Outcome::Nothing,
        "and later each time"
    );
    clock.advance(Duration::from_secs(1));
    post.mailer = works;
    let mails = post.deliver().await;
    assert_eq!(mails.len(), 1);
    set_password(&app, &token_of(&mails[0]), NEW)
        .await
        .expect(204);

    forget(&app, &app.server.url, EMAIL).await.expect(202);
    clock.advance(limits::MAIL_TIME + Duration::from_secs(60));
    assert_eq!(post.step().await.unwrap(), Outcome::GivenUp);
    assert_eq!(post.step().await.unwrap(), Outcome::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_to_a_mail_server_as_smtp_has_it() {
    let app = App::start().await;
    app.customer_called(EMAIL).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    let mut post = PostOffice::new(&app, &Clock::system());
    post.mailer = Mailer::smtp(&url.into(), FROM, None).expect("a mailer");
    let server = tokio::spawn(take_mail(listener));
    forget(&app, &app.server.url, EMAIL).await.expect(202);
    assert_eq!(post.step().await.unwrap(), Outcome::Sent);
    let said = server.await.expect("a conversation");
    for line in [
        "MAIL FROM:<no-reply@shop.example>",
        "RCPT TO:<ada@shop.example>",
    ] {
        assert!(said.contains(line), "{said}");
    }
    set_password(&app, &token_of(&said), NEW).await.expect(204);

    // a mail holds a token, so it crosses no network as it is
    for plain in [
        "smtp://mail.example:25",
        "smtp://mail.example:587?tls=opportunistic",
    ] {
        let refused = Mailer::smtp(&plain.into(), FROM, None).expect_err(plain);
        assert!(matches!(refused, mail::MailError::Plain), "{refused}");
    }
    for good in [
        "smtps://u:p@mail.example",
        "smtp://mail.example:587?tls=required",
    ] {
        Mailer::smtp(&good.into(), FROM, None).expect(good);
    }
}

/// A mail server that takes one mail: all that it was told.
async fn take_mail(listener: TcpListener) -> String {
    let (stream, _) = listener.accept().await.expect("a caller");
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut said = String::new();
    let mut in_mail = false;
    write
        .write_all(b"220 mail.example\r\n")
        .await
        .expect("an answer");
    while let Some(line) = lines.next_line().await.expect("a line") {
        said.push_str(&line);
        said.push('\n');
        let answer: &[u8] = match line.as_str() {
            "." if in_mail => {
                in_mail = false;
                b"250 taken\r\n"
            }
            _ if in_mail => continue,
            "DATA" => {
                in_mail = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 yes\r\n",
        };
        write.write_all(answer).await.expect("an answer");
        if line == "QUIT" || said.ends_with("\n.\n") {
            break;
        }
    }
    said
}
