//! The line of a token: whoever it was made with, and with what that was made. It holds as long as all of them do.

use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::log::Precondition;

use super::entry::TokenEntry;
use crate::error::Error;
use crate::stored;

/// Ancestors of a token at most.
pub const ANCESTORS_MAX: usize = 32;

/// A token's keyed hash.
pub type Mac = [u8; 32];

/// A token's record, as it was read.
pub struct Member {
    pub key: Bytes,
    pub revision: u64,
    pub entry: Arc<TokenEntry>,
    pub parent: Option<Mac>,
}

/// All ancestors of a token, each of which holds.
pub struct Line {
    /// That they stand as they did.
    pub preconditions: Vec<Precondition>,
    /// The token that made it is no more, and let it go.
    pub is_released: bool,
}

impl Member {
    pub fn precondition(&self) -> Precondition {
        Precondition { key: self.key.clone(), revision: self.revision }
    }
}

/// Follows the line of a token from its `parent` on; `None`: one of its ancestors holds no more. `find` gives a token's
/// record, if it is there and has not expired.
///
/// # Errors
/// [`Error::Corrupt`], and what `find` says.
pub fn follow(
    parent: Option<Mac>,
    mut find: impl FnMut(Mac) -> Result<Option<Arc<Member>>, Error>,
) -> Result<Option<Line>, Error> {
    let mut line = Line { preconditions: Vec::new(), is_released: false };
    let mut next = parent;
    while let Some(mac) = next {
        if line.preconditions.len() > ANCESTORS_MAX {
            return Err(Error::Corrupt("a token has more ancestors than can be made".to_owned()));
        }
        let Some(ancestor) = find(mac)? else { return Ok(None) };
        if ancestor.entry.released {
            line.is_released = line.preconditions.is_empty();
            line.preconditions.push(ancestor.precondition());
            break;
        }
        line.preconditions.push(ancestor.precondition());
        next = ancestor.parent;
    }
    Ok(Some(line))
}

/// The hash as records spell it.
///
/// # Errors
/// [`Error::Corrupt`]: it is none.
pub fn mac_of(hash: &str) -> Result<Mac, Error> {
    let mut mac = Mac::default();
    hex::decode_to_slice(hash, &mut mac).map_err(|_| stored::unknown())?;
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Token `n` was made with token `n - 1`; 0 with none.
    fn member(number: u8, released: bool) -> Arc<Member> {
        let entry = if released {
            TokenEntry::released(0)
        } else {
            TokenEntry::new(String::new(), Vec::new(), "", 0)
        };
        let parent = number.checked_sub(1).map(|parent| [parent; 32]);
        let (key, revision) = (vec![number].into(), u64::from(number) + 1);
        Arc::new(Member { key, revision, entry: Arc::new(entry), parent })
    }

    fn follow_from(number: u8, gone: Option<u8>, released: Option<u8>) -> Result<Option<Line>, Error> {
        follow(Some([number; 32]), |mac| {
            Ok(Some(member(mac[0], released == Some(mac[0]))).filter(|_| gone != Some(mac[0])))
        })
    }

    #[test]
    fn a_line_names_all_its_members_up_to_the_first() {
        let line = follow_from(3, None, None).unwrap().unwrap();
        let revisions: Vec<u64> = line.preconditions.iter().map(|known| known.revision).collect();
        assert_eq!((revisions, line.is_released), (vec![4, 3, 2, 1], false));
        assert!(follow(None, |_| Ok(None)).unwrap().unwrap().preconditions.is_empty());
    }

    #[test]
    fn a_line_in_which_one_is_gone_holds_no_more() {
        for gone in 0..=3 {
            assert!(follow_from(3, Some(gone), None).unwrap().is_none(), "{gone}");
        }
    }

    #[test]
    fn a_line_ends_with_one_that_let_its_children_go() {
        let line = follow_from(3, Some(0), Some(3)).unwrap().unwrap();
        assert!(line.is_released && line.preconditions.len() == 1);
        let line = follow_from(3, Some(0), Some(1)).unwrap().unwrap();
        assert!(!line.is_released && line.preconditions.len() == 3, "that was let go is its grandparent");
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let endless = |mac: Mac| {
            let entry = Arc::new(TokenEntry::new(String::new(), Vec::new(), "", 0));
            Ok(Some(Arc::new(Member { key: vec![1].into(), revision: 1, entry, parent: Some(mac) })))
        };
        assert!(matches!(follow(Some([1; 32]), endless), Err(Error::Corrupt(_))));
    }
}
