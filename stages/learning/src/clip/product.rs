//! Matrix products of tensors with a backward pass, which on the processor have the same bits on every host.
//!
//! candle's own products take the shortest way that a processor has, and sum in another order on each.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Error, Layout, Result, Shape, Tensor};
use pipe_numerics::product::{Matrix, product};

/// `a · b` of (…, m, k) and (…, k, n), the dimensions before the last two being the same.
///
/// # Errors
/// Dimensions that do not fit.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.apply_op2(b, Matmul)
}

struct Matmul;

/// The sizes of a product: how many there are, and m, k, n of each.
fn sizes(a: &Layout, b: &Layout) -> Result<(Vec<usize>, [usize; 3])> {
    let refused = || Error::Msg(format!("product of {:?} and {:?}", a.shape(), b.shape()));
    let ([first @ .., m, k], [others @ .., inner, n]) = (a.dims(), b.dims()) else { return Err(refused()) };
    match first == others && k == inner {
        true => Ok((first.to_vec(), [*m, *k, *n])),
        false => Err(refused()),
    }
}

/// The matrices of a tensor on the processor, in the order of their indices.
fn matrices<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Vec<Matrix<'a>>> {
    let [outer @ .., rows, columns] = layout.dims() else {
        return Err(Error::Msg("a product of what is no matrix".to_string()));
    };
    let values = storage.as_slice::<f32>()?;
    let [outer_strides @ .., row_stride, column_stride] = layout.stride() else { return Ok(Vec::new()) };
    let count: usize = outer.iter().product();
    let mut found = Vec::with_capacity(count);
    for number in 0..count {
        let (mut rest, mut start) = (number, layout.start_offset());
        for (size, stride) in outer.iter().zip(outer_strides).rev() {
            start += rest % size * stride;
            rest /= size;
        }
        let matrix = values
            .get(start..)
            .and_then(|values| Matrix::new(values, (*rows, *columns), (*row_stride, *column_stride)));
        found.push(matrix.ok_or_else(|| Error::Msg("a tensor that its storage does not hold".to_string()))?);
    }
    Ok(found)
}

/// What matrices are multiplied on.
pub(super) trait Multiply: Sized {
    /// The products of pairs of matrices, one behind the other without gaps.
    fn multiply(&self, layout: &Layout, other: &Self, other_layout: &Layout) -> Result<Self>;
}

impl Multiply for CpuStorage {
    fn multiply(&self, layout: &Layout, other: &Self, other_layout: &Layout) -> Result<Self> {
        sizes(layout, other_layout)?;
        let pairs = matrices(self, layout)?.into_iter().zip(matrices(other, other_layout)?);
        let mut products = pairs.map(|(a, b)| product(a, b));
        let values = match products.len() {
            1 => products.next().flatten(),
            _ => products.collect::<Option<Vec<_>>>().map(|products| products.concat()),
        };
        values.map(Self::F32).ok_or_else(|| Error::Msg("a product that memory does not hold".to_string()))
    }
}

impl Multiply for CudaStorage {
    fn multiply(&self, layout: &Layout, other: &Self, other_layout: &Layout) -> Result<Self> {
        let (outer, [m, k, n]) = sizes(layout, other_layout)?;
        self.matmul(other, (outer.iter().product(), m, n, k), layout, other_layout)
    }
}

fn output<S: Multiply>(a: (&S, &Layout), b: (&S, &Layout)) -> Result<(S, Shape)> {
    let (outer, [m, _, n]) = sizes(a.1, b.1)?;
    Ok((a.0.multiply(a.1, b.0, b.1)?, Shape::from([outer, vec![m, n]].concat())))
}

impl CustomOp2 for Matmul {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        output((a, a_layout), (b, b_layout))
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        output((a, a_layout), (b, b_layout))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // From values that are cut off the graph, which nobody differentiates twice.
        let of_a = a.track_op().then(|| matmul(gradient, &b.detach().t()?)).transpose()?;
        let of_b = b.track_op().then(|| matmul(&a.detach().t()?, gradient)).transpose()?;
        Ok((of_a, of_b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};

    #[test]
    fn products_equal_those_of_candle_and_gradients_finite_differences() {
        let (a, b) = (normals("a", &[2, 3, 5, 7]), normals("b", &[2, 3, 7, 4]));
        let values = |tensor: &Tensor| tensor.flatten_all().and_then(|x| x.to_vec1::<f32>()).expect("values");
        let found = values(&matmul(&a, &b).expect("product"));
        let expected = values(&a.matmul(&b).expect("product"));
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?} {expected:?}");
        check_gradients(&[normals("a", &[2, 3, 4]), normals("b", &[2, 4, 5])], |x| matmul(&x[0], &x[1]));
        check_gradients(&[normals("a", &[3, 4]), normals("b", &[5, 4])], |x| matmul(&x[0], &x[1].t()?));
        assert!(matmul(&normals("a", &[3, 4]), &normals("b", &[3, 4])).is_err());
        assert!(matmul(&normals("a", &[3, 4]), &normals("b", &[4])).is_err());
    }
}
