//! Any bytes in the place of any file of a cache: what is read is right, or it is absent.

use std::fs;
use std::path::PathBuf;

use pipe_cache::{Claimed, Digest, Index, InputMemo, ItemOutcome, Store};

/// How many formats there are.
pub const FORMATS: u8 = 12;

const BLOB: &[u8] = b"a blob";

/// Puts bytes where a file of the given format is, and uses the store.
pub fn disk_file(format: u8, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let key = Digest::of(b"key");
    let place = |name: &str| {
        let path: PathBuf = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, bytes).expect("a file");
    };
    let (start, rest) = {
        let name = key.to_string();
        (name[..2].to_owned(), name[2..].to_owned())
    };
    match format % FORMATS {
        0 => drop(Index::from_bytes(bytes).map(|index| assert_eq!(index.to_bytes(), bytes))),
        1 => {
            place("packs/p-x.pack");
            blobs_are_what_they_are_called(&store);
        }
        2 => {
            store.put(BLOB).expect("a blob");
            let index = first(&store, "index");
            fs::write(index, bytes).expect("a file");
            blobs_are_what_they_are_called(&Store::open(folder.path()).expect("a store"));
        }
        3 => {
            place(&format!("items/{start}/{rest}/m-x.items"));
            let journal = store.items(key).expect("a journal");
            let writer = journal.writer().expect("a writer");
            let digest = store.put(BLOB).expect("a blob");
            writer.commit(key, ItemOutcome { digest, size: BLOB.len() as u64 }).expect("a record");
            journal.merge(writer).expect("a merge");
            assert!(store.items(key).expect("a journal").get(key, &store).is_some());
        }
        4 => {
            place("results/m-x.results");
            let _ = (store.result(key, "any"), store.result(key, "cpu/avx2"));
        }
        11 => {
            place(&format!("results/{start}/{rest}/any.json"));
            let store = Store::open(folder.path()).expect("a store");
            let _ = (store.result(key, "any"), store.result(key, "cpu/avx2"));
        }
        5 => {
            place("memo");
            let scan = folder.path().join("scan");
            fs::write(&scan, BLOB).expect("a file");
            let memo = InputMemo::open(&store, true);
            assert_eq!(memo.digest(&scan).expect("a digest").digest, Digest::of(BLOB));
        }
        6 => {
            place("facts");
            let memo = InputMemo::open(&store, true);
            assert!(memo.fact(key).is_none());
        }
        7 => {
            let point = store.resume_point(key, "any");
            point.save(BLOB).expect("a state");
            let states = fs::read_dir(folder.path().join("resume")).expect("a folder").flatten();
            states.for_each(|state| fs::write(state.path(), bytes).expect("a file"));
            assert!(point.load().is_none());
        }
        8 => {
            place("format");
            drop(Store::open(folder.path()).map(|store| store.put(BLOB)));
        }
        9 => {
            place(&format!("listings/{key}"));
            assert_eq!(store.listing(key), None);
            store.keep_listing(&[BLOB]).expect("a listing");
        }
        _ => {
            place(&format!("claims/{key}"));
            let claimed = store.claim(key).expect("an answer");
            assert!(matches!(claimed, Claimed::Busy(_)) || bytes.starts_with(b"pipe-claim"));
        }
    }
}

fn blobs_are_what_they_are_called(store: &Store) {
    for digest in store.blobs().expect("a list").into_keys() {
        if let Ok(bytes) = store.read(digest) {
            assert_eq!(Digest::of(&bytes), digest);
        }
    }
}

fn first(store: &Store, extension: &str) -> PathBuf {
    let files = fs::read_dir(store.root().join("packs")).expect("packs").flatten();
    let mut paths = files.map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|found| found == extension)).expect("a pack's file")
}
