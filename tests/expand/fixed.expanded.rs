///The backend `fixed`.
/**
# Dtype configs

| name | dtypes |
|---|---|
| `q` | input quint8; output quint8 |
| `s` | input qint8, scale >= crate::MIN_SCALE; output qint8, scale >= crate::MIN_SCALE |

# Patterns

| pattern | dtype configs: kernel |
|---|---|
| `sigmoid` | `s`: none, `q`: none |
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
pub(crate) static FIXED: qconfig::__private::BackendConfig = {
    use qconfig::__private as __q;
    const SIGMOID: &__q::Spelling = <__q::short::sigmoid as __q::Spelled>::SPELLING;
    const DTYPE_CONFIGS_0: &[__q::DTypeConfig] = &[
        fixed::cfg::s::CONFIG,
        __q::DTypeConfig {
            input: __q::Some(__q::DTypeWithConstraints {
                quant_min_lower_bound: __q::Some(0),
                quant_max_upper_bound: __q::Some(255),
                scale_exact_match: __q::Some(0.00390625),
                zero_point_exact_match: __q::Some(0),
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 10,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                quant_min_lower_bound: __q::Some(0),
                quant_max_upper_bound: __q::Some(255),
                scale_exact_match: __q::Some(0.00390625),
                zero_point_exact_match: __q::Some(0),
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 10,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            ..fixed::cfg::q::CONFIG
        },
    ];
    const PATTERNS: &[__q::BackendPatternConfig] = &[
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::None, __q::None],
            origin: __q::Origin {
                file: "spec.rs",
                line: 9,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[SIGMOID]))
        },
    ];
    static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] = __q::PatternIndex::fill(
        PATTERNS,
    );
    static KERNELS: &[&__q::Kernel] = &[];
    __q::BackendConfig {
        name: "fixed",
        configs: PATTERNS,
        index: __q::PatternIndex::new(&SLOTS),
        kernels: KERNELS,
    }
};
///The backend `fixed` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
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
pub(crate) mod fixed {
    ///The backend `fixed` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
    pub struct Backend;
    ///The dtype configs, each as a type; `CONFIG` is its value.
    pub mod cfg {
        /**
`input quint8 | output quint8`*/
        pub struct q;
        /**
`input qint8, scale >= crate::MIN_SCALE | output qint8, scale >= crate::MIN_SCALE`*/
        pub struct s;
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
    impl fixed::cfg::q {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "q",
            input: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 6,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 6,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            weight: __q::None,
            bias: __q::None,
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 6,
            },
        };
    }
    impl fixed::cfg::s {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "s",
            input: __q::Some(__q::DTypeWithConstraints {
                scale_min_lower_bound: __q::Some(crate::MIN_SCALE),
                name: __q::Some("small"),
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 4,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::qint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                scale_min_lower_bound: __q::Some(crate::MIN_SCALE),
                name: __q::Some("small"),
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 4,
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
    impl fixed::Backend {}
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
    const _: () = __q::check::scale("crate::MIN_SCALE", crate::MIN_SCALE);
};
#[doc(hidden)]
#[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
macro_rules! __qconfig_spec {
    ([$($callback:tt)*] $($rest:tt)*) => {
        $($callback)* ! { $($rest)* { pub ($crate) backend FIXED = "fixed"; dtype small =
        qint8 { scale >= $crate::MIN_SCALE }; config q { input : quint8, output : quint8
        } config s { input : small, output : small } pattern sigmoid : [s, q] { fix
        quint8 { quant in 0..= 255, scale == 1 / 256, zero_point == 0 } kernel none; } }
        }
    };
}
#[doc(hidden)]
#[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) use __qconfig_spec as FIXED;
