//! The rules of a spec, one module a kind. Each says what it condemns once and marks it, so that what
//! depends on it is not reported again.

pub mod bounds;
pub mod configs;
pub mod kernels;
pub mod names;
pub mod patterns;
