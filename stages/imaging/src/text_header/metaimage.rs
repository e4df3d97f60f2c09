//! MetaImage, as MetaIO and ITK write it: lines `Key = value`, of which `ElementDataFile` is the last.

use super::{
    Data, Described, Encoding, Field, Layout, Placed, Problem, beside, checked, from_lps, lines, numbers,
    shape,
};
use crate::voxels::DataType;

const NOT_PLACED: &str = "the header has neither `TransformMatrix` nor `Offset`";

pub(super) fn describe(head: &[u8]) -> Result<Described, Problem> {
    let (fields, end) = fields(head)?;
    let first = |names: &[&str]| {
        names.iter().find_map(|name| fields.iter().rev().find(|field| field.name.eq_ignore_ascii_case(name)))
    };
    let need = |name: &str| first(&[name]).ok_or_else(|| Problem::missing(name));
    let dimension: usize = numbers::<usize>(need("NDims")?, 1)?[0];
    if !(3..=10).contains(&dimension) {
        return Err(Problem::new(need("NDims")?.line, format!("`NDims` is {dimension}, expected 3")));
    }
    if let Some(field) = first(&["ElementNumberOfChannels"])
        && numbers::<usize>(field, 1)?[0] != 1
    {
        return Err(Problem::new(field.line, "a voxel has several values, expected one"));
    }
    let sizes = need("DimSize")?;
    let (shape, axes) = shape(sizes, &numbers(sizes, dimension)?)?;
    let data_type = data_type(need("ElementType")?)?;
    if first(&["BinaryData"]).is_some_and(|field| !is_true(field)) {
        let line = first(&["BinaryData"]).map_or(0, |field| field.line);
        return Err(Problem::new(line, "the voxels are written as text, expected binary data"));
    }
    let is_compressed = first(&["CompressedData"]).is_some_and(is_true);
    let encoding = if is_compressed { Encoding::Zlib } else { Encoding::Plain };
    let skip = first(&["HeaderSize"]).map(|field| numbers::<i64>(field, 1).map(|size| (size[0], field.line)));
    let skip = skip.transpose()?;
    let is_last = matches!(skip, Some((-1, _))) && !is_compressed;
    let data_offset = match skip {
        None => 0,
        Some(_) if is_last => 0,
        Some((size, line)) => u64::try_from(size).ok().filter(|size| *size < 1 << 30).ok_or_else(|| {
            Problem::new(line, format!("`HeaderSize` is {size}, expected a number of bytes"))
        })?,
    };
    let order = first(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]);
    let layout = Layout {
        shape,
        data_type,
        big_endian: order.is_some_and(is_true),
        slope: 1.0,
        intercept: 0.0,
        data_offset,
    };
    let file = need("ElementDataFile")?;
    let data = match file.value {
        local if local.eq_ignore_ascii_case("local") => Data::Here(end),
        several if several.starts_with("LIST") || several.contains('%') => {
            let problem =
                "`ElementDataFile` names several files, which are not read together: write one file";
            return Err(Problem::new(file.line, problem));
        }
        name => Data::File(beside(name, file.line)?),
    };
    Ok(Described { layout, placed: placed(&first, dimension, axes)?, encoding, data, is_last })
}

/// The fields, and where the data begins.
fn fields(head: &[u8]) -> Result<(Vec<Field<'_>>, usize), Problem> {
    let mut fields = Vec::new();
    for (line, bytes, next) in lines(head) {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::new(line, "this is no text"))?;
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Problem::new(line, format!("{text:?} is no `Key = value`")))?;
        let field = Field { line, name: name.trim(), value: value.trim() };
        fields.push(field);
        if field.name.eq_ignore_ascii_case("ElementDataFile") {
            return Ok((fields, next));
        }
    }
    Err(Problem::missing("ElementDataFile"))
}

fn is_true(field: &Field<'_>) -> bool {
    field.value.starts_with(['T', 't', '1'])
}

fn data_type(field: &Field<'_>) -> Result<DataType, Problem> {
    Ok(match field.value {
        "MET_CHAR" => DataType::Int8,
        "MET_UCHAR" => DataType::Uint8,
        "MET_SHORT" => DataType::Int16,
        "MET_USHORT" => DataType::Uint16,
        // Four bytes in MetaIO, whatever the system's long has.
        "MET_INT" | "MET_LONG" => DataType::Int32,
        "MET_UINT" | "MET_ULONG" => DataType::Uint32,
        "MET_LONG_LONG" => DataType::Int64,
        "MET_ULONG_LONG" => DataType::Uint64,
        "MET_FLOAT" => DataType::Float32,
        "MET_DOUBLE" => DataType::Float64,
        other => {
            let problem = format!("`ElementType` is {other:?}, expected a real number of up to 64 bits");
            return Err(Problem::new(field.line, problem));
        }
    })
}

fn placed<'a>(
    first: &impl Fn(&[&str]) -> Option<&'a Field<'a>>,
    dimension: usize,
    axes: [usize; 3],
) -> Result<Placed, Problem> {
    let spacing =
        first(&["ElementSpacing", "ElementSize"]).ok_or_else(|| Problem::missing("ElementSpacing"))?;
    let steps: Vec<f64> = numbers(spacing, dimension)?;
    if steps.iter().any(|step| !(*step > 0.0 && step.is_finite())) {
        let problem = format!("`{}` is {:?}, expected positive spacings", spacing.name, spacing.value);
        return Err(Problem::new(spacing.line, problem));
    }
    let offset = first(&["Offset", "Position", "Origin"]);
    let matrix = first(&["TransformMatrix", "Rotation", "Orientation"]);
    let origin: Vec<f64> =
        offset.map(|field| numbers(field, dimension)).transpose()?.unwrap_or(vec![0.0; dimension]);
    let entries: Option<Vec<f64>> = matrix.map(|field| numbers(field, dimension * dimension)).transpose()?;
    // The direction of an axis is a row of the matrix.
    let directions = std::array::from_fn(|axis| {
        std::array::from_fn(|row| {
            let cosine = match &entries {
                Some(entries) => entries[axes[axis] * dimension + axes[row]],
                None => f64::from(u8::from(axis == row)),
            };
            cosine * steps[axes[axis]]
        })
    });
    let line = matrix.or(offset).map_or(spacing.line, |field| field.line);
    let affine = checked(from_lps(directions, axes.map(|axis| origin[axis])), line)?;
    Ok(match matrix.is_some() || offset.is_some() {
        true => Placed::Stated(affine),
        false => Placed::Assumed(affine, NOT_PLACED),
    })
}
