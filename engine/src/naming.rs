//! How people name stages: by the stage's name, by an instance's label as it is printed, either with an output behind it.
//!
//! `train`, `train[fold=0]`, `train.model`, `train[fold=0].model`.

/// What a person wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// A stage's name or an instance's label.
    pub name: &'a str,
    /// An output of it.
    pub output: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// Reads a name. A value in brackets may hold dots, a stage's name holds none.
    pub fn read(text: &'a str) -> Self {
        let after = text.rfind(']').unwrap_or(0);
        match text[after..].find('.') {
            None => Self { name: text, output: None },
            Some(dot) => Self { name: &text[..after + dot], output: Some(&text[after + dot + 1..]) },
        }
    }

    /// The name of the stage, brackets left out.
    pub fn stage(&self) -> &'a str {
        self.name.split_once('[').map_or(self.name, |(stage, _)| stage)
    }

    /// Whether an instance of a stage with that label is meant.
    pub fn means(&self, stage: &str, label: &str) -> bool {
        self.name == stage || self.name == label
    }
}

/// Whether one of the names means an instance.
pub(crate) fn is_among<S: AsRef<str>>(names: impl IntoIterator<Item = S>, stage: &str, label: &str) -> bool {
    names.into_iter().any(|name| Named::read(name.as_ref()).means(stage, label))
}

/// What there is in place of a name that means nothing: the labels of its stage, or else all stages.
pub fn known<'a>(named: &Named<'_>, instances: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let instances: Vec<(&str, &str)> = instances.into_iter().collect();
    let of_stage = instances.iter().filter(|(stage, _)| *stage == named.stage());
    let mut names: Vec<&str> = of_stage.map(|(_, label)| *label).collect();
    if names.is_empty() {
        names = instances.iter().map(|(stage, _)| *stage).collect();
    }
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_outputs_are_told_apart() {
        for (text, name, output, stage) in [
            ("train", "train", None, "train"),
            ("train.model", "train", Some("model"), "train"),
            ("train[fold=0]", "train[fold=0]", None, "train"),
            ("train[fold=0].model", "train[fold=0]", Some("model"), "train"),
            ("train[lr=0.001]", "train[lr=0.001]", None, "train"),
            ("train[lr=0.001].model", "train[lr=0.001]", Some("model"), "train"),
            ("train[a=[1.5,2]].model", "train[a=[1.5,2]]", Some("model"), "train"),
            ("", "", None, ""),
        ] {
            let named = Named::read(text);
            assert_eq!(named, Named { name, output }, "{text}");
            assert_eq!(named.stage(), stage, "{text}");
        }
        assert!(Named::read("train").means("train", "train[fold=0]"));
        assert!(Named::read("train[fold=0]").means("train", "train[fold=0]"));
        assert!(!Named::read("train[fold=0]").means("train", "train[fold=1]"));
    }

    #[test]
    fn a_wrong_label_is_told_with_those_of_its_stage() {
        let instances = [("split", "split"), ("train", "train[fold=0]"), ("train", "train[fold=1]")];
        assert_eq!(known(&Named::read("train[fold=7]"), instances), "train[fold=0], train[fold=1]");
        assert_eq!(known(&Named::read("trian"), instances), "split, train");
    }
}
