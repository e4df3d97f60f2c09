//! Kind `import-crops`: volumes from crops that PyTorch has stored.

use std::path::Path;

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, InputForm, InputSpec, Item, ItemSource, OutputSpec, PerItem, Stage, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::{Store, write_volume};
use pipe_learning::preprocessing::{Made, Preprocessing, SIZE_MM, STORE};
use pipe_torch::tensor::{PlainTensor, read_tensor};

/// The kind.
pub struct ImportCrops;

/// Parameters of `import-crops`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportCropsParams {
    /// How the values are stored. `f32`: as 32-bit numbers, whatever they were. `i16`: rounded to whole HU,
    /// in half the space; a value that does not fit into 16 bits is an error.
    pub store: Store,
}

impl Stage for ImportCrops {
    type Params = ImportCropsParams;

    const ABOUT: About = About::new("import-crops", "takes over the crops that the published pipeline leaves, in place of crop", crate::code_stamps::IMPORT_CROPS).inputs(&[InputSpec::new(
            "crops",
            InputForm::Collection,
            "a folder of {pid}_{nodule_id}.pt, each one tensor (P, P, P), axes z, y, x (LPS), in HU; leading axes of 1 are dropped",
        )
        .of("pt")]).outputs(&[OutputSpec::collection("volumes", "safetensors", "{pid}_{nodule_id}.safetensors: `volume` f32 or i16 (P, P, P), axes z, y, x, in HU")]);
}

impl PerItem for ImportCrops {
    fn items(&self, _params: &ImportCropsParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Collection { input: "crops" }
    }

    fn run_group(
        &self,
        params: &ImportCropsParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let run = |item| {
            context.check_cancelled().map_err(StageError::from).and_then(|()| import_item(params, item))
        };
        group.iter().map(run).collect()
    }
}

fn import_item(params: &ImportCropsParams, item: &Item) -> Result<Vec<u8>, StageError> {
    let file = item.file("crops")?;
    import(&file.read()?, params.store, &file.shown)
}

/// The edge of a stored crop, in voxels.
///
/// # Errors
/// A file that is no crop.
pub(crate) fn edge_of_file(path: &Path) -> Result<usize, StageError> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| StageError::message(format!("{shown}: {error}")))?;
    read_cube(&bytes, &shown).map(|(edge, _)| edge)
}

/// The bytes of a volume from those of a stored tensor.
fn import(bytes: &[u8], store: Store, shown: &str) -> Result<Vec<u8>, StageError> {
    let (edge, tensor) = read_cube(bytes, shown)?;
    // Where the values came from is not known, nor on what grid they lie.
    let preprocessing =
        Preprocessing::default().with(SIZE_MM, edge).with(STORE, serde_json::to_value(store)?);
    let made = Made { preprocessing, ..Made::default() };
    write_volume(edge, &tensor.values, (store, &made), shown)
}

/// A stored tensor that is a cube of finite values, and its edge.
fn read_cube(bytes: &[u8], shown: &str) -> Result<(usize, PlainTensor), StageError> {
    let refuse = |problem: String| StageError::message(format!("{shown}: {problem}"));
    let tensor = read_tensor(bytes).map_err(|error| {
        refuse(error.to_string()).advise("each file must be what `torch.save(tensor, path)` writes")
    })?;
    let edge = edge(&tensor).ok_or_else(|| {
        refuse(format!("the tensor must be a cube (P, P, P), but its shape is {:?}", tensor.shape))
    })?;
    if let Some((index, value)) = tensor.values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let voxel = [index / (edge * edge), index / edge % edge, index % edge];
        return Err(refuse(format!("voxel (z, y, x) = {voxel:?} is {value}")));
    }
    Ok((edge, tensor))
}

/// The edge, if the tensor is a cube but for leading axes of length 1.
fn edge(tensor: &PlainTensor) -> Option<usize> {
    let &[ref leading @ .., depth, height, width] = tensor.shape.as_slice() else { return None };
    let is_cube = depth > 0 && depth == height && depth == width && leading.iter().all(|&length| length == 1);
    is_cube.then_some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::read_volume;

    fn imported(name: &str, store: Store) -> Result<Vec<u8>, StageError> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/torch/tests/fixtures/torch");
        let bytes = std::fs::read(format!("{folder}/{name}.pt")).expect("a fixture");
        import(&bytes, store, &format!("{name}.pt"))
    }

    #[test]
    fn a_stored_crop_becomes_a_volume() {
        for name in ["f32", "i16", "channels", "monai"] {
            for store in [Store::F32, Store::I16] {
                let bytes = imported(name, store).expect(name);
                let (shape, values) = read_volume(&bytes, name).expect("a volume");
                assert_eq!(shape, [3, 3, 3]);
                assert_eq!(values[..2], [-1000.0, -900.0]);
            }
        }
    }

    #[test]
    fn what_is_no_crop_is_refused() {
        let table = [
            ("not_cubic", "not_cubic.pt: the tensor must be a cube (P, P, P), but its shape is [3, 3, 2]"),
            ("not_finite", "not_finite.pt: voxel (z, y, x) = [0, 0, 0] is NaN"),
            ("numpy", "numpy.pt: it holds a NumPy array, expected one tensor of real numbers"),
        ];
        for (name, expected) in table {
            assert_eq!(imported(name, Store::F32).expect_err(name).to_string(), expected);
        }
    }

    #[test]
    fn only_cubes_have_an_edge() {
        let edge = |shape: &[usize]| edge(&PlainTensor { shape: shape.to_vec(), values: Vec::new() });
        assert_eq!(edge(&[4, 4, 4]), Some(4));
        assert_eq!(edge(&[1, 1, 4, 4, 4]), Some(4));
        assert_eq!(edge(&[1, 1, 1]), Some(1));
        for shape in [&[][..], &[4, 4], &[2, 4, 4, 4], &[0, 0, 0], &[4, 4, 1]] {
            assert_eq!(edge(shape), None, "{shape:?}");
        }
    }
}
