//! A YAML document as a tree whose every value knows its place.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::config::place::{At, Below, Spot, put_below};

#[derive(Debug, Clone)]
pub(in crate::config) struct Node {
    pub(in crate::config) at: At,
    pub(in crate::config) origin: Origin,
    /// As in [`Spot::written`].
    pub(in crate::config) written: Option<Box<str>>,
    pub(in crate::config) content: Content,
}

/// How a value came into the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Origin {
    Written,
    /// A part of it, or all of it, came from `${ENV}`.
    Env,
    /// A mistake in it was reported, so nothing else about it should be.
    Broken,
}

#[derive(Debug, Clone)]
pub(in crate::config) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    /// Every key once.
    Map(Vec<Member>),
}

#[derive(Debug, Clone)]
pub(in crate::config) struct Member {
    pub(in crate::config) key: Box<str>,
    pub(in crate::config) at: At,
    pub(in crate::config) value: Node,
}

/// A document in the forms that the next steps want.
pub(in crate::config) struct Parts {
    pub(in crate::config) value: Value,
    pub(in crate::config) spot: Spot,
    /// JSON pointers of the values that came from `${ENV}`.
    pub(in crate::config) from_env: Vec<String>,
    /// JSON pointers of the values that are reported already.
    pub(in crate::config) broken: Vec<String>,
}

impl Node {
    pub(in crate::config) fn new(at: At, content: Content) -> Self {
        Self {
            at,
            origin: Origin::Written,
            written: None,
            content,
        }
    }

    pub(in crate::config) fn into_parts(self) -> Parts {
        let (mut from_env, mut broken) = (Vec::new(), Vec::new());
        let (value, spot) = self.split(&mut String::new(), &mut from_env, &mut broken);
        Parts {
            value,
            spot,
            from_env,
            broken,
        }
    }

    fn split(
        self,
        pointer: &mut String,
        from_env: &mut Vec<String>,
        broken: &mut Vec<String>,
    ) -> (Value, Spot) {
        match self.origin {
            Origin::Written => {}
            Origin::Env => from_env.push(pointer.clone()),
            Origin::Broken => broken.push(pointer.clone()),
        }
        let (value, inner) = match self.content {
            Content::Null => (Value::Null, Below::Nothing),
            Content::Bool(value) => (value.into(), Below::Nothing),
            Content::Number(value) => (value.into(), Below::Nothing),
            Content::String(value) => (value.into(), Below::Nothing),
            Content::List(items) => {
                let length = pointer.len();
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    put_below(pointer, &index.to_string());
                    let parts = item.split(pointer, from_env, broken);
                    pointer.truncate(length);
                    parts
                });
                let (values, spots) = items.unzip();
                (Value::Array(values), Below::Items(spots))
            }
            Content::Map(members) => {
                let (mut values, mut spots) = (Map::new(), BTreeMap::new());
                for Member { key, at, value } in members {
                    let length = pointer.len();
                    put_below(pointer, &key);
                    let (value, spot) = value.split(pointer, from_env, broken);
                    pointer.truncate(length);
                    values.insert(key.to_string(), value);
                    spots.insert(key, (at, spot));
                }
                (Value::Object(values), Below::Members(spots))
            }
        };
        let from_env = self.origin == Origin::Env;
        (
            value,
            Spot {
                at: self.at,
                from_env,
                written: self.written,
                below: inner,
            },
        )
    }
}

impl Content {
    /// What this is called in a message.
    pub(in crate::config) fn kind(&self) -> &'static str {
        match self {
            Content::Null => "nothing",
            Content::Bool(_) => "`true` or `false`",
            Content::Number(_) => "a number",
            Content::String(_) => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}
