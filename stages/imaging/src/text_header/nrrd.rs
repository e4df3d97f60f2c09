//! NRRD, as teem defines it and 3D Slicer writes it: lines `field: value` up to an empty one.

use super::{
    Data, Described, Encoding, Field, Layout, Placed, Problem, beside, checked, from_lps, lines, numbers,
    shape,
};
use crate::affine::Affine;
use crate::voxels::DataType;

const NO_SPACE: &str =
    "the header has no `space` whose axes have a meaning in the patient (such as left-posterior-superior)";

pub(super) fn describe(head: &[u8]) -> Result<Described, Problem> {
    let (fields, end) = fields(head)?;
    let get = |name: &str| fields.iter().rev().find(|field| field.name.eq_ignore_ascii_case(name));
    let need = |name: &str| get(name).ok_or_else(|| Problem::missing(name));
    let dimension: usize = numbers::<usize>(need("dimension")?, 1)?[0];
    if !(3..=16).contains(&dimension) {
        let field = need("dimension")?;
        return Err(Problem::new(field.line, format!("`dimension` is {dimension}, expected 3")));
    }
    let sizes = need("sizes")?;
    let (shape, axes) = shape(sizes, &numbers(sizes, dimension)?)?;
    let data_type = data_type(need("type")?)?;
    let encoding = encoding(need("encoding")?)?;
    let skip = get("byte skip").or_else(|| get("byteskip"));
    let skip = skip.map(|field| numbers::<i64>(field, 1).map(|skip| (skip[0], field.line))).transpose()?;
    let is_last = matches!(skip, Some((-1, _))) && encoding == Encoding::Plain;
    let data_offset = match skip {
        None => 0,
        Some(_) if is_last => 0,
        Some((skip, line)) => u64::try_from(skip).ok().filter(|skip| *skip < 1 << 30).ok_or_else(|| {
            Problem::new(line, format!("`byte skip` is {skip}, expected a number of bytes"))
        })?,
    };
    if let Some(field) = get("line skip").or_else(|| get("lineskip"))
        && numbers::<i64>(field, 1)?[0] != 0
    {
        return Err(Problem::new(field.line, "`line skip` is not read; write the volume without it"));
    }
    let layout = Layout {
        shape,
        data_type,
        big_endian: big_endian(get("endian"), data_type)?,
        slope: 1.0,
        intercept: 0.0,
        data_offset,
    };
    let data = match get("data file").or_else(|| get("datafile")) {
        None => Data::Here(end),
        Some(field) if field.value.starts_with("LIST") || field.value.contains('%') => {
            let problem = "`data file` names several files, which are not read together: write one file";
            return Err(Problem::new(field.line, problem));
        }
        Some(field) => Data::File(beside(field.value, field.line)?),
    };
    let placed = placed(&get, dimension, axes)?;
    Ok(Described { layout, placed, encoding, data, is_last })
}

/// The fields, and where the data begins.
fn fields(head: &[u8]) -> Result<(Vec<Field<'_>>, usize), Problem> {
    let mut fields = Vec::new();
    let mut end = head.len();
    for (line, bytes, next) in lines(head).skip(1) {
        if bytes.is_empty() {
            end = next;
            break;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::new(line, "this is no text"))?;
        if text.starts_with('#') {
            continue;
        }
        // What people and programs have added, which says nothing of the voxels.
        if text.contains(":=") && !text.contains(": ") {
            continue;
        }
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| Problem::new(line, format!("{text:?} is no `field: value`")))?;
        if !value.starts_with('=') {
            fields.push(Field { line, name: name.trim(), value: value.trim() });
        }
    }
    Ok((fields, end))
}

fn data_type(field: &Field<'_>) -> Result<DataType, Problem> {
    Ok(match field.value {
        "signed char" | "int8" | "int8_t" => DataType::Int8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => DataType::Uint8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => DataType::Int16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => DataType::Uint16,
        "int" | "signed int" | "int32" | "int32_t" => DataType::Int32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => DataType::Uint32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => DataType::Int64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            DataType::Uint64
        }
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        other => {
            return Err(Problem::new(
                field.line,
                format!("`type` is {other:?}, expected a real number of up to 64 bits"),
            ));
        }
    })
}

fn encoding(field: &Field<'_>) -> Result<Encoding, Problem> {
    match field.value {
        "raw" => Ok(Encoding::Plain),
        "gzip" | "gz" => Ok(Encoding::Gzip),
        other => Err(Problem::new(field.line, format!("`encoding` is {other:?}, expected raw or gzip"))),
    }
}

fn big_endian(field: Option<&Field<'_>>, data_type: DataType) -> Result<bool, Problem> {
    match field {
        Some(field) => match field.value {
            "little" => Ok(false),
            "big" => Ok(true),
            other => Err(Problem::new(field.line, format!("`endian` is {other:?}, expected little or big"))),
        },
        None if data_type.bytes() == 1 => Ok(false),
        None => Err(Problem::missing("endian")),
    }
}

fn placed<'a>(
    get: &impl Fn(&str) -> Option<&'a Field<'a>>,
    dimension: usize,
    axes: [usize; 3],
) -> Result<Placed, Problem> {
    // Signs that make a space's axes those of LPS.
    let signs = get("space").map(|field| match field.value.to_ascii_lowercase().as_str() {
        "left-posterior-superior" | "lps" => Some([1.0, 1.0, 1.0]),
        "right-anterior-superior" | "ras" => Some([-1.0, -1.0, 1.0]),
        "left-anterior-superior" | "las" => Some([1.0, -1.0, 1.0]),
        _ => None,
    });
    let signs = signs.flatten();
    let origin = get("space origin").map(vector).transpose()?.unwrap_or([0.0; 3]);
    let (directions, line) = match (get("space directions"), get("spacings")) {
        (Some(field), _) => (directions(field, dimension, axes)?, field.line),
        (None, Some(field)) => {
            let spacings: Vec<f64> = numbers(field, dimension)?;
            let directions = std::array::from_fn(|axis| {
                let mut direction = [0.0; 3];
                direction[axis] = spacings[axes[axis]];
                direction
            });
            (directions, field.line)
        }
        (None, None) => return Err(Problem::missing("space directions")),
    };
    let turned = |vector: [f64; 3]| std::array::from_fn(|row| vector[row] * signs.unwrap_or([1.0; 3])[row]);
    let affine: Affine = checked(from_lps(directions.map(turned), turned(origin)), line)?;
    let is_stated = signs.is_some() && get("space directions").is_some();
    Ok(if is_stated { Placed::Stated(affine) } else { Placed::Assumed(affine, NO_SPACE) })
}

/// `(x,y,z)`.
fn vector(field: &Field<'_>) -> Result<[f64; 3], Problem> {
    let vectors = vectors(field.value).filter(|vectors| vectors.len() == 1);
    vectors.and_then(|vectors| vectors[0]).ok_or_else(|| {
        Problem::new(field.line, format!("`{}` is {:?}, expected (x,y,z)", field.name, field.value))
    })
}

fn directions(field: &Field<'_>, dimension: usize, axes: [usize; 3]) -> Result<[[f64; 3]; 3], Problem> {
    let refuse = || {
        let expected = "expected (x,y,z) for each axis of space";
        Problem::new(field.line, format!("`{}` is {:?}, {expected}", field.name, field.value))
    };
    let vectors = vectors(field.value).filter(|vectors| vectors.len() == dimension).ok_or_else(refuse)?;
    let mut directions = [[0.0; 3]; 3];
    for (direction, axis) in directions.iter_mut().zip(axes) {
        *direction = vectors[axis].ok_or_else(refuse)?;
    }
    Ok(directions)
}

/// Vectors in brackets, and `none` for an axis that is none of space.
fn vectors(text: &str) -> Option<Vec<Option<[f64; 3]>>> {
    let mut vectors = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix("none") {
            vectors.push(None);
            rest = behind.trim_start();
            continue;
        }
        let (inner, behind) = rest.strip_prefix('(')?.split_once(')')?;
        let numbers: Vec<f64> =
            inner.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().ok()?;
        vectors.push(Some(numbers.try_into().ok()?));
        rest = behind.trim_start();
    }
    Some(vectors)
}
