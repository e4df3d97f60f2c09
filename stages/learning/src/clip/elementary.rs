//! Exponential, logarithm, hyperbolic tangent and error function with backward passes, on the processor from the `libm` crate:
//! those of the platform differ from one C library to the next. For small tensors; the towers' own are fused.

use candle_core::backend::BackendStorage;
use candle_core::op::{Erf, Exp, Log, Tanh};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::fused::storage::floats;

/// eˣ.
pub(crate) fn exp(input: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op1(Elementary::Exp)
}

/// The natural logarithm.
pub(crate) fn log(input: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op1(Elementary::Log)
}

/// The hyperbolic tangent.
pub(crate) fn tanh(input: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op1(Elementary::Tanh)
}

/// x · Φ(x), Φ being the standard normal distribution: GELU as it is defined.
pub(crate) fn gelu(input: &Tensor) -> Result<Tensor> {
    let erf = (input * std::f64::consts::FRAC_1_SQRT_2)?.contiguous()?.apply_op1(Elementary::Erf)?;
    input * ((erf + 1.0)? * 0.5)?
}

#[derive(Clone, Copy)]
enum Elementary {
    Exp,
    Log,
    Tanh,
    Erf,
}

impl CustomOp1 for Elementary {
    fn name(&self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Tanh => "tanh",
            Self::Erf => "erf",
        }
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let of: fn(f32) -> f32 = match self {
            Self::Exp => libm::expf,
            Self::Log => libm::logf,
            Self::Tanh => libm::tanhf,
            Self::Erf => libm::erff,
        };
        let output = floats(input, layout)?.iter().copied().map(of).collect();
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn cuda_fwd(&self, input: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let output = match self {
            Self::Exp => input.unary_impl::<Exp>(layout),
            Self::Log => input.unary_impl::<Log>(layout),
            Self::Tanh => input.unary_impl::<Tanh>(layout),
            Self::Erf => input.unary_impl::<Erf>(layout),
        };
        Ok((output?, layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (input, output) = (input.detach(), output.detach());
        let slope = match self {
            Self::Exp => output,
            Self::Log => input.recip()?,
            Self::Tanh => (1.0 - output.sqr()?)?,
            Self::Erf => (exp(&input.sqr()?.neg()?)? * std::f64::consts::FRAC_2_SQRT_PI)?,
        };
        Ok(Some((gradient * slope)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};

    #[test]
    fn values_equal_candles_and_gradients_finite_differences() {
        let input = normals("input", &[3, 5]);
        let positive = (input.sqr().expect("squares") + 0.1).expect("positive");
        let values =
            |tensor: Result<Tensor>| tensor.and_then(|x| x.flatten_all()?.to_vec1::<f32>()).expect("values");
        for (found, expected) in [
            (exp(&input), input.exp()),
            (log(&positive), positive.log()),
            (tanh(&input), input.tanh()),
            (gelu(&input), input.gelu_erf()),
            (exp(&input.t().expect("t")), input.t().and_then(|x| x.exp())),
        ] {
            let (found, expected) = (values(found), values(expected));
            assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 2e-6), "{found:?} {expected:?}");
        }
        check_gradients(std::slice::from_ref(&input), |x| exp(&x[0]));
        check_gradients(std::slice::from_ref(&positive), |x| log(&x[0]));
        check_gradients(std::slice::from_ref(&input), |x| tanh(&x[0]));
        check_gradients(std::slice::from_ref(&input), |x| gelu(&x[0]));
    }
}
