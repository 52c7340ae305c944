//! Maps of the heap, made of a snapshot: a picture and a page.
//!
//! Files: [`cells`] the heap in cells of equal size; [`svg`] the picture; [`html`] the page, with `page.html`,
//! `page.css` and `page.js`, which draws single blocks from the data that `html` writes.

mod cells;
mod svg;
mod html;
