//! The number of threads changes no byte of a training step.
//!
//! candle takes the number of threads of its matrix products from `RAYON_NUM_THREADS` once per process,
//! so whole processes are compared; rayon pools within one process are compared as well.

mod common;

use std::process::Command;

use candle_core::Device;
use common::toy;
use pipe_learning::clip::dropout::Dropout;
use pipe_learning::clip::inputs::{Images, Texts};
use pipe_learning::clip::model::{Model, Tuning};
use pipe_learning::clip::text::Tokens;
use pipe_learning::clip::weights::to_safetensors;

/// Digest of the first gradients of the fixture's batch and of a short training on toys.
fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    let towers = common::towers();
    let batch = common::batch();
    let added = common::initial("ft");
    let settings = common::settings(Tuning::Ft);
    let model = Model::trainable(&towers.architecture, &settings, &towers.tensors, &added, &Device::Cpu);
    let model = model.expect("model");
    let tokens = Tokens::new(&batch.tokens, &towers.architecture.text, &Device::Cpu).expect("tokens");
    let output = model
        .forward(&Images::Pixels(batch.pixels.clone()), &Texts::Tokens(tokens), Dropout::off())
        .expect("forward");
    let loss = output.pair_logits.sqr().expect("squares").sum_all().expect("loss");
    let gradients = loss.backward().expect("backward");
    for (name, variable) in model.variables() {
        if let Some(gradient) = gradients.get(variable.as_tensor()) {
            hasher.update(name.as_bytes());
            let bytes: Vec<u8> = common::values(gradient).iter().flat_map(|x| x.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
    }
    let outcome = toy::run(&toy::parameters(), [8, 4], 1).expect("outcome");
    hasher.update(&to_safetensors(&outcome.last.tensors).expect("bytes"));
    hasher.finalize().to_hex().to_string()
}

#[test]
#[ignore = "run by the test below in processes of its own"]
fn writes_its_digest() {
    let path = std::env::var("DIGEST_FILE").expect("path");
    std::fs::write(path, digest()).expect("written");
}

#[test]
fn processes_of_any_number_of_threads_agree() {
    let folder = tempfile::tempdir().expect("folder");
    let digests = ["1", "2", "3", "16"].map(|threads| {
        let path = folder.path().join(threads);
        let status = Command::new(std::env::current_exe().expect("binary"))
            .args(["--ignored", "--exact", "writes_its_digest"])
            .env("RAYON_NUM_THREADS", threads)
            .env("DIGEST_FILE", &path)
            .output()
            .expect("started")
            .status;
        assert!(status.success(), "{threads} threads");
        std::fs::read_to_string(&path).expect("digest")
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn rayon_pools_of_any_size_agree() {
    let within = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(digest)
    };
    assert_eq!(within(1), within(3));
}
