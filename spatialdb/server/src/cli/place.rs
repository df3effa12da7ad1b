//! Places on the command line: `X1,Y1,X2,Y2` and `X,Y,R` as constraints of a query, `X,Y` as a point.

use std::str::FromStr;

use spatialdb_proto::v1;

/// A box over x and y, of any height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BoxArg([f64; 4]);

/// A ball, around z = 0 unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SphereArg {
    center: [f64; 3],
    radius_m: f64,
}

/// A point, at z = 0 unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PointArg([f64; 3]);

impl PointArg {
    /// The point in a space.
    pub(super) fn in_space(self, space: u32) -> v1::Place {
        let [x, y, z] = self.0;
        v1::Place { space, point: Some(v1::Point { x, y, z: Some(z) }) }
    }
}

impl FromStr for PointArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match numbers(text)?[..] {
            [x, y] => Ok(Self([x, y, 0.0])),
            [x, y, z] => Ok(Self([x, y, z])),
            _ => Err("needs a point: X,Y or X,Y,Z in metres".to_owned()),
        }
    }
}

impl BoxArg {
    /// The box in a space. The corners may come in any order.
    pub(super) fn in_space(self, space: u32) -> v1::constraint::Kind {
        let [x1, y1, x2, y2] = self.0;
        v1::constraint::Kind::Box(v1::Box {
            space,
            min: Some(v1::Point { x: x1.min(x2), y: y1.min(y2), z: None }),
            max: Some(v1::Point { x: x1.max(x2), y: y1.max(y2), z: None }),
        })
    }
}

impl SphereArg {
    /// The ball in a space.
    pub(super) fn in_space(self, space: u32) -> v1::constraint::Kind {
        let [x, y, z] = self.center;
        let center = Some(v1::Point { x, y, z: Some(z) });
        v1::constraint::Kind::Sphere(v1::Sphere { space, center, radius_m: self.radius_m })
    }
}

impl FromStr for BoxArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let corners = numbers(text)?;
        corners.try_into().map(Self).map_err(|_| "needs two corners: X1,Y1,X2,Y2 in metres".to_owned())
    }
}

impl FromStr for SphereArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (center, radius_m) = match numbers(text)?[..] {
            [x, y, radius_m] => ([x, y, 0.0], radius_m),
            [x, y, z, radius_m] => ([x, y, z], radius_m),
            _ => return Err("needs a centre and a radius: X,Y,R or X,Y,Z,R in metres".to_owned()),
        };
        if radius_m < 0.0 {
            return Err(format!("the radius is {radius_m} m; it must not be below 0"));
        }
        Ok(Self { center, radius_m })
    }
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let number = |part: &str| match part.trim().parse::<f64>() {
        Ok(number) if !number.is_nan() => Ok(number),
        _ => Err(format!("{part:?} is not a number")),
    };
    text.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_come_in_any_order() {
        let arg: BoxArg = "5, -1,-5,1".parse().expect("a box");
        let v1::constraint::Kind::Box(found) = arg.in_space(3) else { panic!("a box") };
        assert_eq!(found.space, 3);
        assert_eq!(found.min.map(|p| (p.x, p.y, p.z)), Some((-5.0, -1.0, None)));
        assert_eq!(found.max.map(|p| (p.x, p.y, p.z)), Some((5.0, 1.0, None)));
    }

    #[test]
    fn a_ball_has_a_height_if_it_says_so() {
        let flat: SphereArg = "1,2,10".parse().expect("a ball");
        assert_eq!(flat, SphereArg { center: [1.0, 2.0, 0.0], radius_m: 10.0 });
        let high: SphereArg = "1,2,3,10".parse().expect("a ball");
        assert_eq!(high, SphereArg { center: [1.0, 2.0, 3.0], radius_m: 10.0 });
    }

    #[test]
    fn wrong_places_are_named() {
        assert_eq!("1,2,3".parse::<BoxArg>(), Err("needs two corners: X1,Y1,X2,Y2 in metres".to_owned()));
        assert_eq!("1,x,3,4".parse::<BoxArg>(), Err("\"x\" is not a number".to_owned()));
        assert_eq!("1,NaN,3".parse::<SphereArg>(), Err("\"NaN\" is not a number".to_owned()));
        assert_eq!("1".parse::<PointArg>(), Err("needs a point: X,Y or X,Y,Z in metres".to_owned()));
        assert!("1,2,-3".parse::<SphereArg>().is_err());
        assert!("1,2".parse::<SphereArg>().is_err());
    }
}
