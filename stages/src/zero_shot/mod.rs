//! Semantic features without training for them: a nodule's image embedding against embeddings of sentences.
//!
//! CLIP's two towers put an image near the sentences that fit it. For each feature, [`prompts`] has sentences for each
//! of its values; [`probabilities`] makes a softmax over the values of how near the image is to each.

use candle_core::{D, Result, Tensor};
use pipe_learning::clip::product::matmul;

pub mod prompts;
pub mod table;

/// Probability of each value for each nodule, (N, values): the softmax over the values of scale · cosine.
///
/// `images` are unit-length (N, width), `values` unit-length (values, width).
///
/// # Errors
/// Widths that differ.
pub fn probabilities(images: &Tensor, values: &Tensor, scale: f64) -> Result<Vec<Vec<f64>>> {
    let scores = (matmul(images, &values.t()?)? * scale)?;
    let softmax = |scores: Vec<f32>| -> Vec<f64> {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares: Vec<f64> =
            scores.iter().map(|score| libm::exp(f64::from(*score) - f64::from(largest))).collect();
        let total: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / total).collect()
    };
    Ok(scores.to_vec2::<f32>()?.into_iter().map(softmax).collect())
}

/// The direction of several unit-length embeddings (prompts, width) together, (1, width): their mean at unit length, as
/// CLIP averages its templates.
///
/// # Errors
/// There is none.
pub fn together(embeddings: &Tensor) -> Result<Tensor> {
    let mean = embeddings.mean_keepdim(0)?;
    let length = mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    mean.broadcast_div(&length.maximum(1e-12)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_nearest_value_is_the_likeliest_and_shares_add_up() {
        let images = Tensor::new(&[[1f32, 0.0], [0.6, 0.8]], &Device::Cpu).expect("images");
        let prompts = Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu).expect("prompts");
        let both = together(&prompts).expect("mean").to_vec2::<f32>().expect("values");
        assert!((both[0][0] - 0.5f32.sqrt()).abs() < 1e-6 && both[0][0] == both[0][1]);
        let found = probabilities(&images, &prompts, 2.0).expect("probabilities");
        let expected = 1.0 / (1.0 + (-2.0f64).exp());
        assert!((found[0][0] - expected).abs() < 1e-6 && (found[0][0] + found[0][1] - 1.0).abs() < 1e-12);
        assert!(found[1][1] > found[1][0]);
    }
}
