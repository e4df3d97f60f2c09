use super::*;

#[test]
fn values_of_every_kind_are_read() {
    // {'a': (1, 300, -2), 'b': [None, True, 0.5], 'c': 2**40}, protocol 2.
    let bytes = b"\x80\x02}(X\x01\0\0\0aK\x01M,\x01J\xfe\xff\xff\xff\x87X\x01\0\0\0b](N\x88G\x3f\xe0\0\0\0\0\0\0eX\x01\0\0\0c\x8a\x06\0\0\0\0\0\x01u.";
    let pickle = Pickle::read(bytes).expect("pickle");
    let Value::Dict(pairs) = pickle.value(pickle.root()) else { panic!("not a dictionary") };
    let keys: Vec<_> = pairs.iter().map(|&(key, _)| pickle.text(key).expect("text")).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    let tuple = pickle.tuple(pairs[0].1).expect("tuple");
    let numbers: Vec<_> = tuple.iter().map(|&id| pickle.value(id).clone()).collect();
    assert_eq!(numbers, [Value::Integer(1), Value::Integer(300), Value::Integer(-2)]);
    assert_eq!(pickle.size(pairs[2].1), Some(1 << 40));
    assert_eq!(pickle.sizes(pairs[0].1), None, "a negative number is no size");
}

#[test]
fn objects_are_kept_as_data() {
    let pickle = Pickle::read(b"cos\nsystem\nX\x02\0\0\0ls\x85R.").expect("pickle");
    let Value::Object { class, arguments, .. } = pickle.value(pickle.root()) else { panic!("not an object") };
    assert_eq!(pickle.class(*class), Some("os.system"));
    assert_eq!(pickle.tuple(*arguments).map(<[_]>::len), Some(1));
}

#[test]
fn malformed_pickles_are_errors() {
    let table: [(&[u8], &str); 9] = [
        (b"", "ends early"),
        (b".", "nothing on the stack"),
        (b"X\xff\xff\xff\xffab", "ends early"),
        (b"t.", "no mark"),
        (b"K\x01\x87.", "more than there is"),
        (b"h\x05.", "nothing remembered"),
        (b"NNs.", "nothing on the stack"),
        (b"N(NNu.", "elements for what holds none"),
        (b"\x8a\x09\0\0\0\0\0\0\0\0\0.", "more than eight bytes"),
    ];
    for (bytes, message) in table {
        let error = Pickle::read(bytes).expect_err("malformed").to_string();
        assert!(error.contains(message), "{bytes:?}: {error}");
    }
    assert_eq!(Pickle::read(b"i").expect_err("code"), PickleError::Operation { code: b'i', at: 0 });
}

#[test]
fn every_prefix_of_a_pickle_is_an_error_and_not_a_panic() {
    let bytes = b"\x80\x02}q\x00(X\x01\0\0\0aK\x01\x85q\x01h\x01\x94u.";
    for length in 0..bytes.len() {
        assert!(Pickle::read(&bytes[..length]).is_err(), "{length}");
    }
}
