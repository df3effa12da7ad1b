//! Options of descriptors, those of strangers included, as a `.proto` file says them.

use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};

/// Each option as `name = value`.
///
/// # Errors
/// An option that nothing describes.
pub(super) fn options(message: &DynamicMessage) -> Result<Vec<String>, String> {
    if message.unknown_fields().next().is_some() {
        let name = message.descriptor().full_name().to_owned();
        return Err(format!("a {name} has an option that no file describes"));
    }
    let mut told = Vec::new();
    for (field, value) in message.fields() {
        told.extend(statements(field.name(), value, &field.kind()));
    }
    for (extension, value) in message.extensions() {
        told.extend(statements(&format!("({})", extension.full_name()), value, &extension.kind()));
    }
    Ok(told)
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    escaped(text.as_bytes())
}

// A list is one statement for each value.
fn statements(name: &str, value: &Value, kind: &Kind) -> Vec<String> {
    match value {
        Value::List(values) => values.iter().map(|value| format!("{name} = {}", text(value, kind))).collect(),
        value => vec![format!("{name} = {}", text(value, kind))],
    }
}

fn text(value: &Value, kind: &Kind) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => float(f64::from(*number), &number.to_string()),
        Value::F64(number) => float(*number, &number.to_string()),
        Value::String(text) => quoted(text),
        Value::Bytes(bytes) => escaped(bytes),
        Value::EnumNumber(number) => {
            let name = kind.as_enum().and_then(|found| found.get_value(*number));
            name.map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        Value::Message(message) => message_text(message),
        Value::List(values) => {
            let values: Vec<_> = values.iter().map(|value| text(value, kind)).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Map(entries) => {
            let entry = kind.as_message();
            let inner =
                |number| entry.and_then(|entry| entry.get_field(number)).map_or(Kind::Bool, |f| f.kind());
            let entries = entries.iter().map(|(key, value)| {
                let key = text(&Value::from(MapKey::clone(key)), &inner(1));
                format!("{{ key: {key}, value: {} }}", text(value, &inner(2)))
            });
            format!("[{}]", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn message_text(message: &DynamicMessage) -> String {
    let fields =
        message.fields().map(|(field, value)| format!("{}: {}", field.name(), text(value, &field.kind())));
    let extensions = message
        .extensions()
        .map(|(field, value)| format!("[{}]: {}", field.full_name(), text(value, &field.kind())));
    let all: Vec<_> = fields.chain(extensions).collect();
    if all.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", all.join(", ")) }
}

fn float(number: f64, text: &str) -> String {
    match number {
        _ if number.is_nan() => "nan".to_owned(),
        _ if number.is_infinite() => if number > 0.0 { "inf" } else { "-inf" }.to_owned(),
        _ => text.to_owned(),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                c if c.is_control() => text.extend(c.to_string().bytes().map(|byte| format!("\\{byte:03o}"))),
                c => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\{byte:03o}")));
    }
    text.push('"');
    text
}
