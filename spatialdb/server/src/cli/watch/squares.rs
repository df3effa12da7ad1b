//! Densities: what to ask for, and what is told of a square.

use clap::Args;
use serde_json::{Value, json};
use spatialdb_proto::v1;

use crate::cli::print;

/// Asks how many entities there are where, instead of which.
#[derive(Debug, Args)]
pub(super) struct SquareArgs {
    /// Count entities in squares of this side, rounded up to a cell's times a power of two; 0: that of a cell
    #[arg(long, value_name = "METRES", conflicts_with_all = ["query", "components"], allow_hyphen_values = true)]
    densities: Option<f64>,

    /// Only squares that touch this box [default: the whole space]
    #[arg(
        long,
        value_name = "X1,Y1,X2,Y2",
        requires = "densities",
        value_parser = parse_area,
        allow_hyphen_values = true
    )]
    area: Option<Area>,

    /// The space of the squares
    #[arg(long, value_name = "ID", requires = "densities", default_value_t = 0)]
    space: u32,

    /// Count each type of entities apart
    #[arg(long, requires = "densities")]
    per_type: bool,
}

/// Two corners.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area([f64; 4]);

fn parse_area(text: &str) -> Result<Area, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse::<f64>()).collect();
    let numbers = numbers.map_err(|error| error.to_string())?;
    numbers.try_into().map(Area).map_err(|_| "four numbers are needed: X1,Y1,X2,Y2".to_owned())
}

/// A square of which something is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Square {
    square_m: f64,
    kind: String,
    x: i32,
    y: i32,
    count: u64,
}

impl SquareArgs {
    /// What to say of the side that squares have, if it is not the one that was asked for.
    pub(super) fn remark(&self, frame: &v1::Frame) -> Option<String> {
        let asked = self.densities?;
        let square_m = frame.densities.first()?.square_m;
        let why = "that of a cell of the world, times a power of two";
        (square_m != asked).then(|| format!("squares of {square_m} m: {why}"))
    }

    /// What to ask for, if it is densities.
    pub(super) fn wanted(&self) -> Option<v1::Densities> {
        let square_m = self.densities?;
        let corner = |x, y| v1::Point { x, y, z: None };
        Some(v1::Densities {
            space: self.space,
            min: self.area.map(|Area([x, y, ..])| corner(x, y)),
            max: self.area.map(|Area([.., x, y])| corner(x, y)),
            square_m,
            per_type: self.per_type,
        })
    }
}

/// The squares that a frame tells of.
pub(super) fn squares_of(frame: &v1::Frame) -> Vec<Square> {
    let of_column = |column: &v1::DensityColumn| {
        let rows = column.x.iter().zip(&column.y).zip(&column.counts);
        let square = |((&x, &y), &count)| Square {
            square_m: column.square_m,
            kind: column.r#type.clone(),
            x,
            y,
            count,
        };
        rows.map(square).collect::<Vec<_>>()
    };
    frame.densities.iter().flat_map(of_column).collect()
}

impl Square {
    /// For people: how many, from where to where, of what.
    pub(super) fn text(&self) -> String {
        let corner = |dx: i64, dy: i64| {
            let side = |number: i32, d: i64| (i64::from(number) + d) as f64 * self.square_m;
            format!("({}, {})", side(self.x, dx), side(self.y, dy))
        };
        let kind =
            if self.kind.is_empty() { String::new() } else { format!("  {}", print::plain(&self.kind)) };
        format!("= {}  {}..{}{kind}", self.count, corner(0, 0), corner(1, 1))
    }

    pub(super) fn json(&self, time: &str) -> Value {
        let Self { square_m, kind, x, y, count } = self;
        json!({ "event": "square", "time": time, "square_m": square_m, "x": x, "y": y, "type": kind, "count": count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_four_numbers() {
        assert_eq!(parse_area("-1, -2.5,3,inf"), Ok(Area([-1.0, -2.5, 3.0, f64::INFINITY])));
        assert!(parse_area("1,2,3").is_err_and(|error| error.contains("four")));
        assert!(parse_area("1,2,3,x").is_err());
    }

    #[test]
    fn a_square_is_told_by_its_corners() {
        let column = |kind: &str, count| v1::DensityColumn {
            view_id: 1,
            square_m: 16.0,
            r#type: kind.to_owned(),
            x: vec![-3],
            y: vec![2],
            counts: vec![count],
        };
        let frame = v1::Frame { densities: vec![column("", 0), column("post", 7)], ..v1::Frame::default() };
        let squares = squares_of(&frame);
        assert_eq!(squares[0].text(), "= 0  (-48, 32)..(-32, 48)");
        assert_eq!(squares[1].text(), "= 7  (-48, 32)..(-32, 48)  post");
        let json = squares[1].json("now");
        assert_eq!((&json["x"], &json["type"], &json["count"]), (&(-3).into(), &"post".into(), &7.into()));
    }
}
