//! Which messages are components, and which are events of them.
//!
//! Responsible for: reading the two options, and the rules for ids.
//! Not responsible for: what the messages hold.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, EventId, Limits};

use crate::{component::Durability, error::SchemaError, places::Places};

/// The full name of the option that makes a message a component, and its number.
const OPTION_NAME: &str = "spatialdb.v1.component";
const OPTION_NUMBER: u32 = 50400;

/// The same for events.
const EVENT_OPTION_NAME: &str = "spatialdb.v1.event";
const EVENT_OPTION_NUMBER: u32 = 50401;

/// Import paths below this are spatialdb's own.
pub(crate) const BUILT_IN_PREFIX: &str = "spatialdb/v1/";

/// A message with a component option that keeps the rules.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) message: MessageDescriptor,
    pub(crate) durability: Durability,
}

/// `google.protobuf.MessageOptions`, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct ComponentOption {
    #[prost(message, optional, tag = "50400")]
    component: Option<v1::ComponentOptions>,
}

/// The same, of the other option.
#[derive(Clone, PartialEq, Message)]
struct EventOption {
    #[prost(message, optional, tag = "50401")]
    event: Option<v1::EventOptions>,
}

/// Every component by id.
pub(crate) fn components(
    pool: &DescriptorPool,
    places: &Places,
) -> Result<BTreeMap<ComponentId, Declared>, SchemaError> {
    refuse_other_meaning(pool, places, OPTION_NAME, OPTION_NUMBER)?;
    let mut found: BTreeMap<ComponentId, Declared> = BTreeMap::new();
    for message in pool.all_messages() {
        let option = read::<ComponentOption>(&message, OPTION_NAME, places)?;
        let Some(options) = option.component else { continue };
        let id = checked_id(&message, options.id, places)?;
        let durability = durability_of(&message, options.durability, places)?;
        if let Some(first) = found.get(&id) {
            return Err(duplicate(id, &first.message, &message, places));
        }
        found.insert(id, Declared { message, durability });
    }
    let limit = Limits::default().schema_components_max;
    if found.len() as u64 > limit {
        return Err(SchemaError::TooManyComponents { count: found.len(), limit });
    }
    Ok(found)
}

// Two extensions may share a number where neither imports the other; then the option could mean anything.
fn refuse_other_meaning(
    pool: &DescriptorPool,
    places: &Places,
    option: &'static str,
    number: u32,
) -> Result<(), SchemaError> {
    let clash = pool.all_extensions().find(|extension| {
        extension.number() == number
            && extension.full_name() != option
            && extension.containing_message().full_name() == "google.protobuf.MessageOptions"
    });
    let Some(extension) = clash else { return Ok(()) };
    let detail = format!("has number {number}, which is {option}; give it another number");
    Err(SchemaError::OptionInvalid {
        option,
        place: places.line(extension.parent_file().name(), None),
        message: extension.full_name().to_owned(),
        detail,
    })
}

fn read<O: Message + Default>(
    message: &MessageDescriptor,
    option: &'static str,
    places: &Places,
) -> Result<O, SchemaError> {
    let bytes = message.options().encode_to_vec();
    O::decode(bytes.as_slice()).map_err(|error| invalid(message, option, places, error.to_string()))
}

fn invalid(
    message: &MessageDescriptor,
    option: &'static str,
    places: &Places,
    detail: String,
) -> SchemaError {
    let place = places.message(message);
    SchemaError::OptionInvalid { place, option, message: message.full_name().to_owned(), detail }
}

/// Every event by component and id.
pub(crate) fn events(
    pool: &DescriptorPool,
    components: &BTreeMap<ComponentId, Declared>,
    places: &Places,
) -> Result<BTreeMap<(ComponentId, EventId), MessageDescriptor>, SchemaError> {
    refuse_other_meaning(pool, places, EVENT_OPTION_NAME, EVENT_OPTION_NUMBER)?;
    let mut found: BTreeMap<(ComponentId, EventId), MessageDescriptor> = BTreeMap::new();
    for message in pool.all_messages() {
        let option = read::<EventOption>(&message, EVENT_OPTION_NAME, places)?;
        let Some(options) = option.event else { continue };
        let (component, id) = (ComponentId(options.component), EventId(options.id));
        if let Some(detail) = event_fault(&message, component, id, components) {
            let (place, message) = (places.message(&message), message.full_name().to_owned());
            return Err(SchemaError::EventInvalid { place, message, detail });
        }
        if let Some(first) = found.get(&(component, id)) {
            return Err(SchemaError::EventIdDuplicate {
                component,
                id,
                first: first.full_name().into(),
                first_place: places.message(first),
                second: message.full_name().into(),
                second_place: places.message(&message),
            });
        }
        found.insert((component, id), message);
    }
    let limit = Limits::default().schema_events_max;
    if found.len() as u64 > limit {
        return Err(SchemaError::TooManyEvents { count: found.len(), limit });
    }
    Ok(found)
}

fn event_fault(
    message: &MessageDescriptor,
    component: ComponentId,
    id: EventId,
    components: &BTreeMap<ComponentId, Declared>,
) -> Option<String> {
    if id.0 == 0 {
        return Some("has id 0; give it an id from 1".to_owned());
    }
    if id > EventId::LAST {
        return Some(format!("has id {id}, and the last id is {}", EventId::LAST));
    }
    if !components.contains_key(&component) {
        return Some(format!(
            "is of component {component}, which the schema does not have; give it the id of one that it has"
        ));
    }
    let is_component = components.values().any(|declared| declared.message == *message);
    is_component.then(|| "is a component too; give the event a message of its own".to_owned())
}

fn checked_id(message: &MessageDescriptor, id: u32, places: &Places) -> Result<ComponentId, SchemaError> {
    let id = ComponentId(id);
    let built_in = message.parent_file().name().starts_with(BUILT_IN_PREFIX);
    let (place, name) = (places.message(message), message.full_name().to_owned());
    if id.0 == 0 {
        return Err(SchemaError::IdZero { place, message: name });
    }
    if id < ComponentId::FIRST_CUSTOM && !built_in {
        return Err(SchemaError::IdReserved { place, message: name, id });
    }
    if id > ComponentId::LAST {
        return Err(SchemaError::IdTooLarge { place, message: name, id });
    }
    Ok(id)
}

fn durability_of(
    message: &MessageDescriptor,
    durability: i32,
    places: &Places,
) -> Result<Durability, SchemaError> {
    match v1::Durability::try_from(durability) {
        Ok(v1::Durability::Unspecified | v1::Durability::Checkpointed) => Ok(Durability::Checkpointed),
        Ok(v1::Durability::Volatile) => Ok(Durability::Volatile),
        Ok(v1::Durability::Durable) => Ok(Durability::Durable),
        Err(_) => Err(invalid(message, OPTION_NAME, places, format!("durability {durability} is not known"))),
    }
}

fn duplicate(
    id: ComponentId,
    first: &MessageDescriptor,
    second: &MessageDescriptor,
    places: &Places,
) -> SchemaError {
    SchemaError::IdDuplicate {
        id,
        first: first.full_name().into(),
        first_place: places.message(first),
        second: second.full_name().into(),
        second_place: places.message(second),
    }
}
