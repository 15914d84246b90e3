//! Work on a whole disk by several threads: piece by piece, with a part of it in order.
//!
//! Pieces are handed out in the order of the disk, each with a [`Turn`]. What has to happen in that
//! order waits for the turn; all else runs side by side:
//!
//! ```text
//!   hand out ──┬─> read, look, encode ──> wait for the turn ──> take space ──> write
//!              ├─> read, look, encode ────────> wait … ──> take space ──> write
//! ```
//!
//! After a failure no more pieces are handed out; of several, the failure of the first piece counts.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{ImageError, Result};

/// The most threads where nobody says how many.
const MAX_USUAL: usize = 16;
/// The most threads that are of use to anybody.
const MAX_THREADS: usize = 64;

/// So many threads where nobody says: two for each processor, as some wait for the host or for
/// their turn.
pub fn usual_threads() -> usize {
    let processors = thread::available_parallelism().map_or(1, |n| n.get());
    (2 * processors).min(MAX_USUAL)
}

/// How far work on a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Everything before this byte of the disk is done, or under way.
    pub position: u64,
    /// So many bytes were copied, or are being copied.
    pub copied: u64,
}

/// Told how far the work is, before each piece.
pub type Progress<'a> = &'a mut (dyn FnMut(Done) + Send);

/// Which pieces are through with what they do in order.
#[derive(Debug, Default)]
struct Order {
    passed: Mutex<Passed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Passed {
    /// All before this one.
    next: u64,
    /// And these.
    later: BTreeSet<u64>,
}

/// The place of a piece in the order. Dropped, it lets the next piece go on.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    order: &'a Order,
    number: u64,
}

impl Turn<'_> {
    /// Returns when all pieces before this one have dropped theirs.
    pub(super) fn wait(&self) {
        let mut passed = locked(&self.order.passed);
        while passed.next < self.number {
            passed = self
                .order
                .changed
                .wait(passed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut guard = locked(&self.order.passed);
        let passed = &mut *guard;
        passed.later.insert(self.number);
        while passed.later.remove(&passed.next) {
            passed.next += 1;
        }
        drop(guard);
        self.order.changed.notify_all();
    }
}

/// Where pieces come from, and the failure that ended it.
struct Feed<'a, P> {
    next: &'a mut (dyn FnMut() -> Result<Option<P>> + Send),
    given: u64,
    failed: Option<(u64, ImageError)>,
}

impl<P> Feed<'_, P> {
    fn claim(&mut self) -> Option<(P, u64)> {
        if self.failed.is_some() {
            return None;
        }
        let number = self.given;
        self.given += 1;
        match (self.next)() {
            Ok(piece) => piece.map(|piece| (piece, number)),
            Err(error) => {
                self.fail(number, error);
                None
            }
        }
    }

    fn fail(&mut self, number: u64, error: ImageError) {
        if self
            .failed
            .as_ref()
            .is_none_or(|(first, _)| number < *first)
        {
            self.failed = Some((number, error));
        }
    }
}

/// Does `work` on every piece that `next` gives, by up to `threads` threads. Each thread has a
/// state of its own, which `prepare` makes.
pub(super) fn run<P: Send, S>(
    threads: usize,
    prepare: &(dyn Fn() -> S + Sync),
    next: &mut (dyn FnMut() -> Result<Option<P>> + Send),
    work: &(dyn Fn(&mut S, P, Turn<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let order = Order::default();
    let feed = Mutex::new(Feed {
        next,
        given: 0,
        failed: None,
    });
    let worker = || {
        let mut state = prepare();
        loop {
            let Some((piece, number)) = locked(&feed).claim() else {
                break;
            };
            let turn = Turn {
                order: &order,
                number,
            };
            if let Err(error) = work(&mut state, piece, turn) {
                locked(&feed).fail(number, error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(MAX_THREADS) {
            // Where the host gives no more threads, there are fewer.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let feed = feed.into_inner().unwrap_or_else(PoisonError::into_inner);
    feed.failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// A panic of one worker is passed on by the scope; until then the others go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    fn numbers(end: u64) -> impl FnMut() -> Result<Option<u64>> + Send {
        let mut numbers = 0..end;
        move || Ok(numbers.next())
    }

    #[test]
    fn what_waits_for_its_turn_happens_in_order() {
        let seen = Mutex::new(Vec::new());
        run(8, &|| (), &mut numbers(1000), &|(), number, turn| {
            if number % 7 == 0 {
                return Ok(());
            }
            turn.wait();
            seen.lock().unwrap().push(number);
            Ok(())
        })
        .unwrap();
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 857);
        assert!(seen.is_sorted());
    }

    #[test]
    fn the_failure_of_the_first_piece_counts_and_ends_the_work() {
        let last = Mutex::new(0);
        let failed = run(8, &|| (), &mut numbers(u64::MAX), &|(), number, turn| {
            turn.wait();
            *last.lock().unwrap() = number;
            match number {
                0..20 => Ok(()),
                _ => Err(ImageError::new(ErrorKind::Invalid, number.to_string())),
            }
        });
        assert_eq!(failed.unwrap_err().detail(), "20");
        assert!(*last.lock().unwrap() < 100);
    }
}
