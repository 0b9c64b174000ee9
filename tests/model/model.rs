//! The rules of sealing and publishing as models: two workers that may crash anywhere, a chain that may
//! be reorganised, revert and cost more, in every order there is within small bounds. What is checked are
//! promises 4 and 10, each sale in one batch and each batch anchored once, in order; and that nothing is
//! a dead end: left alone, everything becomes final. Each rule is left out once, and the checker must
//! find what it is there for.

#[path = "model/publisher.rs"]
mod publisher;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/sealer.rs"]
mod sealer;
#[path = "model/world.rs"]
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use self::publisher::{Bounds, Publisher};
use self::rules::Broken;
use self::sealer::Sealer;

/// What breaks and what costs more: together they are too many orders for a test.
const BREAKS: Bounds = Bounds {
    signatures: 1,
    prices: 1,
    reorganisations: 2,
    failures: 1,
};
const COSTS: Bounds = Bounds {
    signatures: 2,
    prices: 2,
    reorganisations: 1,
    failures: 0,
};

/// Both, for what goes wrong early.
const ALL: Bounds = Bounds {
    failures: 1,
    ..COSTS
};

/// The rules that are left out, and what is lost with each.
const BROKEN: [(Broken, Bounds, &str); 12] = [
    (Broken::HeadUnguarded, BREAKS, publisher::ONE_ANCHOR),
    (Broken::SendBeforeKeep, BREAKS, publisher::OURS),
    (Broken::KeepUnguarded, ALL, publisher::ONE_ANCHOR),
    (Broken::KeepByNonce, BREAKS, publisher::NO_DEAD_END),
    (Broken::ReplacementWidens, COSTS, publisher::NO_DEAD_END),
    (Broken::NoReplacement, COSTS, publisher::NO_DEAD_END),
    (Broken::SendOnce, BREAKS, publisher::NO_DEAD_END),
    (Broken::MinedIsFinal, BREAKS, publisher::FINAL),
    (Broken::RevertedEarly, BREAKS, publisher::OURS),
    (Broken::NullIsAbsent, BREAKS, publisher::OURS),
    (Broken::ReservationsStay, BREAKS, publisher::NO_DEAD_END),
    (Broken::BatchesStay, BREAKS, publisher::NO_DEAD_END),
];

#[test]
fn in_every_order_each_batch_is_anchored_once_and_nothing_is_a_dead_end() {
    for bounds in [BREAKS, COSTS] {
        let checker = Publisher(Broken::Nothing, bounds).checker().threads(2);
        let checker = checker.spawn_bfs().join();
        println!("{bounds:?}: {} states", checker.unique_state_count());
        checker.assert_no_discovery(publisher::ONE_ANCHOR);
        checker.assert_no_discovery(publisher::FINAL);
        checker.assert_no_discovery(publisher::OURS);
        checker.assert_no_discovery(publisher::IN_ORDER);
        checker.assert_no_discovery(publisher::NO_DEAD_END);
    }
}

#[test]
fn each_rule_that_is_left_out_is_missed() {
    for (broken, bounds, expected) in BROKEN {
        let found = HasDiscoveries::AllOf([expected].into());
        let checker = Publisher(broken, bounds)
            .checker()
            .threads(2)
            .finish_when(found);
        let checker = checker.spawn_bfs().join();
        println!("{broken:?}: {} states", checker.unique_state_count());
        assert!(
            checker.discovery(expected).is_some(),
            "{broken:?} does no harm"
        );
    }
}

#[test]
fn in_every_order_each_sale_is_in_one_batch() {
    let checker = Sealer { guarded: true }.checker().spawn_bfs().join();
    checker.assert_properties();
    let checker = Sealer { guarded: false }.checker().spawn_bfs().join();
    assert!(
        checker.discovery(sealer::ONE_BATCH).is_some(),
        "the guard is needed"
    );
}
