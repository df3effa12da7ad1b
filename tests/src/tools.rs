//! The world as tools see it: asked once, compared with what a session sees.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use prost::Message;
use spatialdb_proto::v1;
use tonic::Status;

use crate::{Client, DEADLINE, Replica, Value, World, eventually};

/// How long a session may be behind a query before the query is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl World {
    /// Which entities meet the constraint, with all their components.
    pub async fn query(&self, constraint: v1::Constraint) -> BTreeMap<u64, BTreeMap<u32, Value>> {
        let request = v1::QueryRequest { constraint: Some(constraint), ..v1::QueryRequest::default() };
        let pages = self.pages(request).await.expect("a query");
        let values = |entity: &v1::Entity| entity.components.iter().map(value_of).collect();
        pages.iter().flat_map(|page| &page.entities).map(|entity| (entity.entity, values(entity))).collect()
    }

    /// How many entities meet the constraint.
    pub async fn count(&self, constraint: v1::Constraint) -> u64 {
        let request =
            v1::QueryRequest { constraint: Some(constraint), count_only: true, ..Default::default() };
        let pages = self.pages(request).await.expect("a query");
        pages.last().expect("a page").match_count
    }

    /// Every page of an answer.
    ///
    /// # Errors
    /// What the server says.
    pub async fn pages(&self, request: v1::QueryRequest) -> Result<Vec<v1::QueryPage>, Status> {
        let mut stream = self.tools().await.query(request).await?.into_inner();
        let mut pages = Vec::new();
        while let Some(page) = stream.message().await? {
            pages.push(page);
        }
        assert!(pages.last().is_some_and(|page| page.last), "the last page says so");
        assert!(pages.iter().rev().skip(1).all(|page| !page.last), "no other page does");
        Ok(pages)
    }

    /// One entity as it is now.
    ///
    /// # Errors
    /// What the server says.
    pub async fn entity(&self, entity: u64) -> Result<v1::Entity, Status> {
        let answer = self.tools().await.get_entity(v1::GetEntityRequest { entity }).await?;
        Ok(answer.into_inner())
    }

    /// A component of one entity as it is now.
    ///
    /// # Panics
    /// If it is not there, or no `T`.
    pub async fn component<T: Message + Default>(&self, entity: u64, component: u32) -> T {
        let found = self.entity(entity).await.expect("it is there");
        let value = found.components.iter().find(|value| value.id == component).expect("it has it");
        T::decode(value_of(value).1.bytes).expect("it fits the schema")
    }

    /// The sessions that are open.
    pub async fn sessions(&self) -> Vec<v1::SessionInfo> {
        let answer = self.tools().await.list_sessions(v1::ListSessionsRequest {}).await;
        answer.expect("an answer").into_inner().sessions
    }

    /// Waits until a session is as `wanted` says.
    pub async fn session(
        &self,
        what: &str,
        wanted: impl Fn(&v1::SessionInfo) -> bool + Copy,
    ) -> v1::SessionInfo {
        eventually(what, || async move { self.sessions().await.into_iter().find(wanted) }).await
    }

    /// Waits until what the session sees is what the query says.
    ///
    /// A query asks each partition at its own instant, so it may miss an entity that is between two of them, or find
    /// it twice: it is asked again until the world is at rest.
    ///
    /// # Panics
    /// If that does not come about: then with the first difference.
    pub async fn agrees(&self, client: &mut Client, constraint: v1::Constraint) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let wanted = self.query(constraint.clone()).await;
            let same = |replica: &Replica| !replica.more && replica.entities == wanted;
            let news = async {
                while !same(&client.replica) {
                    assert!(client.message().await.is_some(), "the session ended");
                }
            };
            if tokio::time::timeout(ASK_AGAIN, news).await.is_ok() {
                return;
            }
            let differ = difference(&client.replica, &wanted);
            assert!(Instant::now() < deadline, "view and query differ: {differ}");
        }
    }
}

fn difference(replica: &Replica, wanted: &BTreeMap<u64, BTreeMap<u32, Value>>) -> String {
    let ids: std::collections::BTreeSet<_> = replica.entities.keys().chain(wanted.keys()).collect();
    let differs = |id: &&&u64| replica.entities.get(**id) != wanted.get(**id);
    let Some(id) = ids.iter().find(differs) else { return "nothing".to_owned() };
    let (seen, is) = (replica.entities.get(*id), wanted.get(*id));
    format!("entity {id}: the view has {seen:?}, the query {is:?}")
}

fn value_of(value: &v1::ComponentValue) -> (u32, Value) {
    let any = value.value.as_ref().expect("a value");
    assert_eq!(any.type_url, format!("type.googleapis.com/{}", value.name));
    (value.id, Value { revision: value.revision, bytes: any.value.clone().into() })
}

/// Asks over plain HTTP/1.1. Gives status line and headers, and the body.
///
/// # Panics
/// If there is no answer in time.
pub fn http_get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}
