//! Variables for the servers: what a special build of them can be told, such as a planted bug.

use std::str::FromStr;

/// One variable, for all nodes or for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    node: Option<String>,
    pub name: String,
    pub value: String,
}

impl Variable {
    pub fn is_for(&self, node: usize) -> bool {
        self.node.as_ref().is_none_or(|name| *name == super::name(node))
    }
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (left, value) = text.split_once('=').ok_or("it is NAME=VALUE, or n2:NAME=VALUE for one node")?;
        let (node, name) = match left.split_once(':') {
            Some((node, name)) => (Some(node.to_owned()), name),
            None => (None, left),
        };
        Ok(Self { node, name: name.to_owned(), value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_for_all_nodes_or_for_one() {
        let all: Variable = "A=b=c".parse().unwrap();
        assert_eq!((all.name.as_str(), all.value.as_str()), ("A", "b=c"));
        assert!(all.is_for(0) && all.is_for(4));
        let one: Variable = "n2:A=x:y".parse().unwrap();
        assert_eq!((one.name.as_str(), one.value.as_str()), ("A", "x:y"));
        assert!(one.is_for(1) && !one.is_for(0));
        assert!("A".parse::<Variable>().is_err());
    }
}
