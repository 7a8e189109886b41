//! The events of the YAML parser, put together to a tree.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, ScalarStyle, Span, Tag};

use super::node::{Content, Member, Node, Origin};
use super::scalar;
use super::substitute::{Problem, substitute};
use super::{GivenUp, MAX_DEPTH, Source};
use crate::config::mistake::{ENOUGH, Mistake};
use crate::config::place::At;

/// Bytes of a string that cost as much as a node.
const BYTES_PER_NODE: usize = 32;

pub(super) struct Builder<'a> {
    source: &'a Source<'a>,
    budget: &'a mut usize,
    mistakes: &'a mut Vec<Mistake>,
    /// The lists and maps that are not complete.
    open: Vec<Open>,
    /// Complete values with an anchor, by its number, and what one costs.
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
}

/// A list or map that is not complete. An anchor of 0 is none.
struct Open {
    at: At,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map {
        members: Vec<Member>,
        seen: HashMap<Box<str>, At>,
        key: Option<Key>,
    },
}

/// A key that waits for its value.
struct Key {
    name: Box<str>,
    at: At,
    /// It has a mistake, so its value is dropped.
    dropped: bool,
}

type Step = Result<(), GivenUp>;

impl<'a> Builder<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        budget: &'a mut usize,
        mistakes: &'a mut Vec<Mistake>,
    ) -> Self {
        let (open, anchors, root) = (Vec::new(), HashMap::new(), None);
        Self {
            source,
            budget,
            mistakes,
            open,
            anchors,
            root,
        }
    }

    pub(super) fn take(&mut self, event: Event<'_>, span: Span) -> Step {
        let at = self.source.at(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(self.give_up(at, "a second document", "one document in a file"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag, span),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::SequenceStart(anchor, tag) => {
                self.open(at, anchor, Items::List(Vec::new()), tag.as_deref(), "seq")
            }
            Event::MappingStart(anchor, tag) => {
                let (members, seen) = (Vec::new(), HashMap::new());
                let items = Items::Map {
                    members,
                    seen,
                    key: None,
                };
                self.open(at, anchor, items, tag.as_deref(), "map")
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    /// The tree; an empty map where the file has nothing in it.
    pub(super) fn finish(self) -> Node {
        let at = At {
            file: self.source.input.file,
            line: 1,
            column: 1,
        };
        let empty = || Node::new(at, Content::Map(Vec::new()));
        self.root
            .filter(|root| !matches!(root.content, Content::Null))
            .unwrap_or_else(empty)
    }

    pub(super) fn give_up(
        &mut self,
        at: At,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> GivenUp {
        self.report(at, found, wanted);
        GivenUp
    }

    fn report(&mut self, at: At, found: impl Into<String>, wanted: impl Into<String>) {
        if self.has_enough() {
            return;
        }
        let place = self.source.place(at);
        self.mistakes.push(Mistake::new(place, "", found, wanted));
    }

    fn has_enough(&self) -> bool {
        self.mistakes.len() >= ENOUGH
    }

    fn spend(&mut self, cost: usize, at: At) -> Step {
        match self.budget.checked_sub(cost) {
            Some(left) => *self.budget = left,
            None => {
                return Err(self.give_up(
                    at,
                    "more values than a configuration may have, its aliases written out",
                    format!("at most {} values in all", crate::config::gather::MAX_NODES),
                ));
            }
        }
        Ok(())
    }

    fn open(&mut self, at: At, anchor: usize, items: Items, tag: Option<&Tag>, kind: &str) -> Step {
        self.refuse_as_key(at, "a list or map as a key")?;
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == kind)) {
            self.report(at, format!("the tag `{tag}`"), "a value without a tag");
        }
        if self.open.len() == MAX_DEPTH {
            let wanted = format!("at most {MAX_DEPTH}");
            return Err(self.give_up(at, "too many lists and maps within each other", wanted));
        }
        self.spend(1, at)?;
        self.open.push(Open { at, anchor, items });
        Ok(())
    }

    fn close(&mut self) -> Step {
        let Some(Open { at, anchor, items }) = self.open.pop() else {
            return Ok(());
        };
        let content = match items {
            Items::List(items) => Content::List(items),
            Items::Map { members, .. } => Content::Map(members),
        };
        self.place(Node::new(at, content), anchor)
    }

    /// Put a complete value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Step {
        if anchor != 0 {
            let cost = cost(&node);
            self.spend(cost, node.at)?;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { members, key, .. }) => {
                let Key { name, at, dropped } = key.take().expect("a key comes before its value");
                if !dropped {
                    members.push(Member {
                        key: name,
                        at,
                        value: node,
                    });
                }
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: At) -> Step {
        self.refuse_as_key(at, "an alias as a key")?;
        let Some((node, cost)) = self.anchors.get(&anchor) else {
            return Err(self.give_up(
                at,
                "an alias within the value it stands for",
                "a complete value",
            ));
        };
        let (mut node, cost) = (node.clone(), *cost);
        self.spend(cost, at)?;
        node.at = at;
        if self.open.len() + depth(&node) > MAX_DEPTH {
            let wanted = format!("at most {MAX_DEPTH}");
            return Err(self.give_up(at, "too many lists and maps within each other", wanted));
        }
        self.place(node, 0)
    }

    fn refuse_as_key(&mut self, at: At, found: &str) -> Step {
        match self.open.last() {
            Some(Open {
                items: Items::Map { key: None, .. },
                ..
            }) => Err(self.give_up(at, found, "a plain word as a key")),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Step {
        let at = self.source.at(span.start);
        self.spend(1 + text.len() / BYTES_PER_NODE, at)?;
        if let Some(Open {
            items:
                Items::Map {
                    key: key @ None,
                    seen,
                    ..
                },
            ..
        }) = self.open.last_mut()
        {
            let first = seen.get(text.as_ref()).copied();
            let dropped = first.is_some() || text == "<<";
            *key = Some(Key {
                name: text.as_ref().into(),
                at,
                dropped,
            });
            seen.entry(text.as_ref().into()).or_insert(at);
            self.check_key(&text, first, at);
            return Ok(());
        }
        let node = self.value(&text, style, tag.as_deref(), span);
        self.place(node, anchor)
    }

    fn check_key(&mut self, name: &str, first: Option<At>, at: At) {
        if name == "<<" {
            self.report(
                at,
                "the merge key `<<`",
                "the keys themselves: YAML 1.2 has no merge key",
            );
        } else if let Some(first) = first {
            let found = format!("the key `{name}` again, first in line {}", first.line);
            self.report(at, found, "each key once");
        }
    }

    fn value(&mut self, written: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let at = self.source.at(span.start);
        let broken = Node {
            at,
            origin: Origin::Broken,
            written: None,
            content: Content::String(String::new()),
        };
        let substituted = match substitute(written, self.source.input.env) {
            Ok(substituted) => substituted,
            Err(problems) => {
                self.report_problems(problems, span);
                return broken;
            }
        };
        let origin = match substituted.from_env {
            true => Origin::Env,
            false => Origin::Written,
        };
        let text = substituted.text;
        let retyped = !substituted.from_env || written.find('}') == Some(written.len() - 1);
        let plain = style == ScalarStyle::Plain && retyped;
        match typed(&text, plain, tag) {
            Ok(content) => Node {
                at,
                origin,
                written: as_written(&content, &text, origin),
                content,
            },
            Err((found, wanted)) => {
                self.report(at, found, wanted);
                broken
            }
        }
    }

    fn report_problems(&mut self, problems: Vec<Problem>, span: Span) {
        for problem in problems {
            if self.has_enough() {
                break;
            }
            let (written, found, wanted) = match problem {
                Problem::Missing { written, name } => {
                    let found = format!("`{written}`, a variable that is not set");
                    let wanted = format!("it set, or with a default: `${{{name}:-default}}`");
                    (written, found, wanted)
                }
                Problem::Malformed { written } => {
                    let found = format!("`{}`", written.chars().take(40).collect::<String>());
                    let wanted = "`${NAME}`, `${NAME:-default}`, or `$${` for a plain `${`";
                    (written, found, wanted.to_owned())
                }
            };
            let at = self.source.find(&written, span);
            self.report(at, found, wanted);
        }
    }
}

/// The text of what is no text, where it may be wanted: `007` from `${ENV}` may
/// be meant as text, and a number may be too long to be kept as it is.
fn as_written(content: &Content, text: &str, origin: Origin) -> Option<Box<str>> {
    let is_kept = match content {
        Content::String(_) | Content::List(_) | Content::Map(_) => false,
        Content::Number(number) => origin == Origin::Env || number.to_string() != text,
        Content::Null | Content::Bool(_) => origin == Origin::Env,
    };
    is_kept.then(|| text.into())
}

/// The value of a scalar by its style and tag, or what was found and wanted.
fn typed(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Content, (String, String)> {
    let not_finite = |_| {
        (
            format!("the number `{text}`"),
            "a number that JSON can write".to_owned(),
        )
    };
    let Some(tag) = tag else {
        return match plain {
            true => scalar::plain(text).map_err(not_finite),
            false => Ok(Content::String(text.to_owned())),
        };
    };
    if !tag.is_yaml_core_schema() {
        return Err((
            format!("the tag `{tag}`"),
            "a value without a tag".to_owned(),
        ));
    }
    let content = match tag.suffix.as_str() {
        "str" => return Ok(Content::String(text.to_owned())),
        _ => scalar::plain(text).map_err(not_finite)?,
    };
    match (tag.suffix.as_str(), &content) {
        ("int" | "float", Content::Number(_))
        | ("bool", Content::Bool(_))
        | ("null", Content::Null) => Ok(content),
        (kind, _) => Err((
            format!("a value that is not of its tag `!!{kind}`"),
            "one that is".to_owned(),
        )),
    }
}

/// What a copy of this takes from the budget.
fn cost(node: &Node) -> usize {
    1 + match &node.content {
        Content::Null | Content::Bool(_) | Content::Number(_) => 0,
        Content::String(text) => text.len() / BYTES_PER_NODE,
        Content::List(items) => items.iter().map(cost).sum(),
        Content::Map(members) => members.iter().map(|member| 1 + cost(&member.value)).sum(),
    }
}

fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::String(_) => 0,
        Content::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Content::Map(members) => {
            1 + members
                .iter()
                .map(|member| depth(&member.value))
                .max()
                .unwrap_or(0)
        }
    }
}
