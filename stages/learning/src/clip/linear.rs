//! The affine map `x·Wᵀ + b` with a backward pass that computes only what is asked for.
//!
//! candle's own matrix product computes the gradients of both factors, even of a frozen weight or of
//! the input pixels, and sums a bias gradient element by element. Here a gradient is computed only for
//! what the graph tracks, and the bias gradient is a matrix product.

use candle_core::backend::BackendStorage;
use candle_core::op::Add;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::fused::add::add_to_rows;
use super::fused::storage::{floats, floats_mut};
use super::product::{Multiply, matmul};

/// An affine map; whether its tensors are trained is theirs to know.
///
/// A frozen weight may be kept in fewer bits than its input has: it is widened for each product, and never for longer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// (outputs, inputs), contiguous.
    weight: Tensor,
    /// (outputs), contiguous.
    bias: Option<Tensor>,
}

impl Linear {
    /// A map with weight (outputs, inputs) and, optionally, bias (outputs).
    ///
    /// # Errors
    /// A tensor cannot be made contiguous (never on sound tensors).
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let bias = bias.map(Tensor::contiguous).transpose()?;
        Ok(Self { weight: weight.contiguous()?, bias })
    }

    /// The map with its weight kept in another type of numbers.
    ///
    /// # Errors
    /// The device cannot convert the numbers.
    pub(crate) fn stored_as(self, number: DType) -> Result<Self> {
        Ok(Self { weight: self.weight.to_dtype(number)?.detach(), bias: self.bias })
    }

    /// (outputs, inputs).
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Maps (…, inputs) to (…, outputs).
    ///
    /// # Errors
    /// The last dimension is not `inputs`.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let input = input.contiguous()?;
        match &self.bias {
            Some(bias) => input.apply_op3(&self.weight, bias, Affine),
            None => input.apply_op2(&self.weight, Product),
        }
    }
}

/// `x·Wᵀ`.
struct Product;

/// `x·Wᵀ + b`.
struct Affine;

/// The product and its layout, (rows, outputs).
fn product<S: BackendStorage + Multiply>(input: (&S, &Layout), weight: (&S, &Layout)) -> Result<(S, Layout)> {
    let (outputs, inputs) = weight.1.shape().dims2()?;
    if input.1.dims().last() != Some(&inputs) {
        candle_core::bail!("linear: input {:?} does not fit weight {:?}", input.1.shape(), weight.1.shape());
    }
    let rows = input.1.shape().elem_count() / inputs.max(1);
    let flat = Layout::contiguous_with_offset((rows, inputs), input.1.start_offset());
    let output = if weight.0.dtype() == input.0.dtype() {
        input.0.multiply(&flat, weight.0, &weight.1.transpose(0, 1)?)?
    } else {
        let widened = weight.0.to_dtype(weight.1, input.0.dtype())?;
        input.0.multiply(&flat, &widened, &Layout::contiguous((outputs, inputs)).transpose(0, 1)?)?
    };
    Ok((output, Layout::contiguous((rows, outputs))))
}

fn affine<S: BackendStorage + Multiply>(
    input: (&S, &Layout),
    weight: (&S, &Layout),
    bias: (&S, &Layout),
) -> Result<(S, Shape)> {
    let (output, layout) = product(input, weight)?;
    let output = output.binary_impl::<Add>(bias.0, &layout, &bias.1.broadcast_as(layout.shape())?)?;
    Ok((output, output_shape(input.1, weight.1)))
}

/// (…, outputs) for an input of (…, inputs).
fn output_shape(input: &Layout, weight: &Layout) -> Shape {
    let mut dims = input.dims().to_vec();
    if let (Some(last), Some(outputs)) = (dims.last_mut(), weight.dims().first()) {
        *last = *outputs;
    }
    Shape::from(dims)
}

/// Gradients of the input and of the weight, where the graph tracks them.
///
/// They are computed from values that are cut off the graph: a gradient that remembered what it was made of would keep
/// every other gradient of the pass alive, as much memory again as all activations take.
fn gradients(input: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let gradient = gradient.reshape(((), outputs))?;
    let of_input = match input.track_op() {
        true => {
            let weight = weight.detach().to_dtype(gradient.dtype())?;
            Some(matmul(&gradient, &weight)?.reshape(input.shape())?)
        }
        false => None,
    };
    let of_weight = match weight.track_op() {
        true => Some(matmul(&gradient.t()?, &input.detach().reshape(((), inputs))?)?),
        false => None,
    };
    Ok((of_input, of_weight))
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "linear-product"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (output, _) = product((input, input_layout), (weight, weight_layout))?;
        Ok((output, output_shape(input_layout, weight_layout)))
    }

    fn cuda_fwd(
        &self,
        input: &CudaStorage,
        input_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (output, _) = product((input, input_layout), (weight, weight_layout))?;
        Ok((output, output_shape(input_layout, weight_layout)))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        gradients(input, weight, gradient)
    }
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut output, layout) = product((input, input_layout), (weight, weight_layout))?;
        add_to_rows(floats_mut(&mut output, &layout)?, floats(bias, bias_layout)?);
        Ok((output, output_shape(input_layout, weight_layout)))
    }

    fn cuda_fwd(
        &self,
        input: &CudaStorage,
        input_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        affine((input, input_layout), (weight, weight_layout), (bias, bias_layout))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_weight) = gradients(input, weight, gradient)?;
        let of_bias = match bias.track_op() {
            true => Some(column_sums(&gradient.reshape(((), bias.elem_count()))?)?),
            false => None,
        };
        Ok((of_input, of_weight, of_bias))
    }
}

/// Sums over the rows of (rows, columns), as a matrix product.
fn column_sums(rows: &Tensor) -> Result<Tensor> {
    let ones = Tensor::ones((1, rows.dim(0)?), rows.dtype(), rows.device())?;
    matmul(&ones, rows)?.squeeze(0)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn frozen_tensors_get_no_gradient_and_trained_ones_do() {
        let device = &Device::Cpu;
        let input = Tensor::new(&[[[1f32, 2.0], [3.0, 4.0]]], device).expect("input");
        let frozen = Tensor::new(&[[1f32, 0.5], [2.0, -1.0], [0.0, 1.0]], device).expect("weight");
        let bias = Var::new(&[0.1f32, 0.2, 0.3], device).expect("bias");
        let linear = Linear::new(&frozen, Some(bias.as_tensor())).expect("linear");
        let output = linear.forward(&input).expect("forward");
        assert_eq!(output.dims(), [1, 2, 3]);
        assert_eq!(
            output.flatten_all().expect("flat").to_vec1::<f32>().expect("values"),
            [2.1, 0.2, 2.3, 5.1, 2.2, 4.3]
        );
        let gradients = output.sum_all().expect("sum").backward().expect("backward");
        assert!(gradients.get(&frozen).is_none());
        assert!(gradients.get(&input).is_none());
        let of_bias = gradients.get(&bias).expect("gradient").to_vec1::<f32>().expect("values");
        assert_eq!(of_bias, [2.0, 2.0, 2.0]);
    }

    #[test]
    fn a_weight_in_fewer_bits_is_the_rounded_weight() {
        let device = &Device::Cpu;
        let weight = Tensor::new(&[[1.1f32, 0.5], [2.3, -1.7]], device).expect("weight");
        let rounded = weight.to_dtype(DType::BF16).and_then(|x| x.to_dtype(DType::F32)).expect("rounded");
        let run = |linear: &Linear| {
            let input = Var::new(&[[1f32, 2.0], [-3.0, 4.5]], device).expect("input");
            let output = linear.forward(&input).expect("forward");
            let gradients =
                output.sqr().and_then(|x| x.sum_all()).and_then(|x| x.backward()).expect("backward");
            let gradient = gradients.get(&input).expect("gradient").to_vec2::<f32>().expect("values");
            (output.to_vec2::<f32>().expect("values"), gradient)
        };
        let linear = Linear::new(&weight, None).expect("linear");
        let narrow = linear.clone().stored_as(DType::BF16).expect("narrow");
        assert_eq!(narrow.weight().dtype(), DType::BF16);
        assert_eq!(run(&narrow), run(&Linear::new(&rounded, None).expect("linear")));
        assert_ne!(run(&narrow), run(&linear));
    }

    #[test]
    fn a_wrong_last_dimension_is_an_error() {
        let device = &Device::Cpu;
        let weight = Tensor::zeros((3, 2), candle_core::DType::F32, device).expect("weight");
        let linear = Linear::new(&weight, None).expect("linear");
        let input = Tensor::zeros((2, 3), candle_core::DType::F32, device).expect("input");
        assert!(linear.forward(&input).is_err());
    }
}
