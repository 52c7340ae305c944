//! Marks of the picture: shapes that differ without their colour.

use core::fmt::{self, Write as _};

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle on its base.
    Triangle,
    /// A triangle on its tip.
    Drop,
    /// A square on its corner.
    Diamond,
    /// A plus sign.
    Cross,
}

/// Draws a shape around a point.
pub(super) fn write_shape(
    out: &mut String,
    shape: Shape,
    colour: &str,
    at: (f64, f64),
    radius: f64,
) -> fmt::Result {
    let (x, y) = at;
    let third = radius / 3.0;
    let corners: &[(f64, f64)] = match shape {
        Shape::Circle => {
            return writeln!(
                out,
                r#"<circle class="mark" cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"/>"#
            );
        }
        Shape::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        Shape::Triangle => &[(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
        Shape::Drop => &[(0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)],
        Shape::Diamond => &[(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)],
        Shape::Cross => {
            let (s, l) = (third * 2.2, radius * 1.1 - third * 1.1);
            let (x, y) = (x - third * 1.1, y - radius * 1.1);
            write!(out, r#"<path class="mark" fill="{colour}" d="M{x:.1} {y:.1}h{s:.1}v{l:.1}"#)?;
            write!(out, "h{l:.1}v{s:.1}h-{l:.1}v{l:.1}h-{s:.1}v-{l:.1}")?;
            return writeln!(out, r#"h-{l:.1}v-{s:.1}h{l:.1}z"/>"#);
        }
    };
    let points: Vec<String> = corners
        .iter()
        .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx * radius, y + dy * radius))
        .collect();
    writeln!(out, r#"<polygon class="mark" points="{}" fill="{colour}"/>"#, points.join(" "))
}
