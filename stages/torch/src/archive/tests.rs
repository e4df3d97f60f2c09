use super::*;

fn placement(offset: usize, shape: &[usize], strides: &[usize]) -> Placement {
    let (shape, strides) = (shape.to_vec(), strides.to_vec());
    Placement { number: Number::F32, storage: "0".into(), offset, shape, strides }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn views_are_read_in_c_order() {
    let storage = bytes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let table: [(Placement, &[f32]); 4] = [
        (placement(0, &[2, 3], &[3, 1]), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (placement(0, &[3, 2], &[1, 3]), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
        (placement(2, &[2, 1], &[1, 7]), &[2.0, 3.0]),
        (placement(5, &[], &[]), &[5.0]),
    ];
    for (placement, expected) in table {
        assert_eq!(placement.values(&storage).expect("values"), expected, "{placement:?}");
    }
}

#[test]
fn views_that_leave_their_storage_are_errors() {
    let storage = bytes(&[0.0; 6]);
    let table = [
        placement(1, &[6], &[1]),
        placement(0, &[2, 2], &[1, 9]),
        placement(0, &[usize::MAX, 2], &[0, 0]),
        placement(0, &[1 << 40], &[0]),
        placement(usize::MAX, &[2], &[2]),
    ];
    for placement in table {
        assert!(placement.values(&storage).is_err(), "{placement:?}");
    }
}

#[test]
fn an_empty_tensor_of_huge_dimensions_is_empty() {
    let placement = placement(0, &[0, 1 << 40, 1 << 40], &[1, 1 << 40, 1]);
    assert!(placement.values(&bytes(&[0.0])).expect("values").is_empty());
}

#[test]
fn tensors_that_share_storages_have_a_limit_together() {
    let tensors = |count: usize, shape: &[usize]| -> BTreeMap<String, Placement> {
        (0..count).map(|name| (name.to_string(), placement(0, shape, &vec![1; shape.len()]))).collect()
    };
    assert!(check_size(&tensors(4, &[25]), 100).is_ok());
    let error = check_size(&tensors(5, &[25]), 100).expect_err("too much").to_string();
    assert!(error.starts_with("tensor `4`: with the tensors before it"), "{error}");
    assert!(check_size(&tensors(1, &[1 << 40, 1 << 40]), u64::MAX).is_err());
}

#[test]
fn numbers_are_decoded() {
    assert_eq!(Number::F16.decode(&[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
    assert_eq!(Number::BF16.decode(&[0x80, 0x3f]), [1.0]);
    assert_eq!(Number::F64.decode(&1.5f64.to_le_bytes()), [1.5]);
}
