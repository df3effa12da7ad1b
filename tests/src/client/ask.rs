//! What a client asks for and waits to be told.

use spatialdb_proto::v1::{self, client_message::Body};

use super::{Client, Outcome};

impl Client {
    /// Writes, and waits until all of it is decided.
    pub async fn write(&mut self, body: Body) -> Outcome {
        let seq = self.send(body).await;
        self.decided(seq).await
    }

    /// Waits until the message is decided.
    pub async fn decided(&mut self, seq: u64) -> Outcome {
        let counts = self.collapsed.len();
        self.until("the message is decided", |client| client.applied_seq >= seq).await;
        let rejections = self.rejections.iter().filter(|one| one.seq == seq).cloned().collect();
        Outcome { rejections, collapsed: self.collapsed[counts..].to_vec() }
    }

    /// Creates, and gives the ids.
    pub async fn create(&mut self, create: v1::Create) -> Vec<u64> {
        let seq = self.send(Body::Create(create)).await;
        self.decided(seq).await;
        self.until("the create is answered", |client| client.created.iter().any(|one| one.seq == seq)).await;
        self.created.iter().rev().find(|one| one.seq == seq).expect("answered").entities.clone()
    }

    /// Reserves ids, and gives the first.
    pub async fn reserve(&mut self, count: u32) -> u64 {
        let seq = self.send(Body::ReserveIds(v1::ReserveIds { count })).await;
        self.until("ids are reserved", |client| client.reserved.iter().any(|one| one.seq == seq)).await;
        let block = self.reserved.iter().find(|one| one.seq == seq).expect("answered");
        assert_eq!(block.count, count);
        block.first
    }

    /// Takes hold of a component, which is not refused. Gives the epoch of the hold.
    pub async fn hold(&mut self, entity: u64, component: u32, for_ms: u32) -> u64 {
        let outcome = self.write(Body::TakeHold(v1::TakeHold { entity, component, for_ms })).await;
        assert_eq!(outcome, Outcome::default());
        self.holds.last().expect("answered").epoch
    }

    /// Subscribes, and waits until the view is filled. Gives the number of entities that match.
    pub async fn subscribe(&mut self, view: v1::View) -> u64 {
        let fills = self.ready.len();
        let view_id = view.view_id;
        let outcome = self.write(Body::Subscribe(v1::Subscribe { view: Some(view) })).await;
        assert_eq!(outcome, Outcome::default());
        self.filled(view_id, fills).await
    }

    /// Changes a view, and waits until it is filled anew. Gives the number of entities that match.
    pub async fn change_view(&mut self, view: v1::View) -> u64 {
        let fills = self.ready.len();
        let view_id = view.view_id;
        let outcome = self.write(Body::ChangeView(v1::ChangeView { view: Some(view) })).await;
        assert_eq!(outcome, Outcome::default());
        self.filled(view_id, fills).await
    }

    /// Asks once, and gives all pages of the answer.
    pub async fn ask(&mut self, ask: v1::Ask) -> Vec<v1::Answer> {
        let seq = self.send(Body::Ask(ask)).await;
        let is_last = |client: &Self| client.answers.iter().any(|page| page.seq == seq && page.last);
        self.until("the answer", is_last).await;
        self.answers.iter().filter(|page| page.seq == seq).cloned().collect()
    }

    async fn filled(&mut self, view_id: u64, fills: usize) -> u64 {
        let is_it = |client: &Self| client.ready[fills..].iter().any(|ready| ready.view_id == view_id);
        self.until("the view is filled", is_it).await;
        self.ready[fills..].iter().find(|ready| ready.view_id == view_id).expect("filled").entity_count
    }
}
