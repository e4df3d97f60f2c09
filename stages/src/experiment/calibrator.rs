//! `cal_k.pkl`: a joblib file of betacal's `BetaCalibration` over scikit-learn's logistic regression.

use thiserror::Error;

use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};
use pipe_torch::joblib::{self, JoblibError};
use pipe_torch::numpy;
use pipe_torch::pickle::{Id, Pickle, Value};

/// The classes that such a file is made of, besides those of numbers.
const CLASSES: [&str; 8] = [
    "betacal.BetaCalibration",
    "betacal.beta_calibration.BetaCalibration",
    "betacal.beta_calibration._BetaCal",
    "betacal.beta_calibration._BetaAMCal",
    "betacal.beta_calibration._BetaABCal",
    "betacal.beta_calibration._BetaACal",
    "sklearn.linear_model._logistic.LogisticRegression",
    // Where scikit-learn had it before 0.22.
    "sklearn.linear_model.logistic.LogisticRegression",
];

/// Why no calibrator can be read.
#[derive(Debug, Error)]
pub(crate) enum CalibratorError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] JoblibError),
    /// It is no fitted calibrator.
    #[error("it is no fitted betacal.BetaCalibration: {0}")]
    Content(&'static str),
}

/// Reads a fitted calibrator.
pub(crate) fn read(bytes: &[u8]) -> Result<BetaCalibrator, CalibratorError> {
    let pickle = joblib::read(bytes, &CLASSES)?;
    calibrator(&pickle).map_err(CalibratorError::Content)
}

fn calibrator(pickle: &Pickle) -> Result<BetaCalibrator, &'static str> {
    let inner = match class(pickle, pickle.root()) {
        Some(name) if name.ends_with(".BetaCalibration") => pickle.member(pickle.root(), "calibrator_"),
        _ => return Err("the outermost object is another"),
    };
    let inner = inner.ok_or("it has not been fitted")?;
    let kind = match class(pickle, inner).and_then(|name| name.rsplit('.').next()) {
        Some("_BetaCal") => CalibrationKind::Abm,
        Some("_BetaAMCal") => CalibrationKind::Am,
        Some("_BetaABCal") => CalibrationKind::Ab,
        Some("_BetaACal") => CalibrationKind::A,
        _ => return Err("its kind is not known"),
    };
    let map = pickle.member(inner, "map_").map(|id| numbers(pickle, id));
    let Some([a, b, _]) = map.flatten().and_then(|map| <[f64; 3]>::try_from(map).ok()) else {
        return Err("`map_` is not three numbers");
    };
    let regression = pickle.member(inner, "lr_").ok_or("there is no regression")?;
    let intercept = pickle.member(regression, "intercept_").and_then(|id| numbers(pickle, id));
    let Some(&[intercept]) = intercept.as_deref() else { return Err("`intercept_` is not one number") };
    if ![a, b, intercept].iter().all(|value| value.is_finite()) {
        return Err("a coefficient is not finite");
    }
    Ok(match kind {
        CalibrationKind::Abm | CalibrationKind::Am => BetaCalibrator::from_line(kind, a, b, intercept),
        CalibrationKind::Ab | CalibrationKind::A => BetaCalibrator::from_map(kind, a, b, 0.5),
    })
}

/// The class of an object.
fn class(pickle: &Pickle, id: Id) -> Option<&str> {
    match pickle.value(id) {
        Value::Object { class, .. } => pickle.class(*class),
        _ => None,
    }
}

/// The numbers of a list, of an array, or one number.
fn numbers(pickle: &Pickle, id: Id) -> Option<Vec<f64>> {
    match pickle.value(id) {
        Value::List(values) | Value::Tuple(values) => {
            values.iter().map(|&value| numpy::float(pickle, value)).collect()
        }
        _ => numpy::array(pickle, id).or_else(|| Some(vec![numpy::float(pickle, id)?])),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/calibrators")
    }

    /// Files that betacal wrote with scikit-learn 1.2 to 1.7 and NumPy 1 and 2, in `make.py` there.
    #[test]
    fn calibrators_of_all_versions_give_what_betacal_gives() {
        let mut files = 0;
        for entry in std::fs::read_dir(folder()).expect("fixtures").flatten() {
            if entry.path().extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(entry.path()).expect("json")).expect("record");
            let points = record["points"].as_array().expect("points");
            for (name, expected) in record["expected"].as_object().expect("expected") {
                let bytes = std::fs::read(folder().join(format!("{name}.pkl"))).expect("a pickle");
                let calibrator = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                for (point, expected) in points.iter().zip(expected.as_array().expect("values")) {
                    let found = calibrator.apply(point.as_f64().expect("point"));
                    let expected = expected.as_f64().expect("value");
                    assert!((found - expected).abs() < 1e-12, "{name}: {found} {expected}");
                }
                files += 1;
            }
        }
        assert!(files >= 15, "{files} files");
    }

    /// A text with its length before it.
    fn text(text: &str) -> Vec<u8> {
        [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A call of a function with one text.
    fn call(module: &str, name: &str, argument: &str) -> Vec<u8> {
        [format!("c{module}\n{name}\n").as_bytes(), &text(argument), b"\x85R"].concat()
    }

    /// An array of f8 as joblib describes it, of a shape of two eight-byte numbers.
    fn described(shape: [u64; 2]) -> Vec<u8> {
        let size = |size: u64| [&b"\x8a\x08"[..], &size.to_le_bytes()].concat();
        [
            &b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("[..],
            &text("shape"),
            &size(shape[0]),
            &size(shape[1]),
            b"\x86",
            &text("dtype"),
            b"cnumpy\ndtype\n",
            &text("f8"),
            b"\x89\x88\x87R",
            b"ub",
        ]
        .concat()
    }

    #[test]
    fn what_would_run_or_blow_up_is_refused_without_effect() {
        let scratch = tempfile::tempdir().expect("a folder");
        let mark = scratch.path().join("mark");
        let order = format!("touch {}", mark.display());
        let end = |bytes: Vec<u8>| [&bytes[..], b"."].concat();
        let stacked = [&b"\x80\x04\x8c\x05posix\x8c\x06system\x93"[..], &text(&order), b"\x85R."].concat();
        let nested = [
            &b"cbetacal\nBetaCalibration\n)\x81}"[..],
            &text("calibrator_"),
            &call("builtins", "eval", &order),
            b"sb.",
        ]
        .concat();
        let within =
            [&b"cbuiltins\ngetattr\n"[..], &call("os", "popen", &order), &text("read"), b"\x86R)R."].concat();
        let bomb = {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            (0..65).for_each(|_| encoder.write_all(&vec![b'N'; 1 << 20]).expect("compressed"));
            encoder.finish().expect("compressed")
        };
        let loops = [&b"cbetacal\nBetaCalibration\n)\x81q\0}"[..], &text("calibrator_"), b"h\0sb."].concat();
        let table: [(&str, Vec<u8>, &str); 19] = [
            ("os.system", end(call("os", "system", &order)), "asks for `os.system`"),
            ("posix.system", stacked, "asks for `posix.system`"),
            ("subprocess", end(call("subprocess", "getoutput", &order)), "asks for `subprocess.getoutput`"),
            ("eval in a calibrator", nested, "asks for `builtins.eval`"),
            ("a call of a call", within, "asks for `builtins.getattr`"),
            ("a class of numpy's", end(call("numpy", "load", &order)), "asks for `numpy.load`"),
            ("torch", end(call("torch", "load", &order)), "asks for `torch.load`"),
            ("an old instance", b"(ios\nsystem\n.".to_vec(), "operation 0x69"),
            ("an extension", b"\x82\x01.".to_vec(), "operation 0x82"),
            ("a text of 4 GiB", b"X\xff\xff\xff\xffa.".to_vec(), "ends early"),
            ("bytes of 4 EiB", b"\x8e\0\0\0\0\0\0\0\x40a.".to_vec(), "ends early"),
            ("a huge array", end(described([1 << 40, 1])), "ends early"),
            ("an array without end", end(described([1 << 40, 1 << 40])), "other than numbers"),
            ("a list in itself", b"]q\0h\0a.".to_vec(), "the outermost object is another"),
            ("a calibrator in itself", loops, "its kind is not known"),
            (
                "a deep tuple",
                [&b"N"[..], &vec![0x85; 1 << 20], b"."].concat(),
                "the outermost object is another",
            ),
            ("a reference to nothing", b"h\x05.".to_vec(), "nothing remembered"),
            ("a bomb", bomb, "larger than the 64 MB"),
            ("bzip2", b"BZh91AY".to_vec(), "bzip2, which is not read"),
        ];
        for (name, bytes, message) in table {
            let error = read(&bytes).expect_err(name).to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
        assert!(!mark.exists());
    }

    #[test]
    fn no_damaged_byte_makes_a_panic() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/experiment/fold_0/cal_0.pkl");
        let bytes = std::fs::read(path).expect("a fixture");
        read(&bytes).expect("a calibrator");
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
            for bit in [1u8, 0x20, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                let _ = read(&damaged);
            }
        }
    }
}
