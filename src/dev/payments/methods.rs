//! The means of payment that there are: Stripe's names in test mode, and two of our own for what takes its
//! time.

use crate::payments::object::Decline;

/// What comes of paying with one.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The money is there.
    Pays,
    /// The issuer refuses.
    Declines(Decline),
    /// The customer authenticates first.
    Authenticates,
    /// It takes its time, and ends well or not.
    TakesTime {
        /// Whether well.
        well: bool,
    },
}

/// What comes of sending money back to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// It is there at once.
    Arrives,
    /// It arrives after a while.
    ArrivesLater,
    /// It seems to be there, and comes back after a while.
    Fails,
}

/// Those that are offered on the page, with what comes of them for people.
pub(super) const OFFERED: [(&str, &str); 6] = [
    ("pm_card_visa", "a card that pays"),
    (
        "pm_card_authenticationRequired",
        "a card that asks its bank",
    ),
    ("pm_card_visa_chargeDeclined", "a card that is declined"),
    (
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "a card without money",
    ),
    ("pm_local_processing", "one that takes some seconds"),
    (
        "pm_local_processingFails",
        "one that takes some seconds and fails",
    ),
];

/// What comes of paying; none for what is no means of payment here.
pub(super) fn outcome(method: &str) -> Option<Outcome> {
    Some(match method {
        "pm_card_visa"
        | "pm_card_mastercard"
        | "pm_card_amex"
        | "pm_card_refundFail"
        | "pm_card_pendingRefund" => Outcome::Pays,
        "pm_card_visa_chargeDeclined" | "pm_card_chargeDeclined" => Outcome::Declines(decline(
            "card_declined",
            Some("generic_decline"),
            "Your card was declined.",
        )),
        "pm_card_visa_chargeDeclinedInsufficientFunds"
        | "pm_card_chargeDeclinedInsufficientFunds" => Outcome::Declines(decline(
            "card_declined",
            Some("insufficient_funds"),
            "Your card has insufficient funds.",
        )),
        "pm_card_chargeDeclinedExpiredCard" => {
            Outcome::Declines(decline("expired_card", None, "Your card has expired."))
        }
        "pm_card_authenticationRequired"
        | "pm_card_threeDSecureRequired"
        | "pm_card_threeDSecure2Required" => Outcome::Authenticates,
        "pm_local_processing" => Outcome::TakesTime { well: true },
        "pm_local_processingFails" => Outcome::TakesTime { well: false },
        _ => return None,
    })
}

/// What comes of sending money back.
pub(super) fn back(method: &str) -> Back {
    match method {
        "pm_card_refundFail" => Back::Fails,
        "pm_card_pendingRefund" => Back::ArrivesLater,
        _ => Back::Arrives,
    }
}

/// Why a payment that takes its time fails.
pub(super) fn fails_later() -> Decline {
    decline(
        "payment_intent_payment_attempt_failed",
        None,
        "The payment did not go through.",
    )
}

/// Why a customer who did not authenticate has not paid.
pub(super) fn not_authenticated() -> Decline {
    decline(
        "payment_intent_authentication_failure",
        None,
        "You could not be authenticated. Please choose another means of payment.",
    )
}

fn decline(code: &str, decline_code: Option<&str>, message: &str) -> Decline {
    Decline {
        code: code.to_owned(),
        decline_code: decline_code.map(str::to_owned),
        message: message.to_owned(),
    }
}
