//! Records, preimages and results with pseudonyms. Every field is named here, so that a new one is decided on, too.

use std::collections::{BTreeMap, HashMap};

use pipe_cache::{ArtifactRef, Digest, ResultRecord};

use super::DeidentifyError;
use super::artifacts::{Artifacts, rounded};
use crate::event::Summary;
use crate::execute::Usage;
use crate::lineage::{Content, Given, ItemSummary, Preimage, Source, Used};
use crate::record::{GitState, InstanceRecord, RunHeader, Surroundings, VERSION};
use crate::registry::Registry;

/// Puts instances into a store, de-identified.
pub(super) struct Records<'a> {
    artifacts: Artifacts<'a>,
    registry: &'a Registry,
    /// What stands for fingerprints.
    fingerprints: HashMap<Digest, Digest>,
    /// The digests of the names and keys in what stands for listings of items.
    listings: HashMap<Digest, Digest>,
}

impl<'a> Records<'a> {
    pub(super) fn new(artifacts: Artifacts<'a>, registry: &'a Registry) -> Self {
        Self { artifacts, registry, fingerprints: HashMap::new(), listings: HashMap::new() }
    }

    /// Puts what instances gave into the store. What they were given is known by it afterwards.
    pub(super) fn add_outputs(&mut self, instances: &[InstanceRecord]) -> Result<(), DeidentifyError> {
        for instance in instances {
            let kind = self.registry.get(&instance.kind);
            for (output, artifact) in &instance.outputs {
                let results = kind.into_iter().flat_map(|kind| kind.results_of_all_cases());
                let of_all = results.into_iter().find(|results| results.output == output);
                self.artifacts.artifact(artifact, of_all)?;
            }
            if let Some(listing) = instance.items.filter(|listing| !self.listings.contains_key(listing)) {
                let made = self.artifacts.listing(listing)?;
                self.listings.insert(listing, made);
            }
        }
        Ok(())
    }

    /// Puts an instance's preimage and result into the store.
    pub(super) fn add_result(&mut self, instance: &InstanceRecord) -> Result<(), DeidentifyError> {
        let (from, to) = (self.artifacts.from, self.artifacts.to);
        let Some(fingerprint) = instance.fingerprint else { return Ok(()) };
        let kept = from.preimage(fingerprint)?;
        let preimage = kept
            .as_deref()
            .and_then(Preimage::from_json)
            .ok_or_else(|| DeidentifyError::Preimage { instance: instance.label.clone() })?;
        let preimage =
            self.preimage(preimage, instance.items.and_then(|listing| self.listings.get(&listing).copied()));
        let made = preimage.fingerprint();
        self.fingerprints.insert(fingerprint, made);
        to.record_preimage(made, &preimage.to_json())?;
        for result in
            from.results(fingerprint)?.into_iter().filter(|result| result.outputs == instance.outputs)
        {
            let ResultRecord { class, outputs: _, run, seconds, warnings: _, scalars } = result;
            let (outputs, scalars) = (self.outputs(instance), self.scalars(scalars));
            let result = ResultRecord { class, outputs, run, seconds, warnings: Vec::new(), scalars };
            to.record_result(made, &result)?;
        }
        Ok(())
    }

    fn outputs(&self, instance: &InstanceRecord) -> BTreeMap<String, ArtifactRef> {
        let made = |(name, artifact): (&String, &ArtifactRef)| {
            Some((name.clone(), self.artifacts.known(artifact.digest)?))
        };
        instance.outputs.iter().filter_map(made).collect()
    }

    fn preimage(&self, preimage: Preimage, of_items: Option<Digest>) -> Preimage {
        let words = self.artifacts.words;
        let Preimage { kind, code, params, seed, device, environment, inputs, items } = preimage;
        let text = |(name, value): (&String, &String)| (words.text(name), words.text(value));
        let environment = environment.iter().map(text).collect();
        let params = params.iter().map(|(name, value)| (words.text(name), words.value(value)));
        let used = |Used { input, selector, content }: Used| Used {
            input,
            selector: self.selector(&selector),
            content: self.content(content),
        };
        let items = items.map(|ItemSummary { made_of, count, digest }| ItemSummary {
            made_of,
            count,
            digest: of_items.unwrap_or_else(|| self.artifacts.digest(digest)),
        });
        let inputs = inputs.into_iter().map(used).collect();
        Preimage { kind, code, params: params.collect(), seed, device, environment, inputs, items }
    }

    fn content(&self, content: Content) -> Content {
        let (words, artifacts) = (self.artifacts.words, &self.artifacts);
        let column = |(name, digest): (String, Digest)| (words.text(&name), artifacts.digest(digest));
        match content {
            Content::Word(word) => Content::Word(words.text(&word)),
            Content::File(digest) => Content::File(artifacts.digest(digest)),
            Content::Files(digest) => Content::Files(artifacts.digest(digest)),
            Content::Columns(columns) => Content::Columns(columns.into_iter().map(column).collect()),
            Content::RowFiles(columns) => Content::RowFiles(columns.into_iter().map(column).collect()),
            Content::Extension(extension) => Content::Extension(words.text(&extension)),
            Content::Headers(headers) => Content::Headers(words.text(&headers)),
        }
    }

    fn selector(&self, selector: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let words = self.artifacts.words;
        selector.iter().map(|(name, value)| (words.text(name), words.text(value))).collect()
    }

    /// What stands for an instance's record.
    pub(super) fn instance(&self, record: &InstanceRecord) -> InstanceRecord {
        let words = self.artifacts.words;
        let InstanceRecord {
            label,
            stage,
            kind,
            selector,
            status,
            fingerprint,
            origins,
            inputs,
            items,
            device,
            outputs: _,
            from_run,
            items_executed,
            items_cached,
            seconds,
            began,
            ended,
            usage,
            log: _,
            files: _,
            error,
            warnings: _,
            scalars,
        } = record.clone();
        let made = |fingerprint: Digest| {
            let known = self.fingerprints.get(&fingerprint).copied();
            known.unwrap_or_else(|| self.artifacts.digest(fingerprint))
        };
        let origin = |(name, origin): (String, String)| (words.text(&name), words.text(&origin));
        InstanceRecord {
            label: words.text(&label),
            stage: words.text(&stage),
            kind,
            selector: self.selector(&selector),
            status,
            fingerprint: fingerprint.map(made),
            origins: origins.into_iter().map(origin).collect(),
            inputs: inputs.into_iter().map(|given| self.given(given)).collect(),
            items: items.map(|listing| self.artifacts.digest(listing)),
            device,
            outputs: self.outputs(record),
            from_run,
            items_executed,
            items_cached,
            seconds,
            began,
            ended,
            usage: Usage {
                cpu_seconds: usage.cpu_seconds,
                peak_memory_bytes: usage.peak_memory_bytes.map(rounded),
                read_bytes: usage.read_bytes.map(rounded),
                written_bytes: usage.written_bytes.map(rounded),
            },
            log: None,
            files: BTreeMap::new(),
            error: error.map(|_| "left out".to_string()),
            warnings: Vec::new(),
            scalars: self.scalars(scalars),
        }
    }

    fn scalars(&self, scalars: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        scalars.into_iter().map(|(name, value)| (self.artifacts.words.text(&name), value)).collect()
    }

    fn given(&self, given: Given) -> Given {
        let words = self.artifacts.words;
        let Given { input, name, written, origin, fills, sources } = given;
        let source = |source: Source| match source {
            Source::Word(word) => Source::Word(words.text(&word)),
            Source::Path(path) => Source::Path(words.name(&path.to_string_lossy()).into()),
            Source::Hub(file) => Source::Hub(words.name(&file)),
            Source::Output { instance, output } => Source::Output { instance: words.text(&instance), output },
        };
        Given {
            input,
            name: name.map(|name| words.text(&name)),
            written: words.text(&written),
            origin: origin.map(|origin| words.text(&origin)),
            fills,
            sources: sources.into_iter().map(source).collect(),
        }
    }

    /// What stands for the beginning of a run's record; what it saw of other runs is filled in by whoever writes it.
    pub(super) fn header(&self, header: &RunHeader) -> RunHeader {
        let words = self.artifacts.words;
        let commit =
            |GitState { commit, modified }: GitState| GitState { commit: words.pseudonym(&commit), modified };
        let texts = |texts: Vec<String>| texts.iter().map(|text| words.text(text)).collect();
        let RunHeader {
            version: _,
            sequence,
            run,
            process: _,
            pipeline,
            manifest,
            root: _,
            started,
            seed,
            seed_origin,
            device,
            device_class,
            jobs,
            set,
            profiles,
            force,
            code,
            crates,
            surroundings,
            elsewhere: _,
            after: _,
            de_identified: _,
        } = header.clone();
        let Surroundings { program, host, git, command: _ } = surroundings;
        RunHeader {
            version: VERSION,
            sequence,
            run,
            process: None,
            pipeline: words.text(&pipeline),
            manifest: words.name(&manifest.to_string_lossy()).into(),
            root: None,
            started,
            seed,
            seed_origin: seed_origin.map(|origin| words.text(&origin)),
            device,
            device_class,
            jobs,
            set: texts(set),
            profiles: texts(profiles),
            force: texts(force),
            code,
            crates,
            surroundings: Surroundings {
                program,
                host: words.pseudonym(&host),
                git: git.map(commit),
                command: Vec::new(),
            },
            elsewhere: Vec::new(),
            after: Vec::new(),
            de_identified: true,
        }
    }
}

/// How a run ended, without what it says in words.
pub(super) fn summary(summary: &serde_json::Value) -> serde_json::Value {
    match serde_json::from_value::<Summary>(summary.clone()) {
        Ok(known) => serde_json::to_value(Summary { headline: None, ..known }).unwrap_or_default(),
        Err(_) => serde_json::json!({ "status": summary.get("status") }),
    }
}
