//! Each failure twice: "did not happen" and "happened but was reported as failed". After each the same
//! steps find out where things stand.
