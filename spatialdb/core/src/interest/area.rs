//! Areas: the constraints that only ask where an entity is, in one piece of memory, to be looked at for many rows.

use spatialdb_types::{Box3, Point3, SpaceId};

use super::Constraint;

/// A constraint as far as it is a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    space: SpaceId,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Box(Box3),
    Ball {
        center: Point3,
        radius_m: f64,
    },
    /// It asks for something else.
    Other,
}

/// It contains nothing that it knows of.
impl Default for Area {
    fn default() -> Self {
        Self { space: SpaceId(0), form: Form::Other }
    }
}

impl Area {
    pub(crate) fn of(constraint: &Constraint) -> Self {
        match *constraint {
            Constraint::Box { space, bounds } => Self { space, form: Form::Box(bounds) },
            Constraint::Sphere { space, center, radius_m } => {
                Self { space, form: Form::Ball { center, radius_m } }
            }
            _ => Self::default(),
        }
    }

    /// Whether a place is all that is asked for.
    pub(super) const fn is_all(&self) -> bool {
        !matches!(self.form, Form::Other)
    }

    /// Whether a point of a space is inside, as [`Constraint::matches`] has it; `None`: that is not all that matters.
    pub(crate) fn contains(&self, space: Option<SpaceId>, point: Point3) -> Option<bool> {
        let is_inside = match &self.form {
            Form::Box(bounds) => bounds.contains(point),
            Form::Ball { center, radius_m } => point.distance_squared(*center) <= radius_m * radius_m,
            Form::Other => return None,
        };
        Some(is_inside && space == Some(self.space))
    }
}
