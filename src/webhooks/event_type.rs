//! What is told of.

macro_rules! types {
    ($(#[doc = $doc:literal] $name:ident = $text:literal;)*) => {
        /// What an event tells of. Its data has the names of the resource in the interface, as it is then; of
        /// orders, payments and refunds amounts are in minor units.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventType {
            $(#[doc = $doc] $name,)*
        }

        impl EventType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What it tells of: a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $doc.trim_ascii_start(),)*
                }
            }
        }
    };
}

types! {
    /// A sale or a refund was recorded.
    SaleRecorded = "sale.recorded";
    /// Sales of the merchant were sealed in a batch.
    BatchSealed = "batch.sealed";
    /// A batch with sales of the merchant is on a chain for good.
    AnchorFinalized = "anchor.finalized";
    /// An order was placed.
    OrderCreated = "order.created";
    /// An order was paid.
    OrderPaid = "order.paid";
    /// An order was cancelled, or was not paid in time.
    OrderCancelled = "order.cancelled";
    /// Money of an order was given back.
    OrderRefunded = "order.refunded";
    /// Somebody of the shop has to look at an order.
    OrderParked = "order.parked";
    /// Somebody of the shop has dealt with a parked order.
    OrderUnparked = "order.unparked";
    /// A payment was declined or failed; once for the same words in a row.
    PaymentFailed = "payment.failed";
    /// A payment that came too late was given back.
    PaymentReturned = "payment.returned";
    /// A refund did not reach the customer, or somebody has to look at it.
    RefundFailed = "refund.failed";
    /// A member earned points.
    PointsEarned = "points.earned";
    /// A member redeemed points.
    PointsRedeemed = "points.redeemed";
    /// Redeemed points were given back.
    PointsGivenBack = "points.given_back";
    /// Points that a sale had earned were taken back with its refund.
    PointsClawedBack = "points.clawed_back";
    /// Points were changed by an administrator.
    PointsAdjusted = "points.adjusted";
    /// Points were lost with age.
    PointsExpired = "points.expired";
    /// An endpoint was disabled, because it answered 410 or failed for days.
    EndpointDisabled = "webhook_endpoint.disabled";
    /// Nothing happened: an administrator tests an endpoint.
    Ping = "ping";
}

impl EventType {
    /// The type with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == name)
    }
}
