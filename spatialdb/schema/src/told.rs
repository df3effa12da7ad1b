//! Fields and their values in words, for people.

use prost_reflect::{FieldDescriptor, Kind};

use crate::component::Component;
use crate::scalar_value::ScalarValue;

/// So many characters of a text, or bytes of data, are shown.
const SHOWN_MAX: usize = 64;

impl Component {
    /// The dotted path to a field: `engine.rpm`. Fields that the schema does not have stand as their numbers.
    pub fn path_of(&self, numbers: &[u32]) -> String {
        let names = (0..numbers.len()).map(|last| match self.field_at(&numbers[..=last]) {
            Some(field) => field.name().to_owned(),
            None => numbers[last].to_string(),
        });
        names.collect::<Vec<_>>().join(".")
    }

    /// A value of the field, as a query would say it.
    pub fn value_text(&self, numbers: &[u32], value: &ScalarValue) -> String {
        let kind = self.field_at(numbers).map(|field| field.kind());
        match (value, kind) {
            (ScalarValue::Unsigned(v), Some(Kind::Bool)) => (*v != 0).to_string(),
            (ScalarValue::Signed(v), Some(Kind::Enum(kind))) => {
                let known = i32::try_from(*v).ok().and_then(|number| kind.get_value(number));
                known.map_or_else(|| v.to_string(), |value| value.name().to_owned())
            }
            (ScalarValue::Signed(v), _) => v.to_string(),
            (ScalarValue::Unsigned(v), _) => v.to_string(),
            (ScalarValue::Float(v), _) => v.to_string(),
            (ScalarValue::Bytes(v), Some(Kind::String)) => {
                let text = String::from_utf8_lossy(v);
                let shown: String = text.chars().take(SHOWN_MAX).collect();
                format!("{shown:?}{}", if shown.len() < text.len() { "..." } else { "" })
            }
            (ScalarValue::Bytes(v), _) => {
                let shown: String =
                    v.iter().take(SHOWN_MAX).flat_map(|b| b.escape_ascii()).map(char::from).collect();
                format!("\"{shown}\"{}", if v.len() > SHOWN_MAX { "..." } else { "" })
            }
        }
    }

    fn field_at(&self, numbers: &[u32]) -> Option<FieldDescriptor> {
        let (last, way) = numbers.split_last()?;
        let mut message = self.descriptor.clone();
        for number in way {
            let Kind::Message(inner) = message.get_field(*number)?.kind() else { return None };
            message = inner;
        }
        message.get_field(*last)
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::ComponentId;

    use super::*;
    use crate::Schema;

    #[test]
    fn fields_have_their_names_and_values_their_words() {
        let schema = Schema::built_in();
        let metadata = schema.component(ComponentId::METADATA).expect("built in");
        let field = metadata.scalar_field("name").expect("a field");
        let numbers: Vec<u32> = field.steps.iter().map(|(number, _)| *number).collect();
        assert_eq!(metadata.path_of(&numbers), "name");
        assert_eq!(metadata.path_of(&[900]), "900");
        let text = |text: &str| metadata.value_text(&numbers, &ScalarValue::Bytes(text.as_bytes().to_vec()));
        assert_eq!(text("Z\u{fc}rich \"1\""), "\"Z\u{fc}rich \\\"1\\\"\"");
        assert_eq!(text(&"x".repeat(900)), format!("\"{}\"...", "x".repeat(64)));
        assert_eq!(metadata.value_text(&[900], &ScalarValue::Signed(-3)), "-3");
    }
}
