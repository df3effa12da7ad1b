//! The operations of the driver, each with the call of the SDK that it is about.
//!
//! Responsible for: operations and their answers.
//! Not responsible for: reading them (`main.rs`).

mod owners;
mod queries;

use std::{collections::BTreeMap, path::Path, time::Duration};

use prost::Message;
use serde_json::{Map, Value, json};
use spatialdb_schema::{Component as Kind, Schema};
use spatialdb_sdk::{
    AskError, Batch, Component, EntityId, Event, Found, NewEntities, Position, ReadError, SendError, Square,
    Ticket, View, ViewId, Worker, WorkerError, WorkerOptions, interest, v1,
};
use tokio::time::timeout;

use self::queries::{ask_of, view_of};
use crate::components::{AnyPosition, Hit, NAMES, with_component};

const POSITION: &str = "spatialdb.v1.Position";
/// How long `replica` listens for what is on its way.
const LISTEN: Duration = Duration::from_millis(5);

/// Why an operation failed.
pub(crate) struct Failed {
    pub(crate) reason: String,
    pub(crate) detail: String,
}

impl Failed {
    pub(crate) fn new(reason: &str, detail: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), detail: detail.into() }
    }
}

impl From<WorkerError> for Failed {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Refused { reason, detail, .. } => Self { reason, detail },
            WorkerError::Replaced { detail } => Self::new("SESSION_REPLACED", detail),
            other => Self::new("WORKER", other.to_string()),
        }
    }
}

impl From<SendError> for Failed {
    fn from(error: SendError) -> Self {
        Self::new("NOT_SENT", error.to_string())
    }
}

impl From<AskError> for Failed {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { reason, detail } => Self { reason, detail },
            other => Self::new("NOT_ANSWERED", other.to_string()),
        }
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::new("READ", error.to_string())
    }
}

type Done = Result<Value, Failed>;

/// One worker, and what it has heard and not yet told.
pub(crate) struct Driver {
    schema: Schema,
    worker: Option<Worker>,
    views: BTreeMap<u64, View>,
    rejections: Vec<Value>,
    events: Vec<Value>,
    events_missed: u64,
    /// What it heard of what it may write.
    told: Vec<String>,
    /// Updates to send when a loss is imminent.
    before_loss: Vec<Value>,
}

impl Driver {
    /// With the schema of the test world, for values as JSON.
    pub(crate) fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/schema");
        let schema = Schema::compile(&[folder])?;
        let (views, rejections, events, told, before_loss) = Default::default();
        let (worker, events_missed) = (None, 0);
        Ok(Self { schema, worker, views, rejections, events, events_missed, told, before_loss })
    }

    /// Does one operation.
    pub(crate) async fn run(&mut self, operation: &Value) -> Done {
        match text(&operation["op"]) {
            "connect" => self.connect(operation).await,
            "reserve" => self.reserve(operation).await,
            "create" => self.create(operation).await,
            "update" | "add" | "remove" | "delete" => self.write(operation).await,
            "decided" => self.decided().await,
            "subscribe" | "change_view" => self.look(operation).await,
            "end_view" => self.end_view(operation).await,
            "replica" => self.replica().await,
            "ask" => self.ask(operation).await,
            "interest" => self.interest(operation).await,
            "emit" => self.emit(operation).await,
            "events" => {
                self.hear_what_came().await?;
                let events = std::mem::take(&mut self.events);
                Ok(json!({"events": events, "missed": std::mem::take(&mut self.events_missed)}))
            }
            "densities" => self.densities(operation).await,
            "owned" => self.owned(operation).await,
            "owns" => self.owns(operation).await,
            "before_loss" => {
                self.before_loss = operation["writes"].as_array().cloned().unwrap_or_default();
                Ok(json!({}))
            }
            "authority" => {
                self.hear_what_came().await?;
                Ok(json!({"told": std::mem::take(&mut self.told)}))
            }
            "heartbeat" => {
                let tick = Duration::from_secs_f64(float(&operation["tick_ms"]) / 1000.0);
                self.worker()?.heartbeat(float(&operation["load"]), tick);
                Ok(json!({}))
            }
            "flags" => {
                self.hear_what_came().await?;
                Ok(json!({"flags": self.worker()?.welcomed().flags}))
            }
            "schema" => {
                self.hear_what_came().await?;
                let welcomed = self.worker()?.welcomed();
                let components: BTreeMap<String, &String> =
                    welcomed.components.iter().map(|(name, id)| (id.0.to_string(), name)).collect();
                Ok(json!({"digest": welcomed.schema_digest, "components": components}))
            }
            "wait_reconnected" => self.wait_reconnected().await,
            "close" => {
                if let Some(worker) = self.worker.take() {
                    worker.goodbye("").await;
                }
                Ok(json!({}))
            }
            other => Err(Failed::new("OPERATION_UNKNOWN", other)),
        }
    }

    async fn connect(&mut self, operation: &Value) -> Done {
        let mut options = WorkerOptions::from_env_or(text(&operation["type"]))
            .map_err(|error| Failed::new("OPTIONS", error.to_string()))?;
        options.name = text(&operation["name"]).to_owned();
        let worker = Worker::connect(options).await?;
        let welcomed = worker.welcomed();
        let answer = json!({"session": welcomed.session_id.to_string(), "name": welcomed.name});
        self.worker = Some(worker);
        Ok(answer)
    }

    async fn reserve(&mut self, operation: &Value) -> Done {
        let count = operation["count"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let asked = self.worker()?.reserve_ids(count).await?;
        loop {
            match self.next().await? {
                Event::IdsReserved { ticket, first, .. } if ticket == asked => {
                    return Ok(json!({"first": first.0.to_string()}));
                }
                Event::Rejected(refused) if refused.ticket == Some(asked) => {
                    return Err(Failed::new(&refused.reason, refused.detail));
                }
                _ => {}
            }
        }
    }

    async fn create(&mut self, operation: &Value) -> Done {
        let rows = operation["entities"].as_array().map_or(&[][..], Vec::as_slice);
        let is_chosen = rows.iter().any(|row| !row["id"].is_null());
        let mut new =
            if is_chosen { NewEntities::with_chosen_ids() } else { NewEntities::new(unique_request()) };
        for entity in rows {
            let row = match is_chosen {
                true => new.row_with_id(id(&entity["id"])),
                false => new.row(),
            };
            for (name, value) in entity["components"].as_object().into_iter().flatten() {
                let bytes = self.encode(name, value)?;
                if name == POSITION {
                    new.position(row, place(&bytes)?);
                } else {
                    with_component!(name.as_str(), C => new.component(row, &decode::<C>(&bytes)?))
                        .ok_or_else(|| unknown(name))?;
                }
            }
        }
        let asked = self.worker()?.create(new).await?;
        loop {
            if let Event::Created { ticket, entities, .. } = self.next().await?
                && ticket == asked
            {
                let ids: Vec<String> =
                    entities.iter().map(|entity| entity.map_or(0, |id| id.0).to_string()).collect();
                return Ok(json!({"ids": ids}));
            }
        }
    }

    async fn write(&mut self, operation: &Value) -> Done {
        let mut batch = Batch::new();
        self.put(text(&operation["op"]), operation, &mut batch)?;
        self.worker()?.send(&mut batch).await?;
        Ok(json!({}))
    }

    /// Puts one write into a batch.
    fn put(&self, op: &str, operation: &Value, batch: &mut Batch) -> Result<(), Failed> {
        let (entity, name) = (id(&operation["entity"]), text(&operation["component"]));
        match op {
            "delete" => {
                operation["entities"].as_array().into_iter().flatten().for_each(|one| batch.delete(id(one)));
            }
            "remove" if name == POSITION => batch.remove::<AnyPosition>(entity),
            "remove" => {
                with_component!(name, C => batch.remove::<C>(entity)).ok_or_else(|| unknown(name))?;
            }
            op => {
                let bytes = self.encode(name, &operation["value"])?;
                let is_add = op == "add";
                if name == POSITION {
                    let place = place(&bytes)?;
                    if is_add { batch.add_position(entity, place) } else { batch.set_position(entity, place) }
                } else {
                    let fields = fields_of(name, &operation["fields"])?;
                    with_component!(name, C => {
                        let value = decode::<C>(&bytes)?;
                        if is_add { batch.add(entity, &value) } else { batch.update_fields(entity, &fields, &value) }
                    })
                    .ok_or_else(|| unknown(name))?;
                }
            }
        }
        Ok(())
    }

    async fn decided(&mut self) -> Done {
        while self.worker()?.in_flight() > 0 {
            if let Event::Disconnected { error, .. } = self.next().await? {
                return Err(Failed::new("DISCONNECTED", error));
            }
        }
        self.hear_what_came().await?;
        Ok(json!({"rejections": std::mem::take(&mut self.rejections)}))
    }

    async fn look(&mut self, operation: &Value) -> Done {
        let number = operation["view"].as_u64().unwrap_or(0);
        let view = view_of(ViewId(number), operation)?;
        let asked: Ticket = self.worker()?.subscribe(view.clone()).await?;
        loop {
            match self.next().await? {
                Event::ViewReady { view: ready, entity_count } if ready.0 == number => {
                    self.views.insert(number, view);
                    return Ok(json!({"count": entity_count}));
                }
                Event::Rejected(refused) if refused.ticket == Some(asked) => {
                    return Err(Failed::new(&refused.reason, refused.detail));
                }
                _ => {}
            }
        }
    }

    async fn end_view(&mut self, operation: &Value) -> Done {
        let number = operation["view"].as_u64().unwrap_or(0);
        self.views.remove(&number);
        self.worker()?.end_view(ViewId(number)).await?;
        Ok(json!({}))
    }

    async fn replica(&mut self) -> Done {
        self.hear_what_came().await?;
        let schema = self.schema.clone();
        let replica = self.worker()?.replica();
        let mut entities = Map::new();
        for entity in replica.entities() {
            let mut components = Map::new();
            if let Some(position) = replica.position(entity) {
                components.insert(POSITION.to_owned(), place_json(&schema, position)?);
            }
            for name in NAMES {
                let found =
                    with_component!(name, C => replica.get::<C>(entity)?.map(|value| value.encode_to_vec()));
                if let Some(bytes) = found.flatten() {
                    components.insert(name.to_owned(), json_of(&schema, name, &bytes)?);
                }
            }
            entities.insert(entity.0.to_string(), Value::Object(components));
        }
        Ok(json!({"entities": entities}))
    }

    /// Asks all at once, and then waits for the answers.
    async fn ask(&mut self, operation: &Value) -> Done {
        let mut asked = Vec::new();
        for ask in operation["asks"].as_array().into_iter().flatten() {
            asked.push(self.worker()?.ask(ask_of(ask)?).await?);
        }
        let mut answers = Vec::new();
        for ticket in asked {
            answers.push(match self.worker()?.answer(ticket).await.map_err(Failed::from) {
                Ok(answer) => {
                    let found: Result<Vec<_>, _> =
                        answer.entities.iter().map(|one| self.found(one)).collect();
                    json!({"count": answer.match_count, "entities": found?})
                }
                Err(Failed { reason, detail }) => json!({"error": {"reason": reason, "detail": detail}}),
            });
        }
        Ok(json!({"answers": answers}))
    }

    fn found(&self, found: &Found) -> Done {
        let mut components = Map::new();
        if let Some(position) = found.position {
            components.insert(POSITION.to_owned(), place_json(&self.schema, position)?);
        }
        for name in NAMES {
            let value = with_component!(name, C => found.get::<C>()?.map(|value| value.encode_to_vec()));
            if let Some(bytes) = value.flatten() {
                components.insert(name.to_owned(), json_of(&self.schema, name, &bytes)?);
            }
        }
        let mut json = json!({"id": found.entity.0.to_string(), "components": components});
        if let Some(distance_m) = found.distance_m {
            json["distance_m"] = distance_m.into();
        }
        Ok(json)
    }

    async fn interest(&mut self, operation: &Value) -> Done {
        let views = operation["views"].as_array().into_iter().flatten();
        let views: Result<Vec<View>, Failed> = views.map(|view| view_of(ViewId(0), view)).collect();
        let mut batch = Batch::new();
        batch.add(id(&operation["entity"]), &interest(views?));
        self.worker()?.send(&mut batch).await?;
        Ok(json!({}))
    }

    async fn emit(&mut self, operation: &Value) -> Done {
        if text(&operation["event"]) != "probe.Hit" {
            return Err(Failed::new("EVENT_UNKNOWN", text(&operation["event"])));
        }
        let value = &operation["value"];
        let power = value["power"].as_i64().and_then(|power| i32::try_from(power).ok()).unwrap_or(0);
        let mut batch = Batch::new();
        batch.emit(id(&operation["entity"]), &Hit { power, by: text(&value["by"]).to_owned() });
        self.worker()?.send(&mut batch).await?;
        Ok(json!({}))
    }

    async fn densities(&mut self, operation: &Value) -> Done {
        self.hear_what_came().await?;
        let view = ViewId(operation["view"].as_u64().unwrap_or(0));
        let Some(map) = self.worker()?.replica().densities(view) else { return Ok(json!({"squares": []})) };
        let squares = map.iter().map(|(square, count)| {
            let Square { r#type, x, y } = square;
            json!({"type": r#type, "x": x, "y": y, "count": count})
        });
        Ok(json!({"square_m": map.square_m(), "squares": squares.collect::<Vec<_>>()}))
    }

    async fn wait_reconnected(&mut self) -> Done {
        while !matches!(self.next().await?, Event::Reconnected(_)) {}
        let mut unfilled: Vec<u64> = self.views.keys().copied().collect();
        while !unfilled.is_empty() {
            if let Event::ViewReady { view, .. } = self.next().await? {
                unfilled.retain(|number| *number != view.0);
            }
        }
        Ok(json!({"session": self.worker()?.welcomed().session_id.to_string()}))
    }

    /// Takes in what has come, without waiting for more than is on its way.
    async fn hear_what_came(&mut self) -> Result<(), Failed> {
        while let Ok(heard) = timeout(LISTEN, self.next()).await {
            heard?;
        }
        Ok(())
    }

    /// The next event; refusals are noted.
    async fn next(&mut self) -> Result<Event, Failed> {
        let event = self.worker()?.next_event().await?;
        self.hear_of_authority(&event).await?;
        if let Event::Rejected(refused) = &event {
            let component = refused.component.and_then(|id| self.schema.component(id)).map_or("", Kind::name);
            let entity = refused.entity.map_or(0, |entity| entity.0).to_string();
            self.rejections.push(json!({"reason": refused.reason, "entity": entity, "component": component}));
        }
        if let Event::Frame(frame) = &event {
            for event in &frame.events {
                if let Some(Hit { power, by }) = event.get::<Hit>()? {
                    let mut value = Map::new();
                    if power != 0 {
                        value.insert("power".to_owned(), power.into());
                    }
                    if !by.is_empty() {
                        value.insert("by".to_owned(), by.into());
                    }
                    let entity = event.entity.0.to_string();
                    self.events.push(json!({"entity": entity, "event": "probe.Hit", "value": value}));
                }
            }
            self.events_missed += frame.events_missed.iter().map(|missed| missed.count).sum::<u64>();
        }
        Ok(event)
    }

    fn worker(&mut self) -> Result<&mut Worker, Failed> {
        self.worker.as_mut().ok_or_else(|| Failed::new("NOT_CONNECTED", "connect first"))
    }

    fn encode(&self, name: &str, value: &Value) -> Result<Vec<u8>, Failed> {
        let kind = self.schema.component_named(name).map_err(|_| unknown(name))?;
        kind.from_json(value).map_err(|error| Failed::new("PAYLOAD_INVALID", error.to_string()))
    }
}

fn json_of(schema: &Schema, name: &str, bytes: &[u8]) -> Done {
    let kind = schema.component_named(name).map_err(|_| unknown(name))?;
    kind.to_json(bytes).map_err(|error| Failed::new("PAYLOAD_INVALID", error.to_string()))
}

fn place_json(schema: &Schema, Position { space, point }: Position) -> Done {
    let wire = v1::Position { space: space.0, x: point.x, y: point.y, z: point.z };
    json_of(schema, POSITION, &wire.encode_to_vec())
}

fn decode<C: Component>(bytes: &[u8]) -> Result<C, Failed> {
    C::decode(bytes).map_err(|error| Failed::new("PAYLOAD_INVALID", error.to_string()))
}

fn place(bytes: &[u8]) -> Result<Position, Failed> {
    let wire =
        v1::Position::decode(bytes).map_err(|error| Failed::new("PAYLOAD_INVALID", error.to_string()))?;
    let point = spatialdb_sdk::Point3::new(wire.x, wire.y, wire.z);
    Ok(Position { space: spatialdb_sdk::SpaceId(wire.space), point })
}

/// Numbers of fields by name: a Rust worker knows them from its schema, so they are written out here.
fn fields_of(component: &str, fields: &Value) -> Result<Vec<u32>, Failed> {
    let number = |field: &Value| match (component, text(field)) {
        ("probe.Vitals", "hp") | ("spatialdb.v1.Metadata", "type") => Ok(1),
        ("probe.Vitals", "label") | ("spatialdb.v1.Metadata", "name") => Ok(2),
        ("probe.Vitals", "alive") => Ok(3),
        ("probe.Vitals", "marks") => Ok(4),
        ("probe.Vitals", "seal") => Ok(5),
        ("probe.Vitals", "awake") => Ok(6),
        ("probe.Vitals", "legs") => Ok(8),
        ("probe.Vitals", "stock") => Ok(9),
        (_, other) => Err(Failed::new("FIELD_UNKNOWN", format!("{component} has no field {other}"))),
    };
    fields.as_array().into_iter().flatten().map(number).collect()
}

fn unique_request() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

fn unknown(name: &str) -> Failed {
    Failed::new("COMPONENT_UNKNOWN", format!("no component {name}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn id(value: &Value) -> EntityId {
    EntityId(text(value).parse().unwrap_or(0))
}
