//! Many scenarios at once: each runs by itself, so they spread over as many threads as there are cores.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Does the work of each item on one of `threads` threads, at least one, and hands the results to `take` on the
/// calling thread, in the order of the items: whatever the number of threads, `take` sees the same.
///
/// `take` ends everything by a [`ControlFlow::Break`]: no further item is begun, and what is under way is awaited and
/// thrown away. Items are made as they are needed, so there may be endlessly many.
///
/// # Panics
/// With the panic of the first item, in their order, whose work panics.
pub fn spread<T: Send, R: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> ControlFlow<()>,
) {
    let threads = threads.max(1);
    let items = Mutex::new(items.enumerate());
    let (results, arrivals) = sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (results, items, work) = (results.clone(), &items, &work);
            scope.spawn(move || {
                // An item's making may have panicked on another thread, which then tells of it.
                let next = || items.lock().ok()?.next();
                while let Some((index, item)) = next() {
                    let result = catch_unwind(AssertUnwindSafe(|| work(item)));
                    // Nobody listens any more: everything ends.
                    if results.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        // Results whose turn it is not yet.
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (index, result) in arrivals {
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                next += 1;
                let result = result.unwrap_or_else(|panic| resume_unwind(panic));
                if take(result).is_break() {
                    return;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(threads: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        let work = |item: u64| {
            // Even items take longer, so that they come late.
            let rounds = if item.is_multiple_of(2) { 20_000 } else { 1 };
            (0..rounds).fold(item * item, |value, _| std::hint::black_box(value))
        };
        spread(threads, 0..200, work, |square| {
            seen.push(square);
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let expected: Vec<u64> = (0..200).map(|item| item * item).collect();
        for threads in [0, 1, 2, 7] {
            assert_eq!(squares(threads), expected, "{threads} threads");
        }
    }

    #[test]
    fn whoever_takes_the_results_can_stop_an_endless_run() {
        let mut taken = 0;
        spread(
            3,
            0..,
            |item: usize| item,
            |item| {
                taken += 1;
                if item == 9 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(taken, 10);
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn a_panic_ends_an_endless_run() {
        let work = |item: u64| assert!(item != 7, "the seventh");
        spread(2, 0.., work, ControlFlow::Continue);
    }
}
