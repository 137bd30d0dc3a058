//! Convolutions over up to three dimensions, forward and transposed, as one product for each group:
//! rows are gathered from the volume and multiplied by the packed weights of [`gemm`](crate::gemm).
//!
//! The blob is a header with the volume's geometry, then the product's own blob.

mod geometry;
mod rows;

use qconfig_core::Isa;
use qconfig_core::kernel::{BlobError, Call, NodeSpec, Refusal, Sizes, Split};

pub(crate) use geometry::{Direction, Geometry, ndhwc};

use crate::blob::{self, HEADER, Tag};
use crate::gemm::{self, Family, Geometry as Product, Packed, Params, Weight};
use crate::units;
pub(crate) use rows::Volume;

/// Which kernel a blob belongs to, and which way its windows go.
#[derive(Clone, Copy)]
pub(crate) struct Convolution {
    /// Of the header.
    pub(crate) tag: Tag,
    /// Of the product inside.
    pub(crate) product: Family,
    /// Forward or transposed.
    pub(crate) direction: Direction,
}

/// A blob, read: the volume and its product fit each other.
struct Layer<'a> {
    geometry: Geometry,
    packed: Packed<'a>,
}

fn product(geometry: &Geometry, groups: usize, outputs: usize) -> Option<Product> {
    let k = geometry.taps()?.checked_mul(geometry.channels / groups)?;
    Product::grouped(geometry.pixels()?, k, outputs, groups)
}

fn checked<'a>(
    node: &NodeSpec<'a>,
    geometry: &Geometry,
    groups: usize,
) -> Result<(Product, Weight<'a>), Refusal> {
    let unfit = Refusal::Shape("channels, groups and weight do not fit each other");
    let (Some(weight), Some(outputs)) = (node.weight, node.output.shape.last()) else {
        return Err(unfit);
    };
    if groups == 0 || !geometry.channels.is_multiple_of(groups) {
        return Err(unfit);
    }
    // `[O, k.., I / groups]`, of the input's rank or of all three dimensions
    let fits = match ndhwc(weight.shape) {
        Some([o, kernel @ .., i]) => {
            o == *outputs && kernel == geometry.kernel && i == geometry.channels / groups
        }
        None => false,
    };
    if !fits {
        return Err(unfit);
    }
    let Some(product) = product(geometry, groups, *outputs) else {
        return Err(Refusal::Shape("a dimension is 0 or the node is too large"));
    };
    Ok((product, Weight::new(node, &product)?))
}

impl Convolution {
    /// As [`qconfig_core::Kernel::sizes`].
    pub(crate) fn sizes(
        self,
        node: &NodeSpec<'_>,
        geometry: &Geometry,
        groups: usize,
    ) -> Result<Sizes, Refusal> {
        let (product, weight) = checked(node, geometry, groups)?;
        let sizes = gemm::sizes(Packed::bytes(self.product, &product, &weight)?, &product);
        let blob = sizes.blob.checked_add(HEADER);
        Ok(Sizes {
            blob: blob.ok_or(Refusal::Shape("the node is too large"))?,
            ..sizes
        })
    }

    /// As [`qconfig_core::Kernel::pack`].
    pub(crate) fn pack(
        self,
        node: &NodeSpec<'_>,
        geometry: &Geometry,
        groups: usize,
        blob: &mut [u8],
    ) -> Result<(), Refusal> {
        let (product, weight) = checked(node, geometry, groups)?;
        units::blob_length(blob, self.sizes(node, geometry, groups)?.blob)?;
        let (header, inner) = blob.split_at_mut(HEADER);
        self.tag.write(header, &geometry.words()?);
        Packed::write(self.product, &product, &weight, &Params::of(node)?, inner)
    }

    fn read<'a>(self, blob: &'a [u8], inputs: &[usize]) -> Result<Layer<'a>, BlobError> {
        let damaged = BlobError::Header(self.tag.kernel);
        let geometry = Geometry::read(&self.tag.read(blob)?, self.direction).ok_or(damaged)?;
        let inner = blob.get(HEADER..).ok_or(damaged)?;
        let packed = Packed::read(self.product, inner)?;
        let Product {
            groups,
            out_channels,
            ..
        } = packed.geometry;
        // the product's own numbers have to be those of this volume
        if !geometry.channels.is_multiple_of(groups)
            || product(&geometry, groups, out_channels) != Some(packed.geometry)
        {
            return Err(damaged);
        }
        let [input] = units::lengths(inputs)?;
        blob::exact("the input", input, geometry.input_len())?;
        Ok(Layer { geometry, packed })
    }

    /// As [`qconfig_core::Kernel::split`].
    pub(crate) fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        Ok(self.read(blob, inputs)?.packed.cut().split())
    }

    /// As [`qconfig_core::Kernel::run`].
    pub(crate) fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        let input = units::input(call.inputs, 0)?;
        let Layer { geometry, packed } = self.read(call.blob, &[input.len()])?;
        let volume = Volume {
            geometry: &geometry,
            groups: packed.geometry.groups,
            input,
            zero_point: packed.input_zero_point,
        };
        gemm::run(
            &packed,
            &volume,
            packed.finish,
            &call.units,
            call.output,
            call.scratch,
            call.isa,
        )
    }

    /// As [`qconfig_core::Kernel::variant`].
    pub(crate) fn variant(isa: Isa) -> &'static str {
        gemm::variant(isa)
    }
}
