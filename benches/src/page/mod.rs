//! What people get to read of a result: the same sections on the terminal and on a page.
//!
//! The page is one file that needs nothing else: the plots are in it as SVG, and it fetches nothing.

mod html;
mod plot;
mod scale;
mod section;

pub use html::page;
pub use plot::{Axis, Bars, Line, Mark, Plot};
pub use section::{Section, Table};
