#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join(".pipe")).unwrap();
    (folder, store)
}

/// Bytes that are too many for a pack.
fn big(text: &str) -> Vec<u8> {
    text.as_bytes().iter().copied().cycle().take(MOST_PACKED + 1).collect()
}

#[test]
fn bytes_in_and_out() {
    let (_folder, store) = store();
    let digest = store.put(b"planes").unwrap();
    assert_eq!(store.read(digest).unwrap(), b"planes");
    assert_eq!(store.put(b"planes").unwrap(), digest);
    assert!(matches!(store.read(Digest::of(b"other")), Err(Error::Missing { .. })));
}

/// Changes the last byte of a blob on the disk.
fn damage(store: &Store, digest: Digest) {
    let path = store.blob_path(digest);
    if path.exists() {
        return flip(&path, 1);
    }
    let packs = fs::read_dir(store.root().join("packs")).unwrap().flatten();
    let pack = packs.map(|entry| entry.path()).find(|path| path.extension().unwrap() == "pack").unwrap();
    let bytes = fs::read(&pack).unwrap();
    let head = bytes.windows(32).position(|part| part == digest.as_bytes()).unwrap();
    flip(&pack, bytes.len() - head - 40);
}

fn flip(path: &Path, from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.len() - from_end;
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_set_aside_and_can_be_written_again() {
    for content in [b"volume".to_vec(), big("volume")] {
        let (_folder, store) = store();
        let digest = store.put(&content).unwrap();
        damage(&store, digest);
        let error = store.read(digest).unwrap_err();
        assert_eq!(error.lost_blob(), Some(digest));
        assert!(!store.contains(digest));
        let repairs = store.take_repairs();
        assert_eq!(repairs.len(), 1);
        assert_eq!(fs::read(&repairs[0].aside).unwrap().len(), content.len());
        assert!(!Store::open(store.root()).unwrap().contains(digest), "the damage is forgotten");
        store.put(&content).unwrap();
        assert_eq!(store.read(digest).unwrap(), content);
        assert_eq!(Store::open(store.root()).unwrap().read(digest).unwrap(), content);
    }
}

#[test]
fn putting_a_blob_again_mends_it_unread() {
    for content in [b"volume".to_vec(), big("volume")] {
        let (_folder, store) = store();
        let digest = store.put(&content).unwrap();
        damage(&store, digest);
        store.put(&content).unwrap();
        assert_eq!(store.read(digest).unwrap(), content);
        assert!(store.take_repairs().is_empty());
    }
}

#[test]
fn a_blob_cut_short_is_replaced_by_putting_it_again() {
    let (_folder, store) = store();
    let content = big("volume");
    let digest = store.put(&content).unwrap();
    fs::write(store.blob_path(digest), b"vol").unwrap();
    store.put(&content).unwrap();
    assert_eq!(store.read(digest).unwrap(), content);
}

#[test]
fn a_verified_path_is_compared_with_its_digest() {
    for content in [b"scan".to_vec(), big("scan")] {
        let (_folder, store) = store();
        let digest = store.put(&content).unwrap();
        assert_eq!(fs::read(store.verified_path(digest).unwrap()).unwrap(), content);
        let mut other = content.clone();
        other.reverse();
        let other = store.put(&other).unwrap();
        damage(&store, other);
        assert!(matches!(store.verified_path(other), Err(Error::Damaged { .. })));
    }
}

#[test]
fn adopting_moves_the_file() {
    for content in [b"{}".to_vec(), big("{}")] {
        let (_folder, store) = store();
        let staging = store.staging().unwrap();
        let file = staging.path().join("metrics.json");
        fs::write(&file, &content).unwrap();
        let (digest, size) = store.adopt(&file).unwrap();
        assert_eq!((digest, size), (Digest::of(&content), content.len() as u64));
        assert!(!file.exists());
        assert_eq!(store.read(digest).unwrap(), content);
    }
}

#[test]
fn what_another_process_packs_is_seen() {
    let (_folder, store) = store();
    let other = Store::open(store.root()).unwrap();
    assert!(!store.contains(Digest::of(b"planes")));
    let digest = other.put(b"planes").unwrap();
    assert!(store.contains(digest) && store.contains_all([digest]).unwrap());
    assert_eq!(store.read(digest).unwrap(), b"planes");
    assert_eq!(store.verify(digest).unwrap(), 6);
}

/// Lets the packs of this process look like those of one that has ended.
fn abandon_packs(store: &Store) {
    let host = crate::owner::host_name();
    for entry in fs::read_dir(store.root().join("packs")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let ended = name.replace(&format!("~{}~", std::process::id()), "~4294967294~");
        assert!(name.starts_with(&format!("w-{host}~")) || !name.starts_with("w-"));
        fs::rename(entry.path(), entry.path().with_file_name(ended)).unwrap();
    }
}

/// A store with the blobs 0 to 19 in ten packs of processes that have ended.
fn many_packs() -> (TempDir, Store, Vec<Digest>) {
    let (folder, store) = store();
    let mut digests = Vec::new();
    for pack in 0..10u8 {
        let writer = Store::open(store.root()).unwrap();
        digests.extend([0, 1].map(|blob| writer.put(&[2 * pack + blob; 9]).unwrap()));
        abandon_packs(&store);
    }
    (folder, store, digests)
}

fn pack_files(store: &Store) -> usize {
    fs::read_dir(store.root().join("packs")).unwrap().count()
}

#[test]
fn many_packs_become_one_under_the_eyes_of_readers() {
    let (_folder, store, digests) = many_packs();
    let reader = Store::open(store.root()).unwrap();
    assert!(digests.iter().all(|digest| reader.contains(*digest)));
    assert_eq!(pack_files(&store), 20);
    store.packs().tidy().unwrap();
    assert_eq!(pack_files(&store), 2);
    for store in [&reader, &store, &Store::open(store.root()).unwrap()] {
        for (number, digest) in digests.iter().enumerate() {
            assert_eq!(store.read(*digest).unwrap(), vec![number as u8; 9]);
        }
    }
}

#[test]
fn a_pack_tells_what_its_lost_index_told() {
    let (_folder, store, digests) = many_packs();
    for entry in fs::read_dir(store.root().join("packs")).unwrap().flatten() {
        if entry.path().extension().unwrap() == "index" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let reader = Store::open(store.root()).unwrap();
    assert!(digests.iter().all(|digest| reader.read(*digest).is_ok()));
}

#[test]
fn damage_in_a_pack_and_its_index_at_once_is_got_over() {
    for spoil in
        [|index: &Path| fs::remove_file(index).unwrap(), |index: &Path| fs::write(index, [0; 80]).unwrap()]
    {
        let (_folder, store, digests) = many_packs();
        for entry in fs::read_dir(store.root().join("packs")).unwrap().flatten() {
            match entry.path().extension().unwrap() == "index" {
                true => spoil(&entry.path()),
                // The second of two blobs.
                false => flip(&entry.path(), 1),
            }
        }
        let store = Store::open(store.root()).unwrap();
        for (number, digest) in digests.iter().enumerate() {
            assert_eq!(store.read(*digest).is_ok(), number % 2 == 0, "{number}");
            store.put(&[number as u8; 9]).unwrap();
            assert!(store.read(*digest).is_ok());
        }
    }
}

#[test]
fn what_a_shortened_pack_has_lost_can_be_put_again() {
    let (_folder, store, digests) = many_packs();
    for entry in fs::read_dir(store.root().join("packs")).unwrap().flatten() {
        if entry.path().extension().unwrap() == "pack" {
            let bytes = fs::read(entry.path()).unwrap();
            fs::write(entry.path(), &bytes[..bytes.len() - 3]).unwrap();
        }
    }
    let store = Store::open(store.root()).unwrap();
    for (number, digest) in digests.iter().enumerate() {
        assert!(store.contains(*digest));
        assert_eq!(store.read(*digest).is_ok(), number % 2 == 0, "{number}");
        store.put(&[number as u8; 9]).unwrap();
        assert!(store.read(*digest).is_ok());
    }
}

#[test]
fn only_what_is_not_kept_leaves_a_pack() {
    let (_folder, store, digests) = many_packs();
    let keep = |digest: Digest| digests[..7].contains(&digest);
    assert_eq!(store.packs().retain(&keep, &|_| true, true).unwrap(), (13, 13 * 49));
    assert!(digests.iter().all(|digest| store.contains(*digest)));
    assert_eq!(store.packs().retain(&keep, &|_| true, false).unwrap(), (13, 13 * 49));
    let found: Vec<bool> = digests.iter().map(|digest| store.contains(*digest)).collect();
    assert_eq!(found, (0..20).map(|number| number < 7).collect::<Vec<_>>());
    assert_eq!(store.packs().list().unwrap().len(), 7);
}

proptest::proptest! {
    #[test]
    fn a_store_gives_what_was_put_and_nothing_else(
        blobs in proptest::collection::vec((0usize..70_000, 0u8..4), 1..12),
        reopen in 0usize..12,
    ) {
        let (_folder, mut store) = store();
        let mut known = std::collections::BTreeMap::new();
        for (number, (length, byte)) in blobs.into_iter().enumerate() {
            let content = vec![byte; length];
            known.insert(store.put(&content).unwrap(), content);
            if number == reopen {
                store = Store::open(store.root()).unwrap();
            }
        }
        proptest::prop_assert!(store.contains_all(known.keys().copied()).unwrap());
        for (digest, content) in known {
            proptest::prop_assert_eq!(store.read(digest).unwrap(), content);
        }
        proptest::prop_assert!(!store.contains(Digest::of(b"never put")));
    }
}
