///The backend `shapes`.
/**
# Dtype configs

| name | dtypes |
|---|---|
| `w` | input quint8; output quint8; weight qint8; bias float32 |

# Patterns

| pattern | dtype configs: kernel |
|---|---|
| `nn::Conv2d + nn::ReLU` | `w`: Conv |
| `nn::Conv2d + F::relu` | `w`: Conv |
| `relu(add(_, bn2d(conv2d)))` | `w`: Conv |
| `conv2d + crate::Mish` | `w`: none |
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
static SHAPES: qconfig::__private::BackendConfig = {
    use qconfig::__private as __q;
    const NNI_CONVRELU2D: &__q::Spelling = <__q::nni::ConvReLU2d as __q::Spelled>::SPELLING;
    const NN_CONV2D: &__q::Spelling = <__q::nn::Conv2d as __q::Spelled>::SPELLING;
    const NN_RELU: &__q::Spelling = <__q::nn::ReLU as __q::Spelled>::SPELLING;
    const F_RELU: &__q::Spelling = <__q::F::relu as __q::Spelled>::SPELLING;
    const RELU: &__q::Spelling = <__q::short::relu as __q::Spelled>::SPELLING;
    const ADD: &__q::Spelling = <__q::short::add as __q::Spelled>::SPELLING;
    const BN2D: &__q::Spelling = <__q::short::bn2d as __q::Spelled>::SPELLING;
    const CONV2D: &__q::Spelling = <__q::short::conv2d as __q::Spelled>::SPELLING;
    const CRATE_MISH: &__q::Spelling = <crate::Mish as __q::Spelled>::SPELLING;
    const DTYPE_CONFIGS_0: &[__q::DTypeConfig] = &[shapes::cfg::w::CONFIG];
    const PATTERNS: &[__q::BackendPatternConfig] = &[
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::Some(0)],
            fused_module: __q::Some(NNI_CONVRELU2D),
            fuser: __q::Some(__q::Fuser::Sequential),
            origin: __q::Origin {
                file: "spec.rs",
                line: 6,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[NN_CONV2D, NN_RELU]))
        },
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::Some(0)],
            fused_module: __q::Some(NNI_CONVRELU2D),
            fuser: __q::Some(__q::Fuser::Sequential),
            origin: __q::Origin {
                file: "spec.rs",
                line: 6,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[NN_CONV2D, F_RELU]))
        },
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::Some(0)],
            root_node: __q::Some(&[0, 1, 0]),
            extra_inputs: &[&[0, 0]],
            origin: __q::Origin {
                file: "spec.rs",
                line: 7,
            },
            ..__q::BackendPatternConfig::new(
                __q::Pattern::Tree(
                    &__q::PatternTree::Op(
                        RELU,
                        &[
                            __q::PatternTree::Op(
                                ADD,
                                &[
                                    __q::PatternTree::Any,
                                    __q::PatternTree::Op(
                                        BN2D,
                                        &[__q::PatternTree::Op(CONV2D, &[])],
                                    ),
                                ],
                            ),
                        ],
                    ),
                ),
            )
        },
        __q::BackendPatternConfig {
            dtype_configs: DTYPE_CONFIGS_0,
            kernels: &[__q::None],
            origin: __q::Origin {
                file: "spec.rs",
                line: 8,
            },
            ..__q::BackendPatternConfig::new(__q::Pattern::Chain(&[CONV2D, CRATE_MISH]))
        },
    ];
    static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] = __q::PatternIndex::fill(
        PATTERNS,
    );
    static KERNELS: &[&__q::Kernel] = &[shapes::Backend::KERNEL_0];
    __q::BackendConfig {
        name: "shapes",
        configs: PATTERNS,
        index: __q::PatternIndex::new(&SLOTS),
        kernels: KERNELS,
    }
};
///The backend `shapes` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
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
mod shapes {
    ///The backend `shapes` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.
    pub struct Backend;
    ///The dtype configs, each as a type; `CONFIG` is its value.
    pub mod cfg {
        /**
`input quint8 | output quint8 | weight qint8 | bias float32`*/
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
    impl shapes::cfg::w {
        /// What the config says.
        pub const CONFIG: __q::DTypeConfig = __q::DTypeConfig {
            name: "w",
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
            weight: __q::Some(__q::DTypeWithConstraints {
                origin: __q::Origin {
                    file: "spec.rs",
                    line: 4,
                },
                ..__q::DTypeWithConstraints::new(__q::DType::qint8)
            }),
            bias: __q::Some(__q::DType::float32),
            is_dynamic: false,
            origin: __q::Origin {
                file: "spec.rs",
                line: 4,
            },
        };
    }
    impl shapes::Backend {
        #[doc(hidden)]
        pub const KERNEL_0: &'static __q::Kernel = <crate::Conv as __q::KernelFamily>::KERNEL;
    }
    impl __q::Dispatch<(__q::nn::Conv2d, __q::nn::ReLU), shapes::cfg::w>
    for shapes::Backend {
        const KERNEL: &'static __q::Kernel = shapes::Backend::KERNEL_0;
    }
    impl __q::Dispatch<(__q::nn::Conv2d, __q::F::relu), shapes::cfg::w>
    for shapes::Backend {
        const KERNEL: &'static __q::Kernel = shapes::Backend::KERNEL_0;
    }
    impl __q::Dispatch<
        (
            __q::short::relu,
            (
                (
                    __q::short::add,
                    (__q::check::Any, (__q::short::bn2d, (__q::short::conv2d,))),
                ),
            ),
        ),
        shapes::cfg::w,
    > for shapes::Backend {
        const KERNEL: &'static __q::Kernel = shapes::Backend::KERNEL_0;
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
        "Conv",
        shapes::Backend::KERNEL_0,
        &shapes::cfg::w::CONFIG,
        true,
    );
    const _: () = __q::check::chain(
        &[
            <__q::short::conv2d as __q::Spelled>::SPELLING,
            <crate::Mish as __q::Spelled>::SPELLING,
        ],
    );
};
#[doc(hidden)]
#[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
macro_rules! __qconfig_spec {
    ([$($callback:tt)*] $($rest:tt)*) => {
        $($callback)* ! { $($rest)* { backend SHAPES = "shapes"; config w { input :
        quint8, output : quint8, weight : qint8, bias : f32 } pattern nn::Conv2d + {
        nn::ReLU | F::relu } : w { fuser : sequential; fused : nni::ConvReLU2d; kernel =>
        $crate::Conv; } pattern relu(add(_, bn2d(conv2d))) : w { root_node : [0, 1, 0];
        extra_inputs : [[0, 0]]; kernel => $crate::Conv; } pattern conv2d + $crate::Mish
        : w { kernel none; } } }
    };
}
#[doc(hidden)]
#[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
use __qconfig_spec as SHAPES;
