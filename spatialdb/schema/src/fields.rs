//! Partial updates: which fields are replaced, and what may stand in the payload.
//!
//! Responsible for: turning a list of field numbers into a plan, checking payloads against it.
//! Not responsible for: applying the update to a stored value.

use std::{collections::BTreeSet, sync::Arc};

use spatialdb_types::{Error, Reason};

use crate::{
    check::Fault,
    component::Component,
    error::PayloadError,
    wire::{self, Malformed},
};

/// What a list of fields means for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlan {
    /// The field numbers as asked, sorted, each once.
    pub listed: Vec<u32>,
    /// What is removed from the stored value before the payload is appended: the listed fields and the other arms
    /// of their oneofs. Sorted, each once.
    pub cleared: Arc<[u32]>,
}

impl Component {
    /// The plan for a list of top-level field numbers. An empty list plans to change nothing.
    ///
    /// # Errors
    /// `FIELD_UNKNOWN` for a number that the schema does not have.
    pub fn plan_fields(&self, fields: &[u32]) -> Result<FieldPlan, Error> {
        let listed: BTreeSet<u32> = fields.iter().copied().collect();
        let mut cleared = listed.clone();
        for number in &listed {
            let Some(field) = self.descriptor.get_field(*number) else {
                let detail = format!("component {}, field {number}: not in the schema", self.name());
                return Err(Error::new(Reason::FieldUnknown, detail));
            };
            if let Some(oneof) = field.containing_oneof() {
                cleared.extend(oneof.fields().map(|sibling| sibling.number()));
            }
        }
        Ok(FieldPlan {
            listed: listed.into_iter().collect(),
            cleared: cleared.into_iter().collect::<Vec<_>>().into(),
        })
    }

    /// Checks the payload of a partial update: it parses, and each of its top-level fields is listed.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID`, `FIELD_UNKNOWN` for a field that the schema does not have, `FIELD_NOT_LISTED`.
    pub fn check_fields(&self, plan: &FieldPlan, payload: &[u8]) -> Result<(), PayloadError> {
        self.check(payload)?;
        self.check_listed(plan, payload).map_err(|fault| self.payload_error(&fault))
    }

    fn check_listed(&self, plan: &FieldPlan, payload: &[u8]) -> Result<(), Box<Fault>> {
        let shape = self.shapes.shape(self.root);
        let mut rest = payload;
        while !rest.is_empty() {
            let before = payload.len() - rest.len();
            let number = next_field(&mut rest)?;
            if plan.listed.binary_search(&number).is_err() {
                let fault = match shape.field(number) {
                    Some(_) => Fault::new(Reason::FieldNotListed, format!("number {number} is not listed")),
                    None => Fault::new(Reason::FieldUnknown, "not in the schema"),
                };
                return Err(fault.inside(shape, &payload[..before], number));
            }
        }
        Ok(())
    }
}

fn next_field(rest: &mut &[u8]) -> Result<u32, Malformed> {
    let (number, wire_type) = wire::key(rest)?;
    wire::skip(wire_type, rest)?;
    Ok(number)
}
