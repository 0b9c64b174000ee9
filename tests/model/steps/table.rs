//! The table. The drill stands in it wherever a process dies or a database ends at a moment that nobody
//! chose: it does both at every step, and audits what became of it.

/// The drill: SIGKILL, a crash of Postgres and RPCs that break, at any moment.
const DRILL: &str = "whatever_breaks_each_sale_is_anchored_once_on_each_chain";

/// Calls that leave the process, and the tests in `tests/it` of what may become of them.
pub(super) struct Step {
    /// The names that are called.
    pub(super) calls: &'static [&'static str],
    /// It failed; it happened and was told as failed (nothing, for what changes nothing); the process died
    /// before it; the process died after it.
    pub(super) faults: [&'static [&'static str]; 4],
}

pub(super) const STEPS: &[Step] = &[
    // what a chain is asked: heads, nonces, receipts, roots, fees
    Step {
        calls: &[
            "anchored_at",
            "anchored_within",
            "balance",
            "block",
            "block_at",
            "chain_id",
            "code_hash",
            "estimate_gas",
            "fees",
            "finalized",
            "gas_price",
            "included",
            "knows",
            "latest",
            "next_batch",
            "nonce",
            "owner",
            "publisher",
            "raw_transaction",
            "receipt",
            "root_of",
            "roots_of",
        ],
        faults: [
            &[
                "an_unreachable_chain_stops_nothing_but_anchoring",
                "with_one_of_two_down_nothing_becomes_final_and_all_else_goes_on",
                DRILL,
            ],
            &[],
            &[DRILL],
            &[DRILL],
        ],
    },
    Step {
        calls: &["send_raw"],
        faults: [
            &[
                "a_dropped_transaction_is_sent_again",
                "a_broadcast_that_failed_is_decided_by_the_chain",
            ],
            &["a_broadcast_that_failed_is_decided_by_the_chain", DRILL],
            &[DRILL],
            &[
                "a_worker_anchors_what_is_recorded_whatever_fails_meanwhile",
                DRILL,
            ],
        ],
    },
    Step {
        calls: &["sign"],
        faults: [
            &["a_reservation_that_was_not_signed_is_signed_by_the_next_step"],
            &["a_reservation_that_was_not_signed_is_signed_by_the_next_step"],
            &[
                "a_reservation_that_was_not_signed_is_signed_by_the_next_step",
                DRILL,
            ],
            &[
                "a_reservation_that_was_not_signed_is_signed_by_the_next_step",
                DRILL,
            ],
        ],
    },
    // of a batch, a reservation, signed bytes, a block that was seen
    Step {
        calls: &["commit"],
        faults: [
            &[
                "a_commit_that_was_told_as_failed_is_decided_by_what_is_stored",
                "a_seal_that_is_cut_off_is_done_by_the_next_step",
                DRILL,
            ],
            &["a_commit_that_was_told_as_failed_is_decided_by_what_is_stored"],
            &["a_seal_that_is_cut_off_is_done_by_the_next_step", DRILL],
            &["a_kill_at_any_moment_loses_and_doubles_nothing", DRILL],
        ],
    },
    // Redis
    Step {
        calls: &["put"],
        faults: [
            &["a_storm_makes_each_sale_once_and_every_answer_the_same"],
            &[],
            &["a_storm_makes_each_sale_once_and_every_answer_the_same"],
            &["a_storm_makes_each_sale_once_and_every_answer_the_same"],
        ],
    },
];
