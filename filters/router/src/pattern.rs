//! Regular expressions that match a whole value, in time linear in its length.

use std::cell::RefCell;

use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::captures::Captures;
use regex_automata::{Anchored, Input, PatternID};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};

/// Bytes of program that one expression may compile to: `a{1000}{1000}` would
/// otherwise fill an instance's memory.
const MAX_PROGRAM_BYTES: usize = 128 << 10;
const MAX_SOURCE_BYTES: usize = 2048;

/// A compiled expression.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    program: NFA,
    engine: Engine,
    leading_segments: Box<str>,
}

/// What runs it. A filter is called by one thread at a time, so each keeps its
/// scratch space beside it.
#[derive(Debug)]
enum Engine {
    /// At every byte there is one way to go on: true of nearly all expressions
    /// about paths, and several times faster.
    OnePass(Box<onepass::DFA>, RefCell<onepass::Cache>),
    /// Follows all ways at once.
    AllWays(Box<PikeVM>, RefCell<pikevm::Cache>),
}

impl Pattern {
    /// Compile, anchored at both ends. It works on bytes and knows ASCII only.
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(format!(
                "a regular expression of {} bytes; at most {MAX_SOURCE_BYTES} are allowed",
                source.len()
            ));
        }
        let tree = parse(source)?;
        let leading_segments = leading_segments(&tree);
        let program = compile(tree)?;
        Ok(Pattern {
            source: source.into(),
            engine: Engine::new(&program)?,
            program,
            leading_segments,
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole value matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        let input = Input::new(value).anchored(Anchored::Yes);
        match &self.engine {
            Engine::OnePass(engine, cache) => engine.is_match(&mut cache.borrow_mut(), input),
            Engine::AllWays(engine, cache) => engine.is_match(&mut cache.borrow_mut(), input),
        }
    }

    /// What the groups took of a value that matches.
    pub fn captures(&self, value: &[u8]) -> Captures {
        let input = Input::new(value).anchored(Anchored::Yes);
        let mut captures = Captures::all(self.program.group_info().clone());
        match &self.engine {
            Engine::OnePass(engine, cache) => {
                engine.captures(&mut cache.borrow_mut(), input, &mut captures);
            }
            Engine::AllWays(engine, cache) => {
                engine.captures(&mut cache.borrow_mut(), input, &mut captures);
            }
        }
        captures
    }

    /// The group of this name or number, if there is one.
    pub fn group(&self, name: &str) -> Option<usize> {
        let groups = self.program.group_info();
        match name.parse() {
            Ok(number) => Some(number).filter(|number| *number < groups.group_len(PatternID::ZERO)),
            Err(_) => groups.to_index(PatternID::ZERO, name),
        }
    }

    /// The whole segments with which every match begins, such as `/users` for
    /// `/users/[0-9]+`; "" when nothing is known.
    pub fn leading_segments(&self) -> &str {
        &self.leading_segments
    }

    /// Bytes that the compiled form takes.
    pub fn memory(&self) -> usize {
        let engine = match &self.engine {
            Engine::OnePass(engine, cache) => engine.memory_usage() + cache.borrow().memory_usage(),
            // It runs the program itself.
            Engine::AllWays(_, cache) => cache.borrow().memory_usage(),
        };
        self.program.memory_usage() + engine
    }
}

impl Engine {
    fn new(program: &NFA) -> Result<Engine, String> {
        let limit = onepass::Config::new().size_limit(Some(MAX_PROGRAM_BYTES));
        let one_pass = onepass::Builder::new()
            .configure(limit)
            .build_from_nfa(program.clone());
        if let Ok(engine) = one_pass {
            let cache = RefCell::new(engine.create_cache());
            return Ok(Engine::OnePass(Box::new(engine), cache));
        }
        let engine = pikevm::Builder::new()
            .build_from_nfa(program.clone())
            .map_err(|error| format!("cannot compile the regular expression: {error}"))?;
        let cache = RefCell::new(engine.create_cache());
        Ok(Engine::AllWays(Box::new(engine), cache))
    }
}

fn parse(source: &str) -> Result<Hir, String> {
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(50)
        .build()
        .parse(source)
        .map_err(|error| {
            // The error's own text is several lines with a drawing.
            let (kind, column) = match &error {
                regex_syntax::Error::Parse(error) => {
                    (error.kind().to_string(), error.span().start.column)
                }
                regex_syntax::Error::Translate(error) => {
                    (error.kind().to_string(), error.span().start.column)
                }
                _ => (error.to_string(), 1),
            };
            format!("`{source}` is not a regular expression: {kind} (at character {column})")
        })
}

/// The tree is anchored, not the text: `a|b` and `(?x) a # b` stay what they are.
/// Its beginning is anchored by every search.
fn compile(tree: Hir) -> Result<NFA, String> {
    let limits = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_PROGRAM_BYTES));
    thompson::Compiler::new()
        .configure(limits)
        .build_from_hir(&Hir::concat(vec![tree, Hir::look(Look::End)]))
        .map_err(|_| {
            format!(
                "the regular expression compiles to more than {} KiB",
                MAX_PROGRAM_BYTES >> 10
            )
        })
}

fn leading_segments(tree: &Hir) -> Box<str> {
    let literals = Extractor::new().extract(tree);
    literals
        .longest_common_prefix()
        .and_then(|prefix| std::str::from_utf8(prefix).ok())
        .and_then(|prefix| Some(prefix.rsplit_once('/')?.0))
        .filter(|segments| segments.starts_with('/'))
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_must_match() {
        check("/a", "/a", true);
        check("/a", "/ab", false);
        check("/a", "x/a", false);
        check("/a|/b", "/b", true);
        check("/a|/b", "/bc", false);
        check("/a|/b", "/a/b", false);
        check(r"/users/\d+", "/users/42", true);
        check(r"/users/\d+", "/users/4x", false);
        check("(?i)/Shop", "/sHOP", true);
        check("(?x) /a  # a comment", "/a", true);
        check("(?m)/a$", "/a\n/b", false);
        check("", "", true);
        check("(/[a-z]*)*/x", "/a/b/x", true);
        check("(/[a-z]*)*/x", "/a/b/y", false);
    }

    fn check(source: &str, value: &str, expected: bool) {
        let pattern = Pattern::new(source).unwrap();
        assert_eq!(
            pattern.matches(value.as_bytes()),
            expected,
            "{source} {value}"
        );
    }

    #[test]
    fn a_match_begins_with_the_leading_segments() {
        for (source, expected) in [
            (r"/users/\d+", "/users"),
            ("/users/?", ""),
            ("/v1/users(/.*)?", "/v1"),
            ("/v1/(a|b)/c", "/v1"),
            ("/v1/a|/v1/b", "/v1"),
            ("/a/x|/b/x", ""),
            ("(?i)/shop/x", ""),
            (".*", ""),
            ("users/x", ""),
        ] {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(pattern.leading_segments(), expected, "{source}");
        }
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        for (source, wanted) in [
            ("/a(", "unclosed group (at character 3)"),
            ("a)|(b", "unopened group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(a{1000}){1000}", "more than 128 KiB"),
            (&"a".repeat(3000), "at most 2048"),
        ] {
            let message = Pattern::new(source).unwrap_err();
            assert!(message.contains(wanted), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn groups_by_name_and_number() {
        let pattern = Pattern::new("/(?P<kind>[a-z]+)/([0-9]+)").unwrap();
        assert_eq!(pattern.group("kind"), Some(1));
        assert_eq!(pattern.group("2"), Some(2));
        assert_eq!(pattern.group("3"), None);
        assert_eq!(pattern.group("other"), None);
    }
}
