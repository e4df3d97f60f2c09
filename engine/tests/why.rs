//! Of code, crates and devices that are others than before, `why` names which.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use pipe_engine::code::CodeStamp;
use pipe_engine::context::{Context, Devices};
use pipe_engine::explain::why;
use pipe_engine::registry::Registry;
use pipe_engine::stage::{About, Kind, OutputSpec, Stage, StageError, Whole};
use support::{NoParams, Project};

macro_rules! kind_of_code {
    ($kind:ident, $source:literal) => {
        struct $kind;

        impl Stage for $kind {
            type Params = NoParams;
            const ABOUT: About =
                About::new("steady", "writes a word", CodeStamp { source: $source, crates: &["gemm"] })
                    .outputs(&[OutputSpec::file("word", "word.txt", "a word")])
                    .device();
        }

        impl Whole for $kind {
            fn run(&self, _: &NoParams, context: &mut Context<'_>) -> Result<(), StageError> {
                context.write("word", "word.txt", b"word")
            }
        }
    };
}

kind_of_code!(First, "first");
kind_of_code!(Second, "second");

fn lock(version: &str) -> String {
    format!(
        "version = 4\n[[package]]\nname = \"gemm\"\nversion = \"{version}\"\nsource = \"registry\"\nchecksum = \"{version}\"\n"
    )
}

#[test]
fn code_crates_and_devices_are_told_apart() {
    type Change = fn(&mut Project);
    let changes: [(Change, &str); 4] = [
        (
            |project| project.registry = Registry::new(vec![Kind::whole(&Second)], &lock("0.19.0")).unwrap(),
            "the code of kind steady changed (its source; all crates are the same)",
        ),
        (
            |project| project.registry = Registry::new(vec![Kind::whole(&First)], &lock("0.20.0")).unwrap(),
            "the code of kind steady changed (crates: gemm 0.19.0 → 0.20.0)",
        ),
        (
            |project| project.registry = Registry::new(vec![Kind::whole(&Second)], &lock("0.20.0")).unwrap(),
            "the code of kind steady changed (crates: gemm 0.19.0 → 0.20.0)",
        ),
        (|project| project.devices = Devices::Cuda(vec![0]), "device cpu → cuda (command line)"),
    ];
    for (change, expected) in changes {
        let mut project = Project::new();
        project.registry = Registry::new(vec![Kind::whole(&First)], &lock("0.19.0")).unwrap();
        project.write("pipeline.toml", "[stage.steady]\n");
        project.run(&[]);
        change(&mut project);
        let outcome = project.run(&[]);
        assert_eq!(outcome.summary.executed, 1, "{expected}");
        let told = why(&project.store(), "latest", "steady").unwrap();
        let causes: Vec<&str> = told[0].causes.iter().map(|cause| cause.text.as_str()).collect();
        assert_eq!(causes, [expected]);
    }
}
