//! What each kind of statement looks like.

use super::inline::line;
use super::statement::Statement;
use super::tokens::{Kind, Tree};
use super::{WIDTH, block, patterns};

/// A statement without what stands above and behind it.
pub(super) enum Body {
    /// Columns that are aligned with those of neighbours of the same kind.
    Cells(&'static str, Vec<String>),
    /// A clause that shares its line with others.
    Short(String),
    /// Lines as they are.
    Lines(Vec<String>),
}

/// Lays a statement out.
pub(super) fn body(statement: &Statement, indent: usize) -> Body {
    let one = |text: String| Body::Lines(vec![format!("{:indent$}{text}", "")]);
    if statement.is_odd() {
        return one(statement.verbatim());
    }
    let words = &statement.words;
    let inner = statement.block.as_ref().and_then(inside);
    match statement.keyword() {
        "dtype" => dtype(statement),
        "config" => config(statement, indent),
        "list" => list(statement, indent),
        "kernel" if line(words) == "kernel none" => Body::Short("kernel none;".into()),
        "kernel" => kernel(statement),
        "pattern" | "remove" => Body::Lines(patterns::lines(statement, indent)),
        "root" | "qat" | "reference" | "fused" | "fuser" | "root_node" | "extra_inputs"
        | "include" => Body::Short(line(words) + ";"),
        "observe" if inner.is_none() => Body::Short(line(words) + ";"),
        "args" | "fix" | "observe" => one(inline(statement)),
        "group" if words.iter().any(|word| word.is_punct(":")) => {
            Body::Lines(with_block(&[line(words)], statement, indent))
        }
        _ => match (&statement.block, inner) {
            (Some(tree), Some(_)) => {
                let mut lines = vec![format!("{:indent$}{} {{", "", line(words))];
                lines.extend(inner_lines(tree, indent + 4));
                lines.push(format!("{:indent$}}}", ""));
                Body::Lines(lines)
            }
            _ => one(line(words) + ";"),
        },
    }
}

/// The tokens in braces.
fn inside(tree: &Tree) -> Option<&[Tree]> {
    match &tree.kind {
        Kind::Group(_, inner, _) => Some(inner),
        _ => None,
    }
}

fn inner_lines(tree: &Tree, indent: usize) -> Vec<String> {
    match &tree.kind {
        Kind::Group(_, inner, end) => block::lines(inner.clone(), end.clone(), indent),
        _ => Vec::new(),
    }
}

/// `{ input: quint8, output: quint8 }`
fn braces(tree: &Tree) -> String {
    let inner = inside(tree).unwrap_or_default();
    let inner = match inner.split_last() {
        Some((last, rest)) if last.is_punct(",") => rest,
        _ => inner,
    };
    if inner.is_empty() {
        "{}".into()
    } else {
        format!("{{ {} }}", line(inner))
    }
}

/// All on one line.
fn inline(statement: &Statement) -> String {
    let mut text = line(&statement.words);
    if let Some(tree) = &statement.block {
        text.push(' ');
        text.push_str(&braces(tree));
    }
    if statement.semicolon.is_some() {
        text.push(';');
    }
    text
}

/// `dtype act`, `= qint8`, `{ scale >= 2^-12 };`
fn dtype(statement: &Statement) -> Body {
    let (name, base) = split_at(&statement.words, "=");
    let cells = match &statement.block {
        None => vec![line(name), line(base) + ";"],
        Some(tree) => vec![line(name), line(base), braces(tree) + ";"],
    };
    Body::Cells("dtype", cells)
}

/// `config weighted`, `{ input: act, output: act }`
fn config(statement: &Statement, indent: usize) -> Body {
    let head = line(&statement.words);
    let Some(tree) = &statement.block else {
        return Body::Lines(vec![format!("{:indent$}{head}", "")]);
    };
    let fields = braces(tree);
    if indent + head.chars().count() + 1 + fields.chars().count() <= WIDTH {
        return Body::Cells("config", vec![head, fields]);
    }
    let mut lines = vec![format!("{:indent$}{head} {{", "")];
    let fields = inside(tree).unwrap_or_default();
    for field in fields.split(|tree| tree.is_punct(",")) {
        if !field.is_empty() {
            lines.push(format!("{:1$}{2},", "", indent + 4, line(field)));
        }
    }
    lines.push(format!("{:indent$}}}", ""));
    Body::Lines(lines)
}

/// `list weighted`, `= [weighted_qint8, weighted_quint8];`
fn list(statement: &Statement, indent: usize) -> Body {
    let (name, configs) = split_at(&statement.words, "=");
    let text = inline(statement);
    if indent + text.chars().count() <= WIDTH {
        return Body::Cells("list", vec![line(name), line(configs) + ";"]);
    }
    let Some(names) = configs.last().and_then(inside) else {
        return Body::Lines(vec![format!("{:indent$}{text}", "")]);
    };
    let mut lines = vec![format!("{:indent$}{} = [", "", line(name))];
    let mut now = String::new();
    for name in names.split(|tree| tree.is_punct(",")) {
        if name.is_empty() {
            continue;
        }
        let name = line(name) + ",";
        if !now.is_empty() && indent + 5 + now.chars().count() + name.chars().count() > WIDTH {
            lines.push(format!("{:1$}{now}", "", indent + 4));
            now.clear();
        }
        if !now.is_empty() {
            now.push(' ');
        }
        now.push_str(&name);
    }
    lines.push(format!("{:1$}{now}", "", indent + 4));
    lines.push(format!("{:indent$}];", ""));
    Body::Lines(lines)
}

/// `kernel weighted`, `=> crate::Q8Conv;`; one for operators or for all configs has no neighbours.
fn kernel(statement: &Statement) -> Body {
    let words = &statement.words;
    let (head, path) = split_at(words, "=>");
    let named = head.len() > 1 && !head.iter().any(|word| word.is_word("for"));
    if path.is_empty() || !named {
        return Body::Cells("kernel for", vec![line(words) + ";"]);
    }
    Body::Cells("kernel", vec![line(head), line(path) + ";"])
}

/// Before a sign, and from it on.
fn split_at<'t>(words: &'t [Tree], sign: &str) -> (&'t [Tree], &'t [Tree]) {
    let at = words.iter().position(|word| word.is_punct(sign));
    words.split_at(at.unwrap_or(words.len()))
}

/// A head of one or several lines with the block that belongs to it: on the head's line where there
/// is room, else below.
pub(super) fn with_block(head: &[String], statement: &Statement, indent: usize) -> Vec<String> {
    let pad = " ".repeat(indent);
    let mut lines: Vec<String> = head.iter().map(|line| format!("{pad}{line}")).collect();
    let Some(tree) = &statement.block else {
        if let Some(last) = lines.last_mut() {
            last.push(';');
        }
        return lines;
    };
    if let ([only], Some(clauses)) = (head, one_line(tree)) {
        let text = format!("{pad}{only} {clauses}");
        if text.chars().count() <= WIDTH {
            return vec![text];
        }
    }
    match (head, lines.last_mut()) {
        ([_], Some(last)) => last.push_str(" {"),
        _ => lines.push(format!("{pad}{{")),
    }
    lines.extend(inner_lines(tree, indent + 4));
    lines.push(format!("{pad}}}"));
    lines
}

/// The clauses of a block on one line, unless there are comments, attributes or several kernels.
fn one_line(tree: &Tree) -> Option<String> {
    let Kind::Group(_, inner, end) = &tree.kind else {
        return None;
    };
    if tree.has_comments_inside() {
        return None;
    }
    let (statements, _) = super::statement::split(inner.clone(), end.clone());
    let kernels = statements.iter().filter(|clause| clause.is("kernel"));
    let attributes = statements
        .iter()
        .any(|clause| !clause.attributes.is_empty());
    if kernels.count() > 1 || attributes {
        return None;
    }
    let clauses: Vec<String> = statements.iter().map(inline).collect();
    Some(if clauses.is_empty() {
        "{}".into()
    } else {
        format!("{{ {} }}", clauses.join(" "))
    })
}
