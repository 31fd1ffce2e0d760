//! The connections of a core, and whose mail has how many of them. Called by `staffing` and `carry`. Not here: how many a site may have (`site`),
//! what a share is (`shards::rt::Shares`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shards::rt::Shares;

use super::site::Site;

/// The connections of a core.
#[derive(Default)]
pub(super) struct Places(RefCell<Shares<u32, Rc<Site>>>);

/// One of them, with nobody's or somebody's mail; dropped, another may have it.
pub(super) struct Place {
    places: Rc<Places>,
    /// By its number in the queue.
    account: Cell<u32>,
    /// A server has let it in.
    is_proved: Cell<bool>,
}

impl Places {
    /// A site wants a connection for mail of an account. It stands in line once for each.
    pub fn wait(&self, account: u32, site: &Rc<Site>) {
        let mut accounts = site.wanted_by.borrow_mut();
        if !accounts.contains(&account) {
            accounts.push(account);
            self.0.borrow_mut().wait(&account, site.clone());
        }
    }

    /// Who may have one: of the accounts that wait the one that has least.
    pub fn next(self: &Rc<Self>, most: u32) -> Option<(Place, Rc<Site>)> {
        let (account, site) = self.0.borrow_mut().next(most as usize)?;
        site.wanted_by
            .borrow_mut()
            .retain(|other| *other != account);
        let place = Place {
            places: self.clone(),
            account: Cell::new(account),
            is_proved: Cell::new(false),
        };
        Some((place, site))
    }

    /// Whether those that have nothing to do are needed.
    pub fn are_short(&self, most: u32) -> bool {
        let shares = self.0.borrow();
        let most = most as usize;
        shares.is_wanted() && shares.free(most) <= most / SPARE
    }

    /// Why a site that stands in line has to wait.
    pub fn reason(&self, most: u32) -> &'static str {
        match self.0.borrow().free(most as usize) {
            0 => "this core has all its connections in use",
            _ => {
                "this core has all the connections in use that may be for this mail: the rest is for other accounts"
            }
        }
    }
}

impl Place {
    /// For whose mail it is.
    pub fn account(&self) -> u32 {
        self.account.get()
    }

    /// It is for an account's mail from now on.
    pub fn pass(&self, account: u32) {
        let before = self.account.replace(account);
        if before != account {
            let mut shares = self.places.0.borrow_mut();
            shares.pass(&before, &account, self.is_proved.get());
        }
    }

    /// A server has let it in, or is to let it in again. Answers whether that is news.
    pub fn prove(&self, is_proved: bool) -> bool {
        let before = self.is_proved.replace(is_proved);
        if before != is_proved {
            let mut shares = self.places.0.borrow_mut();
            shares.prove(&self.account.get(), is_proved);
        }
        before != is_proved
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shares = self.places.0.borrow_mut();
        shares.give_back(&self.account.get(), self.is_proved.get());
    }
}

/// While more than one in so many are free, connections that have nothing to do are kept.
const SPARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> Rc<Site> {
        Rc::new(Site::new(name.into(), None, false))
    }

    fn names(places: &Rc<Places>, kept: &mut Vec<Place>) -> Vec<String> {
        let next = || places.next(8);
        let all = std::iter::from_fn(next).map(|(place, site)| {
            kept.push(place);
            site.name.to_string()
        });
        all.collect()
    }

    #[test]
    fn a_list_of_silent_sites_leaves_connections_to_others() {
        let (places, mut kept) = (Rc::<Places>::default(), Vec::new());
        let silent: Vec<_> = (0..100).map(|n| site(&n.to_string())).collect();
        for site in &silent {
            places.wait(1, site);
            // Once is enough.
            places.wait(1, site);
        }
        assert_eq!(names(&places, &mut kept), ["0", "1", "2", "3"]);
        // Their list goes on where it was; another's mail does not wait for it.
        places.wait(2, &site("other"));
        places.wait(2, &silent[50]);
        assert_eq!(names(&places, &mut kept), ["other", "50"]);
        assert_eq!(*silent[50].wanted_by.borrow(), [1]);
        assert!(!places.reason(8).contains("all its connections"));
        assert!(!places.are_short(8));
        // One that lets in leaves room for more.
        assert!(kept[0].prove(true) && !kept[0].prove(true));
        assert_eq!(names(&places, &mut kept), Vec::<String>::new());
        assert!(kept[1].prove(true) && kept[2].prove(true));
        assert_eq!(names(&places, &mut kept), ["4"]);
        assert!(places.are_short(8));
        kept.clear();
        assert_eq!(names(&places, &mut kept), ["5", "6", "7", "8"]);
    }

    #[test]
    fn what_is_carried_says_whose_a_connection_is() {
        let (places, mut kept) = (Rc::<Places>::default(), Vec::new());
        for n in 0..4 {
            places.wait(1, &site(&n.to_string()));
        }
        names(&places, &mut kept);
        kept.iter().for_each(|place| place.pass(2));
        assert_eq!(kept[0].account(), 2);
        places.wait(2, &site("two"));
        places.wait(1, &site("one"));
        assert_eq!(names(&places, &mut kept), ["one"]);
        kept.clear();
        assert_eq!(names(&places, &mut kept), ["two"]);
    }
}
