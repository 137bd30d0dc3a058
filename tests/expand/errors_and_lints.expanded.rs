::core::compile_error! {
    "unknown dtype `quint9` in config `w`\n\n= help: did you mean `quint8`?"
}
::core::compile_error! {
    "unknown dtype config `x` in list `all`\n\n= help: declared dtype configs: `a`, `w`"
}
::core::compile_error! {
    "expected a statement, found `patern`\n\n= help: did you mean `pattern`? statements are `dtype`, `config`, `list`, `group`, `pattern`, `remove`, `use`"
}
///The backend `broken`.
/**
# Dtype configs

| name | dtypes |
|---|---|
| `a` | input quint8; output quint8 |
| `w` | input quint8 |

# Patterns

| pattern | dtype configs: kernel |
|---|---|
| `nn::ReLU` | `a`: none |
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
pub static BROKEN: qconfig::__private::BackendConfig = {
    use qconfig::__private as __q;
    const NN_RELU: &__q::Spelling = <__q::nn::ReLU as __q::Spelled>::SPELLING;
    const DTYPE_CONFIGS_0: &[__q::DTypeConfig] = &[broken::cfg::a::CONFIG];
    const PATTERNS: &[__q::BackendPatternConfig] = &[
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::None],
            origin: __q::Origin {
                file: "spec.rs",
                line: 8,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[NN_RELU]))
        },
    ];
    static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] = __q::PatternIndex::fill(
        PATTERNS,
    );
    static KERNELS: &[&__q::Kernel] = &[];
    __q::BackendConfig {
        name: "broken",
        configs: PATTERNS,
        index: __q::PatternIndex::new(&SLOTS),
        kernels: KERNELS,
    }
};
///The backend `broken` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
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
pub mod broken {
    ///The backend `broken` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
    pub struct Backend;
    ///The dtype configs, each as a type; `CONFIG` is its value.
    pub mod cfg {
        /**
`input quint8 | output quint8`*/
        pub struct a;
        /**
`input quint8`*/
        pub struct w;
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
    impl broken::cfg::a {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "a",
            input: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 4,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 4,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            weight: __q::None,
            bias: __q::None,
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 4,
            },
        };
    }
    impl broken::cfg::w {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "w",
            input: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 5,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::quint8)
            }),
            output: __q::None,
            weight: __q::None,
            bias: __q::None,
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 5,
            },
        };
    }
    impl broken::Backend {}
};
#[doc(hidden)]
#[macro_export]
#[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
macro_rules! __qconfig_spec {
    ([$($callback:tt)*] $($rest:tt)*) => {
        $($callback)* ! { $($rest)* { pub backend BROKEN = "broken"; config a { input :
        quint8, output : quint8 } config w { input : quint8, output : quint9 } list all =
        [a, x]; pattern nn::ReLU : a { kernel none; } patern nn::Linear : w; } }
    };
}
#[doc(hidden)]
#[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
pub use __qconfig_spec as BROKEN;
