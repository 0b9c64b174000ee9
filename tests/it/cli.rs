//! The program as a shell starts it: the binary itself, on services of its own.

pub(crate) mod anchored_day;
mod first_order;
mod importing;
pub(crate) mod program;
mod starting;
mod telling;
