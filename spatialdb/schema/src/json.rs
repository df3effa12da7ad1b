//! Component values, and events, as JSON, by protobuf's mapping.
//!
//! Responsible for: both directions. Names are lowerCamelCase, 64-bit integers are strings, bytes are base64, and
//! fields at their default are left out.
//! Not responsible for: speed, or unknown fields, which JSON cannot hold.

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;
use spatialdb_types::Reason;

use crate::{component::Component, error::PayloadError, event::EventType};

impl Component {
    /// The value as JSON. Fields at their default are left out; unknown fields are lost.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID` when the bytes do not parse, or hold what JSON cannot say, such as an `Any` of a type that
    /// the schema does not have.
    pub fn to_json(&self, payload: &[u8]) -> Result<Value, PayloadError> {
        self.check(payload)?;
        to_json(&self.descriptor, payload).map_err(|(path, detail)| self.json_error(path, detail))
    }

    /// The bytes of a value given as JSON. Both `lowerCamelCase` and proto field names are taken.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID` for unknown keys and for values that the field cannot have.
    pub fn from_json(&self, value: &Value) -> Result<Vec<u8>, PayloadError> {
        let mut track = serde_path_to_error::Track::new();
        let reader = serde_path_to_error::Deserializer::new(value, &mut track);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), reader);
        let message =
            message.map_err(|error| self.json_error(track.path().to_string(), error.to_string()))?;
        let payload = message.encode_to_vec();
        self.check(&payload)?;
        Ok(payload)
    }

    fn json_error(&self, path: String, detail: String) -> PayloadError {
        json_error("component", self.name(), path, detail)
    }
}

impl EventType {
    /// What it says as JSON. Fields at their default are left out; unknown fields are lost.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID` as [`Component::to_json`].
    pub fn to_json(&self, payload: &[u8]) -> Result<Value, PayloadError> {
        self.check(payload)?;
        to_json(&self.descriptor, payload)
            .map_err(|(path, detail)| json_error("event", self.name(), path, detail))
    }
}

/// Or the path of what cannot be said, and why.
fn to_json(descriptor: &MessageDescriptor, payload: &[u8]) -> Result<Value, (String, String)> {
    let message = DynamicMessage::decode(descriptor.clone(), payload)
        .map_err(|error| (String::new(), error.to_string()))?;
    serde_path_to_error::serialize(&message, serde_json::value::Serializer)
        .map_err(|error| (error.path().to_string(), error.inner().to_string()))
}

fn json_error(what: &'static str, name: &str, path: String, detail: String) -> PayloadError {
    // The path of the whole value is ".", which says nothing.
    let field = if path == "." { String::new() } else { path };
    PayloadError { reason: Reason::PayloadInvalid, what, message: name.to_owned(), field, detail }
}
