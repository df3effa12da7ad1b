//! Names of types as short as they can be.

use prost_reflect::{DescriptorPool, Kind};

/// The name of a type as it can be written inside of `scope`, the full name of a message or a package.
pub(super) fn type_name(kind: &Kind, scope: &str) -> String {
    let (full, package, pool) = match kind {
        Kind::Message(message) => (message.full_name(), message.package_name(), message.parent_pool()),
        Kind::Enum(found) => (found.full_name(), found.package_name(), found.parent_pool()),
        Kind::Double => return "double".to_owned(),
        Kind::Float => return "float".to_owned(),
        Kind::Int32 => return "int32".to_owned(),
        Kind::Int64 => return "int64".to_owned(),
        Kind::Uint32 => return "uint32".to_owned(),
        Kind::Uint64 => return "uint64".to_owned(),
        Kind::Sint32 => return "sint32".to_owned(),
        Kind::Sint64 => return "sint64".to_owned(),
        Kind::Fixed32 => return "fixed32".to_owned(),
        Kind::Fixed64 => return "fixed64".to_owned(),
        Kind::Sfixed32 => return "sfixed32".to_owned(),
        Kind::Sfixed64 => return "sfixed64".to_owned(),
        Kind::Bool => return "bool".to_owned(),
        Kind::String => return "string".to_owned(),
        Kind::Bytes => return "bytes".to_owned(),
    };
    // Inside of the message itself, inside of its package, or whole.
    let shorter = [scope, package].into_iter().filter(|prefix| !prefix.is_empty());
    let mut candidates: Vec<&str> =
        shorter.filter_map(|prefix| full.strip_prefix(prefix)?.strip_prefix('.')).collect();
    candidates.push(full);
    let found = candidates.into_iter().find(|name| resolve(name, scope, pool).as_deref() == Some(full));
    found.map_or_else(|| format!(".{full}"), str::to_owned)
}

// What a compiler takes the name for: it looks for the first part, from the innermost scope out.
fn resolve(name: &str, scope: &str, pool: &DescriptorPool) -> Option<String> {
    let first = name.split('.').next().unwrap_or(name);
    let mut scope = Some(scope);
    while let Some(inside) = scope {
        let join = |name: &str| if inside.is_empty() { name.to_owned() } else { format!("{inside}.{name}") };
        if is_known(&join(first), pool) {
            return Some(join(name));
        }
        scope = match inside.rfind('.') {
            Some(end) => Some(&inside[..end]),
            None => (!inside.is_empty()).then_some(""),
        };
    }
    None
}

fn is_known(name: &str, pool: &DescriptorPool) -> bool {
    let is_field = || {
        let (message, field) = name.rsplit_once('.')?;
        let message = pool.get_message_by_name(message)?;
        let is_oneof = message.oneofs().any(|oneof| oneof.name() == field);
        (is_oneof || message.get_field_by_name(field).is_some()).then_some(())
    };
    let is_package = || {
        pool.files().any(|file| {
            file.package_name()
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    pool.get_message_by_name(name).is_some()
        || pool.get_enum_by_name(name).is_some()
        || pool.get_service_by_name(name).is_some()
        || is_field().is_some()
        || is_package()
}
