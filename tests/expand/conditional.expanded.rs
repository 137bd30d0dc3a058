///The backend `cond`.
/**
# Dtype configs

| name | dtypes |
|---|---|
| `a` | input quint8; output quint8 |
| `b` | input qint8; output qint8 |

# Patterns

| pattern | dtype configs: kernel |
|---|---|
| `torch::add` | `a`: Fast, `b`: Fast |
| `torch::mul` | `a`: Mul |
*/
#[cfg(feature = "backend")]
#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::cargo
)]
pub static COND: qconfig::__private::BackendConfig = {
    use qconfig::__private as __q;
    const TORCH_ADD: &__q::Spelling = <__q::torch::add as __q::Spelled>::SPELLING;
    const DTYPE_CONFIGS_0: &[__q::DTypeConfig] = &[
        cond::cfg::a::CONFIG,
        #[cfg(feature = "signed")]
        cond::cfg::b::CONFIG,
    ];
    const DTYPE_CONFIGS_1: &[__q::DTypeConfig] = &[cond::cfg::a::CONFIG];
    const AT_0: u8 = 0;
    #[cfg(any(all(feature = "fast")))]
    const PRESENT_0: u8 = 1;
    #[cfg(not(any(all(feature = "fast"))))]
    const PRESENT_0: u8 = 0;
    const AT_1: u8 = AT_0 + PRESENT_0;
    const PRESENT_1: u8 = 1;
    const AT_2: u8 = AT_1 + PRESENT_1;
    #[cfg(any(all(feature = "mul")))]
    const PRESENT_2: u8 = 1;
    #[cfg(not(any(all(feature = "mul"))))]
    const PRESENT_2: u8 = 0;
    const PATTERNS: &[__q::BackendPatternConfig] = &[
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[
                {
                    #[cfg(all(all(feature = "fast")))]
                    const CELL: __q::core::option::Option<u8> = __q::Some(AT_0);
                    #[cfg(all(all(), not(all(feature = "fast"))))]
                    const CELL: __q::core::option::Option<u8> = __q::Some(AT_1);
                    #[cfg(not(any(all(feature = "fast"), all())))]
                    const CELL: __q::core::option::Option<u8> = __q::None;
                    CELL
                },
                #[cfg(feature = "signed")]
                {
                    #[cfg(all(all(feature = "fast")))]
                    const CELL: __q::core::option::Option<u8> = __q::Some(AT_0);
                    #[cfg(all(all(), not(all(feature = "fast"))))]
                    const CELL: __q::core::option::Option<u8> = __q::Some(AT_1);
                    #[cfg(not(any(all(feature = "fast"), all())))]
                    const CELL: __q::core::option::Option<u8> = __q::None;
                    CELL
                },
            ],
            origin: __q::Origin {
                file: "spec.rs",
                line: 9,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[TORCH_ADD]))
        },
        #[cfg(feature = "mul")]
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_1,
            kernels: &[__q::Some(AT_2)],
            origin: __q::Origin {
                file: "spec.rs",
                line: 15,
            },
            ..__q::BackendPatternConfig::new(
                __q::Pattern::Chain(&[<__q::torch::mul as __q::Spelled>::SPELLING]),
            )
        },
    ];
    static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] = __q::PatternIndex::fill(
        PATTERNS,
    );
    static KERNELS: &[&__q::Kernel] = &[
        #[cfg(any(all(feature = "fast")))]
        cond::Backend::KERNEL_0,
        cond::Backend::KERNEL_1,
        #[cfg(any(all(feature = "mul")))]
        cond::Backend::KERNEL_2,
    ];
    __q::BackendConfig {
        name: "cond",
        configs: PATTERNS,
        index: __q::PatternIndex::new(&SLOTS),
        kernels: KERNELS,
    }
};
///The backend `cond` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
#[cfg(feature = "backend")]
#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::cargo
)]
pub mod cond {
    ///The backend `cond` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
    pub struct Backend;
    ///The dtype configs, each as a type; `CONFIG` is its value.
    pub mod cfg {
        /**
`input quint8 | output quint8`*/
        pub struct a;
        /**
`input qint8 | output qint8`*/
        #[cfg(feature = "signed")]
        pub struct b;
    }
}
#[cfg(feature = "backend")]
#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::cargo
)]
const _: () = {
    use qconfig::__private as __q;
    impl cond::cfg::a {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "a",
            input: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 5,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 5,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            weight: __q::None,
            bias: __q::None,
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 5,
            },
        };
    }
    #[cfg(feature = "signed")]
    impl cond::cfg::b {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "b",
            input: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 7,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::qint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 7,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::qint8)
            }),
            weight: __q::None,
            bias: __q::None,
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 7,
            },
        };
    }
    impl cond::Backend {
        #[cfg(any(all(feature = "fast")))]
        #[doc(hidden)]
        pub const KERNEL_0: &'static __q::Kernel = <crate::Fast as __q::KernelFamily>::KERNEL;
        #[doc(hidden)]
        pub const KERNEL_1: &'static __q::Kernel = <crate::Plain as __q::KernelFamily>::KERNEL;
        #[cfg(any(all(feature = "mul")))]
        #[doc(hidden)]
        pub const KERNEL_2: &'static __q::Kernel = <crate::Mul as __q::KernelFamily>::KERNEL;
    }
    #[cfg(all(all(feature = "fast")))]
    impl __q::Dispatch<__q::torch::add, cond::cfg::a> for cond::Backend {
        const KERNEL: &'static __q::Kernel = cond::Backend::KERNEL_0;
    }
    #[cfg(all(all(), not(all(feature = "fast"))))]
    impl __q::Dispatch<__q::torch::add, cond::cfg::a> for cond::Backend {
        const KERNEL: &'static __q::Kernel = cond::Backend::KERNEL_1;
    }
    #[cfg(feature = "signed")]
    #[cfg(all(all(feature = "fast")))]
    impl __q::Dispatch<__q::torch::add, cond::cfg::b> for cond::Backend {
        const KERNEL: &'static __q::Kernel = cond::Backend::KERNEL_0;
    }
    #[cfg(feature = "signed")]
    #[cfg(all(all(), not(all(feature = "fast"))))]
    impl __q::Dispatch<__q::torch::add, cond::cfg::b> for cond::Backend {
        const KERNEL: &'static __q::Kernel = cond::Backend::KERNEL_1;
    }
    #[cfg(feature = "mul")]
    impl __q::Dispatch<__q::torch::mul, cond::cfg::a> for cond::Backend {
        const KERNEL: &'static __q::Kernel = cond::Backend::KERNEL_2;
    }
};
#[cfg(feature = "backend")]
#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::cargo
)]
const _: () = {
    use qconfig::__private as __q;
    #[cfg(feature = "fast")]
    const _: () = __q::check::kernel(
        "Fast",
        cond::Backend::KERNEL_0,
        &cond::cfg::a::CONFIG,
        false,
    );
    const _: () = __q::check::kernel(
        "Plain",
        cond::Backend::KERNEL_1,
        &cond::cfg::a::CONFIG,
        false,
    );
    #[cfg(feature = "signed")]
    #[cfg(feature = "fast")]
    const _: () = __q::check::kernel(
        "Fast",
        cond::Backend::KERNEL_0,
        &cond::cfg::b::CONFIG,
        false,
    );
    #[cfg(feature = "signed")]
    const _: () = __q::check::kernel(
        "Plain",
        cond::Backend::KERNEL_1,
        &cond::cfg::b::CONFIG,
        false,
    );
    #[cfg(feature = "mul")]
    const _: () = __q::check::kernel(
        "Mul",
        cond::Backend::KERNEL_2,
        &cond::cfg::a::CONFIG,
        false,
    );
};
#[cfg(feature = "backend")]
#[doc(hidden)]
#[macro_export]
#[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
macro_rules! __qconfig_spec {
    ([$($callback:tt)*] $($rest:tt)*) => {
        $($callback)* ! { $($rest)* { #[cfg(feature = "backend")] pub backend COND =
        "cond"; config a { input : quint8, output : quint8 } #[cfg(feature = "signed")]
        config b { input : qint8, output : qint8 } pattern torch::add : [a, b] {
        #[cfg(feature = "fast")] kernel for add => $crate::Fast; kernel => $crate::Plain;
        } #[cfg(feature = "mul")] pattern torch::mul : a { kernel => $crate::Mul; } } }
    };
}
#[cfg(feature = "backend")]
#[doc(hidden)]
#[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
pub use __qconfig_spec as COND;
