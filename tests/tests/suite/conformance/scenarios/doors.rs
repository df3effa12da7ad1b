//! Tokens and TLS, by the environment that every worker reads.

use serde_json::json;
use spatialdb_tests::{Certificates, Launch, World, run_in};

use super::super::driver::{Driver, Kind};

fn connect() -> serde_json::Value {
    json!({"op": "connect", "type": "conformance", "name": "anna"})
}

fn works(mut driver: Driver) {
    driver.ok(connect());
    assert_eq!(driver.create(json!([{"components": {}}])).len(), 1);
    driver.accepted();
    driver.close();
}

pub(crate) fn a_locked_world_lets_in_who_has_a_token(kind: Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |worker_type: &str| run_in(folder.path(), &["token", "new", "--worker", worker_type]).stdout;
    let (token, other) = (make("conformance"), make("other"));
    let file = folder.path().join("tokens.toml");
    let world = World::launch(Launch::probe().config(&format!("[server]\ntokens = {file:?}")));
    let start = |token: &str| Driver::start_with(kind, world.address(), &[("SPATIALDB_TOKEN", token)]);
    for (token, reason) in [("", "TOKEN_MISSING"), ("sdb_00_00", "TOKEN_INVALID"), (&other, "NOT_PERMITTED")]
    {
        assert_eq!(start(token).refused(connect()), reason, "{token}");
    }
    works(start(&token));
}

pub(crate) fn it_comes_in_encrypted(kind: Kind) {
    let certificates = Certificates::make();
    certificates.sign("server");
    let world = World::launch(Launch::probe().config(&certificates.settings("")));
    let ca = certificates.path("ca.pem").display().to_string();
    let https = format!("https://{}", world.address());
    match kind {
        // As in a browser: whom to trust is not the page's to say.
        Kind::TypeScriptWeb => works(Driver::start_with(kind, &https, &[("NODE_EXTRA_CA_CERTS", &ca)])),
        _ => works(Driver::start_with(kind, world.address(), &[("SPATIALDB_CA", &ca)])),
    }
}
