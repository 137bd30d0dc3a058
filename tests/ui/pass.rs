//! Everything that the grammar has, in one spec without a mistake.
#![deny(warnings)]

use qconfig::operator::{F, nn, torch};
use qconfig::{Dispatch, ObservationType, Pattern, Spelled};

/// The smallest scale.
const MIN_SCALE: f64 = 1.0 / 4096.0;

mod groups {
    qconfig::op_groups! {
        pub groups own_groups;
        /// What this backend adds.
        group own {
            ranks 1..=2 {
                pattern nn::ConvNd + nn::BatchNormNd;
            }
            pattern F::conv2d + {nn::ReLU | F::relu};
        }
    }
}

qconfig::backend_config! {
    /// A parent.
    pub backend PARENT = "parent";

    /// Bounded by a constant.
    dtype act = qint8 { scale >= crate::MIN_SCALE };
    dtype wt = qint8 { scale >= 2^-12, quant in -127..=127 };

    /// Symmetric.
    config weighted { input: act, output: act, weight: wt, bias: f32 }
    config plain { input: quint8, output: quint8 }
    dynamic config on_the_fly { input: quint8, output: f32, weight: qint8, bias: f32 }
    #[cfg(any())]
    config absent { input: qint8, output: qint8 }

    list all = [weighted, on_the_fly];
    use groups crate::groups::own_groups;

    group linear: [all..] {
        kernel weighted => ::qconfig::kernels::Q8Linear;
        #[cfg(all())]
        kernel on_the_fly for linear => ::qconfig::kernels::Q8LinearDynamic;
        kernel none;
    }
    group own: weighted {
        kernel for conv2d => ::qconfig::kernels::Q8Conv;
        #[cfg(any())]
        kernel for conv1d => crate::does_not_exist::Kernel;
        kernel none;
    }
    #[cfg(any())]
    pattern nn::Mish: absent { kernel none; }
    pattern torch::add | torch::mul: plain {
        observe by tensor_args { 0: separate, 1: shared, 2: separate }
        kernel for add => ::qconfig::kernels::Q8Add;
        kernel none;
    }
    pattern sigmoid: plain {
        fix quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 }
        kernel none;
    }
    /// A tree.
    pattern relu(add(_, conv2d + bn2d)): weighted {
        root_node: [0, 1, 0];
        extra_inputs: [[0, 0]];
        kernel none;
    }
    #[allow(no_kernel)]
    pattern nn::Hardtanh: plain;
}

qconfig::backend_config! {
    pub backend CHILD = "child" extends PARENT;
    override config plain { input: qint8, output: qint8 }
    override pattern F::linear: weighted {
        args { weight: 1, bias: 2 }
        kernel => ::qconfig::kernels::Q8Linear;
    }
    remove pattern sigmoid;
    pattern nn::ReLU6: plain { observe: shared; kernel => qconfig::kernels::Q8Clamp; }
}

fn main() {
    let linear = PARENT.find(&[<nn::Linear as Spelled>::SPELLING]).unwrap();
    assert_eq!(linear.dtype_configs.len(), 2);
    assert_eq!(linear.dtype_configs[0].input.unwrap().scale_min_lower_bound, Some(MIN_SCALE));
    assert_eq!(PARENT.kernel(linear, 1).unwrap().name, "q8_linear_dynamic");
    assert_eq!(parent::cfg::weighted::CONFIG.name, "weighted");
    let kernel =
        <parent::Backend as Dispatch<(F::conv2d, F::relu), parent::cfg::weighted>>::KERNEL;
    assert_eq!(kernel.name, "q8_conv");
    assert!(PARENT.configs.iter().any(|config| matches!(config.pattern, Pattern::Tree(_))));

    assert_eq!(CHILD.configs.len(), PARENT.configs.len());
    assert!(CHILD.find(&[<nn::Sigmoid as Spelled>::SPELLING]).is_none());
    assert_eq!(CHILD.find(&[<F::linear as Spelled>::SPELLING]).unwrap().dtype_configs.len(), 1);
    assert_eq!(child::cfg::plain::CONFIG.input.unwrap().dtype, qconfig::DType::qint8);
    let relu6 = CHILD.find(&[<nn::ReLU6 as Spelled>::SPELLING]).unwrap();
    assert_eq!(relu6.observation_type, ObservationType::OutputShareObserverWithInput);
    let add = <child::Backend as Dispatch<torch::add, child::cfg::plain>>::KERNEL;
    assert_eq!(add.name, "q8_add");
}
