//! A detached task: its panics are caught here, and its label is there while it runs.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Room;

/// What [`super::spawn`] runs.
pub(super) struct Task {
    room: &'static Room,
    label: Label,
    // In a box, or the futures that carry it to the runtime would each have room for all of it.
    future: Pin<Box<dyn Future<Output = ()>>>,
}

type Label = Option<Rc<str>>;

impl Task {
    pub(super) fn new(room: &'static Room, future: impl Future<Output = ()> + 'static) -> Task {
        Task {
            room,
            label: None,
            future: Box::pin(future),
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Task {
            room,
            label,
            future,
        } = &mut *self;
        let _turn = Turn::of(label);
        BEGAN.set(Some(Instant::now()));
        let polled = room.guard(|| future.as_mut().poll(cx));
        polled.unwrap_or(Poll::Ready(()))
    }
}

/// Gives the task that runs now a name for the log, such as its connection's number. It is the task's alone: tasks that it starts have none.
pub fn label_task(label: &str) {
    CURRENT.with_borrow_mut(|current| *current = Some(label.into()));
}

/// Runs work under a label, on a thread that has none of its own.
pub(crate) fn labelled<T>(label: Option<&str>, work: impl FnOnce() -> T) -> T {
    let mut label: Label = label.map(Rc::from);
    let _turn = Turn::of(&mut label);
    work()
}

/// Looks at the label of the task that runs now on this thread.
pub fn with_task_label<T>(look: impl FnOnce(Option<&str>) -> T) -> T {
    // Cloned: what looks may log, and look again.
    let current = CURRENT.with_borrow(Clone::clone);
    look(current.as_deref())
}

/// Whether the task that runs now has run for [`SLICE`] without a wait.
pub(super) fn slice_is_over() -> bool {
    BEGAN.get().is_some_and(|began| began.elapsed() >= SLICE)
}

const SLICE: Duration = Duration::from_millis(2);

thread_local! {
    /// When the runtime last turned to a task.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static CURRENT: RefCell<Label> = const { RefCell::new(None) };
}

/// While it lives, a task's label is the current one; a label the task was given meanwhile goes back to it.
struct Turn<'a>(&'a mut Label);

impl Turn<'_> {
    fn of(label: &mut Label) -> Turn<'_> {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, label));
        Turn(label)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.0));
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::super::{Room, block_on, sleep, spawn, yield_if_needed, yield_now};
    use super::*;

    static ROOM: Room = Room::new("test");

    /// Of this thread: the time of others who want the core as well is none of it.
    fn cpu_time() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Safe because it writes there alone.
        let said = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(said, 0);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn label() -> Label {
        with_task_label(|label| label.map(Rc::from))
    }

    #[test]
    fn a_long_task_that_offers_to_yield_holds_nobody_up_for_long() {
        block_on(async {
            let done = Rc::new(Cell::new(false));
            let ended = done.clone();
            spawn(&ROOM, async move {
                let end = cpu_time() + Duration::from_millis(500);
                while cpu_time() < end {
                    yield_if_needed().await;
                }
                ended.set(true);
            });
            let mut turns = 0;
            while !done.get() {
                sleep(Duration::from_millis(1)).await;
                turns += 1;
            }
            // Some 150; with the runtime's own yield 5.
            assert!(turns >= 20, "{turns}");
        })
        .unwrap();
    }

    #[test]
    fn a_panic_harms_its_task_alone() {
        block_on(async {
            spawn(&ROOM, async {
                label_task("gone");
                panic!("on purpose")
            });
            while ROOM.panics() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(ROOM.panics(), 1);
            assert_eq!(label(), None);
        })
        .unwrap();
    }

    #[test]
    fn each_task_has_its_own_label_whenever_it_runs() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (told, heard) = (seen.clone(), seen.clone());
        block_on(async move {
            for name in ["one", "two"] {
                let seen = seen.clone();
                spawn(&ROOM, async move {
                    assert_eq!(label(), None);
                    label_task(name);
                    for _ in 0..3 {
                        yield_now().await;
                        seen.borrow_mut().push((name, label()));
                    }
                });
            }
            while told.borrow().len() < 6 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(label(), None);
        })
        .unwrap();
        let seen = heard.borrow();
        assert!(
            seen.iter()
                .all(|(name, label)| label.as_deref() == Some(name))
        );
    }
}
