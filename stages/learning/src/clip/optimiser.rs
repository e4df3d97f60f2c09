//! AdamW with decoupled weight decay (Loshchilov & Hutter 2019), as PyTorch computes it.
//!
//! The optimiser's state is plain named data, so that it can be stored and read back between epochs. On the
//! processor a step works in place.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

use super::Tensors;
use super::fused_step::{Descend, RunningMean};

/// Decay rates of the two moments.
pub const BETAS: (f64, f64) = (0.9, 0.999);
/// Added to the denominator.
pub const EPSILON: f64 = 1e-8;

/// What the optimiser remembers of one tensor.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Tensor,
    /// Running mean of its square.
    pub second: Tensor,
    /// Number of steps taken on this tensor.
    pub steps: u32,
}

/// AdamW over named variables.
#[derive(Clone, Debug)]
pub struct AdamW {
    learning_rate: f64,
    weight_decay: f64,
    state: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimiser that has taken no step.
    pub fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Self { learning_rate, weight_decay, state: BTreeMap::new() }
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// What it remembers, by name; a tensor that never had a gradient is not in it. The tensors change with
    /// the next step: copy what is to be kept.
    pub fn state(&self) -> &BTreeMap<String, Moments> {
        &self.state
    }

    /// Goes on from a remembered state.
    pub fn restore(&mut self, state: BTreeMap<String, Moments>) {
        self.state = state;
    }

    /// Moves every variable that has a gradient. One without is left alone, decay included, as in
    /// PyTorch.
    ///
    /// # Errors
    /// A gradient or a remembered moment has another shape than its variable.
    pub fn step(&mut self, variables: &BTreeMap<String, Var>, gradients: &Tensors) -> Result<()> {
        for (name, variable) in variables {
            let Some(gradient) = gradients.get(name) else { continue };
            let moments = match self.state.remove(name) {
                Some(moments) => moments,
                None => Moments {
                    first: variable.zeros_like()?.detach(),
                    second: variable.zeros_like()?.detach(),
                    steps: 0,
                },
            };
            // What is remembered must not hold the graph that the gradient came from.
            let gradient = gradient.detach().contiguous()?;
            let moments = self.move_variable(variable, moments, &gradient)?;
            self.state.insert(name.clone(), moments);
        }
        Ok(())
    }

    fn move_variable(&self, variable: &Var, moments: Moments, gradient: &Tensor) -> Result<Moments> {
        let moments = Moments { steps: moments.steps.saturating_add(1), ..moments };
        let steps = f64::from(moments.steps);
        // Both moments are corrected for their start at 0.
        let first_share = 1.0 - libm::pow(BETAS.0, steps);
        let second_share = 1.0 - libm::pow(BETAS.1, steps);
        let decay = 1.0 - self.learning_rate * self.weight_decay;
        let scale = self.learning_rate / first_share;
        let root = second_share.sqrt();
        if variable.device().is_cpu() {
            let Moments { first, second, .. } = &moments;
            first.inplace_op2(gradient, &RunningMean::new(BETAS.0, false))?;
            second.inplace_op2(gradient, &RunningMean::new(BETAS.1, true))?;
            let (decay, scale, root, epsilon) = (decay as f32, scale as f32, root as f32, EPSILON as f32);
            variable.inplace_op3(first, second, &Descend { decay, scale, root, epsilon })?;
            return Ok(moments);
        }
        let first = ((moments.first * BETAS.0)? + (gradient * (1.0 - BETAS.0))?)?;
        let second = ((moments.second * BETAS.1)? + (gradient.sqr()? * (1.0 - BETAS.1))?)?;
        let change = ((&first * scale)? / ((second.sqrt()? / root)? + EPSILON)?)?;
        variable.set(&((variable.as_tensor().detach() * decay)? - change)?)?;
        Ok(Moments { first, second, steps: moments.steps })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn step(optimiser: &mut AdamW, variable: &Var, gradient: &[f32]) -> Vec<f32> {
        let variables = BTreeMap::from([("w".to_owned(), variable.clone())]);
        let gradient = Tensor::new(gradient, &Device::Cpu).expect("gradient");
        optimiser.step(&variables, &Tensors::from([("w".to_owned(), gradient)])).expect("step");
        variable.to_vec1().expect("values")
    }

    #[test]
    fn what_is_remembered_holds_no_graph() {
        let variable = Var::new(&[1f32, 2.0], &Device::Cpu).expect("variable");
        let variables = BTreeMap::from([("w".to_owned(), variable.clone())]);
        let mut optimiser = AdamW::new(0.1, 0.0);
        // A gradient that is itself a function of the variable, as candle's are.
        let gradient = (variable.as_tensor() * 2.0).expect("gradient");
        optimiser.step(&variables, &Tensors::from([("w".to_owned(), gradient)])).expect("step");
        let Moments { first, second, .. } = &optimiser.state()["w"];
        for moment in [first, second] {
            let gradients = moment.sum_all().and_then(|sum| sum.backward()).expect("backward");
            assert!(gradients.get(variable.as_tensor()).is_none());
        }
    }

    /// Two steps worked out by hand from the paper's formulas.
    #[test]
    fn steps_are_those_of_the_formulas() {
        let variable = Var::new(&[1f32, -2.0], &Device::Cpu).expect("variable");
        let mut optimiser = AdamW::new(0.1, 0.5);
        let first = step(&mut optimiser, &variable, &[0.5, -0.25]);
        // The first change is lr · sign(gradient); decay is 1 − 0.1 · 0.5.
        assert!((first[0] - 0.85).abs() < 1e-6 && (first[1] + 1.8).abs() < 1e-6, "{first:?}");
        let second = step(&mut optimiser, &variable, &[0.5, 0.25]);
        let m = (0.1f64 * 0.9 * -0.25 + 0.1 * 0.25) / (1.0 - 0.81);
        let expected = -1.8 * 0.95 - 0.1 * m / 0.25;
        assert!((second[0] - (0.85 * 0.95 - 0.1)).abs() < 1e-6, "{second:?}");
        assert!((f64::from(second[1]) - expected).abs() < 1e-6, "{second:?} against {expected}");
    }

    #[test]
    fn a_variable_without_a_gradient_stays_and_a_state_can_be_restored() {
        let variables = |value: f32| {
            BTreeMap::from([("w".to_owned(), Var::new(&[value], &Device::Cpu).expect("variable"))])
        };
        let kept = variables(3.0);
        AdamW::new(0.1, 0.5).step(&kept, &Tensors::new()).expect("step");
        assert_eq!(kept["w"].to_vec1::<f32>().expect("values"), [3.0]);

        let gradients = [[0.3f32], [-0.2], [0.1]];
        let (whole, interrupted) = (variables(3.0)["w"].clone(), variables(3.0)["w"].clone());
        let mut optimiser = AdamW::new(0.1, 0.2);
        let expected = gradients.map(|gradient| step(&mut optimiser, &whole, &gradient));
        let mut before = AdamW::new(0.1, 0.2);
        step(&mut before, &interrupted, &gradients[0]);
        let mut after = AdamW::new(0.1, 0.2);
        after.restore(before.state().clone());
        step(&mut after, &interrupted, &gradients[1]);
        assert_eq!(step(&mut after, &interrupted, &gradients[2]), expected[2]);
        assert_eq!(after.state()["w"].steps, 3);
    }
}
