//! How quantized operators are computed: one folder an operator, the scalar reference beside each
//! instruction set, all equal to the bit.
#![cfg_attr(not(feature = "std"), no_std)]

mod affine;
mod blob;
