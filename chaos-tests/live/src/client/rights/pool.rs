//! The tokens, policies and users that all clients of rights work with, at all nodes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::random::Random;

/// Tokens that are used at one time, and tokens that have ended, as far as is known, and are still tried.
const ALIVE_MAX: usize = 24;
const ENDED_MAX: usize = 16;
/// Users who log in at one time.
const USERS_MAX: usize = 6;

/// It has no `Debug`: it holds a token.
#[derive(Clone)]
pub struct Held {
    pub name: String,
    pub secret: String,
    pub accessor: String,
    pub policy: String,
    /// All that it was made by.
    pub ancestors: Vec<String>,
}

impl Held {
    fn is_below(&self, name: &str) -> bool {
        self.ancestors.iter().any(|ancestor| ancestor == name)
    }
}

/// Somebody who logs in. It has no `Debug`: it holds a password.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub password: String,
    /// Wrong passwords that are still to come; then only right ones do.
    pub guesses_left: usize,
    /// When nobody logs in as him any more: microseconds since the run began.
    pub until_us: u64,
}

#[derive(Default)]
pub struct Pool {
    parts: Mutex<Parts>,
    names: AtomicU64,
}

#[derive(Default)]
struct Parts {
    alive: VecDeque<Held>,
    ended: VecDeque<Held>,
    users: Vec<User>,
    /// Policies that have had their rule.
    policies: Vec<String>,
}

impl Pool {
    /// A name that nothing had before.
    pub fn fresh(&self, kind: &str) -> String {
        format!("{kind}{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A restore takes back what there was; none of it is asked for again.
    pub fn clear(&self) {
        *self.parts.lock() = Parts::default();
    }

    pub fn add_token(&self, held: Held) {
        let mut parts = self.parts.lock();
        if parts.alive.len() >= ALIVE_MAX
            && let Some(oldest) = parts.alive.pop_front()
        {
            parts.end(oldest);
        }
        parts.alive.push_back(held);
    }

    /// A token that may still hold.
    pub fn alive(&self, random: &mut Random) -> Option<Held> {
        pick(&self.parts.lock().alive, random)
    }

    /// A token that has ended, as far as is known.
    pub fn ended(&self, random: &mut Random) -> Option<Held> {
        pick(&self.parts.lock().ended, random)
    }

    pub fn all_ended(&self) -> Vec<Held> {
        self.parts.lock().ended.iter().cloned().collect()
    }

    /// Tokens that may still hold and have this policy.
    pub fn with_policy(&self, policy: &str) -> Vec<Held> {
        self.parts.lock().alive.iter().filter(|held| held.policy == policy).cloned().collect()
    }

    /// Tokens that may still hold and were made by this one, or by such.
    pub fn below(&self, name: &str) -> Vec<Held> {
        let parts = self.parts.lock();
        parts.alive.iter().filter(|held| held.is_below(name)).cloned().collect()
    }

    /// The token ends, or may have, and all that were made by it.
    pub fn end(&self, name: &str) {
        let mut parts = self.parts.lock();
        let all = std::mem::take(&mut parts.alive);
        let (ended, alive) =
            all.into_iter().partition::<Vec<_>, _>(|held| held.name == name || held.is_below(name));
        parts.alive = alive.into();
        ended.into_iter().for_each(|held| parts.end(held));
    }

    pub fn add_policy(&self, name: &str) {
        let policies = &mut self.parts.lock().policies;
        if !policies.iter().any(|known| known == name) {
            policies.push(name.to_owned());
        }
    }

    /// No new token gets it.
    pub fn drop_policy(&self, name: &str) {
        self.parts.lock().policies.retain(|known| known != name);
    }

    pub fn policy(&self, random: &mut Random) -> Option<String> {
        let parts = self.parts.lock();
        (!parts.policies.is_empty()).then(|| parts.policies[random.index(parts.policies.len())].clone())
    }

    /// Whether there is room for another user; those whose time is over make room.
    pub fn wants_users(&self, now_us: u64) -> bool {
        let users = &mut self.parts.lock().users;
        users.retain(|user| now_us < user.until_us);
        users.len() < USERS_MAX
    }

    pub fn add_user(&self, user: User) {
        self.parts.lock().users.push(user);
    }

    /// Somebody, and how many wrong passwords, `most` at most, are to be tried now: so many less are still to come.
    pub fn guess(&self, random: &mut Random, most: usize) -> Option<(User, usize)> {
        let users = &mut self.parts.lock().users;
        let length = users.len();
        let user = users.get_mut(random.index(length.max(1)))?;
        let guesses = user.guesses_left.min(most);
        user.guesses_left -= guesses;
        Some((user.clone(), guesses))
    }

    /// A wrong password that was not even looked at is still to come.
    pub fn give_back_guess(&self, name: &str) {
        let users = &mut self.parts.lock().users;
        users.iter_mut().filter(|user| user.name == name).for_each(|user| user.guesses_left += 1);
    }
}

impl Parts {
    fn end(&mut self, held: Held) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(held);
    }
}

fn pick(from: &VecDeque<Held>, random: &mut Random) -> Option<Held> {
    (!from.is_empty()).then(|| from[random.index(from.len())].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, ancestors: &[&str]) -> Held {
        Held {
            name: name.to_owned(),
            secret: String::new(),
            accessor: String::new(),
            policy: "p".to_owned(),
            ancestors: ancestors.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_token_ends_with_all_that_were_made_by_it() {
        let pool = Pool::default();
        for (name, ancestors) in [("a", &[][..]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &[])] {
            pool.add_token(held(name, ancestors));
        }
        let names = |tokens: Vec<Held>| tokens.into_iter().map(|held| held.name).collect::<Vec<_>>();
        assert_eq!(names(pool.below("a")), ["b", "c"]);
        pool.end("b");
        assert_eq!(names(pool.with_policy("p")), ["a", "d"]);
        assert_eq!(names(pool.all_ended()), ["b", "c"]);
    }

    #[test]
    fn what_is_too_old_is_tried_as_one_that_has_ended() {
        let pool = Pool::default();
        (0..=ALIVE_MAX).for_each(|number| pool.add_token(held(&number.to_string(), &[])));
        assert_eq!(pool.all_ended()[0].name, "0");
        assert_eq!(pool.with_policy("p").len(), ALIVE_MAX);
    }

    #[test]
    fn a_users_wrong_passwords_are_given_once_each_unless_nobody_looked() {
        let (pool, mut random) = (Pool::default(), Random::new(1));
        assert!(pool.guess(&mut random, 1).is_none());
        let (name, password) = ("ann".to_owned(), String::new());
        pool.add_user(User { name, password, guesses_left: 3, until_us: 10 });
        let mut guess = |most| pool.guess(&mut random, most).unwrap().1;
        assert_eq!((guess(2), guess(2), guess(2)), (2, 1, 0));
        pool.give_back_guess("ann");
        assert_eq!(guess(2), 1);
        assert!(pool.wants_users(11) && pool.guess(&mut random, 1).is_none(), "his time is over");
    }
}
