//! Unregularised logistic regression by Newton's method, for the few features of a calibrator.
//!
//! The log-likelihood is concave, so a Newton step that is halved until it does not lower the
//! likelihood climbs to the maximum where there is one. Two things can be missing: curvature (features
//! that are constant or copies of each other), for which the Hessian gets a tiny ridge; and the maximum
//! itself (classes that the features separate), for which the climb stops at a small mean loss or
//! after [`MAX_ITERATIONS`]. The coefficients are finite in every case. The module does not know what
//! the features mean.

/// Newton steps at most; ordinary data need fewer than ten.
const MAX_ITERATIONS: usize = 50;

/// Halvings of one step at most.
const MAX_HALVINGS: usize = 40;

/// Mean loss per case (nats) at which separated data count as fitted: about where a solver with a
/// gradient tolerance of 1e-4, as the reference's, stops.
const SEPARATED_LOSS: f64 = 1e-4;

/// Expected gain in log-likelihood below which the step taken is the last one. Newton's method doubles
/// the digits per step, so that step leaves nothing to gain.
const LAST_GAIN: f64 = 1e-10;

/// Ridge on the Hessian, as a share of its largest diagonal element.
const RIDGE: f64 = 1e-12;

/// The coefficients of `K` features, and how the climb ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogisticFit<const K: usize> {
    /// One coefficient per feature, finite.
    pub(super) coefficients: [f64; K],
    /// Whether the maximum of the likelihood was reached.
    pub(super) converged: bool,
}

/// Fits P(label) = 1 / (1 + exp(−coefficients · features)) by maximum likelihood. An intercept is a
/// feature that is always 1.
pub(super) fn fit<const K: usize>(features: &[[f64; K]], labels: &[bool]) -> LogisticFit<K> {
    let mut coefficients = [0.0; K];
    let mut loss = negative_log_likelihood(&coefficients, features, labels);
    for _ in 0..MAX_ITERATIONS {
        let (gradient, hessian) = derivatives(&coefficients, features, labels);
        let Some(step) = solve(hessian, gradient) else {
            break;
        };
        let last = dot(&gradient, &step) <= LAST_GAIN;
        let Some((next, next_loss)) = climb(&coefficients, &step, loss, features, labels) else {
            return LogisticFit { coefficients, converged: last };
        };
        (coefficients, loss) = (next, next_loss);
        if is_separated(loss, labels.len()) {
            break;
        }
        if last {
            return LogisticFit { coefficients, converged: true };
        }
    }
    LogisticFit { coefficients, converged: false }
}

/// Whether every case is fitted so well that the data must be separable and no more need be gained.
/// (A misplaced case costs at least ln 2.)
fn is_separated(loss: f64, cases: usize) -> bool {
    loss < std::f64::consts::LN_2 && loss <= SEPARATED_LOSS * cases as f64
}

/// The largest of the step, its half, its quarter, … that does not raise the loss beyond rounding.
fn climb<const K: usize>(
    coefficients: &[f64; K],
    step: &[f64; K],
    loss: f64,
    features: &[[f64; K]],
    labels: &[bool],
) -> Option<([f64; K], f64)> {
    let allowed = loss + 1e-13 * (1.0 + loss);
    let mut scale = 1.0;
    for _ in 0..MAX_HALVINGS {
        let next: [f64; K] = std::array::from_fn(|k| coefficients[k] + scale * step[k]);
        let next_loss = negative_log_likelihood(&next, features, labels);
        if next_loss <= allowed {
            return Some((next, next_loss));
        }
        scale *= 0.5;
    }
    None
}

/// −log-likelihood in nats, never negative; infinite or NaN only for coefficients that overflow.
pub(super) fn negative_log_likelihood<const K: usize>(
    coefficients: &[f64; K],
    features: &[[f64; K]],
    labels: &[bool],
) -> f64 {
    features
        .iter()
        .zip(labels)
        .map(|(row, &label)| {
            let logit = dot(coefficients, row);
            log_one_plus_exp(if label { -logit } else { logit })
        })
        .sum()
}

/// Gradient of the log-likelihood and the negated Hessian.
fn derivatives<const K: usize>(
    coefficients: &[f64; K],
    features: &[[f64; K]],
    labels: &[bool],
) -> ([f64; K], [[f64; K]; K]) {
    let mut gradient = [0.0; K];
    let mut hessian = [[0.0; K]; K];
    for (row, &label) in features.iter().zip(labels) {
        let logit = dot(coefficients, row);
        let residual = if label { sigmoid(-logit) } else { -sigmoid(logit) };
        let curvature = sigmoid(logit) * sigmoid(-logit);
        for ((slope, line), &feature) in gradient.iter_mut().zip(&mut hessian).zip(row) {
            *slope += residual * feature;
            for (element, &other) in line.iter_mut().zip(row) {
                *element += curvature * feature * other;
            }
        }
    }
    (gradient, hessian)
}

/// Solves `matrix · x = right` for a symmetric positive semi-definite matrix by Gaussian elimination,
/// after adding the ridge. `None` where that gives no finite solution.
fn solve<const K: usize>(mut matrix: [[f64; K]; K], mut right: [f64; K]) -> Option<[f64; K]> {
    let largest = (0..K).map(|k| matrix[k][k]).fold(0.0, f64::max);
    for (k, line) in matrix.iter_mut().enumerate() {
        line[k] += (RIDGE * largest).max(f64::MIN_POSITIVE);
    }
    for pivot in 0..K {
        let pivot_line = matrix[pivot];
        for below in pivot + 1..K {
            let factor = matrix[below][pivot] / pivot_line[pivot];
            for (element, above) in matrix[below].iter_mut().zip(pivot_line) {
                *element -= factor * above;
            }
            right[below] -= factor * right[pivot];
        }
    }
    let mut solution = [0.0; K];
    for row in (0..K).rev() {
        let known: f64 = (row + 1..K).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

fn dot<const K: usize>(a: &[f64; K], b: &[f64; K]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// 1 / (1 + exp(−x)) without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let small = libm::exp(x);
        small / (1.0 + small)
    }
}

/// ln(1 + exp(x)) without overflow.
pub(super) fn log_one_plus_exp(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intercept_alone_is_the_log_odds() {
        let fitted = fit(&[[1.0]; 5], &[true, false, false, false, false]);
        assert!(fitted.converged);
        assert!((fitted.coefficients[0] - libm::log(0.25)).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit() {
        let features = [[0.2, 1.0], [1.4, 1.0], [-3.0, 1.0], [0.9, 1.0], [-0.3, 1.0]];
        let labels = [true, false, false, true, false];
        let fitted = fit(&features, &labels);
        assert!(fitted.converged);
        let (gradient, _) = derivatives(&fitted.coefficients, &features, &labels);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-10), "{gradient:?}");
    }

    #[test]
    fn copies_of_a_feature_share_its_coefficient() {
        let labels = [true, false, false, true, false];
        let values = [2.0, 1.0, -3.0, 0.5, 1.5];
        let one = fit(&values.map(|x| [x]), &labels);
        let two = fit(&values.map(|x| [x, x]), &labels);
        assert!(two.converged);
        assert!((two.coefficients[0] + two.coefficients[1] - one.coefficients[0]).abs() < 1e-6);
    }

    #[test]
    fn separated_classes_stop_the_climb_with_finite_coefficients() {
        let features = [[-2.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]];
        let fitted = fit(&features, &[false, false, true, true]);
        assert!(!fitted.converged);
        assert!(fitted.coefficients.iter().all(|value| value.is_finite()));
        let loss = negative_log_likelihood(&fitted.coefficients, &features, &[false, false, true, true]);
        assert!(loss < 4.0 * SEPARATED_LOSS, "loss {loss}");
    }

    #[test]
    fn classes_that_touch_at_one_value_stay_finite() {
        let features = [[-1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]];
        let fitted = fit(&features, &[false, false, true, true]);
        assert!(fitted.coefficients.iter().all(|value| value.is_finite()));
        assert!(fitted.coefficients[0] > 5.0, "{fitted:?}");
    }

    #[test]
    fn features_without_information_get_no_weight() {
        let fitted = fit(&[[0.0], [0.0]], &[true, false]);
        assert!(fitted.converged);
        assert_eq!(fitted.coefficients, [0.0]);
    }
}
