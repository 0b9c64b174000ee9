//! `counterfoil demo`
