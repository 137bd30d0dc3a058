//! What can be said about a quantized backend: dtypes, constraints, operators, patterns, configs,
//! qconfigs, verdicts. No heap, no start-up code, `no_std`.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
#[cfg_attr(not(test), allow(unused_extern_crates))]
extern crate alloc;

#[doc(hidden)]
pub mod check;
mod config;
mod constraint;
mod dtype;
mod isa;
pub mod kernel;
#[cfg(feature = "alloc")]
mod mapping;
pub mod operator;
#[cfg(feature = "alloc")]
pub mod owned;
mod pattern;
mod qconfig;
mod query;
#[cfg(feature = "alloc")]
mod verdict;

pub use config::{ConfigProblem, DTypeConfig, ObservationType, config_problem};
pub use constraint::{BoundProblem, DTypeWithConstraints, Origin, Problems};
pub use dtype::DType;
pub use isa::{Isa, IsaError, IsaLevel};
pub use kernel::{Dispatch, Kernel, KernelFamily, KernelTable};
pub use operator::{Operator, Spelled, Spelling};
pub use pattern::{
    BackendConfig, BackendPatternConfig, Fuser, Pattern, PatternIndex, PatternProblem, PatternTree,
    chain_problem,
};
pub use qconfig::{
    EPS, FakeQuantize, ObserverKind, ObserverSpec, QConfig, QScheme, SCALE_2_NEG_12,
};

#[cfg(feature = "alloc")]
pub use mapping::{
    NodeName, QConfigMapping, default_qat_qconfig_mapping, default_qconfig_mapping,
    qconfig_mapping_with,
};
#[cfg(feature = "alloc")]
pub use verdict::{Place, Reason, Rule, Verdict, satisfies};

/// What `backend_config!` expands to names only this module.
#[doc(hidden)]
pub mod __private {
    pub use core;
    pub use core::option::Option::{None, Some};

    pub use crate::check;
    pub use crate::kernel::{Dispatch, Kernel, KernelFamily, KernelTable, Signature};
    pub use crate::operator::{
        F, aten, method, nn, nni, nniqat, nnqat, nnqr, operator, short, torch,
    };
    pub use crate::{
        BackendConfig, BackendPatternConfig, DType, DTypeConfig, DTypeWithConstraints, Fuser,
        ObservationType, Origin, Pattern, PatternIndex, PatternTree, Spelled, Spelling,
        chain_problem,
    };
}
