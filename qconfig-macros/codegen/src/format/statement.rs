//! A block's tokens, statement by statement. Clauses are statements of a pattern's block.

use super::inline;
use super::tokens::{Comment, Gap, Kind, Tree};

/// A statement or clause.
pub(super) struct Statement {
    /// `/// ..` and `#[..]`, each with what stands before it.
    pub(super) attributes: Vec<Tree>,
    /// What stands before the first word.
    pub(super) gap: Gap,
    /// All before the block, or before `;`.
    pub(super) words: Vec<Tree>,
    /// `{ .. }`
    pub(super) block: Option<Tree>,
    /// What stands before the `;` that ends it.
    pub(super) semicolon: Option<String>,
    /// Comments behind it on its last line.
    pub(super) trailing: Vec<Comment>,
    /// Whether a comment stands where none is expected.
    odd: bool,
}

/// The statements, and what stands behind the last one.
pub(super) fn split(trees: Vec<Tree>, mut end: Gap) -> (Vec<Statement>, Gap) {
    let mut statements: Vec<Statement> = Vec::new();
    let mut trees = trees.into_iter().peekable();
    while let Some(first) = trees.peek_mut() {
        if let Some(before) = statements.last_mut() {
            before.trailing = behind(&mut first.gap);
        }
        let mut statement = Statement {
            attributes: Vec::new(),
            gap: Gap::default(),
            words: Vec::new(),
            block: None,
            semicolon: None,
            trailing: Vec::new(),
            odd: false,
        };
        for tree in trees.by_ref() {
            if statement.words.is_empty() && matches!(tree.kind, Kind::Attribute) {
                statement.attributes.push(tree);
            } else if tree.is_punct(";") {
                statement.odd |= !tree.gap.comments.is_empty();
                statement.semicolon = Some(tree.gap.text);
                break;
            } else if tree.is_brace() && statement.begins_block() {
                statement.odd |= !tree.gap.comments.is_empty();
                statement.block = Some(tree);
                if !statement.is("dtype") {
                    break;
                }
            } else {
                if statement.words.is_empty() {
                    statement.gap = tree.gap.clone();
                } else {
                    statement.odd |= !tree.gap.comments.is_empty();
                }
                statement.odd |= tree.has_comments_inside();
                statement.words.push(tree);
            }
        }
        // `;` behind a block is allowed and says nothing
        if statement.block.is_some()
            && let Some(next) = trees.peek()
            && next.is_punct(";")
            && statement.semicolon.is_none()
        {
            if !next.gap.comments.is_empty() {
                statement.odd = true;
                statement.semicolon = Some(next.gap.text.clone());
            }
            trees.next();
        }
        statements.push(statement);
    }
    if let Some(last) = statements.last_mut() {
        last.trailing = behind(&mut end);
    }
    (statements, end)
}

/// Takes the comments that stand on the line of what is before them.
fn behind(gap: &mut Gap) -> Vec<Comment> {
    let count = gap.comments.iter().take_while(|found| !found.own_line);
    let count = count.count();
    gap.comments.drain(..count).collect()
}

impl Statement {
    /// The word that says what it is, behind `pub`, `override` and `dynamic`.
    pub(super) fn keyword(&self) -> &str {
        let mut words = self.words.iter();
        words
            .find(|word| {
                let modifiers = ["pub", "override", "dynamic"];
                matches!(word.kind, Kind::Word) && !modifiers.contains(&&*word.text)
            })
            .map_or("", |word| &word.text)
    }

    pub(super) fn is(&self, keyword: &str) -> bool {
        self.keyword() == keyword
    }

    /// Whether a brace behind the words read so far holds the block, not alternatives.
    fn begins_block(&self) -> bool {
        let last = self.words.last();
        let is_name = self.words.len() > 1
            && last.is_some_and(|last| last.is_word("pattern"))
            && !(self.is("pattern") || self.is("remove"));
        is_name || !inline::alternatives(last)
    }

    /// Whether a comment stands in its middle: it is then left as it is.
    pub(super) fn is_odd(&self) -> bool {
        let in_block = self.block.as_ref().is_some_and(Tree::has_comments_inside);
        self.odd || (in_block && !self.holds_statements())
    }

    /// Whether its block is laid out as one.
    pub(super) fn holds_statements(&self) -> bool {
        let other = ["config", "dtype", "args", "fix", "observe"];
        self.block.is_some() && !other.contains(&self.keyword())
    }

    /// As it stands in the source.
    pub(super) fn verbatim(&self) -> String {
        let mut text = String::new();
        for (at, tree) in self.words.iter().chain(&self.block).enumerate() {
            if at > 0 {
                text.push_str(&tree.gap.text);
            }
            text.push_str(&tree.text);
        }
        if let Some(before) = &self.semicolon {
            text.push_str(before);
            text.push(';');
        }
        text
    }
}
