//! Which instruction set a kernel may use: a value of [`Isa`] is the proof that the CPU has it.

use core::fmt;

/// An instruction-set level that has a column in the kernel tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum IsaLevel {
    /// Portable Rust: the reference that every other level equals to the bit.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// [`IsaLevel::Avx2`] with AVX-VNNI: the dot product on 256-bit vectors.
    AvxVnni,
    /// [`IsaLevel::Avx2`] with AVX-512 F, BW, VL and DQ.
    Avx512Bw,
    /// [`IsaLevel::Avx512Bw`] with AVX512-VNNI.
    Avx512Vnni,
    /// AArch64 with NEON.
    Neon,
    /// [`IsaLevel::Neon`] with the dot product (`FEAT_DotProd`).
    NeonDot,
    /// [`IsaLevel::NeonDot`] with the products of mixed signs and of matrices (`FEAT_I8MM`).
    NeonI8mm,
}

impl IsaLevel {
    /// Every level, in order.
    pub const ALL: &'static [IsaLevel] = &[
        IsaLevel::Scalar,
        IsaLevel::Avx2,
        IsaLevel::AvxVnni,
        IsaLevel::Avx512Bw,
        IsaLevel::Avx512Vnni,
        IsaLevel::Neon,
        IsaLevel::NeonDot,
        IsaLevel::NeonI8mm,
    ];

    /// The name `QCONFIG_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            IsaLevel::Scalar => "scalar",
            IsaLevel::Avx2 => "avx2",
            IsaLevel::AvxVnni => "avxvnni",
            IsaLevel::Avx512Bw => "avx512bw",
            IsaLevel::Avx512Vnni => "avx512vnni",
            IsaLevel::Neon => "neon",
            IsaLevel::NeonDot => "neondot",
            IsaLevel::NeonI8mm => "neoni8mm",
        }
    }

    /// Whether the level has what [`IsaLevel::Avx2`] has: a kernel without a form of its own for the level
    /// takes that one.
    pub const fn has_avx2(self) -> bool {
        matches!(
            self,
            IsaLevel::Avx2 | IsaLevel::AvxVnni | IsaLevel::Avx512Bw | IsaLevel::Avx512Vnni
        )
    }

    /// As [`IsaLevel::has_avx2`] for [`IsaLevel::Avx512Bw`].
    pub const fn has_avx512bw(self) -> bool {
        matches!(self, IsaLevel::Avx512Bw | IsaLevel::Avx512Vnni)
    }

    /// As [`IsaLevel::has_avx2`] for [`IsaLevel::Neon`].
    pub const fn has_neon(self) -> bool {
        matches!(
            self,
            IsaLevel::Neon | IsaLevel::NeonDot | IsaLevel::NeonI8mm
        )
    }

    /// As [`IsaLevel::has_avx2`] for [`IsaLevel::NeonDot`].
    pub const fn has_dotprod(self) -> bool {
        matches!(self, IsaLevel::NeonDot | IsaLevel::NeonI8mm)
    }
}

impl fmt::Display for IsaLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An instruction set that this CPU has.
///
/// The field is private: a value can only be had from a check of the CPU, so a kernel that is
/// handed one may call functions compiled for it.
///
/// ```
/// use qconfig_core::{Isa, IsaLevel};
/// assert_eq!(Isa::SCALAR.level(), IsaLevel::Scalar);
/// let best = Isa::detect();
/// assert!(Isa::available().any(|isa| isa == best));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Isa(IsaLevel);

/// `QCONFIG_ISA` or a caller asked for a level that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// The CPU lacks the level.
    #[error("this CPU has no {0}; choose `scalar` or leave QCONFIG_ISA unset")]
    Missing(IsaLevel),
    /// The word names no level.
    #[error(
        "QCONFIG_ISA is not one of `scalar`, `avx2`, `avxvnni`, `avx512bw`, `avx512vnni`, `neon`, `neondot`, \
         `neoni8mm`"
    )]
    Unknown,
}

impl Isa {
    /// Portable Rust, always there.
    pub const SCALAR: Isa = Isa(IsaLevel::Scalar);

    /// The level this proves.
    pub const fn level(self) -> IsaLevel {
        self.0
    }

    /// That level, if the CPU has it.
    ///
    /// # Errors
    /// [`IsaError::Missing`] where the CPU lacks it.
    pub fn require(level: IsaLevel) -> Result<Isa, IsaError> {
        if has(level) {
            Ok(Isa(level))
        } else {
            Err(IsaError::Missing(level))
        }
    }

    /// The levels this CPU has, [`Isa::SCALAR`] first.
    pub fn available() -> impl Iterator<Item = Isa> {
        IsaLevel::ALL
            .iter()
            .copied()
            .filter(|level| has(*level))
            .map(Isa)
    }

    /// The best level this CPU has.
    pub fn detect() -> Isa {
        Self::available().last().unwrap_or(Isa::SCALAR)
    }

    /// The level that `QCONFIG_ISA` asks for, else the best one.
    ///
    /// # Errors
    /// [`IsaError`] where the variable names no level, or one that this CPU lacks.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var("QCONFIG_ISA") {
            Err(_) => Ok(Self::detect()),
            Ok(name) => {
                let level = IsaLevel::ALL
                    .iter()
                    .copied()
                    .find(|level| level.name() == name);
                Self::require(level.ok_or(IsaError::Unknown)?)
            }
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Asks the CPU; without `std`, what the binary was compiled for.
fn has(level: IsaLevel) -> bool {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    macro_rules! features { ($($name:tt),*) => { [$(std::arch::is_x86_feature_detected!($name)),*].iter().all(|there| *there) }; }
    #[cfg(all(feature = "std", target_arch = "aarch64"))]
    macro_rules! features { ($($name:tt),*) => { [$(std::arch::is_aarch64_feature_detected!($name)),*].iter().all(|there| *there) }; }
    #[cfg(all(
        not(feature = "std"),
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    macro_rules! features { ($($name:tt),*) => { [$(cfg!(target_feature = $name)),*].iter().all(|there| *there) }; }
    match level {
        IsaLevel::Scalar => true,
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx2 => features!("avx2", "fma", "f16c"),
        #[cfg(target_arch = "x86_64")]
        IsaLevel::AvxVnni => has(IsaLevel::Avx2) && features!("avxvnni"),
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx512Bw => {
            has(IsaLevel::Avx2) && features!("avx512f", "avx512bw", "avx512vl", "avx512dq")
        }
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx512Vnni => has(IsaLevel::Avx512Bw) && features!("avx512vnni"),
        #[cfg(target_arch = "aarch64")]
        IsaLevel::Neon => features!("neon"),
        #[cfg(target_arch = "aarch64")]
        IsaLevel::NeonDot => has(IsaLevel::Neon) && features!("dotprod"),
        #[cfg(target_arch = "aarch64")]
        IsaLevel::NeonI8mm => has(IsaLevel::NeonDot) && features!("i8mm"),
        _ => false,
    }
}
