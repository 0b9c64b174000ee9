//! The SQL of webhooks. Every function takes a connection; none begins or commits.

pub mod deliveries;
pub mod endpoints;
pub mod events;
