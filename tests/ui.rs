//! What `backend_config!` says of a mistake: one file a mistake, the message beside it.
//!
//! `TRYBUILD=overwrite cargo test -p qconfig-tests --test ui` writes the messages anew.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass.rs");
    cases.compile_fail("ui/*/*.rs");
}
