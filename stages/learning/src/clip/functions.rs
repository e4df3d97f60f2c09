//! Differentiable functions built from candle's primitive operations.
//!
//! candle's fused softmax and layer norm have no backward pass and cut the graph without an error;
//! these are the same functions in operations that have one.

use candle_core::{D, Result, Tensor};

use super::elementary::{exp, log};
use super::{Operations, fused};

/// Softmax along the last dimension, stable for any finite input and for −∞ beside a finite value.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    // The shift cancels out of value and gradient, so it need not be differentiated.
    let shift = scores.detach().max_keepdim(D::Minus1)?;
    let exponentials = exp(&scores.broadcast_sub(&shift)?)?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// Logarithm of the softmax along the last dimension, stable for any finite input.
pub(crate) fn log_softmax(scores: &Tensor) -> Result<Tensor> {
    let shift = scores.detach().max_keepdim(D::Minus1)?;
    let shifted = scores.broadcast_sub(&shift)?;
    shifted.broadcast_sub(&log(&exp(&shifted)?.sum_keepdim(D::Minus1)?)?)
}

/// CLIP's approximation of GELU: x · σ(1.702 x).
pub(crate) fn quick_gelu(input: &Tensor, operations: Operations) -> Result<Tensor> {
    match operations {
        Operations::Fused => fused::quick_gelu::quick_gelu(&input.contiguous()?),
        Operations::Plain => input * candle_nn::ops::sigmoid(&(input * 1.702)?)?,
    }
}

/// The sum of two tensors of one shape.
pub(crate) fn add(a: &Tensor, b: &Tensor, operations: Operations) -> Result<Tensor> {
    match operations {
        Operations::Fused => fused::add::add(&a.contiguous()?, &b.contiguous()?),
        Operations::Plain => a + b,
    }
}

/// The positive part. Unlike candle's own, a NaN stays a NaN, so that it reaches the loss and is noticed.
pub(crate) fn relu(input: &Tensor) -> Result<Tensor> {
    input * input.detach().gt(0f32)?.to_dtype(input.dtype())?
}

/// Scales each vector of the last dimension to length 1; a vector of zeros stays finite, and so does its gradient.
pub(crate) fn unit_length(vectors: &Tensor) -> Result<Tensor> {
    // The root of zero has no slope, so what is below the least length is cut off before.
    let squares = vectors.sqr()?.sum_keepdim(D::Minus1)?.maximum(1e-24)?;
    vectors.broadcast_div(&squares.sqrt()?)
}

/// Layer normalisation over the last dimension, ε = 1e-5.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    /// (width)
    pub(crate) weight: Tensor,
    /// (width)
    pub(crate) bias: Tensor,
    pub(crate) operations: Operations,
}

impl LayerNorm {
    /// Normalises (…, width).
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if self.operations == Operations::Fused {
            return fused::layer_norm::layer_norm(&input.contiguous()?, &self.weight, &self.bias);
        }
        let centred = input.broadcast_sub(&input.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
        scaled.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::clip::elementary::{gelu, tanh};
    use pipe_numerics::random::RandomKey;

    /// Standard normal values of the given shape, the same for the same name.
    pub(crate) fn normals(name: &str, shape: &[usize]) -> Tensor {
        let mut generator = RandomKey::new(11, "test").text("tensor", name).generator();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| generator.normal() as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor")
    }

    /// Compares the gradient of `Σ weights · function(inputs)` with central differences in f32.
    pub(crate) fn check_gradients(inputs: &[Tensor], function: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let variables: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).expect("variable")).collect();
        let tensors: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
        let output = function(&tensors).expect("forward");
        let weights = normals("weights of the output", output.dims());
        let loss = |output: &Tensor| (output * &weights)?.sum_all();
        let gradients = loss(&output).expect("loss").backward().expect("backward");
        for (position, input) in inputs.iter().enumerate() {
            let gradient = gradients.get(&variables[position]).expect("every input has a gradient");
            let gradient = gradient.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
            let values = input.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
            let scale = gradient.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
            for element in 0..values.len() {
                let at = |shift: f32| -> f64 {
                    let mut moved = values.clone();
                    moved[element] += shift;
                    let mut tensors = inputs.to_vec();
                    tensors[position] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).expect("moved");
                    let output = function(&tensors).expect("forward");
                    // Summed in f64: the differences are small against the sum.
                    let products = (output * &weights).expect("product").flatten_all().expect("flat");
                    products.to_vec1::<f32>().expect("values").iter().map(|&x| f64::from(x)).sum()
                };
                let numeric = (at(4e-3) - at(-4e-3)) / 8e-3;
                let difference = (numeric - f64::from(gradient[element])).abs();
                assert!(
                    difference < 5e-3 * f64::from(scale),
                    "input {position}, element {element}: {numeric} against {}",
                    gradient[element]
                );
            }
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let input = normals("input", &[2, 3, 5]);
        check_gradients(std::slice::from_ref(&input), |x| softmax(&x[0]));
        check_gradients(std::slice::from_ref(&input), |x| log_softmax(&x[0]));
        for operations in [Operations::Fused, Operations::Plain] {
            check_gradients(std::slice::from_ref(&input), |x| quick_gelu(&x[0], operations));
            check_gradients(&[input.clone(), normals("other", &[2, 3, 5])], |x| {
                add(&x[0], &x[1], operations)
            });
            check_gradients(&[input.clone(), normals("weight", &[5]), normals("bias", &[5])], |x| {
                LayerNorm { weight: x[1].clone(), bias: x[2].clone(), operations }.forward(&x[0])
            });
        }
        check_gradients(std::slice::from_ref(&input), |x| relu(&x[0]));
        check_gradients(std::slice::from_ref(&input), |x| unit_length(&x[0]));
    }

    #[test]
    fn a_vector_of_zeros_has_a_finite_gradient() {
        let zeros = Var::new(&[[0f32, 0.0], [3.0, 4.0]], &Device::Cpu).expect("vectors");
        let unit = unit_length(&zeros).expect("unit");
        assert_eq!(unit.to_vec2::<f32>().expect("values"), [[0.0, 0.0], [0.6, 0.8]]);
        let gradients = unit.sum_all().and_then(|sum| sum.backward()).expect("backward");
        let gradient = gradients.get(&zeros).expect("gradient").to_vec2::<f32>().expect("values");
        assert!(gradient.iter().flatten().all(|value| value.is_finite()), "{gradient:?}");
    }

    #[test]
    fn fused_operations_are_the_plain_ones_but_for_rounding() {
        // Wider than lanes and with a rest; more rows than are taken at once.
        let (input, weight, bias) = (normals("x", &[3, 45, 83]), normals("w", &[83]), normals("b", &[83]));
        let gradient = normals("gradient", &[3, 45, 83]);
        let run = |operations| -> Vec<f32> {
            let variables =
                [&input, &weight, &bias].map(|tensor| Var::from_tensor(tensor).expect("variable"));
            let (weight, bias) = (variables[1].as_tensor().clone(), variables[2].as_tensor().clone());
            let norm = LayerNorm { weight, bias, operations };
            let normalised = norm.forward(&variables[0]).expect("norm");
            let output = quick_gelu(&(normalised * 3.0).expect("scaled"), operations).expect("gelu");
            let output = add(&output, &variables[0], operations).expect("sum");
            let loss = (&output * &gradient).expect("product").sum_all().expect("loss");
            let gradients = loss.backward().expect("backward");
            let tensors = variables.iter().map(|variable| gradients.get(variable).expect("a gradient"));
            tensors
                .chain([&output])
                .flat_map(|tensor| tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values"))
                .collect()
        };
        let (fused, plain) = (run(Operations::Fused), run(Operations::Plain));
        assert_eq!(fused.len(), plain.len());
        for (index, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
            assert!((fused - plain).abs() < 2e-5 * (1.0 + plain.abs()), "{index}: {fused} {plain}");
        }
    }

    #[test]
    fn no_function_hides_a_value_that_is_not_a_number() {
        let input = Tensor::new(&[[1f32, f32::NAN, -1.0]], &Device::Cpu).expect("input");
        let ones = Tensor::new(&[1f32, 1.0, 1.0], &Device::Cpu).expect("ones");
        let norm = |operations| LayerNorm { weight: ones.clone(), bias: ones.clone(), operations };
        let outputs = [
            ("relu", relu(&input)),
            ("softmax", softmax(&input)),
            ("log_softmax", log_softmax(&input)),
            ("quick_gelu", quick_gelu(&input, Operations::Plain)),
            ("fused quick_gelu", quick_gelu(&input, Operations::Fused)),
            ("unit_length", unit_length(&input)),
            ("fused add", add(&input, &input, Operations::Fused)),
            ("layer_norm", norm(Operations::Plain).forward(&input)),
            ("fused layer_norm", norm(Operations::Fused).forward(&input)),
            ("gelu", gelu(&input)),
            ("tanh", tanh(&input)),
        ];
        for (name, output) in outputs {
            let values = output.expect("output").to_vec2::<f32>().expect("values");
            assert!(values[0][1].is_nan(), "{name}: {values:?}");
        }
    }

    #[test]
    fn a_softmax_survives_large_and_masked_scores() {
        let scores = Tensor::new(&[[1000f32, 999.0, f32::NEG_INFINITY]], &Device::Cpu).expect("scores");
        let shares = softmax(&scores).expect("softmax").to_vec2::<f32>().expect("values");
        assert!((shares[0][0] - 0.731_058_6).abs() < 1e-6, "{shares:?}");
        assert_eq!(shares[0][2], 0.0);
    }
}
