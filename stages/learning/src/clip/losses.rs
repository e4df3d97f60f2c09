//! Losses (SPEC section 4): contrastive with label smoothing, and class-weighted cross-entropy.
//!
//! Both are one formula, `−Σ targets · log softmax(logits)`, with a matrix of target weights made on the
//! host. The logarithm of the softmax is stable for any finite logits.

use candle_core::{Device, Result, Tensor};

use super::functions::log_softmax;
use super::heads::CLASSES;

/// Label smoothing of the contrastive loss.
pub const SMOOTHING: f64 = 0.1;

/// The contrastive loss of logits (N, N) whose matching pairs are on the diagonal: the mean of
/// row-wise and column-wise cross-entropy with label smoothing 0.1.
///
/// # Errors
/// The logits are not a square matrix.
pub fn contrastive(logits: &Tensor) -> Result<Tensor> {
    let (rows, columns) = logits.dims2()?;
    if rows != columns {
        candle_core::bail!("contrastive loss of {rows} texts and {columns} images");
    }
    let targets = Tensor::from_vec(smoothed_diagonal(rows), (rows, rows), logits.device())?;
    let by_row = cross_entropy(logits, &targets)?;
    let by_column = cross_entropy(&logits.t()?.contiguous()?, &targets)?;
    (by_row + by_column)? * 0.5
}

/// Cross-entropy of logits (N, 2) with the labels `malignant`. With class weights (benign, malignant)
/// it is the weighted mean, divided by the sum of the rows' weights; without, the mean.
///
/// # Errors
/// Another number of labels than rows, or none.
pub fn classification(
    logits: &Tensor,
    malignant: &[bool],
    class_weights: Option<[f64; 2]>,
) -> Result<Tensor> {
    let (rows, classes) = logits.dims2()?;
    if rows != malignant.len() || rows == 0 || classes != CLASSES {
        candle_core::bail!("classification loss of {rows}×{classes} logits and {} labels", malignant.len());
    }
    let targets = one_hot(malignant, class_weights.unwrap_or([1.0, 1.0]), logits.device())?;
    cross_entropy(logits, &targets)
}

/// `−Σ targets · log softmax(logits)`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (log_softmax(logits)? * targets)?.sum_all()?.neg()
}

/// Smoothed targets of the diagonal, each row summing to 1/N.
fn smoothed_diagonal(rows: usize) -> Vec<f32> {
    let elsewhere = SMOOTHING / rows as f64;
    let target = |index: usize| {
        let hit = if index / rows == index % rows { 1.0 - SMOOTHING } else { 0.0 };
        ((hit + elsewhere) / rows as f64) as f32
    };
    (0..rows * rows).map(target).collect()
}

/// The weight of each row's class, the whole summing to 1.
fn one_hot(
    malignant: &[bool],
    [benign_weight, malignant_weight]: [f64; 2],
    device: &Device,
) -> Result<Tensor> {
    let weight = |&malignant: &bool| if malignant { malignant_weight } else { benign_weight };
    let total: f64 = malignant.iter().map(weight).sum();
    let share = |label: &bool| (weight(label) / total) as f32;
    let row = |label: &bool| if *label { [0.0, share(label)] } else { [share(label), 0.0] };
    let values: Vec<f32> = malignant.iter().flat_map(row).collect();
    Tensor::from_vec(values, (malignant.len(), CLASSES), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};

    fn value(loss: Result<Tensor>) -> f32 {
        loss.expect("loss").to_scalar().expect("scalar")
    }

    #[test]
    fn the_contrastive_loss_of_equal_logits_is_the_entropy_of_chance() {
        let logits = Tensor::zeros((4, 4), candle_core::DType::F32, &Device::Cpu).expect("logits");
        assert!((value(contrastive(&logits)) - 4f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn class_weights_weigh_rows_and_cancel_when_equal() {
        let logits = Tensor::new(&[[2f32, 0.0], [0.0, 1.0], [0.5, 0.0]], &Device::Cpu).expect("logits");
        let rows = [0.126_928_01f32, 0.313_261_7, 0.974_077];
        let labels = [false, true, true];
        let mean = (rows[0] + rows[1] + rows[2]) / 3.0;
        assert!((value(classification(&logits, &labels, None)) - mean).abs() < 1e-6);
        assert!((value(classification(&logits, &labels, Some([0.3, 0.3]))) - mean).abs() < 1e-6);
        let weighted = (0.25 * rows[0] + 0.75 * (rows[1] + rows[2])) / 1.75;
        assert!((value(classification(&logits, &labels, Some([0.25, 0.75]))) - weighted).abs() < 1e-6);
    }

    #[test]
    fn losses_stay_finite_for_extreme_logits() {
        let logits = Tensor::new(&[[300f32, -300.0], [-300.0, 300.0]], &Device::Cpu).expect("logits");
        assert!(value(contrastive(&logits)).is_finite());
        let wrong = value(classification(&logits, &[true, false], None));
        assert!((wrong - 600.0).abs() < 1e-3, "{wrong}");
    }

    #[test]
    fn gradients_equal_finite_differences() {
        check_gradients(&[normals("pairs", &[3, 3])], |x| contrastive(&x[0]));
        check_gradients(&[normals("classes", &[3, 2])], |x| {
            classification(&x[0], &[true, false, true], Some([0.25, 0.75]))
        });
    }

    #[test]
    fn wrong_shapes_are_errors() {
        assert!(contrastive(&normals("a", &[2, 3])).is_err());
        assert!(classification(&normals("b", &[2, 2]), &[true], None).is_err());
        assert!(classification(&normals("c", &[1, 3]), &[true], None).is_err());
    }
}
