//! Programs that run for each row of a table or file of a collection, and tables that lead to files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use support::Workspace;

const TABLE: &str = "pid,nodule_id,image_path,size,note\np 1,1,scans/one.nii.gz,5,\np2,1,scans/two.nii.gz,7,it's $HOME\np2,2,scans/two.nii.gz,9,\n";

fn project(stage: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("scans/one.nii.gz", "one");
    workspace.write("scans/two.nii.gz", "two");
    workspace.write("data.csv", TABLE);
    workspace.write(
        "p.toml",
        format!("[stage.say]\nuses = \"command\"\ninputs = {{ dataset = \"data.csv\" }}\nfiles = {{ dataset = [\"image_path\"] }}\n{stage}\n"),
    );
    workspace
}

const EACH: &str = "each = \"row\"\noutputs = { masks = \"*.txt\" }\n\
    params = { shell = \"cat {row.image_path} > {out.masks}; echo {row.size} {item} >> {out.masks}\" }\n";

fn counts(workspace: &Workspace) -> (u64, u64) {
    let ran = workspace.run(&[]);
    (ran.count("items_executed"), ran.count("items_cached"))
}

fn copied(workspace: &Workspace, what: &str) -> String {
    let _ = fs::remove_dir_all(workspace.path("copied"));
    workspace.pipe_ok(&["get", "latest", what, "--to", "copied"]);
    let mut names: Vec<_> =
        fs::read_dir(workspace.path("copied")).unwrap().flatten().map(|entry| entry.path()).collect();
    names.sort();
    let text = |path: &std::path::PathBuf| {
        format!("{}: {}", path.file_name().unwrap().to_string_lossy(), fs::read_to_string(path).unwrap())
    };
    names.iter().map(text).collect()
}

#[test]
fn each_row_is_an_item_of_what_it_uses() {
    let workspace = project(EACH);
    assert_eq!(counts(&workspace), (3, 0));
    let expected = "p 1_1.txt: one5 p 1_1\np2_1.txt: two7 p2_1\np2_2.txt: two9 p2_2\n";
    assert_eq!(copied(&workspace, "say.masks"), expected);
    let edits: [(&str, &str, (u64, u64)); 4] = [
        ("it's $HOME", "another note", (0, 0)),
        (",7,", ",8,", (1, 2)),
        ("p2,2,scans/two.nii.gz,9,\n", "p2,2,scans/two.nii.gz,9,\np3,1,scans/one.nii.gz,1,\n", (1, 3)),
        ("scans/one.nii.gz", "moved/one.nii.gz", (0, 4)),
    ];
    for (from, to, expected) in edits {
        if to.starts_with("moved") {
            fs::rename(workspace.path("scans"), workspace.path("moved")).unwrap();
            workspace.write("data.csv", workspace.read("data.csv").replace("scans/", "moved/"));
        }
        workspace.write("data.csv", workspace.read("data.csv").replace(from, to));
        let found = counts(&workspace);
        assert!(found == expected || (expected.0 == 0 && found.0 == 0), "{from}: {found:?}");
    }
    workspace.write("moved/two.nii.gz", "2");
    assert_eq!(counts(&workspace), (2, 2), "a scan's content");
    assert!(copied(&workspace, "say.masks").contains("p2_2.txt: 29 p2_2"));
}

#[test]
fn a_failed_row_is_named_and_the_others_are_kept() {
    let workspace = project(&EACH.replace("echo {row.size}", "test {row.size} != 7; echo {row.size}"));
    let ran = workspace.pipe(&["run", "p.toml", "--keep-going"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("item p2_1") && ran.stderr.contains("exit code 1"), "{}", ran.stderr);
    workspace.write("data.csv", TABLE.replace(",7,", ",6,"));
    assert_eq!(counts(&workspace), (1, 2));
}

#[test]
fn logs_are_found_by_instance_also_of_a_run_that_failed() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.my_stage]\nuses = \"command\"\nforeach = { k_fold = [0, 1] }\noutputs = { made = \"made.txt\" }\n\
         params = { shell = \"echo told by {params.k_fold}; test {params.k_fold} = 0; echo x > {out.made}\" }\n",
    );
    assert_eq!(workspace.pipe(&["run", "p.toml", "--keep-going"]).code, 1);
    for (what, expected) in [
        ("my_stage[k_fold=0]", "told by 0\n"),
        ("my_stage[k_fold=1]", "told by 1\n"),
        ("my_stage", "== my_stage[k_fold=0]\ntold by 0\n== my_stage[k_fold=1]\ntold by 1\n"),
    ] {
        let told = workspace.pipe_ok(&["logs", "latest", what]).stdout;
        assert!(told.starts_with(expected), "{what}: {told}");
    }
    // A result that was known leads to the log of the run that computed it.
    workspace.pipe(&["run", "p.toml", "--keep-going"]);
    let told = workspace.pipe_ok(&["logs", "latest", "my_stage[k_fold=0]"]).stdout;
    assert!(told.contains(", computed by run ") && told.contains("told by 0"), "{told}");
    let told = workspace.pipe(&["logs", "latest", "other"]).stderr;
    assert!(told.contains("there is no log of `other`"), "{told}");
}

#[test]
fn which_columns_name_a_row_is_asked_for() {
    let workspace = project(EACH);
    workspace.write("data.csv", TABLE.replacen("pid,", "patient,", 1));
    let ran = workspace.pipe(&["check", "p.toml"]);
    assert!(ran.stderr.contains("each = { rows = \"dataset\", name = ["), "{}", ran.stderr);
}

#[test]
fn rows_may_come_in_batches() {
    let stage = "each = { rows = \"dataset\", batch = 2, columns = [\"size\"] }\noutputs = { masks = \"*.txt\" }\n\
        params = { shell = '''cat {dataset}; tail -n +2 {dataset} | while IFS=, read -r item size path; do cat \"$path\" > {out.masks}/\"$item\".txt; done''' }\n";
    let workspace = project(stage);
    assert_eq!(counts(&workspace), (3, 0));
    assert_eq!(copied(&workspace, "say.masks"), "p 1_1.txt: onep2_1.txt: twop2_2.txt: two");
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert_eq!(log.matches("item,size,image_path").count(), 2, "{log}");
    workspace.write("data.csv", TABLE.replace(",9,", ",10,"));
    assert_eq!(counts(&workspace), (1, 2));
    let ran = project(&stage.replace("/\"$item\".txt", "/x.txt")).pipe(&["run", "p.toml"]);
    assert!(ran.stderr.contains("its output `masks` is not there"), "{}", ran.stderr);
}

const FIND: &str = "each = \"row\"\noutputs = { points = \"table\" }\n\
    params = { shell = '''echo pid,nodule_id,image_path,found > {out.points}; for n in $(seq {row.size}); do echo {item},$n,{row.image_path},$n >> {out.points}; done''' }\n";

#[test]
fn tables_of_rows_become_one_and_their_paths_lead_on() {
    let workspace = project(FIND);
    workspace.write(
        "data.csv",
        "pid,image_path,size\na,scans/one.nii.gz,2\nb,scans/two.nii.gz,0\nc,scans/two.nii.gz,1\n",
    );
    workspace.run(&[]);
    let expected = "points.csv: pid,nodule_id,image_path,found\na,1,scans/one.nii.gz,1\na,2,scans/one.nii.gz,2\nc,1,scans/two.nii.gz,1\n";
    assert_eq!(copied(&workspace, "say.points"), expected);
    // A stage behind it follows the paths.
    let more = "[stage.next]\nuses = \"command\"\ninputs = { points = \"@say\" }\nfiles = { points = [\"image_path\"] }\neach = \"row\"\n\
        outputs = { texts = \"*.txt\" }\nparams = { shell = \"cat {row.image_path} > {out.texts}\" }\n";
    workspace.write("p.toml", workspace.read("p.toml") + more);
    workspace.run(&[]);
    assert_eq!(copied(&workspace, "next.texts"), "a_1.txt: onea_2.txt: onec_1.txt: two");
    fs::rename(workspace.path("scans"), workspace.path("moved")).unwrap();
    workspace.write("data.csv", workspace.read("data.csv").replace("scans", "moved"));
    assert_eq!(counts(&workspace).0, 0, "moved");
    assert_eq!(copied(&workspace, "say.points"), expected.replace("scans", "moved"));
}

#[test]
fn a_table_made_at_once_leads_on_too() {
    let stage = "outputs = { points = \"table\" }\n\
        params = { shell = \"head -n 2 {dataset} > {out.points}; cat {dataset}; cat in/dataset/*\" }\n";
    let workspace = project(stage);
    workspace.run(&[]);
    assert_eq!(
        copied(&workspace, "say.points"),
        "points.csv: pid,nodule_id,image_path,size,note\np 1,1,scans/one.nii.gz,5,\n"
    );
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert!(
        !log.contains("scans/") && log.contains("in/dataset/") && log.contains("one") && log.contains("two"),
        "{log}"
    );
    workspace.write("scans/two.nii.gz", "changed");
    assert_eq!(workspace.run(&[]).count("executed"), 1);
    // Where no table is made, paths do not count.
    let workspace =
        project("outputs = { all = \"all.txt\" }\nparams = { shell = \"cat in/dataset/* > {out.all}\" }\n");
    workspace.run(&[]);
    fs::rename(workspace.path("scans"), workspace.path("moved")).unwrap();
    workspace.write("data.csv", TABLE.replace("scans", "moved"));
    assert_eq!(workspace.run(&[]).count("executed"), 0);
    workspace.write("data.csv", TABLE.replace("scans/one.nii.gz", "moved/none.nii.gz"));
    let ran = workspace.pipe(&["check", "p.toml"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("data.csv:2: `image_path`: there is no file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_table_within_a_stage_output_leads_on_within_it() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36] }\n\
         [stage.say]\nuses = \"command\"\ninputs = { dataset = \"@phantom\" }\nfiles = { dataset = [\"image_path\"] }\n\
         outputs = { points = \"table\" }\nparams = { shell = \"head -n 2 {dataset} > {out.points}\" }\n\
         [stage.crop]\ninputs = { dataset = \"@say\" }\nparams = { size_mm = 20 }\n",
    );
    let ran = workspace.run(&[]);
    assert_eq!(ran.count("items_executed"), 1);
    let audit = workspace.pipe_ok(&["audit", "latest", "--replay"]).stdout;
    assert!(audit.contains("computed again"), "{audit}");
}

#[test]
fn each_file_of_a_collection_and_folds_by_name() {
    let workspace = project(EACH);
    let more = "[stage.size]\nuses = \"command\"\ninputs = { masks = \"@say\" }\neach = \"masks\"\noutputs = { sizes = \"*.size\" }\n\
        params = { shell = \"wc -c < {masks} > {out.sizes}\" }\n\
        [stage.fold]\nuses = \"command\"\nforeach = { k = [0, 1] }\noutputs = { made = \"made.txt\" }\n\
        params = { run = [\"bash\", \"-c\", \"echo $0 > out/made/made.txt\", \"{params.k}\"] }\n\
        [stage.all]\nuses = \"command\"\ninputs = { folds = \"@fold\", masks = \"@say\" }\noutputs = { list = \"list.txt\" }\n\
        params = { shell = \"find {folds} {masks} -type f | sort > {out.list}; cat {folds}/* >> {out.list}\" }\n";
    workspace.write("p.toml", workspace.read("p.toml") + more);
    workspace.run(&[]);
    assert_eq!(copied(&workspace, "size.sizes"), "p 1_1.size: 11\np2_1.size: 10\np2_2.size: 10\n");
    let expected = "list.txt: in/folds/k=0.txt\nin/folds/k=1.txt\nin/masks/p 1_1.txt\nin/masks/p2_1.txt\nin/masks/p2_2.txt\n0\n1\n";
    assert_eq!(copied(&workspace, "all.list"), expected);
}
