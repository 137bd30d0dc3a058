//! What protobuf bytes promise, checked before they are decoded: the decoder takes a length at its word
//! and messages in messages as deep as they come.

/// Messages inside each other that are still believed: a model's graph, its node's attribute, that one's
/// graph, and so on.
const DEEPEST: usize = 64;

/// Bytes that are no protobuf message of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A number, or the bytes a length speaks of, go beyond the message they are in.
    #[error("a field at byte {0} reaches beyond the message it is in")]
    Short(usize),
    /// Neither a number nor bytes.
    #[error("the field at byte {at} has wire type {found}, which ONNX does not use")]
    Type {
        /// Its position.
        at: usize,
        /// The type found.
        found: u64,
    },
    /// Graphs within graphs without end.
    #[error("messages lie more than {DEEPEST} deep inside each other at byte {0}")]
    Deep(usize),
}

/// The messages that hold others, as `onnx.proto` numbers their fields.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    Nested,
    /// Nothing of it lies deeper.
    Leaf,
}

impl Message {
    fn inside(self, field: u64) -> Option<Message> {
        Some(match (self, field) {
            (Message::Model, 7) => Message::Graph,
            // opsets, metadata
            (Message::Model, 8 | 14) => Message::Leaf,
            (Message::Graph, 1) => Message::Node,
            (Message::Graph, 5) => Message::Tensor,
            (Message::Graph, 11..=13) => Message::Value,
            (Message::Node, 5) => Message::Attribute,
            (Message::Attribute, 5) => Message::Tensor,
            (Message::Attribute, 6) => Message::Graph,
            // where external data is
            (Message::Tensor, 13) => Message::Leaf,
            (Message::Value, 2) => Message::Type,
            (Message::Type, 1) => Message::TensorType,
            (Message::TensorType, 2) => Message::Shape,
            (Message::Shape, 1) => Message::Leaf,
            // a sequence, or another type that has an element type
            (Message::Type, 4 | 9) => Message::Nested,
            (Message::Nested, 1) => Message::Type,
            _ => return None,
        })
    }
}

/// Checks that every length stays inside what holds it, and how deep messages go.
///
/// # Errors
/// [`WireError`].
pub(crate) fn check(bytes: &[u8]) -> Result<(), WireError> {
    walk(bytes, 0, Message::Model, 0)
}

/// [`check`] for a tensor alone.
///
/// # Errors
/// [`WireError`].
pub(crate) fn check_tensor(bytes: &[u8]) -> Result<(), WireError> {
    walk(bytes, 0, Message::Tensor, 0)
}

fn walk(bytes: &[u8], base: usize, message: Message, depth: usize) -> Result<(), WireError> {
    if depth > DEEPEST {
        return Err(WireError::Deep(base));
    }
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let short = WireError::Short(base + start);
        let tag = varint(bytes, &mut at).ok_or(short)?;
        let length = match tag & 7 {
            0 => {
                varint(bytes, &mut at).ok_or(short)?;
                continue;
            }
            1 => 8,
            5 => 4,
            2 => usize::try_from(varint(bytes, &mut at).ok_or(short)?).map_err(|_| short)?,
            found => {
                let at = base + start;
                return Err(WireError::Type { at, found });
            }
        };
        let end = at.checked_add(length).ok_or(short)?;
        let content = bytes.get(at..end).ok_or(short)?;
        if let (2, Some(inner)) = (tag & 7, message.inside(tag >> 3)) {
            walk(content, base + at, inner, depth + 1)?;
        }
        // packed integers: one that goes on behind them would move all that follows
        if matches!((message, tag), (Message::Tensor, 0x2a | 0x3a))
            && content.last().is_some_and(|last| *last >= 0x80)
        {
            return Err(short);
        }
        at = end;
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(field: u8, content: &[u8]) -> Vec<u8> {
        let mut length = content.len();
        let mut bytes = vec![field << 3 | 2];
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [bytes.as_slice(), content].concat()
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(check(&framed(7, &framed(1, &[]))), Ok(()));
        let huge = [0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(check(&huge), Err(WireError::Short(0)));
        // inside a graph, an initializer that is longer than the graph
        assert_eq!(check(&framed(7, &[0x2a, 5, 1])), Err(WireError::Short(2)));
        assert_eq!(check(&[0x80]), Err(WireError::Short(0)));
        assert_eq!(check(&[0x3b]), Err(WireError::Type { at: 0, found: 3 }));
    }

    #[test]
    fn lengths_are_checked_however_deep_they_lie() {
        let huge: &[u8] = &[0x12, 0xfb, 0xef, 0xb1, 0xe3, 0x63, b'x'];
        let inside = |fields: &[u8]| {
            fields
                .iter()
                .rev()
                .fold(huge.to_vec(), |a, f| framed(*f, &a))
        };
        for path in [
            &[7, 11, 2, 1, 2, 1][..], // the name of a dimension
            &[8],                     // of an opset
            &[14],                    // of metadata
            &[7, 5, 13],              // of an initializer's file
            &[7, 1, 5, 5, 13],        // of an attribute's
        ] {
            let found = check(&inside(path));
            assert!(
                matches!(found, Err(WireError::Short(_))),
                "{path:?}: {found:?}"
            );
        }
    }

    #[test]
    fn packed_integers_end_where_they_say() {
        for field in [5, 7] {
            let packed = |values: &[u8]| check_tensor(&framed(field, values));
            assert_eq!(packed(&[1, 0x80, 1]), Ok(()));
            assert_eq!(packed(&[1, 0x80]), Err(WireError::Short(0)));
        }
    }

    #[test]
    fn graphs_within_graphs_end_somewhere() {
        let mut graph = vec![];
        for _ in 0..1000 {
            graph = framed(1, &framed(5, &framed(6, &graph)));
        }
        let found = check(&framed(7, &graph));
        assert!(matches!(found, Err(WireError::Deep(_))), "{found:?}");
    }
}
