//! The text of one file → a tree of values with places.
//!
//! Takes the text and the environment; gives the tree, or none where the text
//! cannot be understood to its end, and every mistake on the way. Never reads a
//! file and knows nothing of Lockgate's keys. Its work is bounded: by the depth
//! of the tree and by a budget of nodes, which aliases use up as if what they
//! stand for were written out.

mod build;
mod node;
mod scalar;
mod substitute;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScanError, Span};

use super::mistake::Mistake;
use super::place::{At, Place};
use build::Builder;
pub(super) use node::{Content, Member, Node};

/// Lists and maps within each other.
const MAX_DEPTH: usize = 64;

/// What one file is read with.
pub(super) struct Input<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Arc<Path>,
    /// The number of the file in [`super::place::Places`].
    pub(super) file: u16,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// A text that cannot be understood any further; why is among the mistakes.
#[derive(Debug)]
pub(super) struct GivenUp;

/// Read one document. `budget` is what is left for this file and later ones.
pub(super) fn parse(
    input: &Input<'_>,
    budget: &mut usize,
    mistakes: &mut Vec<Mistake>,
) -> Result<Node, GivenUp> {
    let source = Source {
        input,
        lines: OnceCell::new(),
    };
    let mut builder = Builder::new(&source, budget, mistakes);
    let mut parser = Parser::new_from_str(input.text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                mistakes.push(source.syntax_error(&error));
                return Err(GivenUp);
            }
        }
    }
    Ok(builder.finish())
}

/// The text with what is needed to tell places in it.
struct Source<'a> {
    input: &'a Input<'a>,
    /// Where each line begins, in bytes; found when first asked for.
    lines: OnceCell<Vec<usize>>,
}

impl Source<'_> {
    fn at(&self, marker: Marker) -> At {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        At {
            file: self.input.file,
            line: number(marker.line().max(1)),
            column: number(marker.col() + 1),
        }
    }

    fn syntax_error(&self, error: &ScanError) -> Mistake {
        let at = self.at(*error.marker());
        let found = format!("a syntax error: {}", error.info());
        let mistake = Mistake::new(self.place(at), "", found, "YAML");
        match self.line(error.marker().line()) {
            line if line.contains("${") => mistake
                .with_hint("within `{ }` and `[ ]`, a `${NAME}` needs quotes around it".to_owned()),
            line if line.trim_start_matches(' ').starts_with('\t') => {
                mistake.with_hint("YAML is indented with spaces, not with tabs".to_owned())
            }
            _ => mistake,
        }
    }

    fn place(&self, at: At) -> Place {
        Place {
            file: self.input.path.clone(),
            line: at.line,
            column: at.column,
        }
    }

    /// Where `written` stands within a scalar, or the scalar's beginning: escapes
    /// may hide it.
    fn find(&self, written: &str, span: Span) -> At {
        let mut at = self.at(span.start);
        let mut skip = span.start.col();
        for line in span.start.line()..=span.end.line() {
            let text = self.line(line);
            let from = text
                .char_indices()
                .nth(skip)
                .map_or(text.len(), |(byte, _)| byte);
            if let Some(found) = text[from..].find(written) {
                let column = text[..from + found].chars().count() + 1;
                at.line = u32::try_from(line).unwrap_or(u32::MAX);
                at.column = u32::try_from(column).unwrap_or(u32::MAX);
                return at;
            }
            skip = 0;
        }
        at
    }

    /// A line by its number, from 1.
    fn line(&self, number: usize) -> &str {
        let text = self.input.text;
        let lines = self.lines.get_or_init(|| {
            let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        });
        let start = number.checked_sub(1).and_then(|index| lines.get(index));
        start.map_or("", |&start| text[start..].split('\n').next().unwrap_or(""))
    }
}
