//! Files of a cache that hold anything at all.

#[path = "disk_files/exercise.rs"]
mod exercise;

use proptest::prelude::*;

/// How the files of each format begin.
const BEGINNINGS: [&[u8]; 12] = [
    b"pipe-index 1 collection\n",
    b"pipe-pack 1\n\0\0\0\0",
    b"pipe-places 1\n\0\0",
    b"pipe-items 1\n\0\0\0",
    b"pipe-results 1\n\0",
    b"pipe-memo 1 ",
    b"pipe-facts 2\n\0\0\0",
    b"pipe-resume 1\n",
    b"pipe-cache 3 ",
    b"{\"record\":\"instance\",",
    b"pipe-claim 1\nhost~1~1",
    b"{\"class\": \"any\", ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_bytes_are_taken_for_what_they_are(
        format in 0u8..exercise::FORMATS,
        is_headed: bool,
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let beginning = if is_headed { BEGINNINGS[usize::from(format)] } else { b"" };
        exercise::disk_file(format, &[beginning, &rest].concat());
    }
}
