//! Phantoms as a whole: the voxels show what the table says, and the same bytes come out everywhere.

use pipe_stages::phantom::risk::Ceiling;
use pipe_stages::phantom::semantics::{Attributes, Consistency, Margin, Shape};
use pipe_stages::phantom::{Nodule, Patient, Phantom, PhantomError, PhantomParameters, Scan};

fn phantom(parameters: PhantomParameters, seed: u64) -> Phantom {
    Phantom::new(parameters, seed).expect("valid parameters")
}

fn small() -> PhantomParameters {
    PhantomParameters {
        shape: [70, 70, 36],
        patients: 200,
        stream: "small".into(),
        ..PhantomParameters::default()
    }
}

/// The voxel indices of an LPS point through the scan's RAS affine.
fn voxel(scan: &Scan, lps: [f64; 3]) -> [f64; 3] {
    let ras = [-lps[0], -lps[1], lps[2]];
    [0, 1, 2].map(|axis: usize| (ras[axis] - scan.affine[axis][3]) / scan.affine[axis][axis])
}

/// Density at the voxel nearest to a point.
fn density(scan: &Scan, lps: [f64; 3]) -> f64 {
    let [i, j, k] = voxel(scan, lps).map(|index| index.round() as usize);
    f64::from(scan.voxels[(k * scan.shape[1] + j) * scan.shape[0] + i])
}

/// Mean density of the cube of 27 voxels around a point.
fn mean_density(scan: &Scan, lps: [f64; 3], step_mm: f64) -> f64 {
    let steps = [-step_mm, 0.0, step_mm];
    let mut sum = 0.0;
    for x in steps {
        for y in steps {
            for z in steps {
                sum += density(scan, [lps[0] + x, lps[1] + y, lps[2] + z]);
            }
        }
    }
    sum / 27.0
}

/// Nodules of the default set that meet a condition, each with its patient; `count` of them.
fn nodules_where(count: usize, condition: impl Fn(&Attributes) -> bool) -> Vec<(Patient, Nodule)> {
    let phantom = phantom(PhantomParameters { patients: 2000, ..PhantomParameters::default() }, 11);
    let mut found = Vec::new();
    for index in 0..phantom.patients() {
        let (_, nodules) = phantom.nodules(index).expect("a patient");
        if let Some(nodule) = nodules.iter().find(|nodule| condition(&nodule.attributes)) {
            found.push((phantom.patient(index).expect("a patient"), nodule.clone()));
        }
        if found.len() == count {
            return found;
        }
    }
    panic!("only {} nodules meet the condition", found.len());
}

/// Nothing in, on or beside the nodule that would disturb its plain density.
fn is_plain(attributes: &Attributes) -> bool {
    let labels = attributes.labels();
    labels[5..].iter().all(|label| *label == "Absent") && !attributes.poorly_marginated
}

/// The body is an ellipsoid.
fn is_even(attributes: &Attributes) -> bool {
    attributes.margin == Margin::Smooth
        && attributes.additional_margin == Margin::Smooth
        && matches!(attributes.shape, Shape::Round | Shape::Ovoid)
}

#[test]
fn a_patient_is_the_same_however_it_is_made() {
    let one = phantom(small(), 1);
    let in_order: Vec<_> = (0..4).map(|index| one.patient(index).expect("a patient")).collect();
    let in_threads: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|index| scope.spawn(move || phantom(small(), 1).patient(index).expect("a patient")))
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert_eq!(in_order, in_threads);
    let fewer = phantom(PhantomParameters { patients: 3, ..small() }, 1);
    assert_eq!(fewer.patient(2).expect("a patient"), in_order[2]);
}

#[test]
fn seed_stream_and_index_make_different_patients() {
    let first = phantom(small(), 1).patient(0).expect("a patient");
    let other_seed = phantom(small(), 2).patient(0).expect("a patient");
    let other_stream =
        phantom(PhantomParameters { stream: "other".into(), ..small() }, 1).patient(0).expect("a patient");
    let other_index = phantom(small(), 1).patient(1).expect("a patient");
    for other in [other_seed, other_stream.clone(), other_index.clone()] {
        assert_ne!(first.scan.voxels, other.scan.voxels);
        assert_ne!(first.nodules, other.nodules);
    }
    let pids = [first.pid, other_stream.pid, other_index.pid];
    assert_eq!(pids, ["small-0000", "other-0000", "small-0001"]);
}

#[test]
fn the_bytes_are_pinned() {
    let set = phantom(small(), 42);
    let mut hasher = blake3::Hasher::new();
    for index in 0..10 {
        for hu in set.patient(index).expect("a patient").scan.voxels {
            hasher.update(&hu.to_le_bytes());
        }
    }
    assert_eq!(hasher.finalize().to_hex()[..16], *"3739e0c4e6b16672");
}

#[test]
fn patients_outside_the_set_and_bad_parameters_are_errors() {
    let set = phantom(PhantomParameters { patients: 2, ..small() }, 1);
    assert!(matches!(set.patient(2), Err(PhantomError::NoSuchPatient { index: 2, patients: 2 })));
    let bad = Phantom::new(PhantomParameters { noise_hu: f64::NAN, ..small() }, 1);
    assert_eq!(
        bad.expect_err("a bad parameter").to_string(),
        "phantom parameter `noise_hu` must be 0 to 500 HU"
    );
}

#[test]
fn nodules_lie_inside_the_scan_and_apart() {
    let set = phantom(small(), 5);
    let mut most = 0;
    for index in 0..200 {
        let (_, nodules) = set.nodules(index).expect("a patient");
        most = most.max(nodules.len());
        assert!((1..=3).contains(&nodules.len()));
        for (number, nodule) in nodules.iter().enumerate() {
            assert_eq!(nodule.nodule_id, number);
            for other in &nodules[..number] {
                let squared: f64 =
                    nodule.centre.iter().zip(other.centre).map(|(a, b)| (a - b) * (a - b)).sum();
                let radii = (nodule.attributes.longest_mm + other.attributes.longest_mm) / 2.0;
                assert!(squared.sqrt() > radii, "patient {index}");
            }
        }
    }
    assert!(most > 1, "some patients have several");
    let patient = set.patient(0).expect("a patient");
    for nodule in patient.nodules {
        let at = voxel(&patient.scan, nodule.centre);
        assert!((0..3).all(|axis| at[axis] > 2.0 && at[axis] < patient.scan.shape[axis] as f64 - 3.0));
    }
}

#[test]
fn every_scan_shows_air_or_wall_and_lung() {
    for index in 0..5 {
        let scan = phantom(PhantomParameters::default(), 3).patient(index).expect("a patient").scan;
        let share = |low: i16, high: i16| {
            scan.voxels.iter().filter(|hu| (low..high).contains(hu)).count() as f64 / scan.voxels.len() as f64
        };
        assert!(share(-1000, -700) > 0.4, "lung");
        assert!(share(-200, 120) > 0.03, "chest wall");
        assert!(share(300, 700) > 0.002, "ribs");
    }
}

#[test]
fn a_solid_centre_is_bright_at_its_world_point() {
    for (patient, nodule) in
        nodules_where(10, |a| is_plain(a) && a.consistency == Consistency::Solid && a.short_mm > 8.0)
    {
        let centre = mean_density(&patient.scan, nodule.centre, 1.0);
        assert!((centre - 40.0).abs() < 30.0, "{} {centre}", patient.pid);
    }
}

#[test]
fn ground_glass_is_between_lung_and_soft_tissue() {
    for (patient, nodule) in nodules_where(10, |a| {
        is_plain(a) && a.consistency == Consistency::PureGroundGlass && a.margin == Margin::Smooth
    }) {
        let centre = mean_density(&patient.scan, nodule.centre, 0.5);
        assert!((-700.0..-200.0).contains(&centre), "{} {centre}", patient.pid);
    }
}

#[test]
fn a_part_solid_core_is_denser_than_its_rim() {
    for (patient, nodule) in nodules_where(6, |a| {
        is_plain(a)
            && is_even(a)
            && a.consistency == Consistency::PartSolid
            && a.solid_mm > 4.0
            && a.solid_mm < 0.6 * a.short_mm
    }) {
        let rim = 0.42 * nodule.attributes.short_mm;
        let [x, y, z] = nodule.centre;
        let around = [[x + rim, y, z], [x - rim, y, z], [x, y + rim, z], [x, y - rim, z]];
        let rim_hu = around.iter().map(|point| density(&patient.scan, *point)).sum::<f64>() / 4.0;
        let core_hu = mean_density(&patient.scan, nodule.centre, 0.5);
        assert!(core_hu > rim_hu + 150.0, "{}: core {core_hu}, rim {rim_hu}", patient.pid);
    }
}

#[test]
fn a_cavity_is_air_within_a_wall() {
    for (patient, nodule) in nodules_where(6, |a| a.cavitation) {
        let wall = 0.4 * nodule.attributes.short_mm;
        let [x, y, z] = nodule.centre;
        let around = [[x + wall, y, z], [x - wall, y, z], [x, y + wall, z], [x, y - wall, z]];
        let wall_hu = around.iter().map(|point| density(&patient.scan, *point)).sum::<f64>() / 4.0;
        let centre_hu = mean_density(&patient.scan, nodule.centre, 0.5);
        assert!(centre_hu < -700.0 && wall_hu > -250.0, "{}: {centre_hu} {wall_hu}", patient.pid);
    }
}

#[test]
fn calcium_is_the_brightest_spot() {
    for (patient, nodule) in nodules_where(6, |a| a.calcification && !a.pleural_attachment) {
        let reach = (nodule.attributes.short_mm / 2.0) as i32;
        let mut brightest = f64::MIN;
        for x in -reach..=reach {
            for y in -reach..=reach {
                for z in -reach..=reach {
                    let [cx, cy, cz] = nodule.centre;
                    let point = [cx + f64::from(x), cy + f64::from(y), cz + f64::from(z)];
                    brightest = brightest.max(density(&patient.scan, point));
                }
            }
        }
        assert!(brightest > 250.0, "{}: {brightest}", patient.pid);
    }
}

/// Number of dense pixels in the axial slice through the centre, within `reach` mm.
fn dense_area_mm2(scan: &Scan, centre: [f64; 3], reach: f64) -> f64 {
    let steps = (reach * 2.0) as i32;
    let mut count = 0;
    for x in -steps..=steps {
        for y in -steps..=steps {
            let (dx, dy) = (f64::from(x) / 2.0, f64::from(y) / 2.0);
            if dx * dx + dy * dy <= reach * reach {
                count += usize::from(density(scan, [centre[0] + dx, centre[1] + dy, centre[2]]) > -410.0);
            }
        }
    }
    count as f64 / 4.0
}

#[test]
fn diameters_in_the_table_are_those_in_the_image() {
    let chosen = nodules_where(15, |a| {
        is_plain(a) && is_even(a) && a.consistency == Consistency::Solid && a.longest_mm > 9.0
    });
    for (patient, nodule) in chosen {
        let (longest, short) = (nodule.attributes.longest_mm, nodule.attributes.short_mm);
        let expected = std::f64::consts::FRAC_PI_4 * longest * short;
        let measured = dense_area_mm2(&patient.scan, nodule.centre, longest / 2.0 + 1.5);
        let ratio = measured / expected;
        // The centre lies up to 1 mm from the nearest slice.
        assert!((0.75..1.25).contains(&ratio), "{}: {longest} x {short}, ratio {ratio}", patient.pid);
    }
}

#[test]
fn spiculation_shows_as_spikes_around_the_body() {
    let beyond = |margin: Margin| {
        let chosen = nodules_where(8, |a| {
            is_plain(a)
                && a.consistency == Consistency::Solid
                && a.margin == margin
                && a.shape == Shape::Round
        });
        let area: f64 = chosen
            .iter()
            .map(|(patient, nodule)| {
                let radius = nodule.attributes.longest_mm / 2.0;
                let outer = dense_area_mm2(&patient.scan, nodule.centre, radius + 4.0);
                outer - dense_area_mm2(&patient.scan, nodule.centre, radius + 1.0)
            })
            .sum();
        area / 8.0
    };
    let (smooth, spiculated) = (beyond(Margin::Smooth), beyond(Margin::Spiculated));
    assert!(spiculated > 2.0 * smooth + 5.0, "smooth {smooth} mm², spiculated {spiculated} mm²");
}

#[test]
fn labels_are_predictable_but_not_certain_and_as_frequent_as_asked() {
    let set = phantom(PhantomParameters { patients: 600, ..PhantomParameters::default() }, 1);
    let mut nodules = Vec::new();
    for index in 0..600 {
        nodules.extend(
            set.nodules(index)
                .expect("a patient")
                .1
                .iter()
                .map(|nodule| (nodule.true_risk, nodule.malignant)),
        );
    }
    let ceiling = Ceiling::measure(&nodules);
    assert!(ceiling.nodules > 750);
    assert!((0.90..=0.95).contains(&ceiling.auroc.expect("both classes")), "{ceiling:?}");
    assert!((0.90..=0.94).contains(&ceiling.expected_auroc.expect("both classes")), "{ceiling:?}");
    let prevalence = ceiling.malignant as f64 / ceiling.nodules as f64;
    assert!((0.33..0.43).contains(&prevalence), "{prevalence}");
}

#[test]
fn a_large_scan_of_thin_slices_shows_both_lungs() {
    let parameters = PhantomParameters {
        shape: [256, 256, 100],
        spacing: [1.3, 1.0, 1.25],
        patients: 1,
        ..PhantomParameters::default()
    };
    let patient = phantom(parameters, 1).patient(0).expect("a patient");
    assert_eq!(patient.scan.voxels.len(), 256 * 256 * 100);
    for side in [-75.0, 75.0] {
        let lung = mean_density(&patient.scan, [side, 40.0, 0.0], 3.0);
        assert!(lung < -600.0, "{lung}");
    }
    assert!(density(&patient.scan, [0.0, 78.0, 0.0]) > 250.0, "the spine is in the middle");
}

#[test]
fn the_smallest_scans_have_room() {
    let parameters = PhantomParameters {
        shape: [65, 65, 33],
        spacing: [1.0, 1.0, 2.0],
        patients: 300,
        ..PhantomParameters::default()
    };
    let set = phantom(parameters, 8);
    assert!((0..300).all(|index| set.nodules(index).is_ok()));
}
