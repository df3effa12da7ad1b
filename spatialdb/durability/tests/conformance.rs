//! What every storage does, and the same for all of them.

mod conformance {
    pub(crate) mod kinds;
    mod model;
    mod suite;
}
