#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

const LAYOUT: Layout = Layout { header: b"pipe-tests 1\n\0\0\0", extension: "tests" };

fn lead(text: &str) -> Lead {
    Lead { digest: Digest::of(text.as_bytes()), number: text.len() as u64 }
}

fn key(number: u8) -> Digest {
    Digest::of(&[number])
}

fn open(folder: &tempfile::TempDir) -> Journal {
    Journal::open(folder.path().to_path_buf(), LAYOUT).unwrap()
}

fn first(journal: &Journal, number: u8) -> Option<Lead> {
    journal.leads(key(number)).next()
}

#[test]
fn records_behind_a_torn_one_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder).writer().unwrap();
    writer.append(key(1), lead("volume")).unwrap();
    // A disk that fills up takes a part of a record.
    let mut file = File::options().append(true).open(&writer.path).unwrap();
    io::Write::write_all(&mut file, &[7; 33]).unwrap();
    writer.append(key(2), lead("volume")).unwrap();
    let journal = open(&folder);
    assert_eq!([1, 2].map(|number| first(&journal, number)), [Some(lead("volume")); 2]);
}

#[test]
fn what_others_append_is_read_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder).writer().unwrap();
    let mut journal = open(&folder);
    let mut file = File::options().append(true).open(&writer.path).unwrap();
    let record = encode(key(1), lead("one").digest, 3);
    for part in record.chunks(30) {
        journal.refresh().unwrap();
        assert_eq!(first(&journal, 1), None);
        io::Write::write_all(&mut file, part).unwrap();
    }
    journal.refresh().unwrap();
    assert_eq!(first(&journal, 1), Some(lead("one")));
}

#[test]
fn appended_records_are_found_before_and_after_merging() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let journal = open(&folder);
        assert_eq!(journal.len(), usize::from(number));
        journal.writer().unwrap().append(key(number), lead("volume")).unwrap();
    }
    let journal = open(&folder);
    let writer = journal.writer().unwrap();
    writer.append(key(3), lead("last")).unwrap();
    assert_eq!(journal.merge_with(writer).unwrap(), 0);
    let journal = open(&folder);
    assert_eq!((journal.len(), first(&journal, 3)), (4, Some(lead("last"))));
}

#[test]
fn a_merge_leaves_the_files_of_other_writers() {
    let folder = tempfile::tempdir().unwrap();
    let slow = open(&folder);
    let slow_writer = slow.writer().unwrap();
    slow_writer.append(key(0), lead("volume")).unwrap();
    let quick = open(&folder);
    let quick_writer = quick.writer().unwrap();
    quick_writer.append(key(1), lead("volume")).unwrap();
    quick.merge_with(quick_writer).unwrap();
    // What is appended after the other's merge must not be lost, even if this writer is killed now.
    slow_writer.append(key(2), lead("volume")).unwrap();
    let journal = open(&folder);
    assert!((0..3).all(|number| first(&journal, number).is_some()));
    slow.merge_with(slow_writer).unwrap();
    assert_eq!(open(&folder).len(), 3);
}

#[test]
fn files_of_dead_processes_are_merged_and_what_is_not_kept_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder).writer().unwrap();
    [0, 1].iter().for_each(|number| writer.append(key(*number), lead("volume")).unwrap());
    let dead = format!("w-{}~4294967294~x.tests", crate::owner::host_name());
    fs::rename(&writer.path, folder.path().join(dead)).unwrap();
    let mut journal = open(&folder);
    let forget =
        |journal: &mut Journal, dry| journal.forget(&|found| found == key(0), &|_| true, dry).unwrap();
    assert_eq!(forget(&mut journal, true), HashSet::from([key(1)]));
    assert_eq!(forget(&mut journal, false), HashSet::from([key(1)]));
    assert_eq!((first(&journal, 1), journal.len()), (None, 1));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let journal = open(&folder);
    assert_eq!([0, 1].map(|number| first(&journal, number)), [Some(lead("volume")), None]);
}

#[test]
fn further_leads_of_a_key_stay_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for (text, more) in [("one", 0), ("two", 1), ("two", 0), ("three", 1)] {
        let journal = open(&folder);
        let writer = journal.writer().unwrap();
        writer.append(key(1), lead(text)).unwrap();
        assert_eq!(journal.merge_with(writer).unwrap(), more);
    }
    let leads: Vec<Lead> = open(&folder).leads(key(1)).collect();
    assert_eq!(leads, ["one", "two", "three"].map(lead));
}

#[test]
fn what_a_younger_file_holds_as_well_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&folder).writer().unwrap();
    writer.append(key(1), lead("old")).unwrap();
    open(&folder).merge_with(writer).unwrap();
    let writer = open(&folder).writer().unwrap();
    writer.append(key(1), lead("old")).unwrap();
    let mut journal = open(&folder);
    assert!(journal.forget(&|_| false, &|_| true, false).unwrap().is_empty());
    assert_eq!(first(&journal, 1), Some(lead("old")));
}

#[test]
fn a_large_file_is_not_written_anew_for_a_few_records() {
    let folder = tempfile::tempdir().unwrap();
    let merge = |keys: std::ops::Range<u8>| {
        let writer = open(&folder).writer().unwrap();
        keys.for_each(|number| writer.append(key(number), lead("volume")).unwrap());
        let bytes = fs::read(&writer.path).unwrap();
        fs::remove_file(&writer.path).unwrap();
        let path = folder.path().join(format!("m-{}.tests", Digest::of(&bytes).short()));
        fs::write(&path, bytes).unwrap();
        path
    };
    let large = merge(0..100);
    let small: Vec<PathBuf> = (100..103).map(|number| merge(number..number + 1)).collect();
    let mut journal = open(&folder);
    journal.tidy(5).unwrap();
    assert!(small.iter().all(|path| path.exists()));
    journal.tidy(3).unwrap();
    assert!(large.exists() && small.iter().all(|path| !path.exists()));
    assert_eq!(open(&folder).len(), 103);
}

proptest! {
    #[test]
    fn a_torn_or_damaged_journal_loses_only_damaged_records(cut in 0usize..400, flip in 0usize..400) {
        let mut bytes = LAYOUT.header.to_vec();
        for number in 0..4 {
            bytes.extend_from_slice(&encode(key(number), lead("item").digest, 4));
        }
        let cut = cut.min(bytes.len());
        bytes.truncate(bytes.len() - cut);
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m-x.tests"), &bytes).unwrap();
        let journal = open(&folder);
        prop_assert!(journal.all().all(|(_, found)| found == lead("item")));
        let whole = bytes.len().saturating_sub(16) / RECORD;
        prop_assert!(journal.len() + 1 >= whole);
    }
}
