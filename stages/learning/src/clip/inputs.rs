//! What a forward pass takes of each side: what a tower is shown, or what a tower that does not change has made
//! of it before.

use candle_core::Tensor;

use super::text::Tokens;

/// The images of N nodules.
#[derive(Clone, Debug)]
pub enum Images {
    /// (N, 9, 3, R, R), for the image tower.
    Pixels(Tensor),
    /// (N, 9, embedding), as [`super::model::Model::embed_slices`] gives them.
    Embeddings(Tensor),
}

/// The texts of N nodules.
#[derive(Clone, Debug)]
pub enum Texts {
    /// For the text tower.
    Tokens(Tokens),
    /// (N, embedding), as [`super::model::Model::text_tower`] gives them.
    Embeddings(Tensor),
}
