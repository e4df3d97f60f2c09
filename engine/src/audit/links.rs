//! Of a run that is de-identified, whose inputs cannot be bound anew: whether what an instance was made of is what the instances
//! before it gave, and whether the listing of its items is the one that its fingerprint was made of.
//!
//! Compared are files, and folders of which all counts. Where a kind uses some files of a folder, or columns of a table, the record does
//! not tell which output gives their digest.

use std::collections::{BTreeSet, HashMap};

use pipe_cache::{ArtifactRef, Digest, Form, Store};

use super::Audit;
use super::finding::{Finding, Note};
use super::results::Preimages;
use crate::items;
use crate::lineage::{Content, ItemSummary, Preimage, given_to, listed_items, outputs_given_to};
use crate::record::InstanceRecord;
use crate::registry::Registry;

/// Compares what instances were given with what others gave.
pub(super) fn check(
    (store, registry): (&Store, &Registry),
    instances: &[&InstanceRecord],
    preimages: &Preimages,
    audit: &mut Audit,
) {
    let by_label: HashMap<&str, &InstanceRecord> =
        instances.iter().map(|one| (one.label.as_str(), *one)).collect();
    let all: BTreeSet<Digest> =
        instances.iter().flat_map(|one| one.outputs.values()).map(|one| one.digest).collect();
    let mut untold = 0;
    for instance in instances {
        let Some(preimage) = preimages.get(&instance.label) else { continue };
        if let Some(items) = &preimage.items {
            audit.findings.extend(check_items(store, (instance, items), &by_label));
        }
        for used in &preimage.inputs {
            let name = used.name();
            let gave = gave(instance, &name, &by_label);
            let digest = match used.content {
                _ if gave.is_empty() => continue,
                Content::File(digest) | Content::Files(digest) => digest,
                Content::Columns(_) | Content::Headers(_) | Content::RowFiles(_) => {
                    untold += 1;
                    continue;
                }
                Content::Word(_) | Content::Extension(_) => continue,
            };
            let is_whole = gave.iter().any(|artifact| artifact.digest == digest);
            let is_file = matches!(used.content, Content::File(_))
                && gave.iter().any(|one| files_of(store, one).is_some_and(|files| files.contains(&digest)));
            match (is_whole || is_file, &used.content) {
                (true, _) => {}
                // Some files of a folder have a digest that nothing else has.
                (false, Content::Files(_))
                    if !all.contains(&digest) && !uses_all(registry, preimage, &used.input) =>
                {
                    untold += 1;
                }
                (false, _) => audit.findings.push(Finding::Link {
                    instance: instance.label.clone(),
                    given: described(instance, &name),
                    input: name,
                }),
            }
        }
    }
    if untold > 0 {
        audit.notes.push(Note::LinksUntold { inputs: untold });
    }
}

/// Whether a kind uses all of a folder that is given to an input; not if this program's code of the kind is another.
fn uses_all(registry: &Registry, preimage: &Preimage, input: &str) -> bool {
    let (Some(kind), Some(params)) = (preimage.kind_in(registry), preimage.parameters()) else {
        return false;
    };
    let is_known = registry.code(&preimage.kind).to_string() == preimage.code;
    is_known && kind.canonical(params.clone()).is_ok() && kind.files(&params, input).is_none()
}

/// What is wrong with the listing of an instance's items.
fn check_items(
    store: &Store,
    (instance, items): (&InstanceRecord, &ItemSummary),
    by_label: &HashMap<&str, &InstanceRecord>,
) -> Option<Finding> {
    let label = instance.label.clone();
    let listed = instance.items.and_then(|listing| listed_items(&store.read(listing).ok()?));
    let listed = listed.unwrap_or_default();
    let keys = listed.iter().map(|one| Some((one.item.as_str(), one.key?))).collect::<Option<Vec<_>>>();
    if keys.map(items::digest_of) != Some(items.digest) {
        return Some(Finding::Items { instance: label });
    }
    for input in &items.made_of {
        let gave: Option<Vec<BTreeSet<Digest>>> =
            gave(instance, input, by_label).into_iter().map(|artifact| files_of(store, artifact)).collect();
        // Files of a collection are listed by the input's name; those that rows lead to, by their columns'.
        let mut files = listed.iter().filter_map(|one| one.files.get(input));
        let Some(gave) = gave.filter(|gave| !gave.is_empty()) else { continue };
        if files.any(|file| !gave.iter().any(|files| files.contains(file))) {
            return Some(Finding::Link {
                instance: label,
                input: input.clone(),
                given: described(instance, input),
            });
        }
    }
    None
}

/// The outputs of other instances that are given to an input.
fn gave<'a>(
    instance: &InstanceRecord,
    input: &str,
    by_label: &HashMap<&str, &'a InstanceRecord>,
) -> Vec<&'a ArtifactRef> {
    let outputs = outputs_given_to(input, &instance.inputs).into_iter();
    outputs.filter_map(|(maker, output)| by_label.get(maker.as_str())?.outputs.get(output)).collect()
}

fn described(instance: &InstanceRecord, input: &str) -> String {
    let given = given_to(input, &instance.inputs);
    given.iter().map(|given| given.described()).collect::<Vec<_>>().join("; ")
}

/// The digests of a folder's files; `None` where they are not known.
fn files_of(store: &Store, artifact: &ArtifactRef) -> Option<BTreeSet<Digest>> {
    let index = (artifact.form != Form::File).then(|| store.index(artifact.digest).ok())??;
    Some(index.entries().iter().map(|entry| entry.digest).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;

    use pipe_cache::IndexBuilder;
    use serde_json::{Value, json};

    use super::*;

    fn record(label: &str, outputs: &Value, inputs: &Value, items: Option<Digest>) -> InstanceRecord {
        let record = json!({
            "label": label, "stage": label, "kind": "kind", "selector": {}, "status": "executed", "fingerprint": null,
            "items": items, "outputs": outputs, "inputs": inputs, "from_run": "run", "items_executed": 0,
            "items_cached": 0, "seconds": 0.0, "log": null, "error": null,
        });
        serde_json::from_value(record).unwrap()
    }

    fn given(input: &str, instance: &str) -> Value {
        let source = json!({ "output": { "instance": instance, "output": "out" } });
        json!({ "input": input, "written": format!("@{instance}"), "sources": [source] })
    }

    /// What is found of an instance that is given a file and items of a collection, as `change` has left them.
    fn found(change: impl Fn(&mut Preimage, &mut String, &mut InstanceRecord)) -> Vec<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [file, one, key] = [b"file", b"one1", b"key1"].map(|bytes| Digest::of(bytes));
        let mut index = IndexBuilder::new(Form::Collection);
        index.add("1.npy", one, 4).unwrap();
        let index = store.put(&index.finish().unwrap().to_bytes()).unwrap();
        let output = |form: &str, digest: Digest| json!({ "out": { "form": form, "digest": digest, "files": 1, "bytes": 4 } });
        let mut maker = record("maker", &output("file", file), &json!([]), None);
        let volumes = record("volumes", &output("collection", index), &json!([]), None);
        let mut listing =
            json!({ "item": "1", "key": key, "values": {}, "files": { "volumes": one } }).to_string();
        let mut preimage = Preimage { kind: "kind".to_string(), ..Preimage::default() };
        preimage.add_input("model", BTreeMap::new(), Content::File(file));
        let digest = items::digest_of(vec![("1", key)]);
        preimage.items = Some(ItemSummary { made_of: vec!["volumes".to_string()], count: 1, digest });
        change(&mut preimage, &mut listing, &mut maker);
        let listing = store.put(listing.as_bytes()).unwrap();
        let inputs = json!([given("model", "maker"), given("volumes", "volumes")]);
        let user = record("user", &json!({}), &inputs, Some(listing));
        let preimages = Preimages::from([("user".to_string(), preimage)]);
        let registry = Registry::new(Vec::new(), "").unwrap();
        let mut audit = Audit::default();
        check((&store, &registry), &[&maker, &volumes, &user], &preimages, &mut audit);
        audit.findings
    }

    #[test]
    fn what_was_not_given_is_found() {
        let other = Digest::of(b"other");
        assert_eq!(found(|_, _, _| {}), []);
        let link = |input: &str, given: &str| {
            vec![Finding::Link { instance: "user".into(), input: input.into(), given: given.into() }]
        };
        assert_eq!(
            found(|_, _, maker| maker.outputs.get_mut("out").unwrap().digest = other),
            link("model", "@maker")
        );
        assert_eq!(
            found(|preimage, _, _| preimage.inputs[0].content = Content::File(other)),
            link("model", "@maker")
        );
        let one = Digest::of(b"one1").to_string();
        assert_eq!(
            found(|_, listing, _| *listing = listing.replace(&one, &other.to_string())),
            link("volumes", "@volumes")
        );
        let items = vec![Finding::Items { instance: "user".into() }];
        assert_eq!(found(|_, listing, _| *listing = listing.replace("\"1\"", "\"2\"")), items);
        assert_eq!(found(|_, listing, _| listing.clear()), items);
    }
}
