//! Tables as Apache Parquet: each column optional, of whole numbers (INT64), numbers (DOUBLE) or text (UTF-8).

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use pipe_engine::stage::StageError;
use pipe_engine::table::Table;

use super::columns::{Cells, Typed, typed};
use super::{Made, is, renamed};

/// A table as Parquet.
pub(super) fn make(name: &str, bytes: &[u8]) -> Result<Made, StageError> {
    if !is(name, "csv") {
        return Ok(None);
    }
    let table = Table::parse_maybe_empty(name, bytes)?;
    Ok(Some((renamed(name, "parquet"), written(&typed(&table))?)))
}

fn written(columns: &[Typed]) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("table").with_fields(fields).build()?);
    // The same bytes whatever version of the library writes them.
    let properties = Arc::new(WriterProperties::builder().set_created_by("pipe".to_string()).build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties)?;
    let mut group = writer.next_row_group()?;
    for column in columns {
        let Some(mut next) = group.next_column()? else { break };
        put(next.untyped(), &column.cells)?;
        next.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

fn field(column: &Typed) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.cells {
        Cells::Whole(_) => (Physical::INT64, None),
        Cells::Number(_) => (Physical::DOUBLE, None),
        Cells::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let builder = Type::primitive_type_builder(&column.name, physical);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()?))
}

fn put(writer: &mut ColumnWriter<'_>, cells: &Cells) -> Result<(), ParquetError> {
    match (writer, cells) {
        (ColumnWriter::Int64ColumnWriter(writer), Cells::Whole(cells)) => {
            let there: Vec<i64> = cells.iter().flatten().copied().collect();
            writer.write_batch(&there, Some(&levels(cells)), None)?;
        }
        (ColumnWriter::DoubleColumnWriter(writer), Cells::Number(cells)) => {
            let there: Vec<f64> = cells.iter().flatten().copied().collect();
            writer.write_batch(&there, Some(&levels(cells)), None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), Cells::Text(cells)) => {
            let there: Vec<ByteArray> =
                cells.iter().flatten().map(|cell| ByteArray::from(cell.as_str())).collect();
            writer.write_batch(&there, Some(&levels(cells)), None)?;
        }
        _ => return Err(ParquetError::General("a column has cells of another type".to_string())),
    }
    Ok(())
}

/// Which cells there are, as Parquet has it.
fn levels<T>(cells: &[Option<T>]) -> Vec<i16> {
    cells.iter().map(|cell| i16::from(cell.is_some())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let table = "pid,n,x,word\n007,1,0.5,a\n8,,1e-3,\n";
        let (name, bytes) = make("folder/t.csv", table.as_bytes()).unwrap().unwrap();
        assert_eq!(name, "folder/t.parquet");
        assert_eq!(make("t.csv", table.as_bytes()).unwrap().unwrap().1, bytes);
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(
            rows,
            ["{pid: \"007\", n: 1, x: 0.5, word: \"a\"}", "{pid: \"8\", n: null, x: 0.001, word: null}"]
        );
        assert!(make("t.json", b"{}").unwrap().is_none());
        // A table of no rows is one.
        assert!(make("t.csv", b"a,b\n").unwrap().is_some());
    }
}
