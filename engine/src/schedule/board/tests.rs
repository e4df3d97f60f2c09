use super::*;

/// 0 → 1, 0 → 2, {1, 2} → 3.
fn diamond() -> Board {
    let upstream = [&[][..], &[0], &[0], &[1, 2]].map(|makers| makers.iter().copied().collect());
    Board::new(upstream.to_vec(), &(0..4).collect())
}

fn started(board: &mut Board) -> Vec<(usize, bool)> {
    std::iter::from_fn(|| board.start()).map(|start| (start.position, start.rebuild)).collect()
}

#[test]
fn an_ending_frees_those_that_waited_for_all_their_inputs() {
    let mut board = diamond();
    assert_eq!(started(&mut board), [(0, false)]);
    board.succeeded(0);
    assert_eq!(started(&mut board), [(1, false), (2, false)]);
    board.succeeded(2);
    assert_eq!(started(&mut board), []);
    board.succeeded(1);
    assert_eq!(started(&mut board), [(3, false)]);
    assert_eq!(board.running(), 1);
}

#[test]
fn what_is_known_is_not_begun_and_frees_those_that_waited_for_it() {
    let mut board = diamond();
    assert_eq!(board.ready, [0].into());
    board.was_known(0);
    board.was_known(2);
    assert_eq!(started(&mut board), [(1, false)]);
    board.succeeded(1);
    assert_eq!(board.ready, [3].into());
    board.was_known(3);
    assert_eq!((board.running(), board.unreached().count()), (0, 0));
}

#[test]
fn what_another_process_computes_is_asked_for_later_and_holds_up_nothing_else() {
    let mut board = diamond();
    board.start();
    board.succeeded(0);
    assert_eq!(started(&mut board), [(1, false), (2, false)]);
    let now = Instant::now();
    board.postponed(1, now);
    assert_eq!(started(&mut board), []);
    let next = board.wake(now).expect("a time");
    assert!(next > now && next < now + LONGEST_WAIT);
    board.succeeded(2);
    assert_eq!((started(&mut board), board.running()), (vec![], 0));
    assert_eq!(board.wake(next), None);
    assert_eq!(started(&mut board), [(1, false)]);
    board.postponed(1, now);
    assert_eq!(board.unreached().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_device_has_one_user_at_a_time_and_others_need_not_wait_for_it() {
    let none: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); 5];
    let mut board = Board::new(none, &(0..5).collect()).with_devices(&[1, 3], &[1, 1, 1, 0, 2]);
    let started = |board: &mut Board| -> Vec<(usize, Vec<usize>)> {
        std::iter::from_fn(|| board.start()).map(|start| (start.position, start.devices)).collect()
    };
    assert_eq!(started(&mut board), [(0, vec![1]), (1, vec![3]), (3, vec![])]);
    board.succeeded(1);
    assert_eq!(started(&mut board), [(2, vec![3])]);
    board.succeeded(3);
    assert!(!board.failed(0, &[]));
    assert_eq!(started(&mut board), []);
    board.succeeded(2);
    assert_eq!(started(&mut board), [(4, vec![1, 3])]);
}

#[test]
fn memory_is_promised_once_and_who_needs_too_much_runs_alone() {
    let none: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); 5];
    let mut board = Board::new(none, &(0..5).collect()).with_memory(10, &[6, 4, 3, 0, 99]);
    let started = |board: &mut Board| -> Vec<usize> {
        std::iter::from_fn(|| board.start()).map(|start| start.position).collect()
    };
    assert_eq!(started(&mut board), [0, 1, 3]);
    board.succeeded(1);
    assert_eq!(started(&mut board), [2]);
    board.succeeded(3);
    board.succeeded(0);
    assert!(started(&mut board).is_empty());
    assert!(!board.failed(2, &[]));
    assert_eq!(started(&mut board), [4]);
}

#[test]
fn processors_are_given_out_once() {
    let none: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); 4];
    let mut board = Board::new(none, &(0..4).collect()).with_processors(4, &[3, 2, 1, 99]);
    let started = |board: &mut Board| -> Vec<usize> {
        std::iter::from_fn(|| board.start()).map(|start| start.position).collect()
    };
    assert_eq!(started(&mut board), [0, 2]);
    board.succeeded(0);
    assert_eq!(started(&mut board), [1]);
    board.postponed(1, Instant::now());
    assert!(started(&mut board).is_empty());
    board.succeeded(2);
    assert_eq!(started(&mut board), [3]);
}

#[test]
fn damaged_inputs_are_rebuilt_once_for_all_that_found_them() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    assert!(board.failed(1, &[0]));
    assert_eq!(started(&mut board), [(0, true)]);
    // The other one fails meanwhile, and finds nothing damaged because it is being replaced.
    assert!(board.failed(2, &[0]));
    assert_eq!(started(&mut board), []);
    board.succeeded(0);
    assert_eq!(started(&mut board), [(1, false), (2, false)]);
}

#[test]
fn one_that_fails_just_after_a_repair_has_another_chance() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    assert!(board.failed(1, &[0]));
    assert_eq!(started(&mut board), [(0, true)]);
    board.succeeded(0);
    assert!(board.failed(2, &[]), "its input was repaired while it ran");
    assert_eq!(started(&mut board), [(1, false), (2, false)]);
    assert!(!board.failed(2, &[]), "now it fails for itself");
}

#[test]
fn one_that_fails_during_a_repair_waits_for_its_end() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    assert!(board.failed(1, &[0]));
    assert_eq!(started(&mut board), [(0, true)]);
    assert!(board.failed(2, &[]), "the file was back already when it looked");
    assert_eq!(started(&mut board), []);
    board.succeeded(0);
    assert_eq!(started(&mut board), [(1, false), (2, false)]);
}

#[test]
fn one_that_could_not_be_repaired_is_not_begun_again() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    assert!(board.failed(1, &[0]));
    assert_eq!(started(&mut board), [(0, true)]);
    assert!(!board.failed(0, &[]), "it fails for itself");
    assert!(board.failed(2, &[0]), "it waits for what will not come");
    assert_eq!((started(&mut board), board.running()), (vec![], 0));
    assert_eq!(board.unreached().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn chances_come_to_an_end() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    let mut chances = 0;
    while board.failed(1, &[0]) {
        chances += 1;
        assert_eq!(started(&mut board), [(0, true)]);
        board.succeeded(0);
        assert_eq!(started(&mut board), [(1, false)]);
    }
    assert_eq!(chances, ATTEMPTS);
}

#[test]
fn what_depends_on_a_failure_is_not_reached() {
    let mut board = diamond();
    started(&mut board);
    board.succeeded(0);
    started(&mut board);
    assert!(!board.failed(1, &[]));
    board.succeeded(2);
    assert_eq!(started(&mut board), []);
    assert_eq!(board.unreached().collect::<Vec<_>>(), [3]);
    assert_eq!(board.running(), 0);
}
