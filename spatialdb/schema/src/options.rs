//! Which messages are components.
//!
//! Responsible for: reading the component option, and the rules for ids.
//! Not responsible for: what the messages hold.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, Limits};

use crate::{component::Durability, error::SchemaError, places::Places};

/// The full name of the option that makes a message a component, and its number.
const OPTION_NAME: &str = "spatialdb.v1.component";
const OPTION_NUMBER: u32 = 50400;

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

/// Every component by id.
pub(crate) fn components(
    pool: &DescriptorPool,
    places: &Places,
) -> Result<BTreeMap<ComponentId, Declared>, SchemaError> {
    refuse_other_meaning(pool, places)?;
    let mut found: BTreeMap<ComponentId, Declared> = BTreeMap::new();
    for message in pool.all_messages() {
        let Some(options) = options_of(&message, places)? else { continue };
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
fn refuse_other_meaning(pool: &DescriptorPool, places: &Places) -> Result<(), SchemaError> {
    let clash = pool.all_extensions().find(|extension| {
        extension.number() == OPTION_NUMBER
            && extension.full_name() != OPTION_NAME
            && extension.containing_message().full_name() == "google.protobuf.MessageOptions"
    });
    let Some(extension) = clash else { return Ok(()) };
    let detail = format!("has number {OPTION_NUMBER}, which is {OPTION_NAME}; give it another number");
    Err(SchemaError::OptionInvalid {
        place: places.line(extension.parent_file().name(), None),
        message: extension.full_name().to_owned(),
        detail,
    })
}

fn options_of(
    message: &MessageDescriptor,
    places: &Places,
) -> Result<Option<v1::ComponentOptions>, SchemaError> {
    let bytes = message.options().encode_to_vec();
    match ComponentOption::decode(bytes.as_slice()) {
        Ok(options) => Ok(options.component),
        Err(error) => Err(invalid(message, places, error.to_string())),
    }
}

fn invalid(message: &MessageDescriptor, places: &Places, detail: String) -> SchemaError {
    let place = places.message(message);
    SchemaError::OptionInvalid { place, message: message.full_name().to_owned(), detail }
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
        Err(_) => Err(invalid(message, places, format!("durability {durability} is not known"))),
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
