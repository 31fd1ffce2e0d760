//! What is under way about a domain, so that it is done once however many wait for it. The resolver has the like for its questions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;

use dns::Name;
use shards::rt::{self, Event};

/// Flights of one core, by domain.
pub struct Flights<A>(RefCell<HashMap<Name, Rc<Flight<A>>>>);

impl<A> Default for Flights<A> {
    fn default() -> Self {
        Flights(RefCell::default())
    }
}

struct Flight<A> {
    landed: Event,
    answer: RefCell<Option<A>>,
}

impl<A: Clone + 'static> Flights<A> {
    /// Waits for what is under way, or begins it, in a task of its own: whoever asked first may give up. None: as many as may be are
    /// under way, or it has panicked.
    pub async fn join<F>(
        self: &Rc<Self>,
        domain: &Name,
        most: usize,
        begin: impl FnOnce() -> F,
    ) -> Option<A>
    where
        F: Future<Output = A> + 'static,
    {
        let known = self.0.borrow().get(domain).cloned();
        let flight = match known {
            Some(flight) => flight,
            None if self.0.borrow().len() >= most => return None,
            None => self.begin(domain, begin()),
        };
        flight.landed.wait(0).await;
        let answer = flight.answer.borrow();
        answer.clone()
    }

    fn begin(
        self: &Rc<Self>,
        domain: &Name,
        work: impl Future<Output = A> + 'static,
    ) -> Rc<Flight<A>> {
        let flight = Rc::new(Flight {
            landed: Event::new(),
            answer: RefCell::new(None),
        });
        self.0.borrow_mut().insert(domain.clone(), flight.clone());
        let landing = Landing {
            all: self.clone(),
            domain: domain.clone(),
            flight: flight.clone(),
        };
        rt::spawn(&super::ROOM, async move {
            let answer = work.await;
            *landing.flight.answer.borrow_mut() = Some(answer);
        });
        flight
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether something is under way.
    pub fn has(&self, domain: &Name) -> bool {
        self.0.borrow().contains_key(domain)
    }
}

/// Wakes those who wait, whatever happens.
struct Landing<A> {
    all: Rc<Flights<A>>,
    domain: Name,
    flight: Rc<Flight<A>>,
}

impl<A> Drop for Landing<A> {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.domain);
        self.flight.landed.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_done_once_and_bounded() {
        rt::block_on(async {
            let flights: Rc<Flights<u32>> = Rc::default();
            let (begun, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (one, other) = (
                Name::parse("a.example").unwrap(),
                Name::parse("b.example").unwrap(),
            );
            for _ in 0..5 {
                let (flights, begun, done, one) =
                    (flights.clone(), begun.clone(), done.clone(), one.clone());
                rt::spawn(&super::super::ROOM, async move {
                    let work = || {
                        begun.set(begun.get() + 1);
                        async {
                            rt::sleep(Duration::from_millis(20)).await;
                            7
                        }
                    };
                    assert_eq!(flights.join(&one, 1, work).await, Some(7));
                    done.set(done.get() + 1);
                });
            }
            while begun.get() == 0 {
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(flights.join(&other, 1, || async { 8 }).await, None);
            while done.get() < 5 {
                rt::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(begun.get(), 1);
            assert_eq!(flights.join(&other, 1, || async { 8 }).await, Some(8));
            assert!(!flights.has(&other));
        })
        .unwrap();
    }
}
