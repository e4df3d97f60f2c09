//! CLIP's tensors under the names that other files give them, brought to the reference's.
//!
//! OpenAI's names differ in a prefix. Hugging Face's `CLIPModel` keeps queries, keys and values apart, which are
//! packed here, and its two projections the other way round.

use candle_core::Tensor;

use super::{ModelError, Tensors};

/// Tensors that the model does not use: CLIP's own temperature, three sizes, and the numbers of positions.
const IGNORED: [&str; 6] = [
    "logit_scale",
    "input_resolution",
    "context_length",
    "vocab_size",
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
];
/// A name by which Hugging Face's files are known.
const HUGGING_FACE: &str = "text_model.embeddings.token_embedding.weight";
/// Hugging Face's names outside the blocks.
const OUTSIDE: [(&str, &str); 11] = [
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.weight", "ln_final.weight"),
    ("text_model.final_layer_norm.bias", "ln_final.bias"),
    ("vision_model.embeddings.class_embedding", "vision_model.class_embedding"),
    ("vision_model.embeddings.patch_embedding.weight", "vision_model.conv1.weight"),
    ("vision_model.embeddings.position_embedding.weight", "vision_model.positional_embedding"),
    ("vision_model.pre_layrnorm.weight", "vision_model.ln_pre.weight"),
    ("vision_model.pre_layrnorm.bias", "vision_model.ln_pre.bias"),
    ("vision_model.post_layernorm.weight", "vision_model.ln_post.weight"),
    ("vision_model.post_layernorm.bias", "vision_model.ln_post.bias"),
];
/// Hugging Face's projections, which are transposed.
const TRANSPOSED: [(&str, &str); 2] =
    [("text_projection.weight", "text_projection"), ("visual_projection.weight", "vision_model.proj")];
/// Hugging Face's names within a block.
const WITHIN: [(&str, &str); 5] = [
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];
/// The towers' blocks.
const BLOCKS: [(&str, &str); 2] = [
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("vision_model.encoder.layers.", "vision_model.transformer.resblocks."),
];

/// The tensors of a file under the reference's names. Names that are not known stay as they are.
///
/// # Errors
/// A tensor is not there that another one is to be packed with, or does not fit it.
pub(super) fn reference_names(mut tensors: Tensors) -> Result<Tensors, ModelError> {
    tensors.retain(|name, _| !IGNORED.contains(&name.as_str()));
    if tensors.contains_key(HUGGING_FACE) {
        return from_hugging_face(tensors);
    }
    let rename = |name: String| match name.strip_prefix("visual.") {
        Some(part) => format!("vision_model.{part}"),
        None => name,
    };
    Ok(tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect())
}

fn from_hugging_face(mut tensors: Tensors) -> Result<Tensors, ModelError> {
    let mut renamed = Tensors::new();
    for (from, to) in OUTSIDE {
        if let Some(tensor) = tensors.remove(from) {
            renamed.insert(to.to_owned(), tensor);
        }
    }
    for (from, to) in TRANSPOSED {
        if let Some(tensor) = tensors.remove(from) {
            renamed.insert(to.to_owned(), tensor.t()?.contiguous()?);
        }
    }
    let names: Vec<String> = tensors.keys().cloned().collect();
    for name in names {
        let Some((block, part, prefix)) = in_block(&name) else { continue };
        if let Some(kind) = part.strip_prefix("self_attn.q_proj.") {
            let packed = pack(&mut tensors, &name, kind)?;
            renamed.insert(format!("{prefix}{block}.attn.in_proj_{kind}"), packed);
            continue;
        }
        let within = WITHIN.iter().find(|(from, _)| part.starts_with(&format!("{from}.")));
        if let Some(((from, to), tensor)) = within.zip(within.and_then(|_| tensors.remove(&name))) {
            renamed.insert(format!("{prefix}{block}.{to}{}", &part[from.len()..]), tensor);
        }
    }
    // What is left has no place, and its name says so.
    renamed.extend(tensors);
    Ok(renamed)
}

/// Number of the block, name within it, and what the reference's name begins with.
fn in_block(name: &str) -> Option<(&str, &str, &'static str)> {
    BLOCKS.iter().find_map(|(from, to)| {
        let (block, part) = name.strip_prefix(from)?.split_once('.')?;
        Some((block, part, *to))
    })
}

/// Queries, keys and values, in this order, of the block that the queries' name is of.
fn pack(tensors: &mut Tensors, queries: &str, kind: &str) -> Result<Tensor, ModelError> {
    let mut parts = Vec::new();
    for letter in ["q", "k", "v"] {
        let name = queries.replace(&format!(".q_proj.{kind}"), &format!(".{letter}_proj.{kind}"));
        parts.push(tensors.remove(&name).ok_or(ModelError::Missing { name })?);
    }
    Ok(Tensor::cat(&parts, 0)?)
}
