//! Tables, folders of items, folds and prompts as people have them: read right, or refused with what is wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{Ran, Workspace};

const HEADER: &str = "pid,nodule_id,malignant,mean_diameter,nodule_margins,nodule_shape,nodule_consistency,\
                      pleural_attachment,level_of_suspicion_of_lung_cancer";

/// A workspace whose `p.toml` words reports of a table.
fn reporting(table: impl AsRef<[u8]>) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("t.csv", table);
    workspace.write(
        "p.toml",
        "[stage.report]\ninputs = { dataset = \"t.csv\" }\npublish = \"out\"\n\
         [stage.text-encode]\ninputs = { reports = \"@report\" }\n",
    );
    workspace
}

/// What `check` says, with and without errors; a run must refuse what it refuses.
fn checked(workspace: &Workspace) -> Ran {
    let checked = workspace.pipe(&["check", "p.toml"]);
    let planned = workspace.pipe(&["plan", "p.toml"]);
    assert_eq!(planned.code, checked.code, "plan and check disagree\n{}\n{}", checked.stdout, planned.stderr);
    checked
}

fn all(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn lines_are_those_that_an_editor_shows() {
    let rows = ["P1,1,0,8.5,\"Smo\noth\",,Solid,,", "P2,1,1,large,,,Solid,,"];
    for (name, between, line) in [
        ("LF", "\n", 4),
        ("CRLF", "\r\n", 4),
        ("CR", "\r", 4),
        ("blank lines", "\n\n\n", 10),
        ("blank lines with CRLF", "\r\n\r\n", 7),
        ("blank rows", "\n,,,,,,,,\n", 7),
    ] {
        let text = [HEADER, rows[0], rows[1]].join("\n").replace('\n', between);
        // The line break in a quoted cell is one however lines end.
        let workspace = reporting(&text);
        let message = all(&checked(&workspace));
        assert!(message.contains(&format!("t.csv:{line}: column `mean_diameter`")), "{name}: {message}");
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 2, "{name}");
        assert!(
            ran.stderr.contains(&format!("t.csv:{line}: column `mean_diameter`")),
            "{name}: {}",
            ran.stderr
        );
    }
}

#[test]
fn what_a_spreadsheet_writes_gives_the_same_results() {
    let plain = format!("{HEADER}\nMüller,1,0,8.5,Smooth,Ovoid,Solid,,High\nP2,1,1,12,,,Solid,,\n");
    let workspace = reporting(&plain);
    workspace.pipe_ok(&["run", "p.toml"]);
    let semicolons = plain.replace(',', ";").replace("8.5", "8,5");
    let cp1252 = |text: &str| -> Vec<u8> { text.chars().map(|c| c as u8).collect() };
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    for (name, bytes) in [
        ("semicolons", semicolons.clone().into_bytes()),
        ("sep=;", format!("sep=;\r\n{}", semicolons.replace('\n', "\r\n")).into_bytes()),
        ("semicolons in Windows-1252", cp1252(&semicolons)),
        ("tabs in UTF-16", utf16(&plain.replace(',', "\t"))),
        ("empty columns and rows", plain.replace('\n', ",,\n").replace("P2", ",,,,,,,,,,\nP2").into_bytes()),
    ] {
        workspace.write("t.csv", bytes);
        let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
        assert_eq!((ran.count("executed"), ran.count("items_executed")), (0, 0), "{name}: {}", ran.stdout);
        let warned = all(&checked(&workspace)).contains("t.csv:1: warning: the table is not UTF-8");
        assert_eq!(warned, name.ends_with("1252"), "{name}");
    }
}

#[test]
fn what_is_no_table_is_named_with_the_fix() {
    for (bytes, message, fix) in [
        (
            &b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml"[..],
            "t.csv is an Excel or",
            "pandas.read_excel('t.csv'",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "t.csv is a git-lfs pointer", "git lfs pull"),
        (b"\x1f\x8b\x08\0\0\0", "t.csv is compressed by gzip", "gunzip t.csv"),
        (b"pid;nodule_id,x\n1;2,3\n", "separated by `,` or by `;`", "sep="),
        (b"pid,nodule_id,mean_diameter\n1,1,8,5\n", "t.csv:2: 4 cells where the header has 3", "is one cell"),
        (b"pid,nodule_id\n1,\"1\n2,1\n", "t.csv:2: a quote is opened and never closed", "take the quote out"),
        (b"pid\tnodule_id\tmean_diameter\n1\t1\t8,5\n", "`8,5` is not a diameter", "correct the cell"),
    ] {
        let refused = checked(&reporting(bytes));
        let message_found = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        assert_eq!(refused.code, 2, "{}", refused.stdout);
        assert!(message_found.contains(message) && message_found.contains(fix), "{message_found}");
    }
}

#[test]
fn words_for_missing_values_are_blank_cells() {
    let words = ["", "nan", "NaN", "NA", "N/A", "#N/A", "<NA>", "None", "NULL", "null", "n/a", "-1.#IND"];
    let row =
        |(number, word): (usize, &&str)| format!("P{number},1,0,8.5,{word},{word},Solid,{word},{word}\n");
    let rows: String = words.iter().enumerate().map(row).collect();
    let workspace = reporting(format!("{HEADER}\n{rows}"));
    let check = checked(&workspace);
    assert!(check.stdout.contains("nothing wrong found"), "{}", check.stdout);
    workspace.pipe_ok(&["run", "p.toml"]);
    for (number, word) in words.iter().enumerate() {
        let report = workspace.read(&format!("out/P{number}_1.txt")).to_lowercase();
        for foreign in ["nan", "na ", "n/a", "null", "none", "suspicion", "margin", "pleural", "#"] {
            assert!(!report.contains(foreign), "{word}: {report}");
        }
    }
    // A name is never blank in silence.
    workspace.write("t.csv", format!("{HEADER}\nNA,1,0,8.5,,,Solid,,\n"));
    let refused = checked(&workspace);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("t.csv:2: `pid` must be a text, but is \"NA\""), "{}", refused.stderr);
}

#[test]
fn odd_columns_words_and_names_are_warned_of_once() {
    let workspace = reporting(
        "pid,nodule_id,nodule-shape,nodule_margin,nodule_consistency,sex\n\
         200000.0,1,Round,Smooth,SOLID,f\n1E+05,1,Round,Smooth,Part solid,f\nP3,1,Round,Smooth,Part solid,m\n",
    );
    let check = checked(&workspace);
    assert_eq!(check.code, 0);
    for line in [
        "t.csv:1: warning: column `nodule-shape` is not read; did you mean `nodule_shape`?",
        "t.csv:1: warning: column `nodule_margin` is not read; did you mean `nodule_margins`?",
        "t.csv:2: warning: `pid` looks damaged by a spreadsheet in 2 of 3 rows: \"200000.0\", \"1E+05\"",
        "t.csv:3: warning: `nodule_consistency` is \"Part solid\" in 2 rows, which is no known value",
        "    help: did you mean \"Part-solid\"?",
        "4 warnings",
    ] {
        assert!(check.stdout.contains(line), "{line}\n{}", check.stdout);
    }
    let ran = workspace.pipe_ok(&["run", "p.toml"]);
    assert!(ran.stderr.contains("t.csv:1: warning: column `nodule-shape` is not read"), "{}", ran.stderr);
    let events = workspace.pipe_ok(&["run", "p.toml", "--json", "--force", "report"]).stdout;
    let is_warning =
        |line: &str| line.contains("\"warning\"") && line.contains("t.csv:1: column `nodule-shape`");
    assert!(events.lines().any(is_warning), "{events}");
    workspace.write("p.toml", "[stage.split]\ninputs = { dataset = \"t.csv\" }\nparams = { n_splits = 2 }\n");
    workspace.write("t.csv", "pid,malignant\n1.0,1\n2.0,0\n3.0,1\n4.0,0\n");
    let split = checked(&workspace).stdout;
    assert!(
        split.contains("t.csv:2: warning: `pid` looks damaged by a spreadsheet in 4 of 4 rows"),
        "{split}"
    );
    // A column that is needed is asked for by the name that it has.
    let workspace = reporting("");
    workspace.write("t.csv", "pid,nodule-id\n1,1\n");
    let refused = checked(&workspace);
    let message = "there is no column `nodule_id`; did you mean `nodule-id`?";
    assert!(refused.stderr.contains(message), "{}", refused.stderr);
}

#[test]
fn capitals_change_no_report() {
    let reports = |margins: &str, shape: &str| {
        let workspace = reporting(format!("{HEADER}\nP1,1,0,8.5,{margins},{shape},Solid,,\n"));
        workspace.pipe_ok(&["run", "p.toml"]);
        workspace.read("out/P1_1.txt")
    };
    assert_eq!(reports("Smooth", "Complex/Irregular"), reports("SMOOTH", " complex/irregular "));
}

#[test]
fn two_files_for_one_report_are_refused_everywhere() {
    let workspace = reporting("pid,nodule_id\nP1,1\nP2,1\n");
    let text = "Findings: none.\nImpression: benign.\n";
    for name in ["P1_1", "P2_1"] {
        workspace.write(&format!("mine/{name}.txt"), text);
    }
    let encode = "[stage.text-encode]\ninputs = { reports = \"mine\" }\n";
    let ready = "[stage.report]\ninputs = { dataset = \"t.csv\", dir = \"mine\" }\n";
    for manifest in [encode, ready] {
        workspace.write("p.toml", manifest);
        for other in ["P1_1.txt~", "P1_1.bak", "P1_1.TXT", "P1_1 (1).txt"] {
            workspace.write(&format!("mine/{other}"), text);
            let refused = checked(&workspace);
            assert_eq!(refused.code, 2, "{other}: {}", refused.stdout);
            assert!(refused.stderr.contains("mine: one item has two files"), "{other}: {}", refused.stderr);
            assert_eq!(workspace.pipe(&["run", "p.toml"]).code, 2, "{other}");
            std::fs::remove_file(workspace.path(&format!("mine/{other}"))).unwrap();
        }
        for ignored in [".P1_1.txt.swp", "._P1_1.txt", "Thumbs.db", "desktop.ini"] {
            workspace.write(&format!("mine/{ignored}"), text);
        }
        assert!(checked(&workspace).stdout.contains("nothing wrong found"), "{manifest}");
        workspace.write("mine/README.md", text);
        let told = checked(&workspace).stdout;
        let message = "warning: mine: 1 file is left out: README.md";
        assert!(told.contains(message), "{told}");
        std::fs::remove_file(workspace.path("mine/README.md")).unwrap();
    }
}

#[test]
fn ready_reports_are_looked_at_before_any_work() {
    let workspace = reporting("pid,nodule_id\nP1,1\nP2,1\nP3,1\nP4,1\n");
    workspace.write("p.toml", "[stage.report]\ninputs = { dataset = \"t.csv\", dir = \"mine\" }\n");
    workspace.write("mine/P1_1.txt", "Impression: benign.\n");
    workspace.write("mine/P2_1.txt", " \n");
    workspace.write("mine/P3_1.txt", b"Impression: gr\xf6\xdfer\n");
    workspace.write("mine/P5_1.txt", "Impression: benign.\n");
    let check = checked(&workspace);
    assert_eq!(check.code, 2);
    for line in [
        "t.csv:5: error: mine has no report of 1 of 4 nodules: P4_1.txt",
        "warning: mine: 1 file is of no nodule in t.csv and not used: P5_1.txt",
        "error: mine: 1 report is empty: P2_1",
        "error: mine: 1 report is not UTF-8 text: P3_1",
    ] {
        assert!(check.stdout.contains(line), "{line}\n{}", check.stdout);
    }
    assert_eq!(workspace.pipe(&["run", "p.toml"]).code, 2);
}

#[test]
fn folds_given_by_hand_are_looked_at_before_any_work() {
    let workspace = Workspace::with_training(1);
    let manifest = workspace.read("p.toml").replace("splits = \"@split\"", "splits = \"folds\"");
    let manifest = manifest.replace("\"@phantom\"", "\"t.csv\"");
    let (_, stages) = manifest.split_once("[stage.report]").unwrap();
    let train = format!("[stage.report]{stages}").replace("slices = \"@slice\"", "slices = \"planes\"");
    workspace.write("p.toml", train);
    workspace.write("t.csv", "pid,nodule_id,malignant\n007,1,0\n008,1,1\n009,1,0\n010,1,1\n");
    for pid in ["007", "008", "009", "010"] {
        workspace.write(&format!("planes/{pid}_1.safetensors"), "");
    }
    for (train, validation, message) in [
        ("pid\n007\n008\n", "pid\n009\n010\n", None),
        (",pid\r\n0,007\r\n1,008\r\n", "pid;\n009;\n010;\n", None),
        ("pid\n007\n008\n", "pid\n008\n009\n010\n", Some("folds: 1 patient is in both parts of fold 0: 008")),
        ("pid\n7\n8\n", "pid\n9\n10\n", Some("folds: 4 patients of fold 0 are not in t.csv: 10, 7, 8, …")),
        (
            "pid\n007\n008\n",
            "patient\n009\n010\n",
            Some("folds/fold_0/val_pid.csv: the columns are `patient`"),
        ),
        ("pid\n007\n\n\nNA\n", "pid\n009\n010\n", Some("folds/fold_0/train_pid.csv:5: `pid` must be a text")),
        ("pid\n007\n008\n", "pid\n", Some("folds: fold_0/val_pid.csv names nobody")),
    ] {
        workspace.write("folds/fold_0/train_pid.csv", train);
        workspace.write("folds/fold_0/val_pid.csv", validation);
        let check = checked(&workspace);
        match message {
            None => assert_eq!(check.code, 0, "{}", all(&check)),
            Some(message) => {
                assert_eq!(check.code, 2, "{message}");
                assert!(check.stdout.contains(message), "{message}\n{}", check.stdout);
            }
        }
    }
    workspace.write("folds/fold_0/val_pid.csv", "pid\n009\n010\n009\n");
    workspace.write("folds/fold_0/val_pid (1).csv", "pid\n009\n");
    workspace.write("folds/fold_01/train_pid.csv", "pid\n");
    workspace.write("folds/notes.txt", "by hand");
    let told = all(&checked(&workspace));
    assert!(told.contains("folds: 2 of its names are not read: fold_0/val_pid (1).csv, fold_01"), "{told}");
    assert!(told.contains("folds/fold_0/val_pid.csv: 1 patient is there twice: 009"), "{told}");
    std::fs::remove_file(workspace.path("planes/008_1.safetensors")).unwrap();
    let told = all(&checked(&workspace));
    assert!(
        told.contains("t.csv:3: error: planes has no planes of 1 of 4 nodules: 008_1.safetensors"),
        "{told}"
    );
    let asked = workspace.pipe(&["check", "p.toml", "--set", "train.fold=3"]);
    assert!(asked.stdout.contains("folds has no folder fold_3"), "{}", all(&asked));
    assert!(asked.stdout.contains("it has fold_0"), "{}", asked.stdout);
}

#[test]
fn prompts_are_read_before_any_work() {
    let workspace = reporting("pid,nodule_id\nP1,1\n");
    workspace.write(
        "p.toml",
        "[stage.report]\ninputs = { dataset = \"t.csv\", prompt = \"ask.txt\" }\n\
         params = { provider = \"openai-compatible\", model = \"m\", base_url = \"http://127.0.0.1:9/v1\" }\n",
    );
    workspace.write("ask.txt", "Describe the nodule.\n");
    let refused = checked(&workspace);
    assert_eq!(refused.code, 2);
    assert!(refused.stdout.contains("error: ask.txt: it has no {features}"), "{}", all(&refused));
    workspace.write("ask.txt", "Describe the nodule.\n{features}\n");
    assert_eq!(checked(&workspace).code, 0);
}

#[test]
fn columns_are_listed_with_their_meaning_and_values() {
    let workspace = Workspace::new();
    let report = workspace.pipe_ok(&["stages", "report"]).stdout;
    for line in [
        "columns of dataset",
        "  pid (required)\n      patient; folds are divided by patient",
        "  nodule_consistency (optional)\n      consistency: Pure ground glass, Part-solid, Solid",
        "  dir (collection of .txt, optional, also under params)",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let train = workspace.pipe_ok(&["stages", "train"]).stdout;
    assert!(train.contains("  necrosis (required with weighted = \"semantic\")"), "{train}");
    assert!(workspace.pipe_ok(&["stages", "crop"]).stdout.contains("  coordZ (required)"));
}

#[test]
fn variables_that_nothing_uses_and_unknown_sweep_keys_are_told() {
    let workspace = reporting(format!("{HEADER}\nP1,1,0,8.5,,,Solid,,\n"));
    let base = workspace.read("p.toml").replace("\"t.csv\"", "\"${table}\"");
    workspace.write("base.toml", format!("[vars]\ntable = \"t.csv\"\nleft = 1\n{base}"));
    workspace.write(
        "p.toml",
        "extends = \"base.toml\"\n[vars]\ntabel = \"t.csv\"\n[sweep]\n\"report.stream\" = [\"a\", \"b\"]\n",
    );
    let told = all(&checked(&workspace));
    assert!(told.contains("p.toml:3: warning: variable `tabel` is used nowhere"), "{told}");
    // What another manifest has beside is its own affair, unless it is asked for.
    assert!(!told.contains("`left`"), "{told}");
    let set = all(&workspace.pipe_ok(&["plan", "p.toml", "--set", "left=2"]));
    assert!(set.contains("warning: variable `left` is used nowhere"), "{set}");
    workspace.write("p.toml", "extends = \"base.toml\"\n[sweep]\n\"reprot.stream\" = [\"a\"]\n");
    let refused = checked(&workspace);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("there is no stage `reprot`"), "{}", refused.stderr);
    for (sweep, message) in [
        ("\"report.modle\" = [\"a\"]", "[sweep] report.modle=\"a\": "),
        // A table is a table.
        (
            "\"report.request\" = [{ a = 1 }]",
            "[sweep] report.request={\"a\":1}: stage `report`: `request` is for",
        ),
        ("\"report.source\" = \"a\"", "`report.source` in [sweep] must have a list of values"),
    ] {
        workspace.write("p.toml", format!("extends = \"base.toml\"\n[sweep]\n{sweep}\n"));
        let refused = checked(&workspace);
        assert!(refused.code == 2 && refused.stderr.contains(message), "{}", refused.stderr);
    }
    workspace.write("p.toml", "extends = \"base.toml\"\n[sweep]\n\"pipeline.seed\" = [1, 2]\n");
    let told = all(&checked(&workspace));
    assert!(!told.contains("[sweep]"), "{told}");
}

#[test]
fn what_is_no_report_and_diameters_of_no_nodule_are_told() {
    let workspace = reporting(format!("{HEADER}\nP1,1,1.00,8.5,,,Solid,,\nP2,1,0e0,209,,,Solid,,\n"));
    let told = all(&checked(&workspace));
    assert!(told.contains("t.csv:3: warning: `mean_diameter` is no nodule's in 1 of 2 rows: 209"), "{told}");
    for placeholder in [
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
        "<!DOCTYPE html><html>404</html>",
        "nan",
        "a\0b",
    ] {
        workspace.write("r/P1_1.txt", "Impression: a nodule.");
        workspace.write("r/P2_1.txt", placeholder);
        workspace.write("p.toml", "[stage.text-encode]\ninputs = { reports = \"r\" }\n");
        let refused = checked(&workspace);
        assert_eq!(refused.code, 2, "{placeholder:?}");
        assert!(refused.stderr.contains("P2_1") || refused.stdout.contains("P2_1"), "{}", all(&refused));
    }
}
