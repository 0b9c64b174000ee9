//! Batches on their way to the server: sent again while that may help, cut in two where one line spoils
//! the rest.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::lines::Item;
use crate::cli::client::{Api, ProblemBody, Refusal};
use crate::clock::Entropy;

/// The pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, unless the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Faults of a refused line that are named.
const FAULTS_NAMED: usize = 5;

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is a sale now.
    Recorded,
    /// It was one before; or it became one, and the answer that said so was lost.
    AlreadyThere,
    /// The server does not take it, for this reason.
    Refused(String),
}

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
    Later {
        why: String,
        after: Option<Duration>,
    },
    /// The server takes none of it as it is.
    Unfit(Refusal),
}

#[derive(Deserialize)]
struct BatchAnswer {
    items: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    status: u16,
    #[serde(default)]
    replayed: bool,
    body: Value,
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
        let mut pause = FIRST_PAUSE;
        let mut settled_at = Instant::now();
        while let Some(mut items) = waiting.pop() {
            if items.is_empty() {
                continue;
            }
            let (why, after) = match self.attempt(&items).await? {
                Attempt::Answered(answers) => {
                    let open = settle(items, answers, verdicts);
                    pause = FIRST_PAUSE;
                    let Some((open, why)) = open else {
                        settled_at = Instant::now();
                        continue;
                    };
                    waiting.push(open);
                    (why, None)
                }
                Attempt::Unfit(refusal) if items.len() == 1 => {
                    verdicts.extend(
                        items
                            .into_iter()
                            .map(|item| (item.number, Verdict::Refused(refusal.to_string()))),
                    );
                    continue;
                }
                Attempt::Unfit(_) => {
                    let second = items.split_off(items.len() / 2);
                    // the first half is the next to be sent
                    waiting.extend([second, items]);
                    continue;
                }
                Attempt::Later { why, after } => {
                    waiting.push(items);
                    (why, after)
                }
            };
            let pause_now = after.unwrap_or_default().max(self.jittered(pause));
            if settled_at.elapsed() + pause_now > self.give_up_after {
                let advice = "nothing doubles when the same command is run again";
                return Err(anyhow::anyhow!("{why}"))
                    .context(format!("nothing was recorded for too long; {advice}"));
            }
            if pause >= LONGEST_PAUSE {
                note(&format!("waiting: {why}"));
            }
            sleep(pause_now).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
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
            Err(error) => {
                return Ok(Attempt::Later {
                    why: chain_of(&error),
                    after: None,
                });
            }
        };
        if response.status() == StatusCode::OK {
            let answer = match response.bytes().await {
                Ok(answer) => answer,
                Err(error) => {
                    return Ok(Attempt::Later {
                        why: chain_of(&error),
                        after: None,
                    });
                }
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
            let after = refusal.retry_after.map(Duration::from_secs);
            return Ok(Attempt::Later {
                why: refusal.to_string(),
                after,
            });
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

/// Takes down the verdicts; what is left open, and why, is to be sent again.
fn settle(
    items: Vec<Item>,
    answers: Vec<ItemAnswer>,
    verdicts: &mut Vec<(u64, Verdict)>,
) -> Option<(Vec<Item>, String)> {
    let why = answers
        .iter()
        .find(|answer| is_passing(answer.status))
        .map(reason);
    let mut open = Vec::new();
    for (item, answer) in items.into_iter().zip(answers) {
        let retryable = answer.body["retryable"].as_bool().unwrap_or(false);
        let verdict = match answer.status {
            200 | 201 if answer.replayed => Verdict::AlreadyThere,
            200 | 201 => Verdict::Recorded,
            status if retryable && is_passing(status) => {
                open.push(item);
                continue;
            }
            // a refund of a sale that was put off waits with it
            _ if retryable && why.is_some() => {
                open.push(item);
                continue;
            }
            _ => Verdict::Refused(reason(&answer)),
        };
        verdicts.push((item.number, verdict));
    }
    why.filter(|_| !open.is_empty()).map(|why| (open, why))
}

/// Whether a status says nothing of the request itself: in flight, too many, or the server's own trouble.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..=599)
}

/// An item's problem in a line: status, code, and where.
fn reason(answer: &ItemAnswer) -> String {
    let Ok(problem) = ProblemBody::deserialize(&answer.body) else {
        return format!("refused with {}", answer.status);
    };
    let mut text = format!("{} {}: {}", answer.status, problem.code, problem.detail);
    for fault in problem
        .errors
        .iter()
        .filter(|fault| !fault.pointer.is_empty())
        .take(FAULTS_NAMED)
    {
        let detail = if fault.detail == problem.detail {
            ""
        } else {
            &fault.detail
        };
        let colon = if detail.is_empty() { "" } else { ": " };
        text.push_str(&format!(
            "; {} {}{colon}{detail}",
            fault.pointer, fault.code
        ));
    }
    text
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
    use serde_json::json;

    fn item(number: u64) -> Item {
        Item {
            number,
            text: "{}".to_owned(),
        }
    }

    fn answer(status: u16, replayed: bool, code: &str, retryable: bool) -> ItemAnswer {
        let problem = json!({"code": code, "detail": "d", "request_id": "r", "retryable": retryable,
            "errors": [{"pointer": "/amount/value", "code": code, "detail": "d"}]});
        ItemAnswer {
            status,
            replayed,
            body: problem,
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
    fn each_answer_is_a_verdict_or_another_attempt() {
        let items = (1..=5).map(item).collect();
        let answers = vec![
            answer(201, false, "", false),
            answer(201, true, "", false),
            answer(422, false, "money_negative", false),
            answer(409, false, "idempotency_in_flight", true),
            answer(422, false, "refund_sale_unknown", true),
        ];
        let mut verdicts = Vec::new();
        let (open, why) = settle(items, answers, &mut verdicts).unwrap();
        assert_eq!(
            open.iter().map(|item| item.number).collect::<Vec<_>>(),
            [4, 5]
        );
        assert!(why.contains("idempotency_in_flight"));
        let refused =
            Verdict::Refused("422 money_negative: d; /amount/value money_negative".to_owned());
        assert_eq!(
            verdicts,
            [
                (1, Verdict::Recorded),
                (2, Verdict::AlreadyThere),
                (3, refused)
            ]
        );
    }

    #[test]
    fn what_only_another_line_can_mend_is_not_waited_for() {
        let mut verdicts = Vec::new();
        let answers = vec![
            answer(422, false, "refund_sale_unknown", true),
            answer(409, false, "order_exists", false),
        ];
        assert!(settle(vec![item(1), item(2)], answers, &mut verdicts).is_none());
        assert!(
            verdicts
                .iter()
                .all(|(_, verdict)| matches!(verdict, Verdict::Refused(_))),
            "{verdicts:?}"
        );
    }
}
