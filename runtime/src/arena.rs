//! Where each tensor lies: greedy best fit, the largest first.

use alloc::vec::Vec;

use crate::aligned::align_up;
use crate::check::Life;
use crate::plan::Tensor;

/// Gives every tensor an offset so that what lives at the same time does not overlap; `None` where
/// the offsets would overflow. `lives` are by owner; a tensor that shares memory stays where it is
/// inside its owner.
///
/// The largest tensors choose first, and each takes the smallest gap it fits in: the order that
/// wastes least in practice.
pub(crate) fn place(tensors: &mut [Tensor<'_>], lives: &[Option<Life>]) -> Option<()> {
    let inside = inside(tensors);
    let mut owners: Vec<(usize, usize, Life)> = Vec::new();
    for (index, tensor) in tensors.iter_mut().enumerate() {
        tensor.offset = 0;
        if let Some(life) = lives.get(index).copied().flatten()
            && tensor.bytes > 0
        {
            owners.push((index, align_up(tensor.bytes)?, life));
        }
    }
    owners.sort_by_key(|(index, bytes, life)| (core::cmp::Reverse(*bytes), life.start, *index));

    let mut placed: Vec<Placed> = Vec::with_capacity(owners.len());
    for (index, bytes, life) in owners {
        let offset = best_gap(&placed, bytes, &life)?;
        let end = offset.checked_add(bytes)?;
        // kept in order of offset
        let at = placed.partition_point(|other| other.offset <= offset);
        placed.insert(at, Placed { offset, end, life });
        if let Some(tensor) = tensors.get_mut(index) {
            tensor.offset = offset;
        }
    }
    follow_owners(tensors, &inside);
    Some(())
}

/// Gives every tensor memory of its own; `None` where the offsets would overflow.
pub(crate) fn place_apart(tensors: &mut [Tensor<'_>]) -> Option<usize> {
    let inside = inside(tensors);
    let mut next = 0usize;
    for (index, tensor) in tensors.iter_mut().enumerate() {
        if tensor.storage.index() == index && tensor.bytes > 0 {
            tensor.offset = next;
            next = next.checked_add(align_up(tensor.bytes)?)?;
        }
    }
    follow_owners(tensors, &inside);
    Some(next)
}

struct Placed {
    offset: usize,
    end: usize,
    life: Life,
}

/// The smallest gap between what is alive at the same time, else the end.
fn best_gap(placed: &[Placed], bytes: usize, life: &Life) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    let mut free = 0;
    for other in placed.iter().filter(|other| other.life.meets(life)) {
        if let Some(gap) = other.offset.checked_sub(free)
            && gap >= bytes
            && best.is_none_or(|(smallest, _)| gap < smallest)
        {
            best = Some((gap, free));
        }
        free = free.max(other.end);
    }
    match best {
        Some((_, offset)) => Some(offset),
        None => free.checked_add(bytes).map(|_| free),
    }
}

/// Where in its owner each tensor begins.
fn inside(tensors: &[Tensor<'_>]) -> Vec<usize> {
    let owner = |tensor: &Tensor<'_>| {
        tensors
            .get(tensor.storage.index())
            .map(|owner| owner.offset)
    };
    let offsets = tensors.iter().map(|tensor| {
        // what was checked begins inside its owner
        let start = owner(tensor).and_then(|start| tensor.offset.checked_sub(start));
        start.unwrap_or(0)
    });
    offsets.collect()
}

fn follow_owners(tensors: &mut [Tensor<'_>], inside: &[usize]) {
    for (index, inside) in inside.iter().enumerate() {
        let owner = tensors.get(index).map(|tensor| tensor.storage.index());
        let offset = owner
            .and_then(|owner| tensors.get(owner))
            .map(|owner| owner.offset);
        if let (Some(tensor), Some(offset)) = (tensors.get_mut(index), offset) {
            // an owner begins at its own beginning
            tensor.offset = offset.saturating_add(*inside);
        }
    }
}
