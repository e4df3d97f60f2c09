//! Token ids against those of the reference tokenizer (SPEC section 3).

use pipe_stages::text::Tokenizer;

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<i64>,
}

#[test]
fn ids_are_those_of_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/tokens.json");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("a list of cases");
    assert_eq!(cases.len(), 17);
    let tokenizer = Tokenizer::new().expect("valid patterns");
    for case in cases {
        assert_eq!(tokenizer.encode(&case.text).as_slice(), case.ids, "{:?}", case.text);
    }
}
