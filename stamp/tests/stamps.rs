//! Which edits change a stamp, and which do not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use pipe_stamp::{Code, Error, Stamp};

/// A workspace of two packages: `demo` with kinds, which uses `tools`.
#[derive(Clone)]
struct Files(BTreeMap<&'static str, String>);

const DEMO: &str = r#"
[package]
name = "demo"
[dependencies]
csv = { version = "1", features = ["a"] }
libm = "0.2"
rand-core = { package = "rand_core", version = "1", optional = true }
my-tools = { path = "../tools" }
pipe-plugin = { path = "../plugin" }
[features]
fast = ["rand-core/simd"]
other = ["csv/b"]
"#;

impl Files {
    /// With a kind `one`, whose tokens are given, and a kind `two` beside it.
    fn with_kind(kind: &str) -> Self {
        let files = [
            ("Cargo.toml", "[workspace]\n"),
            ("demo/Cargo.toml", DEMO),
            (
                "demo/src/lib.rs",
                "pub mod kinds; pub mod a; mod b; mod macros; mod more; mod data;\npub use b::leaf;",
            ),
            (
                "demo/src/kinds/mod.rs",
                "pub mod one;\npub mod two;\npub static ALL: &[u8] = &[one::ONE, two::TWO];",
            ),
            ("demo/src/kinds/one.rs", kind),
            ("demo/src/kinds/two.rs", "pub const TWO: u8 = 2;"),
            ("demo/src/a/mod.rs", "pub mod inner; pub mod unused; pub fn a() {}"),
            (
                "demo/src/a/inner.rs",
                "use super::super::b::leaf; pub struct Inner; pub fn f() -> u8 { leaf() }",
            ),
            ("demo/src/a/unused.rs", "pub fn unused() {}"),
            ("demo/src/b.rs", "pub fn leaf() -> u8 { libm::floor(1.5) as u8 }"),
            (
                "demo/src/macros.rs",
                "#[macro_export] macro_rules! call { ($a:expr) => { $crate::b::leaf() + $a } }",
            ),
            ("demo/src/more.rs", "use crate::a::inner::Inner; impl Inner { pub fn more(&self) -> u8 { 7 } }"),
            (
                "demo/src/data.rs",
                "pub const WORDS: &str = include_str!(\"words.txt\"); #[cfg(feature = \"wide\")] pub fn w() {}",
            ),
            ("demo/src/words.txt", "one two"),
            ("tools/Cargo.toml", "[package]\nname = \"my-tools\"\n[dependencies]\ncsv = \"1\"\n"),
            ("tools/src/lib.rs", "mod deep; pub mod aside; pub use deep::tool as renamed;"),
            ("tools/src/deep.rs", "pub fn tool() -> u8 { 1 }"),
            ("tools/src/aside.rs", "pub fn aside() {}"),
            ("plugin/Cargo.toml", "[package]\nname = \"pipe-plugin\"\n"),
            ("plugin/src/lib.rs", "pub mod stage; pub mod run; pub mod table;"),
            ("plugin/src/stage.rs", "use crate::table::Table; pub struct Stage(Table);"),
            ("plugin/src/run.rs", "pub fn run() {}"),
            ("plugin/src/table.rs", "pub struct Table;"),
        ];
        Self(files.map(|(path, text)| (path, text.to_string())).into())
    }

    fn edit(&self, path: &'static str, change: impl Fn(&str) -> String) -> Self {
        let mut edited = self.clone();
        let text = edited.0.get_mut(path).unwrap();
        *text = change(text);
        edited
    }

    fn append(&self, path: &'static str, more: &str) -> Self {
        self.edit(path, |text| format!("{text}\n{more}"))
    }

    fn try_stamp(&self, features: &[&str]) -> Result<Stamp, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in &self.0 {
            let path: PathBuf =
                path.split('/').fold(folder.path().to_path_buf(), |path, part| path.join(part));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut code = Code::read(&folder.path().join("demo"))?;
        let kinds = code.kinds(&["src/kinds"])?;
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        code.stamp(&kinds[0], &|feature| features.contains(&feature))
    }

    fn stamp(&self) -> Stamp {
        self.try_stamp(&[]).unwrap()
    }

    fn modules(&self) -> String {
        self.stamp().modules.join(" ").replace("demo::kinds::one", "one")
    }
}

/// The modules that a kind of these tokens leads to, besides its own.
#[track_caller]
fn leads_to(kind: &str, expected: &[&str]) {
    let modules = Files::with_kind(kind).stamp().modules;
    let others: Vec<&str> =
        modules.iter().map(String::as_str).filter(|path| *path != "demo::kinds::one").collect();
    assert_eq!(others, expected, "{kind}");
}

#[test]
fn every_way_of_writing_a_path_is_followed() {
    let leaf = ["demo::b"];
    leads_to("use crate::b::leaf;", &leaf);
    leads_to("use super::super::b::leaf;", &leaf);
    leads_to("use crate::{kinds::{two as other}, b::{self, leaf as l}};", &["demo::b", "demo::kinds::two"]);
    leads_to("use crate::b::*;", &leaf);
    leads_to("fn f() { crate::b::leaf(); }", &leaf);
    leads_to("fn f() { use crate::b; b::leaf(); }", &leaf);
    leads_to("fn f() { println!(\"{}\", crate::b::leaf()); }", &leaf);
    leads_to("m! { [x => crate::b::leaf] }", &leaf);
    leads_to("#[serde(default = \"crate::b::leaf\")] struct S;", &leaf);
    leads_to(
        "mod inside { pub fn f() { super::super::super::b::leaf(); } } use inside::f;",
        &["demo::b", "demo::kinds::one::inside"],
    );
}

#[test]
fn what_modules_use_in_turn_is_followed() {
    leads_to("use crate::a::inner::f;", &["demo::a::inner", "demo::b", "demo::more"]);
    leads_to(
        "use crate::a; fn f() { a::inner::f(); }",
        &["demo::a", "demo::a::inner", "demo::b", "demo::more"],
    );
    leads_to("use crate::a::a;", &["demo::a"]);
}

#[test]
fn names_passed_on_lead_to_where_they_are_from() {
    leads_to("use crate::leaf;", &["demo::b"]);
    leads_to("use my_tools::renamed;", &["my_tools::deep"]);
    let files = Files::with_kind("use my_tools::renamed;");
    let other = files.edit("tools/src/lib.rs", |text| text.replace("deep::tool as", "deep::Other as"));
    assert_ne!(files.stamp().source, other.stamp().source);
}

#[test]
fn macros_and_impl_blocks_elsewhere_are_followed() {
    leads_to("fn f() { call!(1); }", &["demo::b", "demo::macros"]);
    leads_to("use crate::a::inner::Inner;", &["demo::a::inner", "demo::b", "demo::more"]);
}

#[test]
fn a_module_that_lists_all_is_followed_when_it_is_used_itself() {
    leads_to("use super::ALL;", &["demo::kinds", "demo::kinds::two"]);
}

#[test]
fn an_interface_is_passed_through() {
    leads_to("use pipe_plugin::stage::Stage;", &["pipe_plugin::table"]);
    let files = Files::with_kind("use pipe_plugin::stage::Stage;");
    assert_eq!(files.stamp(), files.append("plugin/src/stage.rs", "pub fn more() {}").stamp());
    assert_ne!(files.stamp(), files.append("plugin/src/table.rs", "pub fn more() {}").stamp());
}

#[test]
fn comments_layout_tests_and_other_modules_do_not_count() {
    let files = Files::with_kind("use crate::a::inner::f; pub const ONE: u8 = 1;");
    let same = [
        files.append("demo/src/b.rs", "// A remark.\n#[cfg(test)] mod tests { use super::*; }"),
        files.edit("demo/src/b.rs", |text| format!("//! Leaves.\n{}", text.replace(' ', "\r\n  "))),
        files.append("demo/src/kinds/two.rs", "pub fn more() {}"),
        files.append("demo/src/kinds/mod.rs", "pub fn more() {}"),
        files.append("demo/src/lib.rs", "pub fn more() {}"),
        files.append("demo/src/a/unused.rs", "pub fn more() {}"),
        files.edit("demo/Cargo.toml", |text| text.replace("version = \"1\"", "version = \"2\"")),
    ];
    for other in same {
        assert_eq!(files.stamp(), other.stamp(), "{:?}", other.0);
    }
}

#[test]
fn tokens_anywhere_in_the_closure_count() {
    let files = Files::with_kind("use crate::a::inner::f; pub const ONE: u8 = 1;");
    let other = [
        files.append("demo/src/kinds/one.rs", "fn more() {}"),
        files.edit("demo/src/b.rs", |text| text.replace("1.5", "2.5")),
        files.edit("demo/src/more.rs", |text| text.replace('7', "8")),
        files.edit("demo/Cargo.toml", |text| {
            text.replace("libm = \"0.2\"", "libm = { version = \"0.2\", features = [\"arch\"] }")
        }),
    ];
    for other in other {
        assert_ne!(files.stamp().source, other.stamp().source, "{:?}", other.0);
    }
}

#[test]
fn crates_are_named_as_in_a_lock_file() {
    let crates = |kind: &str| Files::with_kind(kind).stamp().crates;
    assert_eq!(crates("use csv::Reader; fn f() { std::mem::drop(rand_core::x()) }"), ["csv", "rand_core"]);
    assert_eq!(crates("use crate::a::inner::f;"), ["libm"]);
    assert_eq!(crates("fn f(libm: u8) { my_tools::renamed(); }"), Vec::<String>::new());
    assert_eq!(crates("pub use ::libm as m;"), ["libm"]);
}

#[test]
fn files_taken_in_count() {
    let files = Files::with_kind("use crate::data::WORDS;");
    assert_ne!(files.stamp(), files.append("demo/src/words.txt", "three").stamp());
}

#[test]
fn a_feature_counts_where_it_can_make_a_difference() {
    let differs = |kind: &str, feature: &str| {
        let files = Files::with_kind(kind);
        files.stamp() != files.try_stamp(&[feature]).unwrap()
    };
    assert!(differs("use crate::data::WORDS;", "wide"));
    assert!(differs("use csv::Reader;", "other"));
    assert!(differs("use rand_core::Rng;", "fast"));
    assert!(differs("use rand_core::Rng;", "rand-core"));
    assert!(!differs("use rand_core::Rng;", "other"));
    assert!(!differs("use crate::b::leaf;", "wide"));
}

#[test]
fn features_asked_of_a_package_beside_count_and_its_version_does_not() {
    let files = Files::with_kind("use my_tools::renamed;");
    let asking = |more: &str| {
        files.edit("demo/Cargo.toml", |text| text.replace("\"../tools\"", &format!("\"../tools\", {more}")))
    };
    assert_eq!(files.stamp(), asking("version = \"2\"").stamp());
    assert_ne!(files.stamp(), asking("features = [\"x\"]").stamp());
}

#[test]
fn what_cannot_be_read_or_followed_is_an_error_that_names_the_file() {
    let files = Files::with_kind("use crate::data::WORDS;");
    let error = |files: Files| files.try_stamp(&[]).unwrap_err().to_string().replace('\\', "/");
    assert!(error(files.append("demo/src/a/unused.rs", "fn f( {")).contains("src/a/unused.rs: not Rust"));
    assert!(
        error(files.append("demo/src/a/mod.rs", "mod absent;"))
            .contains("src/a/mod.rs: no file for module `absent`")
    );
    assert!(error(files.append("demo/Cargo.toml", "=")).contains("demo/Cargo.toml: "));
    let unknown =
        files.append("demo/src/data.rs", "const X: &str = include_str!(concat!(env!(\"HOME\"), \"/x\"));");
    assert!(error(unknown).contains("src/data.rs: a file taken in by a path that only the compiler knows"));
}

#[test]
fn a_stamp_is_the_same_wherever_it_is_made() {
    let files = Files::with_kind("use crate::a::inner::f; use csv::Reader;");
    assert_eq!(files.modules(), "demo::a::inner demo::b one demo::more");
    assert_eq!(files.stamp().source, "8de6cfb7f9570fce89b7d8982a0cd2c6c530c3568aca89428689c73fe84a24a1");
}
