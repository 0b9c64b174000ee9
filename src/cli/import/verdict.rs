//! What the server's answer says of each line of a batch.

use serde::Deserialize;
use serde_json::Value;

use super::lines::Item;
use crate::cli::client::ProblemBody;

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

#[derive(Deserialize)]
pub(super) struct ItemAnswer {
    status: u16,
    #[serde(default)]
    replayed: bool,
    body: Value,
}

/// Takes down the verdicts; what is left open, and why, is to be sent again.
pub(super) fn settle(
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
pub(super) fn is_passing(status: u16) -> bool {
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
