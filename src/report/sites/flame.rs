//! A flame graph as a picture: a still one, for documents and for what shows SVG.

use core::fmt::{self, Write};

use super::super::markup::Escaped;
use super::super::text::Bytes;
use super::debug_info::debug_info;
use super::names::{Names, Source};
use super::origins::Origin;
use super::tree::{Node, ROOT, Tree};
use crate::base::text::StackText;
use crate::profile::{Growth, Sites};

/// The picture's width, the height of a box, and the room above all of them, in its own units.
const WIDTH: f64 = 1200.0;
const ROW: f64 = 18.0;
const HEAD: f64 = 44.0;
/// The width of a letter.
const LETTER: f64 = 6.3;
/// What is narrower is not drawn; its parent shows that something is there.
const LEAST_WIDTH: f64 = 0.5;

/// Colours, told apart by lightness, too. The program's own functions are the dark ones.
const STYLE: &str = "
svg{background:#fff;color:#1c2024;font:11px ui-monospace,monospace}text{fill:currentColor;pointer-events:none}
.h{font:15px system-ui,sans-serif}.f{fill:#60686f;font:12px system-ui,sans-serif}rect{stroke:#fff;stroke-width:.5}
.p{fill:#f0a35e}.l{fill:#f3e3cf}.a{fill:#d8dde3}.g1{fill:#fbe3da}.g2{fill:#f4ad8f}.g3{fill:#e5703f}.g4{fill:#d55e00}
@media(prefers-color-scheme:dark){svg{background:#14171a;color:#e4e7ea}.f{fill:#98a1a9}rect{stroke:#14171a}
.p{fill:#9a5413}.l{fill:#4a3a28}.a{fill:#343a41}.g1{fill:#3f2a20}.g2{fill:#6f3c22}.g3{fill:#9d4a17}.g4{fill:#c25600}}
";

/// What the width of a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Live,
    Risen,
}

impl Measure {
    fn of(self, node: &Node) -> f64 {
        match self {
            Self::Live => node.bytes,
            Self::Risen => node.risen,
        }
    }

    /// The class of a box in the style. Where growth is shown, by how much of what is live is new.
    fn class(self, node: &Node) -> &'static str {
        match (self, node.origin) {
            (Self::Live, Origin::Program) => "p",
            (Self::Live, Origin::Library) => "l",
            (Self::Live, Origin::Allocator) => "a",
            (Self::Risen, _) if node.grown >= node.bytes * 0.75 => "g4",
            (Self::Risen, _) if node.grown >= node.bytes * 0.5 => "g3",
            (Self::Risen, _) if node.grown >= node.bytes * 0.25 => "g2",
            (Self::Risen, _) => "g1",
        }
    }
}

/// What is drawn.
struct Picture<'a> {
    tree: &'a Tree,
    names: &'a Names,
    measure: Measure,
    /// What a unit of the width stands for.
    unit: f64,
    height: f64,
}

impl Sites {
    /// Writes a flame graph of the live bytes as one SVG: a box for each function at its place in stacks, as wide as
    /// what is live of it and of what it called. Pointing at a box shows its name and sums.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_flame_svg<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_flame_svg_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_flame_svg_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self], source).map_err(|_| fmt::Error)?;
        let tree = Tree::of(self, &names, None).map_err(|_| fmt::Error)?;
        let picture = Picture::new(&tree, &names, Measure::Live);
        picture.begin(out)?;
        let (_, older) = self.older();
        let live = Bytes::about(tree.node(ROOT).bytes);
        write!(out, "<text x=\"8\" y=\"20\" class=\"h\">{live} live, by who allocated it</text>")?;
        write!(out, "<text x=\"8\" y=\"37\" class=\"f\">{} samples", self.samples().len())?;
        write!(out, " within {:.1} s", self.age().as_secs_f64())?;
        if older.value() > 0.0 {
            write!(out, "; {} more are older than the profile", Bytes::about(older.value()))?;
        }
        out.write_str("</text>\n")?;
        picture.end(out)
    }
}

impl Growth<'_> {
    /// Writes a flame graph of what has grown as one SVG: boxes are as wide as what sites have more now, and the darker
    /// the more of what is live there is new. What shrank is left out, and summed up.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_flame_svg<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_flame_svg_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_flame_svg_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self.before(), self.after()], source).map_err(|_| fmt::Error)?;
        let tree = Tree::of(self.after(), &names, Some(self)).map_err(|_| fmt::Error)?;
        let picture = Picture::new(&tree, &names, Measure::Risen);
        picture.begin(out)?;
        let root = tree.node(ROOT);
        let (risen, fallen) = (Bytes::about(root.risen), Bytes::about(root.risen - root.grown));
        write!(out, "<text x=\"8\" y=\"20\" class=\"h\">{risen} more live than ")?;
        writeln!(out, "{:.1} s before, by who allocated it</text>", self.span().as_secs_f64())?;
        write!(out, "<text x=\"8\" y=\"37\" class=\"f\">{fallen} less at other sites. ")?;
        out.write_str(
            "Dark: all that is live there is new. Pale: most of it was there before.</text>\n",
        )?;
        picture.end(out)
    }
}

impl<'a> Picture<'a> {
    fn new(tree: &'a Tree, names: &'a Names, measure: Measure) -> Self {
        let unit = (measure.of(&tree.node(ROOT)) / (WIDTH - 16.0)).max(f64::MIN_POSITIVE);
        let is_shown = |node: &Node| measure.of(node) / unit >= LEAST_WIDTH;
        let mut rows = 0_u32;
        for node in tree.iter().filter(|node| is_shown(node)) {
            let (mut depth, mut at) = (0, node.parent);
            while at != ROOT {
                at = tree.node(at).parent;
                depth += 1;
            }
            rows = rows.max(depth + 1);
        }
        Self { tree, names, measure, unit, height: HEAD + f64::from(rows + 1) * ROW + 8.0 }
    }

    fn begin<W: Write>(&self, out: &mut W) -> fmt::Result {
        let height = self.height;
        write!(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" ")?;
        writeln!(out, "width=\"{WIDTH}\" height=\"{height}\" role=\"img\">")?;
        writeln!(out, "<style>{STYLE}</style><title>Who allocated it</title>")
    }

    /// Draws the boxes, from the one below all on.
    fn end<W: Write>(&self, out: &mut W) -> fmt::Result {
        let root = self.tree.node(ROOT);
        self.draw(out, &root, "all", (8.0, 0))?;
        self.draw_children(out, ROOT, 8.0, 1)?;
        out.write_str("</svg>\n")
    }

    /// Draws what a node called. A stack has few enough functions for calls within calls.
    fn draw_children<W: Write>(
        &self,
        out: &mut W,
        number: u32,
        left: f64,
        row: u32,
    ) -> fmt::Result {
        let mut x = left;
        for (number, node) in self.tree.children(number) {
            let width = self.measure.of(&node) / self.unit;
            if width >= LEAST_WIDTH {
                self.draw(out, &node, self.names.called(node.name), (x, row))?;
                self.draw_children(out, number, x, row + 1)?;
            }
            x += width;
        }
        Ok(())
    }

    fn draw<W: Write>(
        &self,
        out: &mut W,
        node: &Node,
        name: &str,
        (x, row): (f64, u32),
    ) -> fmt::Result {
        let width = self.measure.of(node) / self.unit;
        let y = self.height - 8.0 - f64::from(row + 1) * ROW;
        let class = self.measure.class(node);
        write!(out, "<g><title>")?;
        Escaped(out).write_str(name)?;
        write!(out, "\n{} live in {:.0} blocks", Bytes::about(node.bytes), node.blocks)?;
        if self.measure == Measure::Risen {
            write!(out, ", {:+.0} bytes", node.grown)?;
        }
        let share = 100.0 * self.measure.of(node) / self.measure.of(&self.tree.node(ROOT)).max(1.0);
        write!(out, "\n{share:.1}%</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" ")?;
        write!(out, "height=\"{:.1}\" rx=\"1.5\" class=\"{class}\"/>", ROW - 1.0)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let letters = ((width - 6.0) / LETTER) as usize;
        if letters >= 3 {
            write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">", x + 3.0, y + ROW - 5.5)?;
            write_short(out, name, letters)?;
            write!(out, "</text>")?;
        }
        out.write_str("</g>\n")
    }
}

/// Writes a name in this many letters at the most.
fn write_short<W: Write>(out: &mut W, name: &str, letters: usize) -> fmt::Result {
    if name.chars().count() <= letters {
        return Escaped(out).write_str(name);
    }
    let short = short(name);
    let short = short.as_str();
    let (all, mut rest) = (short.chars().count(), short.chars());
    for letter in rest.by_ref().take(if all <= letters { letters } else { letters - 2 }) {
        Escaped(out).write_char(letter)?;
    }
    if rest.next().is_some() { out.write_str("..") } else { Ok(()) }
}

/// The last two parts of a function's path, without the arguments of types: of `<a::Type<T> as b::Trait>::call` it is
/// `Type::call`.
fn short(name: &str) -> StackText<256> {
    let (kind, rest) = match name.strip_prefix('<') {
        Some(inner) => inner.split_at(end_of_bracket(inner)),
        None => ("", name),
    };
    // The type without its trait.
    let is_as = |at: &usize| kind.get(*at..).is_some_and(|behind| behind.starts_with(" as "));
    let type_end = outside(kind).map(|(at, _)| at).find(is_as).unwrap_or(kind.len());
    let mut plain = StackText::<256>::new();
    let letters = outside(kind.get(..type_end).unwrap_or_default());
    for (_, letter) in letters.chain(outside(rest.trim_start_matches('>'))) {
        // What does not fit is cut.
        let _ = plain.write_char(letter);
    }
    let text = plain.as_str().trim_end_matches("::");
    let first = text.rmatch_indices("::").nth(1).map_or(0, |(at, _)| at + 2);
    let mut short = StackText::new();
    let _ = short.write_str(text.get(first..).unwrap_or_default());
    short
}

/// Letters with the brackets that are open behind each, and before it. The end of an arrow closes none.
fn brackets(text: &str) -> impl Iterator<Item = (usize, char, [i32; 2])> {
    text.char_indices().scan((0, ' '), |(depth, last), (at, letter)| {
        let before = *depth;
        *depth += i32::from(letter == '<') - i32::from(letter == '>' && *last != '-');
        *last = letter;
        Some((at, letter, [before, *depth]))
    })
}

/// Letters that stand in no brackets.
fn outside(text: &str) -> impl Iterator<Item = (usize, char)> {
    brackets(text).filter(|(_, _, depths)| *depths == [0, 0]).map(|(at, letter, _)| (at, letter))
}

/// Where the bracket ends that was opened before the text.
fn end_of_bracket(text: &str) -> usize {
    let mut ends = brackets(text).filter(|(_, _, depths)| depths[1] < 0);
    ends.next().map_or(text.len(), |(at, _, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_tells_the_function_and_its_type() {
        for (name, wanted) in [
            ("server::login", "server::login"),
            ("a::server::login", "server::login"),
            ("main", "main"),
            ("alloc::raw_vec::RawVecInner<A>::finish_grow", "RawVecInner::finish_grow"),
            ("<alloc::vec::Vec<T,A> as core::iter::Extend<T>>::extend", "Vec::extend"),
            ("<F as core::ops::FnOnce<(A) -> B<C>>>::call_once", "F::call_once"),
            ("core::str::parse::<u32>", "str::parse"),
            ("server::main::{{closure}}", "main::{{closure}}"),
            ("<unfinished", "unfinished"),
        ] {
            assert_eq!(short(name).as_str(), wanted, "{name}");
        }
    }
}
