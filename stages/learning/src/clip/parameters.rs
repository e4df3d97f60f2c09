//! Hands named tensors to the parts of a model, each as a frozen tensor or as a variable.
//!
//! A frozen tensor takes part in no gradient. Every tensor is checked by name and shape, and at the
//! end none may be left over.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use super::functions::LayerNorm;
use super::linear::Linear;
use super::{ModelError, Operations, Tensors};

/// The tensors that a model is built from.
pub(crate) struct Parameters<'a> {
    tensors: Tensors,
    trained: &'a dyn Fn(&str) -> bool,
    device: &'a Device,
    operations: Operations,
    narrow: Narrow<'a>,
    variables: BTreeMap<String, Var>,
}

/// Which weights of affine maps are kept in which numbers, where not in f32.
pub(crate) type Narrow<'a> = &'a dyn Fn(&str) -> Option<DType>;

impl<'a> Parameters<'a> {
    /// Tensors to hand out on `device`; `trained` says by name which become variables, and `narrow` in what the
    /// weights of the others are kept.
    pub(crate) fn new(
        tensors: Tensors,
        trained: &'a dyn Fn(&str) -> bool,
        device: &'a Device,
        operations: Operations,
        narrow: Narrow<'a>,
    ) -> Self {
        Self { tensors, trained, device, operations, narrow, variables: BTreeMap::new() }
    }

    /// What the model's parts are to compute with.
    pub(crate) fn operations(&self) -> Operations {
        self.operations
    }

    /// Takes one tensor of a known shape, as f32 on the device.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let tensor =
            self.tensors.remove(name).ok_or_else(|| ModelError::Missing { name: name.to_owned() })?;
        if tensor.dims() != shape {
            let (found, expected) = (tensor.dims().to_vec(), shape.to_vec());
            return Err(ModelError::Shape { name: name.to_owned(), found, expected });
        }
        let tensor = tensor.to_dtype(DType::F32)?.to_device(self.device)?.contiguous()?.detach();
        if !(self.trained)(name) {
            return Ok(tensor);
        }
        // A variable owns a copy, so that training never changes the tensors it started from.
        let variable = Var::from_tensor(&tensor)?;
        let tensor = variable.as_tensor().clone();
        self.variables.insert(name.to_owned(), variable);
        Ok(tensor)
    }

    /// Takes `NAME.weight` (outputs, inputs) and `NAME.bias`.
    pub(crate) fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        self.linear_named(&format!("{name}.weight"), &format!("{name}.bias"), inputs, outputs)
    }

    /// Takes an affine map whose tensors have names of their own.
    pub(crate) fn linear_named(
        &mut self,
        weight: &str,
        bias: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, ModelError> {
        let number = (self.narrow)(weight);
        let weight = self.take(weight, &[outputs, inputs])?;
        let bias = self.take(bias, &[outputs])?;
        let linear = Linear::new(&weight, Some(&bias))?;
        Ok(number.map_or(Ok(linear.clone()), |number| linear.stored_as(number))?)
    }

    /// Takes `NAME.weight` and `NAME.bias` of a layer normalisation.
    pub(crate) fn layer_norm(&mut self, name: &str, width: usize) -> Result<LayerNorm, ModelError> {
        let weight = self.take(&format!("{name}.weight"), &[width])?;
        let bias = self.take(&format!("{name}.bias"), &[width])?;
        Ok(LayerNorm { weight, bias, operations: self.operations })
    }

    /// The variables that were handed out; an error if a tensor was not taken.
    pub(crate) fn finish(self) -> Result<BTreeMap<String, Var>, ModelError> {
        match self.tensors.keys().next() {
            Some(name) => Err(ModelError::Unexpected { count: self.tensors.len(), name: name.clone() }),
            None => Ok(self.variables),
        }
    }
}
