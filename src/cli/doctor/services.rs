//! Redis, and the interface under the address that customers know.

use std::time::Duration;

use anyhow::Context;
use reqwest::{StatusCode, Url};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Checks;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::ids::MerchantId;

/// How long a service may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often Redis is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// How long what is written for the test stays, where it is not read.
const KEPT: Duration = Duration::from_secs(10);

/// Whether what is written into Redis can be read.
pub(super) async fn check_redis(url: Option<&SecretString>, pool: &PgPool, checks: &mut Checks) {
    let Some(url) = url else {
        checks.ok("redis", "none was given, and nothing depends on one");
        return;
    };
    let cache = match Cache::open(url, Clock::system()) {
        Ok(cache) => cache,
        Err(error) => {
            checks.fail("redis", error.to_string());
            return;
        }
    };
    let stop = CancellationToken::new();
    let _stopping = stop.clone().drop_guard();
    let (watched, pool) = (cache.clone(), pool.clone());
    tokio::spawn(async move { watched.watch(&pool, stop).await });
    let answers = async {
        loop {
            if let Some(key) = cache.key(MerchantId(Uuid::nil()), "doctor", "test") {
                cache.put(&key, b"1", KEPT).await;
                if cache.get(&key).await.is_some() {
                    return;
                }
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    };
    match tokio::time::timeout(ANSWER_TIME, answers).await {
        Ok(()) => checks.ok("redis", "keeps what is written into it"),
        Err(_) => checks.warn(
            "redis",
            "does not answer, or keeps nothing: all works without it, only slower; look at its log",
        ),
    }
}

/// The interface: ready, and saying of the installation what the database says.
pub(super) async fn check_public(url: Option<Url>, pool: &PgPool, checks: &mut Checks) {
    let Some(url) = url else {
        checks.not_checked("interface", "its address was not given (--public-url)");
        return;
    };
    match ask(&url, "readyz").await {
        Ok((StatusCode::OK, _)) => checks.ok("interface", format!("{url} records sales")),
        Ok((status, body)) => {
            let detail = body["detail"].as_str().unwrap_or_default().to_owned();
            checks.fail(
                "interface",
                format!("{url} is not ready ({status}): {detail}"),
            );
        }
        Err(error) => {
            checks.fail("interface", format!("{error:#}: does `serve` run there?"));
            return;
        }
    }
    match trust_file(&url, pool).await {
        Ok(()) => checks.ok(
            "trust file",
            "names the registries and merchants of the database",
        ),
        Err(error) => checks.fail("trust file", format!("{error:#}")),
    }
}

async fn ask(url: &Url, path: &str) -> anyhow::Result<(StatusCode, Value)> {
    let http = reqwest::Client::builder().timeout(ANSWER_TIME).build()?;
    let mut address = url.clone();
    address.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    let answer = http.get(address).send().await;
    let answer = answer.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or(Value::Null)))
}

async fn trust_file(url: &Url, pool: &PgPool) -> anyhow::Result<()> {
    let (status, said) = ask(url, ".well-known/counterfoil.json").await?;
    anyhow::ensure!(
        status == StatusCode::OK,
        "/.well-known/counterfoil.json answers {status}"
    );
    let mut conn = pool.acquire().await?;
    let merchants = sqlx::query_scalar!("select merchant_id from merchant order by merchant_id")
        .fetch_all(&mut *conn)
        .await?;
    let registries = sqlx::query_scalar!(
        r#"select 'eip155:' || chain_id || ':0x' || encode(address, 'hex') as "registry!"
           from registry order by first_batch, chain_id"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let listed = |list: &str, field: &str| -> Vec<String> {
        let entries = said[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = entries.iter().filter_map(|entry| entry[field].as_str());
        texts.map(str::to_owned).collect()
    };
    let merchants: Vec<String> = merchants
        .into_iter()
        .map(|id| MerchantId(id).to_string())
        .collect();
    anyhow::ensure!(
        listed("merchants", "merchant_id") == merchants
            && listed("registries", "registry") == registries,
        "/.well-known/counterfoil.json names other registries or merchants than the database has: is the \
         interface on another database, or a copy of the file stale?"
    );
    Ok(())
}
