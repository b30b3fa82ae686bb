//! Cases by number: one for each boundary between two effects of a command.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Runs a case for each number from 0 on, several side by side, until one says that it is past the end. How many there
/// were before that one.
#[track_caller]
pub fn until_past_the_end(case: impl Fn(usize) -> bool + Sync) -> usize {
    let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let work = || loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= end.load(Ordering::SeqCst) {
            break;
        }
        if !case(number) {
            end.fetch_min(number, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        assert!(workers.into_iter().all(|worker| worker.join().is_ok()), "a case failed");
    });
    end.into_inner()
}
