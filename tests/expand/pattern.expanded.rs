/// One pattern, one kernel.
/**
# Dtype configs

| name | dtypes |
|---|---|
| `plain` | input quint8, 0..=127; output quint8, 0..=127 |

# Patterns

| pattern | dtype configs: kernel |
|---|---|
| `torch::add` | `plain`: Add |
*/
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
pub static ONE: qconfig::__private::BackendConfig = {
    use qconfig::__private as __q;
    const TORCH_ADD: &__q::Spelling = <__q::torch::add as __q::Spelled>::SPELLING;
    const DTYPE_CONFIGS_0: &[__q::DTypeConfig] = &[one::cfg::plain::CONFIG];
    const PATTERNS: &[__q::BackendPatternConfig] = &[
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::Some(0)],
            origin: __q::Origin {
                file: "spec.rs",
                line: 10,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[TORCH_ADD]))
        },
    ];
    static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] = __q::PatternIndex::fill(
        PATTERNS,
    );
    static KERNELS: &[&__q::Kernel] = &[one::Backend::KERNEL_0];
    __q::BackendConfig {
        name: "one",
        configs: PATTERNS,
        index: __q::PatternIndex::new(&SLOTS),
        kernels: KERNELS,
    }
};
///The backend `one` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
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
pub mod one {
    ///The backend `one` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
    pub struct Backend;
    ///The dtype configs, each as a type; `CONFIG` is its value.
    pub mod cfg {
        /// Seven bits.
        /**
`input quint8, 0..=127 | output quint8, 0..=127`*/
        pub struct plain;
    }
}
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
    impl one::cfg::plain {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "plain",
            input: __q::Some(__q::DTypeWithConstraints {
                quant_min_lower_bound: __q::Some(0),
                quant_max_upper_bound: __q::Some(127),
                name: __q::Some("act"),
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 5,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                quant_min_lower_bound: __q::Some(0),
                quant_max_upper_bound: __q::Some(127),
                name: __q::Some("act"),
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
                line: 8,
            },
        };
    }
    impl one::Backend {
        #[doc(hidden)]
        pub const KERNEL_0: &'static __q::Kernel = <crate::Add as __q::KernelFamily>::KERNEL;
    }
    impl __q::Dispatch<__q::torch::add, one::cfg::plain> for one::Backend {
        const KERNEL: &'static __q::Kernel = one::Backend::KERNEL_0;
    }
};
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
    const _: () = __q::check::kernel(
        "Add",
        one::Backend::KERNEL_0,
        &one::cfg::plain::CONFIG,
        false,
    );
};
#[doc(hidden)]
#[macro_export]
#[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
macro_rules! __qconfig_spec {
    ([$($callback:tt)*] $($rest:tt)*) => {
        $($callback)* ! { $($rest)* { #[doc = " One pattern, one kernel."] pub backend
        ONE = "one"; dtype act = quint8 { quant in 0..= 127 }; #[doc = " Seven bits."]
        config plain { input : act, output : act } pattern torch::add : plain { kernel =>
        $crate::Add; } } }
    };
}
#[doc(hidden)]
#[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
pub use __qconfig_spec as ONE;
