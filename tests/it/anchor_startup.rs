//! When anchoring refuses to begin.
