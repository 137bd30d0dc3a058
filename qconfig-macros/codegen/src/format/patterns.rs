//! Statements with patterns: `|` is where they are broken.

use super::WIDTH;
use super::body::with_block;
use super::inline::line;
use super::statement::Statement;
use super::tokens::{Kind, Tree};

/// `pattern a | b: list { .. }` or `remove pattern a | b;`
pub(super) fn lines(statement: &Statement, indent: usize) -> Vec<String> {
    let head = line(&statement.words);
    let ends = if statement.block.is_some() { 2 } else { 1 };
    if indent + head.chars().count() + ends <= WIDTH {
        return with_block(&[head], statement, indent);
    }
    with_block(&broken(&statement.words, indent, ends), statement, indent)
}

/// The head on several lines: where its author broke it, and where a line would be too long.
fn broken(words: &[Tree], indent: usize, ends: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut start = 0;
    let bars = words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.is_punct("|"));
    let mut bars: Vec<usize> = bars.map(|(at, _)| at).collect();
    bars.push(words.len());
    for end in bars {
        let Some(part) = words.get(start..end) else {
            continue;
        };
        let text = line(part);
        let by_author = start > 0 && breaks(words, start);
        // `;` behind the last one
        let more = if end == words.len() && ends == 1 {
            1
        } else {
            0
        };
        match lines.last_mut() {
            Some(last)
                if !by_author
                    && indent + last.chars().count() + 1 + text.chars().count() + more <= WIDTH =>
            {
                last.push(' ');
                last.push_str(&text);
            }
            Some(_) => lines.push(format!("    {text}")),
            None => lines.push(text),
        }
        start = end;
    }
    lines
}

/// Whether the source has a line break before or behind that `|`.
fn breaks(words: &[Tree], bar: usize) -> bool {
    let broken = |at: usize| words.get(at).is_some_and(|word| word.gap.broken);
    let behind = words.get(bar + 1);
    // braces may begin on the line and go on below
    let own = behind.is_some_and(|word| !matches!(word.kind, Kind::Group(..)));
    broken(bar) || (own && broken(bar + 1))
}
