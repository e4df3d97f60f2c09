#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use super::*;
use crate::listing::entries;

pub(super) fn record(class: &str, content: &[u8]) -> ResultRecord {
    let artifact =
        ArtifactRef { form: Form::File, digest: Digest::of(content), files: 1, bytes: content.len() as u64 };
    ResultRecord {
        class: class.to_string(),
        outputs: BTreeMap::from([("model".to_string(), artifact)]),
        run: "run".to_string(),
        seconds: 1.5,
        scalars: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

#[test]
fn ones_own_class_first_then_any() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = Digest::of(b"key");
    assert_eq!(store.result(key, "cpu/avx512"), None);
    store.record_result(key, &record("cuda/sm_90", b"gpu")).unwrap();
    assert_eq!(store.result(key, "cpu/avx512"), Some(record("cuda/sm_90", b"gpu")));
    store.record_result(key, &record("cpu/avx512", b"cpu")).unwrap();
    assert_eq!(store.result(key, "cpu/avx512"), Some(record("cpu/avx512", b"cpu")));
}

#[test]
fn a_journal_with_any_bit_flipped_gives_the_result_or_none_and_takes_it_again() {
    let whole = record("any", b"one");
    let key = Digest::of(b"key");
    // A byte of the header loses nothing.
    for position in 0..16 + 80 {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.record_result(key, &whole).unwrap();
        let path = entries(&folder.path().join("results")).remove(0);
        let mut damaged = fs::read(&path).unwrap();
        damaged[position] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let found = store.result(key, "any");
        assert!(found.is_none() || found.as_ref() == Some(&whole), "byte {position}: {found:?}");
        let outcome = store.record_result(key, &whole).unwrap();
        assert!(matches!(outcome, RecordOutcome::Stored | RecordOutcome::Known), "byte {position}");
        assert_eq!(Store::open(folder.path()).unwrap().result(key, "any"), Some(whole.clone()));
    }
}

#[test]
fn processes_see_what_others_hand_in_and_agree_on_which_came_first() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = [(); 2].map(|()| Store::open(folder.path()).unwrap());
    let key = Digest::of(b"key");
    assert_eq!((one.result(key, "any"), other.result(key, "any")), (None, None));
    assert_eq!(one.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Stored);
    let outcome = other.record_result(key, &record("any", b"two")).unwrap();
    assert_eq!(outcome, RecordOutcome::Conflict(Box::new(record("any", b"one"))));
    // Handed in at the same time, so that neither saw the other: both take the same.
    let both = Digest::of(b"both");
    for (store, content) in [(&one, &b"one"[..]), (&other, b"two")] {
        store.append_result(both, &record("any", content), FIRST).unwrap();
    }
    let found = [&one, &other].map(|store| store.record_result(both, &record("any", b"three")).unwrap());
    assert!(matches!(found[0], RecordOutcome::Conflict(_)) && found[0] == found[1], "{found:?}");
    // A conflict is never the result, even where the first is gone.
    let [first, second] = [&b"first"[..], b"second"].map(|content| record("any", content));
    let lone = Digest::of(b"lone");
    one.record_result(lone, &first).unwrap();
    one.record_result(lone, &second).unwrap();
    one.packs().strike_out(Digest::of(&serde_json::to_vec(&first).unwrap())).unwrap();
    assert_eq!(one.result(lone, "any"), None);
}

#[test]
fn what_replaces_a_result_counts_and_stays_in_merged_journals() {
    let folder = tempfile::tempdir().unwrap();
    let key = Digest::of(b"key");
    for content in [&b"one"[..], b"two", b"three"] {
        let store = Store::open(folder.path()).unwrap();
        store.replace_result(key, &record("any", content)).unwrap();
        assert_eq!(store.result(key, "any"), Some(record("any", content)));
    }
    let store = Store::open(folder.path()).unwrap();
    store.result_journal().lock().journal.tidy(1).unwrap();
    assert_eq!(Store::open(folder.path()).unwrap().result(key, "any"), Some(record("any", b"three")));
}

#[test]
fn what_a_process_of_now_hands_in_again_is_not_forgotten_with_what_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let key = Digest::of(b"key");
    let killed = Store::open(folder.path()).unwrap();
    killed.record_preimage(key, b"preimage").unwrap();
    killed.record_result(key, &record("any", b"one")).unwrap();
    let own = entries(&folder.path().join("results")).remove(0);
    let old = own.with_file_name("m-0.results");
    fs::rename(own, &old).unwrap();
    let running = Store::open(folder.path()).unwrap();
    running.record_preimage(key, b"preimage").unwrap();
    assert_eq!(running.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Known);
    let collector = Store::open(folder.path()).unwrap();
    let (gone, blobs) = collector.sweep_results(&|_| false, &|path| path == old, false).unwrap();
    assert_eq!((gone, blobs.len()), (0, 2));
}

#[test]
fn what_is_swept_is_forgotten_with_its_blobs_and_what_is_kept_stays() {
    let folder = tempfile::tempdir().unwrap();
    let [kept, dead] = [&b"kept"[..], b"dead"].map(Digest::of);
    let store = Store::open(folder.path()).unwrap();
    for key in [kept, dead] {
        store.record_result(key, &record("any", key.as_bytes())).unwrap();
        store.record_preimage(key, key.to_string().as_bytes()).unwrap();
    }
    let is_kept = |key| key == kept;
    // Somebody writes to the journal.
    assert_eq!(store.sweep_results(&is_kept, &|_| true, false).unwrap().0, 0);
    let own = entries(&folder.path().join("results")).remove(0);
    fs::rename(&own, own.with_file_name("m-0.results")).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.sweep_results(&is_kept, &|_| false, false).unwrap().0, 0);
    for dry in [true, false] {
        let (gone, blobs) = store.sweep_results(&is_kept, &|_| true, dry).unwrap();
        assert_eq!((gone, blobs.len()), (1, 2));
    }
    for store in [store, Store::open(folder.path()).unwrap()] {
        assert_eq!(store.result(dead, "any"), None);
        assert_eq!(store.result(kept, "any"), Some(record("any", kept.as_bytes())));
        assert_eq!(store.preimage(kept).unwrap(), Some(kept.to_string().into_bytes()));
    }
}

#[test]
fn warnings_are_kept_with_a_result_and_a_record_without_them_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [key, old] = [&b"key"[..], b"old"].map(Digest::of);
    let warned = ResultRecord { warnings: vec!["few cases".to_string()], ..record("any", b"one") };
    store.record_result(key, &warned).unwrap();
    assert_eq!(store.result(key, "any"), Some(warned));
    store.record_result(old, &record("any", b"one")).unwrap();
    let bytes = serde_json::to_vec(&record("any", b"one")).unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains("warnings"));
    assert_eq!(store.result(old, "any"), Some(record("any", b"one")));
}

#[test]
fn other_bytes_are_a_conflict_and_the_first_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = Digest::of(b"key");
    assert_eq!(store.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Stored);
    assert_eq!(store.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Known);
    let outcome = store.record_result(key, &record("any", b"two")).unwrap();
    assert_eq!(outcome, RecordOutcome::Conflict(Box::new(record("any", b"one"))));
    assert_eq!(store.result(key, "any"), Some(record("any", b"one")));
}

#[test]
fn an_unreadable_record_counts_as_absent_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = Digest::of(b"key");
    let torn = store.put(b"{ torn").unwrap();
    store.result_journal().append(key, torn, Entry::Result(FIRST)).unwrap();
    assert_eq!(store.result(key, "any"), None);
    assert_eq!(store.record_result(key, &record("any", b"two")).unwrap(), RecordOutcome::Stored);
    assert_eq!(store.result(key, "any"), Some(record("any", b"two")));
    // So does one whose blob is gone.
    let blobs = store.result_journal().leads(key, true).unwrap();
    blobs.iter().for_each(|lead| store.packs().strike_out(lead.digest).unwrap());
    assert_eq!(store.result(key, "any"), None);
}
