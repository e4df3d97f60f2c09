//! A calibrator as the published scripts pickle it: `betacal.BetaCalibration` over scikit-learn's logistic regression.

use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};
use pipe_torch::pickle_write::PickleWriter;

/// The pickle that `joblib.load` reads where betacal and scikit-learn are installed.
pub(super) fn pickle(calibrator: &BetaCalibrator) -> Vec<u8> {
    let mut pickle = PickleWriter::default();
    object(&mut pickle, "betacal", "BetaCalibration", |pickle| {
        pickle.text("parameters").text(calibrator.kind.name()).text("calibrator_");
        let class = match calibrator.kind {
            CalibrationKind::Abm => "_BetaCal",
            CalibrationKind::Am => "_BetaAMCal",
            CalibrationKind::Ab => "_BetaABCal",
            CalibrationKind::A => "_BetaACal",
        };
        object(pickle, "betacal.beta_calibration", class, |pickle| {
            let BetaCalibrator { a, b, m, .. } = *calibrator;
            pickle.text("map_").list(|pickle| {
                pickle.float(a).float(b).float(m);
            });
            pickle.text("lr_");
            regression(pickle, calibrator);
        });
    });
    pickle.finish()
}

fn object(pickle: &mut PickleWriter, module: &str, class: &str, fill: impl FnOnce(&mut PickleWriter)) {
    pickle.global(module, class).tuple(|_| ()).instance();
    pickle.dictionary(fill).state();
}

/// The regression's coefficients by the features of each kind (SPEC section 5). A coefficient of 0 of the kind `abm`
/// belongs to a feature that was dropped.
fn coefficients(calibrator: &BetaCalibrator) -> Vec<f64> {
    let BetaCalibrator { a, b, .. } = *calibrator;
    match calibrator.kind {
        CalibrationKind::Abm if a == 0.0 => vec![b],
        CalibrationKind::Abm if b == 0.0 => vec![a],
        CalibrationKind::Abm => vec![a, b],
        CalibrationKind::Ab => vec![a, -b],
        CalibrationKind::Am | CalibrationKind::A => vec![a],
    }
}

fn regression(pickle: &mut PickleWriter, calibrator: &BetaCalibrator) {
    let has_intercept = matches!(calibrator.kind, CalibrationKind::Abm | CalibrationKind::Am);
    let coefficients = coefficients(calibrator);
    object(pickle, "sklearn.linear_model._logistic", "LogisticRegression", |pickle| {
        pickle.text("penalty").text("l2").text("C").integer(99_999_999_999);
        pickle.text("dual").boolean(false).text("tol").float(1e-4);
        pickle.text("fit_intercept").boolean(has_intercept);
        pickle.text("intercept_scaling").integer(1);
        for name in ["class_weight", "random_state", "n_jobs", "l1_ratio"] {
            pickle.text(name).none();
        }
        pickle.text("solver").text("lbfgs").text("max_iter").integer(100);
        pickle.text("verbose").integer(0).text("warm_start").boolean(false);
        pickle.text("multi_class").text("auto");
        pickle.text("n_features_in_").integer(coefficients.len() as i64);
        let classes: Vec<u8> = [0_i64, 1].iter().flat_map(|class| class.to_le_bytes()).collect();
        array(pickle.text("classes_"), "i8", &[2], &classes);
        array(pickle.text("n_iter_"), "i4", &[1], &0_i32.to_le_bytes());
        let bytes: Vec<u8> = coefficients.iter().flat_map(|value| value.to_le_bytes()).collect();
        array(pickle.text("coef_"), "f8", &[1, coefficients.len()], &bytes);
        let intercept = if has_intercept { calibrator.intercept } else { 0.0 };
        array(pickle.text("intercept_"), "f8", &[1], &intercept.to_le_bytes());
    });
}

/// A NumPy array in C order, little-endian. `numpy.core` is where NumPy 1 and 2 both look.
fn array(pickle: &mut PickleWriter, dtype: &str, shape: &[usize], bytes: &[u8]) {
    pickle.global("numpy.core.multiarray", "_reconstruct").tuple(|pickle| {
        pickle.global("numpy", "ndarray").tuple(|pickle| {
            pickle.integer(0);
        });
        pickle.latin_bytes(b"b");
    });
    pickle.call().tuple(|pickle| {
        pickle.integer(1).tuple(|pickle| {
            for &size in shape {
                pickle.integer(size as i64);
            }
        });
        pickle.global("numpy", "dtype").tuple(|pickle| {
            pickle.text(dtype).boolean(false).boolean(true);
        });
        pickle.call().tuple(|pickle| {
            pickle.integer(3).text("<").none().none().none().integer(-1).integer(-1).integer(0);
        });
        pickle.state().boolean(false).latin_bytes(bytes);
    });
    pickle.state();
}
