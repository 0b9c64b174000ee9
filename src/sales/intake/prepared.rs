//! A draft with what only the server adds.

use std::sync::Arc;

use counterfoil_proofs::leaf::Kind;

use super::Draft;
use super::queue::Load;
use crate::clock::{Clock, Entropy};
use crate::ids::SaleId;
use crate::loyalty::member::Member;
use crate::loyalty::points::Points;
use crate::loyalty::programme::Programme;
use crate::rates::exchange::{Conversion, Exchange};
use crate::sales::details::Supplement;

/// A draft that is ready to be recorded.
pub(super) struct Prepared {
    pub(super) draft: Draft,
    pub(super) sale_id: SaleId,
    pub(super) details: Vec<u8>,
    pub(super) details_hash: [u8; 32],
    pub(super) salt: [u8; 32],
    /// Whose points it earns and how many by itself, where it earns any.
    pub(super) earns: Option<(Member, Points)>,
    /// The programme's version that the details are written by, 0 for none.
    pub(super) programme: i32,
    details_salt: [u8; 32],
    rate: Option<Conversion>,
}

impl Prepared {
    /// Draws salts and an id, and converts the amount by the rate of now.
    pub(super) fn new(
        draft: Draft,
        programme: Option<&Arc<Programme>>,
        exchange: &Exchange,
        clock: &Clock,
        entropy: &Entropy,
    ) -> Self {
        let command = &draft.command;
        let rate = exchange.convert(command.amount_minor(), command.currency(), clock.now());
        let mut prepared = Self {
            sale_id: SaleId::new(clock, entropy),
            details: Vec::new(),
            details_hash: [0; 32],
            salt: entropy.bytes(),
            earns: None,
            programme: 0,
            details_salt: entropy.bytes(),
            rate,
            draft,
        };
        prepared.write_details(programme.map(Arc::as_ref));
        prepared
    }

    /// Writes the details by another version of the programme, unless they are.
    pub(super) fn follow(&mut self, programme: Option<&Programme>) {
        if self.programme != programme.map_or(0, |programme| programme.version) {
            self.write_details(programme);
        }
    }

    fn write_details(&mut self, programme: Option<&Programme>) {
        let command = &self.draft.command;
        let member = Member::of_sale(command.account(), command.customer());
        let member = member.filter(|_| command.kind() == Kind::Sale);
        let base = member
            .zip(programme)
            .map(|(_, programme)| programme.base(command.amount_minor(), command.currency()));
        let mut supplement = Supplement::new(base.as_ref(), self.rate.as_ref());
        self.earns = member.zip(base.map(|base| base.base));
        // the largest sale of all that was recorded without them must be the same when it is sent again
        if !command.details().has_room_for(&supplement) {
            supplement = Supplement::default();
            self.earns = None;
        }
        self.programme = programme.map_or(0, |programme| programme.version);
        self.details = command.details().salted(&self.details_salt, &supplement);
        self.details_hash = counterfoil_proofs::details::hash(&self.details);
    }

    /// What it holds in memory: the details twice, as bytes and parsed into more of them, and the rest.
    pub(super) fn load(&self) -> Load {
        Load::row(4 * self.details.len() + 1024)
    }
}
