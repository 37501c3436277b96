//! The tree, built from the parser's events.

use std::{collections::HashMap, ops::Range, rc::Rc, sync::Arc};

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};

use super::{Data, Limits, Node, Style, entries, scalar, syntax, traps};
use crate::{
    diagnostic::{Diagnostic, floor},
    units::Bytes,
};

/// Returns the document in `text`; adds what is wrong with it to `problems`.
///
/// `None` when there is no tree at all: the text is empty, too big, or no YAML from some place on. Other mistakes
/// (duplicate keys, unknown anchors, tags) leave a tree, so that everything else can be checked too.
pub fn parse(text: &str, limits: &Limits, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    if text.len() > limits.text {
        let (size, most) = (Bytes(text.len() as u64), Bytes(limits.text as u64));
        problems.push(Diagnostic::error(
            format!("the file has {size} of text; at most {most} are read"),
            None,
        ));
        return None;
    }
    let mut options = Options::default();
    // Comments are found in the text where they matter; as events the parser takes only so many in a row.
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.flow_nesting_limit = limits.depth;
    options.block_nesting_limit = limits.depth;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut tree = Tree {
        text,
        limits,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        copied: 0,
        root: None,
        documents: 0,
    };
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => tree.take(event, &span),
            Err(error) => Err(tree.refused(&error)),
        };
        match taken {
            Ok(Go::On) => {}
            Ok(Go::Enough) => break,
            Err(fatal) => {
                problems.extend(fatal);
                return None;
            }
        }
    }
    let root = tree.root;
    if root.is_none() {
        problems.push(Diagnostic::error("there is nothing in the file", None));
    }
    root
}

/// Whether to read on.
enum Go {
    On,
    Enough,
}

/// What ends the reading; `None`: it has been said already.
type Fatal = Option<Diagnostic>;

struct Tree<'a> {
    text: &'a str,
    limits: &'a Limits,
    problems: &'a mut Vec<Diagnostic>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchor>,
    /// Nodes made so far, copies included.
    nodes: usize,
    /// Bytes of text that aliases have added.
    copied: usize,
    root: Option<Node>,
    documents: usize,
}

/// A collection whose end is still to come.
struct Open {
    shape: Shape,
    style: StructureStyle,
    start: usize,
    end: usize,
    tag: Option<String>,
    anchor: usize,
    children: Vec<Node>,
    size: Size,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    List,
    Map,
}

/// What an anchor names.
#[derive(Clone)]
struct Anchor {
    node: Rc<Node>,
    size: Size,
}

/// How much a node is, with all that is in it.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    depth: usize,
    bytes: usize,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<Go, Fatal> {
        let range = self.range(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.problems.push(
                        Diagnostic::error("a second document begins here", range)
                            .hint("a file holds one document: remove the `---` or split the file"),
                    );
                    return Ok(Go::Enough);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), span, true);
                let node = self.scalar(&text, style, range, tag);
                let size = Size {
                    nodes: 1,
                    depth: 0,
                    bytes: node.written().len(),
                };
                self.add(node, size, anchor)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), span, false);
                self.begin(Shape::List, style, range, tag, anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), span, false);
                self.begin(Shape::Map, style, range, tag, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(range)?,
            Event::Alias(anchor) => self.alias(anchor, range)?,
            Event::UnresolvedAlias(name) => {
                self.problems.push(
                    Diagnostic::error(format!("unknown anchor `{name}`"), range.clone())
                        .hint(format!("an anchor `&{name}` stands before its alias; text that begins with `*` is quoted")),
                );
                self.add(nothing(range), ONE, 0)?;
            }
            _ => {}
        }
        Ok(Go::On)
    }

    /// Returns where a span lies; never off a character boundary.
    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        let start = floor(self.text, range.start);
        start..floor(self.text, range.end).max(start)
    }

    fn tag(
        &mut self,
        tag: Option<&granit_parser::Tag>,
        span: &Span,
        scalar: bool,
    ) -> Option<String> {
        let tag = tag?;
        if scalar && tag.is_yaml_core_schema_tag("str") {
            return Some(tag.original());
        }
        let place = span.tag_span().unwrap_or(*span);
        let problem = Diagnostic::error(
            format!("unknown tag `{}`", tag.original()),
            self.range(&place),
        );
        self.problems.push(if tag.is_yaml_core_schema() {
            problem.hint("only `!!str` is known, on a scalar; write the value without a tag")
        } else {
            problem.hint("tags have no meaning here; text that begins with `!` is quoted")
        });
        None
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        span: Range<usize>,
        tag: Option<String>,
    ) -> Node {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let span = match style {
            // The parser goes on to where the next line begins.
            Style::Literal | Style::Folded => {
                span.start..span.start + self.text[span].trim_end().len()
            }
            _ => span,
        };
        let is_plain = style == Style::Plain;
        // The parser says `~` for what isn't there at all.
        let text = if is_plain && span.is_empty() {
            ""
        } else {
            text
        };
        let is_key = matches!(self.open.last(), Some(open) if open.shape == Shape::Map && open.children.len().is_multiple_of(2));
        if is_plain && tag.is_none() && !is_key && scalar::is_too_big(text) {
            self.problems.push(
                Diagnostic::error(
                    format!(
                        "`{}` is beyond the whole numbers, which have 64 bits",
                        super::shorten(text)
                    ),
                    span.clone(),
                )
                .hint("quote it if it is text"),
            );
        }
        let comment_after = if is_plain && !span.is_empty() {
            traps::comment_after(self.text, span.end)
        } else {
            None
        };
        Node {
            data: Data::Scalar {
                text: Arc::from(text),
                style,
            },
            span,
            tag,
            comment_after,
        }
    }

    fn begin(
        &mut self,
        shape: Shape,
        style: StructureStyle,
        span: Range<usize>,
        tag: Option<String>,
        anchor: usize,
    ) -> Result<(), Fatal> {
        if self.open.len() >= self.limits.depth {
            return Err(Some(too_deep(self.limits, span)));
        }
        self.open.push(Open {
            shape,
            style,
            start: span.start,
            end: span.end,
            tag,
            anchor,
            children: Vec::new(),
            size: ONE,
        });
        Ok(())
    }

    fn end(&mut self, span: Range<usize>) -> Result<(), Fatal> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        // The end of a block is where the next line begins: its last child's end is what people see.
        let end = match open.style {
            StructureStyle::Flow => span.end.max(open.end),
            StructureStyle::Block => open
                .children
                .last()
                .map_or(open.end, |child| child.span.end)
                .max(open.start),
        };
        let span = open.start..end;
        let data = match open.shape {
            Shape::List => Data::List(open.children),
            Shape::Map => self.map(open.children, open.style, &span),
        };
        let node = Node {
            data,
            span,
            tag: open.tag,
            comment_after: None,
        };
        let size = Size {
            depth: open.size.depth + 1,
            ..open.size
        };
        self.add(node, size, open.anchor)
    }

    fn map(&mut self, children: Vec<Node>, style: StructureStyle, span: &Range<usize>) -> Data {
        let pairs = pairs(children);
        if style == StructureStyle::Block {
            return Data::Map(entries::entries(pairs, self.problems));
        }
        if traps::is_inner_brace(self.text, span) {
            // The inner half of an unquoted `{{ }}`: said when the outer half ends.
            return Data::Map(pairs);
        }
        if traps::is_template(self.text, span)
            && pairs.iter().any(|(key, _)| key.as_map().is_some())
        {
            let in_flow = self
                .open
                .iter()
                .any(|open| open.style == StructureStyle::Flow);
            let (problem, text) =
                traps::unquoted_template(self.text, span.start, Some(span.end), in_flow);
            self.problems.push(problem);
            return Data::Scalar {
                text: Arc::from(text),
                style: Style::DoubleQuoted,
            };
        }
        traps::keys_without_colon(self.text, &pairs, self.problems);
        Data::Map(entries::entries(pairs, self.problems))
    }

    fn alias(&mut self, anchor: usize, span: Range<usize>) -> Result<(), Fatal> {
        let Some(Anchor { node, size }) = self.anchors.get(&anchor).cloned() else {
            self.problems.push(Diagnostic::error(
                "this alias stands inside of what its anchor names, so it has no end",
                span.clone(),
            ));
            return self.add(nothing(span), ONE, 0);
        };
        if self.open.len() + size.depth > self.limits.depth {
            return Err(Some(too_deep(self.limits, span)));
        }
        self.copied += size.bytes;
        if self.copied > self.limits.text {
            let most = Bytes(self.limits.text as u64);
            return Err(Some(Diagnostic::error(
                format!("aliases make more than {most} of text of this file"),
                span,
            )));
        }
        // Counted before it is copied: that is what stops a bomb.
        self.count(size.nodes, &span)?;
        let node = Node {
            span,
            comment_after: None,
            ..(*node).clone()
        };
        self.attach(node, size);
        Ok(())
    }

    /// Counts a new node, keeps it for aliases if it has an anchor, and puts it in its place.
    fn add(&mut self, node: Node, size: Size, anchor: usize) -> Result<(), Fatal> {
        self.count(1, &node.span)?;
        if anchor != 0 {
            self.count(size.nodes, &node.span)?;
            let node = Rc::new(node.clone());
            self.anchors.insert(anchor, Anchor { node, size });
        }
        self.attach(node, size);
        Ok(())
    }

    fn attach(&mut self, node: Node, size: Size) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) => {
                open.size.nodes += size.nodes;
                open.size.bytes += size.bytes;
                open.size.depth = open.size.depth.max(size.depth);
                open.children.push(node);
            }
        }
    }

    fn count(&mut self, nodes: usize, span: &Range<usize>) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        Err(Some(Diagnostic::error(
            format!(
                "the file makes more than {} nodes, aliases counted in full",
                self.limits.nodes
            ),
            span.clone(),
        )))
    }

    /// Returns what the parser refused, in our words.
    fn refused(&self, error: &granit_parser::ScanError) -> Fatal {
        let opened = self
            .open
            .iter()
            .rev()
            .map(|open| open.start)
            .find(|start| self.text[*start..].starts_with(['{', '[']));
        let problem = match error.kind() {
            granit_parser::ErrorKind::RecursionLimitExceeded => {
                too_deep(self.limits, syntax::place(self.text, error))
            }
            _ => syntax::explain(self.text, error, opened),
        };
        // What stands behind an unquoted template can't be read either, but the template has been reported.
        let place = |problem: &Diagnostic| problem.span.as_ref().map(|span| span.start);
        let said = self
            .problems
            .iter()
            .any(|said| said.message == problem.message && place(said) == place(&problem));
        (!said).then_some(problem)
    }
}

const ONE: Size = Size {
    nodes: 1,
    depth: 0,
    bytes: 0,
};

fn nothing(span: Range<usize>) -> Node {
    Node {
        data: Data::Scalar {
            text: Arc::from(""),
            style: Style::Plain,
        },
        span,
        tag: None,
        comment_after: None,
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    let mut pairs = Vec::with_capacity(children.len() / 2);
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn too_deep(limits: &Limits, span: Range<usize>) -> Diagnostic {
    Diagnostic::error(
        format!("more than {} collections inside each other", limits.depth),
        span,
    )
}
