//! A few values by name, held tightly: there is one of these for each of very many items.

use std::sync::Arc;

/// A few values, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T>(Vec<(Arc<str>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.position(name).ok().and_then(|position| self.0.get(position)).map(|(_, value)| value)
    }

    /// Whether there is a value of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Adds a value, or puts it in place of the one of the same name.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: T) {
        let name = name.into();
        match self.position(&name) {
            Ok(position) => self.0[position].1 = value,
            Err(position) => {
                self.0.reserve_exact(1);
                self.0.insert(position, (name, value));
            }
        }
    }

    /// All names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// All values, in the order of names.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl<N: Into<Arc<str>>, T> FromIterator<(N, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(pairs: I) -> Self {
        let mut named = Self::default();
        pairs.into_iter().for_each(|(name, value)| named.insert(name, value));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_told_in_its_order() {
        let mut named: Named<i32> = [("b", 2), ("a", 1), ("b", 3)].into_iter().collect();
        named.insert("c", 4);
        assert_eq!(named.iter().collect::<Vec<_>>(), [("a", &1), ("b", &3), ("c", &4)]);
        assert_eq!((named.get("b"), named.get("d")), (Some(&3), None));
        assert!(named.contains_key("a") && !named.contains_key(""));
        assert_eq!(named.values().sum::<i32>(), 8);
    }
}
