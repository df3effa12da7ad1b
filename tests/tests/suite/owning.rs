//! What tests of authority have their owners write.

use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{Client, VITALS, Vitals, column, new_rows, position_rows, positions};

/// Other hit points, as the client knows that it owns the entity.
pub(crate) fn hp(client: &Client, entity: u64, hp: i32) -> Body {
    Body::Update(v1::Update {
        authority_seen: client.owned.number,
        columns: vec![column(VITALS, [(entity, Vitals::hp(hp).bytes())])],
        ..v1::Update::default()
    })
}

/// Another place, likewise.
pub(crate) fn moves(client: &Client, entity: u64, x: f64) -> Body {
    Body::Update(v1::Update {
        authority_seen: client.owned.number,
        positions: vec![positions(&[(entity, x, 500.0)])],
        ..v1::Update::default()
    })
}

/// New entities with hit points. Gives their ids.
pub(crate) async fn made(client: &mut Client, at: &[(f64, f64)]) -> Vec<u64> {
    let columns = vec![new_rows(VITALS, at.iter().map(|_| Vitals::full().bytes()))];
    let create = v1::Create {
        count: at.len() as u32,
        positions: vec![position_rows(at)],
        columns,
        ..Default::default()
    };
    client.create(create).await
}
