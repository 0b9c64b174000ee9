//! Batches on their way to the server: sent again while that may help, cut in two where one line spoils
//! the rest.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::lines::Item;
use super::verdict::{ItemAnswer, Verdict, is_passing, settle};
use crate::cli::client::{Api, Refusal};
use crate::clock::Entropy;

/// The pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, unless the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often items may be answered with the server's own trouble before they count as refused, so that
/// one line that always fails does not keep back the rest of the file.
const ANSWERS: u32 = 8;

/// Sends batches.
pub(super) struct Upload {
    api: Api,
    give_up_after: Duration,
    entropy: Entropy,
}

/// What an attempt came to.
enum Attempt {
    /// Each item has an answer.
    Answered(Vec<ItemAnswer>),
    /// The server did not take the batch, whatever may have become of it.
    Later(Later),
    /// The server takes none of it as it is.
    Unfit(Refusal),
}

/// Why a batch is to be sent again.
struct Later {
    why: String,
    /// How long the server asks to be left alone.
    after: Option<Duration>,
    /// Whether less of it might be answered in time.
    took_too_long: bool,
}

impl Later {
    fn new(why: String) -> Self {
        Self {
            why,
            after: None,
            took_too_long: false,
        }
    }
}

impl From<reqwest::Error> for Later {
    fn from(error: reqwest::Error) -> Self {
        Self {
            why: chain_of(&error),
            after: None,
            took_too_long: error.is_timeout() && !error.is_connect(),
        }
    }
}

impl From<Refusal> for Later {
    fn from(refusal: Refusal) -> Self {
        Self {
            why: refusal.to_string(),
            after: refusal.retry_after.map(Duration::from_secs),
            took_too_long: refusal.code == "timeout",
        }
    }
}

/// What is left of it while nothing is settled.
struct Patience {
    /// When something was settled last.
    since: Instant,
    /// Attempts since.
    tries: u32,
    /// Those of them that the server answered item by item.
    answers: u32,
}

impl Patience {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            tries: 0,
            answers: 0,
        }
    }
}

#[derive(Deserialize)]
struct BatchAnswer {
    items: Vec<ItemAnswer>,
}

impl Upload {
    /// Sends to this API, and gives up when nothing is settled for that long.
    pub(super) fn new(api: Api, give_up_after: Duration) -> Self {
        Self {
            api,
            give_up_after,
            entropy: Entropy::system(),
        }
    }

    /// Sends a batch until each of its lines has a verdict. `note` is told what is waited for.
    ///
    /// # Errors
    /// When the key is not taken, nobody is there to take it, or the time is up. The verdicts so far
    /// stand.
    pub(super) async fn send(
        &self,
        batch: Vec<Item>,
        verdicts: &mut Vec<(u64, Verdict)>,
        note: &impl Fn(&str),
    ) -> anyhow::Result<()> {
        let mut waiting = vec![batch];
        let mut patience = Patience::new();
        while let Some(items) = waiting.pop() {
            if items.is_empty() {
                continue;
            }
            let later = match self.attempt(&items).await? {
                Attempt::Answered(answers) => {
                    let sent = items.len();
                    let Some((open, why)) = settle(items, answers, verdicts) else {
                        patience = Patience::new();
                        continue;
                    };
                    if open.len() < sent {
                        patience = Patience::new();
                    }
                    if patience.answers >= ANSWERS {
                        verdicts.extend(refused(open, &why));
                        continue;
                    }
                    patience.answers += 1;
                    waiting.push(open);
                    Later::new(why)
                }
                Attempt::Unfit(refusal) if items.len() == 1 => {
                    verdicts.extend(refused(items, &refusal.to_string()));
                    continue;
                }
                Attempt::Unfit(_) => {
                    waiting.extend(halves(items));
                    continue;
                }
                Attempt::Later(later) if later.took_too_long && items.len() > 1 => {
                    waiting.extend(halves(items));
                    later
                }
                Attempt::Later(later) => {
                    waiting.push(items);
                    later
                }
            };
            self.wait(&mut patience, &later, note).await?;
        }
        Ok(())
    }

    /// Waits before the next attempt: twice as long each time, and as long as the server asks for.
    async fn wait(
        &self,
        patience: &mut Patience,
        later: &Later,
        note: &impl Fn(&str),
    ) -> anyhow::Result<()> {
        let doubled = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(patience.tries));
        let pause = self.jittered(doubled.min(LONGEST_PAUSE));
        let pause = pause.max(later.after.unwrap_or_default());
        if patience.since.elapsed() + pause > self.give_up_after {
            return Err(anyhow::anyhow!("{}", later.why)).context(
                "nothing was recorded for too long; nothing doubles when the same command is run again",
            );
        }
        if doubled >= LONGEST_PAUSE {
            note(&format!("waiting: {}", later.why));
        }
        patience.tries += 1;
        sleep(pause).await;
        Ok(())
    }

    async fn attempt(&self, items: &[Item]) -> anyhow::Result<Attempt> {
        let request = self
            .api
            .request(Method::POST, &["v1", "sales:batch"])
            .header(header::CONTENT_TYPE, "application/json")
            .body(body(items));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Later(error.into())),
        };
        if response.status() == StatusCode::OK {
            let answer = match response.bytes().await {
                Ok(answer) => answer,
                Err(error) => return Ok(Attempt::Later(error.into())),
            };
            let answer: BatchAnswer = serde_json::from_slice(&answer)
                .context("the answer is not one of Counterfoil's")?;
            anyhow::ensure!(
                answer.items.len() == items.len(),
                "the server answered other items than were sent"
            );
            return Ok(Attempt::Answered(answer.items));
        }
        let refusal = Refusal::read(response).await;
        let status = refusal.status;
        let unfit = [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        // a connection that broke on the way is told as 400, and may hold the next time
        if is_passing(status.as_u16()) || refusal.code == "body_incomplete" {
            return Ok(Attempt::Later(refusal.into()));
        }
        if unfit.contains(&status) {
            return Ok(Attempt::Unfit(refusal));
        }
        Err(refusal.into())
    }

    /// Half to all of `pause`, so that those who were turned away together do not come back together.
    fn jittered(&self, pause: Duration) -> Duration {
        let part = u32::from(u16::from_le_bytes(self.entropy.bytes()));
        pause / 2 + pause / 2 * part / u32::from(u16::MAX)
    }
}

/// `{"items":[…]}` with the lines' own text.
fn body(items: &[Item]) -> Vec<u8> {
    let texts = items.iter().map(|item| item.text.len() + 1).sum::<usize>();
    let mut body = Vec::with_capacity(texts + 16);
    body.extend_from_slice(b"{\"items\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(item.text.as_bytes());
    }
    body.extend_from_slice(b"]}");
    body
}

/// Both halves, the first one last: the next to be sent.
fn halves(mut items: Vec<Item>) -> [Vec<Item>; 2] {
    let second = items.split_off(items.len() / 2);
    [second, items]
}

fn refused(items: Vec<Item>, why: &str) -> impl Iterator<Item = (u64, Verdict)> {
    items
        .into_iter()
        .map(move |item| (item.number, Verdict::Refused(why.to_owned())))
}

/// An error and what caused it, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u64) -> Item {
        Item {
            number,
            text: "{}".to_owned(),
        }
    }

    #[test]
    fn a_batch_holds_the_lines_as_they_are() {
        let items = [
            Item {
                number: 1,
                text: " {\"a\" : 1} ".to_owned(),
            },
            item(2),
        ];
        assert_eq!(body(&items), b"{\"items\":[ {\"a\" : 1} ,{}]}");
    }

    #[test]
    fn halves_keep_their_order() {
        let [second, first] = halves((1..=5).map(item).collect());
        let numbers = |items: Vec<Item>| items.iter().map(|item| item.number).collect::<Vec<_>>();
        assert_eq!(
            (numbers(first), numbers(second)),
            (vec![1, 2], vec![3, 4, 5])
        );
    }
}
