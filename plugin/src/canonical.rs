//! One text for each value, however it was written.

use serde_json::Value;

/// A JSON value as the shortest text that reads back as the same value: `1e-4` and `0.0001` are one.
pub fn canonical_text(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(float_text).unwrap_or_default(),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(canonical_text).collect();
            format!("[{}]", texts.join(", "))
        }
        Value::Object(fields) => {
            let texts: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), canonical_text(value)))
                .collect();
            format!("{{{}}}", texts.join(", "))
        }
        other => other.to_string(),
    }
}

fn float_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e9).contains(&size) { format!("{number:e}") } else { format!("{number}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_one_text() {
        for (value, text) in [
            (json!(0.0001), "1e-4"),
            (json!(1e-4), "1e-4"),
            (json!(0.1), "0.1"),
            (json!(1.0), "1"),
            (json!(-1000.0), "-1000"),
            (json!(0.002), "0.002"),
            (json!(100), "100"),
            (json!([1, 2.5]), "[1, 2.5]"),
            (json!("q"), "\"q\""),
        ] {
            assert_eq!(canonical_text(&value), text);
        }
    }
}
