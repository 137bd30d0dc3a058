//! The lines of a block: statements below each other, neighbours aligned, short clauses side by side.

use super::WIDTH;
use super::body::{self, Body};
use super::statement::{Statement, split};
use super::tokens::{Comment, Gap, Tree};

/// A statement that is laid out.
struct Item {
    /// Whether an empty line stands before it.
    blank: bool,
    /// Comments and attributes on lines of their own.
    above: Vec<String>,
    body: Body,
    /// ` // ..`
    trailing: String,
}

/// Lays out what stands between braces.
pub(super) fn lines(trees: Vec<Tree>, end: Gap, indent: usize) -> Vec<String> {
    let (statements, end) = split(trees, end);
    let mut items: Vec<Item> = statements
        .iter()
        .map(|statement| item(statement, indent))
        .collect();
    if let Some(first) = items.first_mut() {
        first.blank = false;
    }
    let mut out = Vec::new();
    let mut rest = items.as_slice();
    while let Some(first) = rest.first() {
        let neighbours = rest.iter().zip(rest.iter().skip(1));
        let run = 1 + neighbours
            .take_while(|(one, next)| follows(one, next))
            .count();
        let (now, later) = rest.split_at(run);
        match &first.body {
            Body::Cells(..) => aligned(now, indent, &mut out),
            Body::Short(_) => filled(now, indent, &mut out),
            Body::Lines(lines) => {
                above(first, indent, &mut out);
                out.extend(lines.iter().cloned());
                behind(first, &mut out);
            }
        }
        rest = later;
    }
    for (at, comment) in end.comments.iter().enumerate() {
        if comment.blank_before && !(at == 0 && out.is_empty()) {
            out.push(String::new());
        }
        out.push(format!("{:indent$}{}", "", comment.text));
    }
    out
}

/// Whether a statement is laid out together with the one before it.
fn follows(one: &Item, next: &Item) -> bool {
    match (&one.body, &next.body) {
        (Body::Cells(a, _), Body::Cells(b, _)) => a == b && !next.blank,
        (Body::Short(_), Body::Short(_)) => {
            !next.blank && next.above.is_empty() && one.trailing.is_empty()
        }
        _ => false,
    }
}

fn item(statement: &Statement, indent: usize) -> Item {
    let mut lines: Vec<String> = Vec::new();
    let mut blank = false;
    let gaps = statement
        .attributes
        .iter()
        .map(|tree| (&tree.gap, Some(tree)));
    for (at, (gap, tree)) in gaps.chain([(&statement.gap, None)]).enumerate() {
        for (place, comment) in gap.comments.iter().enumerate() {
            if at == 0 && place == 0 {
                blank = comment.blank_before;
            } else if comment.blank_before {
                lines.push(String::new());
            }
            match lines.last_mut().filter(|_| at > 0 && !comment.own_line) {
                Some(line) => line.push_str(&format!(" {}", comment.text)),
                None => lines.push(comment.text.clone()),
            }
        }
        if gap.blank && !gap.comments.is_empty() {
            lines.push(String::new());
        } else if at == 0 {
            blank |= gap.blank;
        }
        lines.extend(tree.map(|tree| tree.text.clone()));
    }
    Item {
        blank,
        above: lines,
        body: body::body(statement, indent),
        trailing: trailing(&statement.trailing),
    }
}

fn trailing(comments: &[Comment]) -> String {
    comments.iter().fold(String::new(), |mut text, comment| {
        text.push(' ');
        text.push_str(&comment.text);
        text
    })
}

fn above(item: &Item, indent: usize, out: &mut Vec<String>) {
    if item.blank {
        out.push(String::new());
    }
    for line in &item.above {
        if line.is_empty() {
            out.push(String::new());
        } else {
            out.push(format!("{:indent$}{line}", ""));
        }
    }
}

fn behind(item: &Item, out: &mut [String]) {
    if let Some(last) = out.last_mut() {
        last.push_str(&item.trailing);
    }
}

/// Columns below each other, unless a line then has no room.
fn aligned(items: &[Item], indent: usize, out: &mut Vec<String>) {
    let mut widths: Vec<usize> = Vec::new();
    let cells = |item: &Item| match &item.body {
        Body::Cells(_, cells) => cells.clone(),
        _ => Vec::new(),
    };
    for item in items {
        let cells = cells(item);
        let before_last = cells.len().saturating_sub(1);
        for (at, cell) in cells.iter().take(before_last).enumerate() {
            let length = cell.chars().count();
            match widths.get_mut(at) {
                Some(width) => *width = length.max(*width),
                None => widths.push(length),
            }
        }
    }
    let line = |item: &Item, widths: &[usize]| {
        let cells = cells(item);
        let mut line = " ".repeat(indent);
        for (at, cell) in cells.iter().enumerate() {
            let width = widths.get(at).copied().unwrap_or(0);
            if at + 1 < cells.len() {
                line.push_str(&format!("{cell:width$} "));
            } else {
                line.push_str(cell);
            }
        }
        line
    };
    let fits = items
        .iter()
        .all(|item| line(item, &widths).chars().count() <= WIDTH);
    let widths = if fits { widths } else { Vec::new() };
    for item in items {
        above(item, indent, out);
        let whole = line(item, &widths);
        match whole.split_once(" => ") {
            Some((before, behind)) if whole.chars().count() > WIDTH => {
                out.push(before.trim_end().to_owned());
                out.push(format!("{:1$}=> {behind}", "", indent + 4));
            }
            _ => out.push(whole),
        }
        behind(item, out);
    }
}

/// Short clauses on as few lines as they need.
fn filled(items: &[Item], indent: usize, out: &mut Vec<String>) {
    let mut line = String::new();
    for item in items {
        let Body::Short(text) = &item.body else {
            continue;
        };
        let next = indent + line.chars().count() + 1 + text.chars().count();
        if !line.is_empty() && next > WIDTH {
            out.push(format!("{:indent$}{line}", ""));
            line.clear();
        }
        if line.is_empty() {
            above(item, indent, out);
        } else {
            line.push(' ');
        }
        line.push_str(text);
        line.push_str(&item.trailing);
    }
    out.push(format!("{:indent$}{line}", ""));
}
