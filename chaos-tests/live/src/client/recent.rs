//! Keys that were written lately and will be gone soon: what clients read to see whether they go in time.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::random::Random;

/// About as many as are written while one lasts, and as long again.
const RECENT_MAX: usize = 40;

#[derive(Default)]
pub struct Recent(Mutex<VecDeque<String>>);

impl Recent {
    pub fn add(&self, key: String) {
        let mut keys = self.0.lock();
        if keys.len() >= RECENT_MAX {
            keys.pop_front();
        }
        keys.push_back(key);
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    pub fn pick(&self, random: &mut Random) -> Option<String> {
        let keys = self.0.lock();
        (!keys.is_empty()).then(|| keys[random.index(keys.len())].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let recent = Recent::default();
        let mut random = Random::new(1);
        assert_eq!(recent.pick(&mut random), None);
        (0..=RECENT_MAX).for_each(|number| recent.add(number.to_string()));
        assert!((0..1000).all(|_| recent.pick(&mut random).is_some_and(|key| key != "0")));
    }
}
