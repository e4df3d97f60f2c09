//! Stages that run a program: arguments, environment, what it can reach, outputs, endings.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::{Ran, Workspace, has_part, wait_until};

/// Longer than anything waited for takes.
const LONG: Duration = Duration::from_secs(60);

/// A project with one stage `say`, which runs a script with bash.
fn project(script: &str, stage: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("say.sh", script);
    let run = "run = [\"bash\", \"{script}\", \"{out.made}\"]";
    let params = if stage.contains("params") { String::new() } else { format!("params = {{ {run} }}\n") };
    let outputs = if stage.contains("outputs") { "" } else { "outputs = { made = \"made.txt\" }\n" };
    workspace.write(
        "p.toml",
        format!(
            "[stage.say]\nuses = \"command\"\ninputs = {{ script = \"say.sh\" }}\n{params}{outputs}{stage}\n"
        ),
    );
    workspace
}

/// Runs a project and gives what the output `made` is.
fn made(workspace: &Workspace) -> String {
    workspace.run(&[]);
    copied(workspace, "made.txt")
}

fn copied(workspace: &Workspace, name: &str) -> String {
    let _ = fs::remove_dir_all(workspace.path("copied"));
    workspace.pipe_ok(&["get", "latest", "say.made", "--to", "copied"]);
    workspace.read(&format!("copied/{name}"))
}

/// Runs a project that must fail, and gives its error.
fn failure(workspace: &Workspace) -> Ran {
    let ran = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    ran
}

const ARGUMENTS: [&str; 14] = [
    "plain",
    "two words",
    "",
    "it's",
    "\"quoted\"",
    "$HOME `id` $(id)",
    "a\nb",
    "--leading",
    "*",
    "~",
    "ünïcödé 肺",
    "back\\slash",
    "'; exit 3; '",
    "{\"json\": [1]}",
];

#[test]
fn arguments_are_whole_whatever_they_hold() {
    let told: String = ARGUMENTS.iter().map(|text| format!("<{text}>\n")).collect();
    let script = "out=$1; shift; for word in \"$@\"; do printf '<%s>\\n' \"$word\"; done > \"$out\"";
    let names: Vec<String> = (0..ARGUMENTS.len()).map(|number| format!("p{number}")).collect();
    let own: String =
        names.iter().zip(ARGUMENTS).map(|(name, text)| format!("{name} = {}\n", toml_text(text))).collect();
    let as_list: String = names.iter().map(|name| format!(", \"{{params.{name}}}\"")).collect();
    let stage =
        format!("[stage.say.params]\nrun = [\"bash\", \"{{script}}\", \"{{out.made}}\"{as_list}]\n{own}");
    assert_eq!(made(&project(script, &stage)), told, "as a list");
    let in_shell: String = names.iter().map(|name| format!(" {{params.{name}}}")).collect();
    let stage =
        format!("[stage.say.params]\nshell = \"bash {{script}} \\\"{{out.made}}\\\" {in_shell}\"\n{own}");
    assert_eq!(made(&project(script, &stage)), told, "in a shell");
}

fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn parameters_are_a_file_too_and_keep_their_types() {
    let stage = "params = { run = [\"cp\", \"{params}\", \"{out.made}\"], threshold = 0.5, names = [\"a b\", \"c\"] }";
    let told: serde_json::Value = serde_json::from_str(&made(&project("", stage))).unwrap();
    assert_eq!(told, serde_json::json!({"threshold": 0.5, "names": ["a b", "c"]}));
    let stage = "params = { shell = \"echo {params.n} {params.names} {params.on} {seed} {threads} > {out.made}\", n = 3, names = [1, 2], on = true }";
    assert_eq!(made(&project("", stage)), "3 [1, 2] true 42 1\n");
}

#[test]
fn nothing_of_the_caller_leaks_in_but_what_is_declared() {
    let script = "env | sort > \"$1\"; umask >> \"$1\"; pwd >> \"$1\"; cat >> \"$1\"";
    let workspace = project(script, "env = [\"DECLARED\", \"ABSENT\"]");
    let leaks = [
        ("PYTHONPATH", "/leak"),
        ("R_LIBS", "/leak"),
        ("LANG", "de_DE.UTF-8"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("TZ", "Asia/Tokyo"),
        ("LD_PRELOAD", ""),
        ("SECRET", "leak"),
        ("SLURM_JOB_ID", "leak"),
        ("DECLARED", "de cla red"),
    ];
    let run = |environment: &[(&str, &str)]| {
        let ran = workspace.pipe_with(&["run", "p.toml", "--json", "--force", "say"], environment);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        copied(&workspace, "made.txt")
    };
    let told = run(&leaks);
    assert!(!told.contains("leak") && !told.contains("de_DE") && !told.contains("Tokyo"), "{told}");
    assert!(told.contains("DECLARED=de cla red\n") && !told.contains("ABSENT"), "{told}");
    for expected in ["LC_ALL=C.UTF-8\n", "TZ=UTC\n", "OMP_NUM_THREADS=1\n", "0022\n"] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    if closes_off() {
        assert!(told.contains("HOME=/pipe/home\n") && told.contains("\n/pipe\n"), "{told}");
        // The same bytes from two shells, in two folders.
        let other = project(script, "env = [\"DECLARED\", \"ABSENT\"]");
        let ran = other.pipe_with(&["run", "p.toml"], &[("DECLARED", "de cla red"), ("OTHER", "1")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(copied(&other, "made.txt"), told);
    }
    // What the scheduler assigns passes, and does not count.
    let workspace = project("echo $CUDA_VISIBLE_DEVICES; echo x > \"$1\"", "");
    let ran = workspace.pipe_with(&["run", "p.toml"], &[("CUDA_VISIBLE_DEVICES", "3")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(workspace.pipe_ok(&["logs", "latest", "say"]).stdout, "3\n");
    assert_eq!(workspace.run(&[]).count("executed"), 0);
}

/// Whether programs have a file system of their own here; a test that is about it needs one.
fn closes_off() -> bool {
    let probe = Workspace::new();
    probe.write(
        "p.toml",
        "[stage.probe]\nuses = \"command\"\nparams = { shell = \"pwd > {out.where}\" }\noutputs = { where = \"where.txt\" }\n",
    );
    probe.run(&[]);
    probe.pipe_ok(&["get", "p.toml", "probe.where", "--to", "copied"]);
    let is_closed = probe.read("copied/where.txt") == "/pipe\n";
    is_closed || !has_part("namespaces", false, "programs with a file system of their own")
}

#[test]
fn what_is_not_declared_is_out_of_reach_and_named() {
    let workspace = project("echo \"$2\"; cat \"$2\" > \"$1\"", "");
    if !closes_off() {
        return;
    }
    workspace.write("secret.txt", "secret");
    let secret = fs::canonicalize(workspace.path("secret.txt")).unwrap().display().to_string();
    let manifest = workspace.read("p.toml").replace("\"{out.made}\"", "\"{out.made}\", \"{params.path}\"");
    workspace.write("p.toml", manifest.replace("params = {", &format!("params = {{ path = \"{secret}\",")));
    let ran = failure(&workspace);
    assert!(ran.stderr.contains("exit code 1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[HERE]/secret.txt: No such file"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("[HERE]/secret.txt is there, but the stage does not declare it"),
        "{}",
        ran.stderr
    );
    // Where it is declared, it can be read, and not be written to.
    let stage = "params = { shell = \"cat {secret} > {out.made}; ! echo x 2>/dev/null >> {secret}; ! rm -f {secret} 2>/dev/null\" }";
    let workspace = project("", stage);
    workspace.write("secret.txt", "secret");
    workspace
        .write("p.toml", workspace.read("p.toml").replace("script = \"say.sh\"", "secret = \"secret.txt\""));
    assert_eq!(made(&workspace), "secret");
    assert_eq!(workspace.read("secret.txt"), "secret");
}

#[test]
fn the_network_is_out_of_reach_unless_it_is_declared() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "if exec 3<>/dev/tcp/127.0.0.1/{port}; then echo open; else echo closed; fi 2>/dev/null > \"$1\""
    );
    let workspace = project(&script, "");
    if closes_off() {
        assert_eq!(made(&workspace), "closed\n");
    }
    let stage = "params = { run = [\"bash\", \"{script}\", \"{out.made}\"], network = true }";
    assert_eq!(made(&project(&script, stage)), "open\n");
}

#[test]
fn outputs_are_all_there_and_of_their_form_or_nothing_is() {
    let outputs =
        "outputs = { made = \"made.txt\", rows = \"table\", folder = \"folder\", scans = \"*.nii.gz\" }";
    let good = "echo x > out/made/made.txt; printf 'a,b\\n1,2\\n' > out/rows/rows.csv; mkdir out/folder/sub; \
                echo 1 > out/folder/sub/file; echo 1 > out/scans/p_1.nii.gz;";
    let table = [
        ("", None),
        ("rm out/made/made.txt", Some("its output `made` is not there")),
        (": > out/made/made.txt", Some("its output `made` is an empty file")),
        ("rm out/made/made.txt; ln -s /etc/passwd out/made/made.txt", Some("its output `made` is a link")),
        ("rm out/made/made.txt; mkdir out/made/made.txt", Some("its output `made` is no file")),
        ("rm -r out/folder/sub", Some("its output `folder` is an empty folder")),
        ("ln -s /etc out/folder/etc", Some("its output `folder` has the link etc")),
        ("rm -r out/folder", Some("its output `folder` is not there")),
        (
            "echo > out/scans/other.txt",
            Some("its output `scans` has other.txt, which is no file of the collection"),
        ),
        ("printf 'a,b\\n1\\n' > out/rows/rows.csv", Some("rows")),
        ("exit 3", Some("ended with exit code 3")),
    ];
    for (more, expected) in table {
        let workspace = project(&format!("{good}{more}"), outputs);
        let Some(expected) = expected else {
            workspace.run(&[]);
            continue;
        };
        let ran = failure(&workspace);
        assert!(ran.stderr.contains(expected), "{more}: {}", ran.stderr);
        assert_eq!(workspace.pipe(&["get", "p.toml", "say", "--to", "copied"]).code, 1, "{more}");
        // What was there is kept for people to look at.
        let partial = fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten().next().unwrap().path();
        let partial = partial.join("side/say/partial");
        assert!(partial.join("rows/rows.csv").exists(), "{more}");
        let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
        assert!(log.contains("what it had written is in"), "{more}: {log}");
    }
}

#[test]
fn endings_are_told_apart_in_words() {
    let table = [
        ("seq 1000000 | head -n 1", "a program of a pipe wrote to one that had ended already"),
        ("no-such-program", "exit code 127: it found no such program"),
        ("kill -SEGV $$", "was ended by signal 11 (segmentation fault)"),
        ("kill -KILL $$", "was ended by signal 9 (kill)"),
        ("false | true", "ended with exit code 1"),
        ("false; true", "ended with exit code 1"),
        ("printf '\\033[31mred\\033[0m 1%%\\r 2%%\\r 3%%\\n\\n\\n' >&2; exit 4", "exit code 4\n   3%"),
    ];
    for (script, expected) in table {
        let shell = toml_text(script);
        let workspace = project("", &format!("params = {{ shell = {shell} }}"));
        let ran = failure(&workspace);
        assert!(ran.stderr.contains(expected), "{script}: {}", ran.stderr);
    }
    let workspace = project("sleep 60", "resources = { time = \"1s\" }");
    let started = Instant::now();
    let ran = failure(&workspace);
    assert!(ran.stderr.contains("it took longer than 1 s"), "{}", ran.stderr);
    assert!(started.elapsed().as_secs() < 30);
    let hoard = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60";
    let ran = failure(&project(hoard, "resources = { memory_gb = 0.1 }"));
    assert!(ran.stderr.contains("more than the 0.1 of `memory_gb`, and was ended"), "{}", ran.stderr);
}

#[test]
fn a_program_that_leaves_others_behind_ends_all_of_them() {
    let mark = format!("3600.{}", std::process::id());
    let script = format!(
        "sleep {mark} & setsid sleep {mark} & (trap '' TERM; sleep {mark}) & nohup setsid bash -c 'sleep {mark}' & echo x > \"$1\""
    );
    let started = Instant::now();
    assert_eq!(made(&project(&script, "")), "x\n");
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!(running(&mark), Vec::<String>::new());
}

/// The programs that run with this among their arguments.
fn running(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let line = |process: fs::DirEntry| fs::read(process.path().join("cmdline")).ok();
    let lines = processes.filter_map(line).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    lines.filter(|line| line.starts_with("sleep") && line.contains(mark)).collect()
}

#[test]
fn interrupted_or_killed_nothing_is_left_behind_and_nothing_half_made() {
    for signal in ["INT", "TERM", "KILL"] {
        let mark = format!("3601.{}", std::process::id());
        // It writes its output at once, and goes on.
        let workspace = project(&format!("echo half > \"$1\"; setsid sleep {mark} & sleep {mark}"), "");
        let mut child = workspace.start(&["run", "p.toml"]);
        wait_until(LONG, "the program runs", || running(&mark).len() == 2);
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        child.wait().unwrap();
        wait_until(LONG, "nothing is left", || running(&mark).is_empty());
        assert_eq!(workspace.pipe(&["get", "p.toml", "say", "--to", "copied"]).code, 1, "{signal}");
        workspace.write("say.sh", "echo whole > \"$1\"");
        assert_eq!(made(&workspace), "whole\n", "{signal}");
        assert_eq!(workspace.pipe_ok(&["cache", "verify"]).code, 0);
    }
}

#[test]
fn exit_codes_that_are_named_are_tried_again() {
    let workspace = Workspace::new();
    let manifest = "[stage.say]\nuses = \"command\"\noutputs = { made = \"made.txt\" }\n\
         [stage.say.params]\nrun = [\"bash\", \"-c\", \"exit 75\"]\nretry = { codes = [75], times = 2, wait_s = 0.05 }\n";
    workspace.write("p.toml", manifest);
    let ran = failure(&workspace);
    assert!(ran.stderr.contains("exit code 75"), "{}", ran.stderr);
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert_eq!(log.matches("again in").count(), 2, "{log}");
}

#[test]
fn messages_reach_the_record() {
    let script = "echo 'pipe: 1/2 half' >> \"$PIPE_PROGRESS\"; echo 'pipe: scalar auroc 0.81' >> \"$PIPE_PROGRESS\"; \
                  echo 'pipe: warning one scan is odd' >> \"$PIPE_PROGRESS\"; echo odd >> \"$PIPE_PROGRESS\"; echo x > \"$1\"";
    let workspace = project(script, "");
    let ran = workspace.run(&[]);
    assert!(ran.stdout.contains("\"note\":\"half\""), "{}", ran.stdout);
    let shown = workspace.pipe_ok(&["show", "latest"]).stdout;
    assert!(shown.contains("auroc 0.8100") && shown.contains("one scan is odd"), "{shown}");
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert!(log.contains("the program told \"odd\", expected `pipe: 12/40 text`"), "{log}");
}

#[test]
fn very_much_output_is_kept_in_part_and_the_end_is_told() {
    let script = "for i in $(seq 12); do head -c 1000000 /dev/zero | tr '\\0' y; done; echo; seq 100000; \
                  echo the end >&2; exit 5";
    let workspace = project(script, "");
    let ran = failure(&workspace);
    assert!(ran.stderr.contains("the end"), "{}", ran.stderr);
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert!(log.len() < 10_000_000 && log.contains("bytes are left out here") && log.contains("the end"));
}

#[test]
fn what_is_wrong_with_a_declaration_is_told_at_its_place() {
    let table = [
        ("params = { run = [\"cat\", \"{scirpt}\"] }", "`{scirpt}`: there is no such input"),
        ("params = { run = [\"cat\", \"{out.amde}\"] }", "`{out.amde}`: there is no such output"),
        ("params = { run = [\"cat\", \"{params.x}\"], y = 1 }", "`{params.x}`: there is no such parameter"),
        ("params = { run = [\"cat\", \"{row.pid}\"] }", "`{row.pid}`: it runs once for all"),
        ("params = { run = [\"cat\"], retrys = 3 }", "did you mean `retry`"),
        (
            "params = { run = [\"cat\", \"{params.threshold}\"], threshold = 1, treshold = 3 }",
            "did you mean `threshold`",
        ),
        ("params = { run = [\"cat\"], resources = { cpus = 2 } }", "`resources` is no parameter"),
        ("params = { y = 1 }", "a stage runs `run`, a program with its arguments, or `shell`"),
        (
            "params = { run = [\"a\"], shell = \"b\" }",
            "a stage runs `run`, a program with its arguments, or `shell`",
        ),
        ("params = { shell = \"echo '{script}'\" }", "`{script}` stands between single quotes"),
        (
            "params = { run = [\"cat\"] }\noutputs = { made = \"tabel\" }",
            "the output `made` is of no known form",
        ),
        ("params = { run = [\"cat\"] }\noutputs = { made = \"file\" }", "the output `made` needs a name"),
        ("params = { run = [\"cat\"] }\noutputs = {}", "a stage that runs a program needs `outputs`"),
        ("params = { run = [\"cat\"] }\nfiles = { table = [\"path\"] }", "`files` names the input `table`"),
        ("params = { run = [\"cat\"] }\neach = \"volumes\"", "`each` names the input `volumes`"),
        ("params = { run = [\"cat\"] }\nsoftware = [\"tools\"]", "which is no absolute path of a folder"),
        (
            "params = { run = [\"cat\"], outputs = { a = \"table\" } }\noutputs = { made = \"folder\" }",
            "both",
        ),
    ];
    for (stage, expected) in table {
        let ran = project("", stage).pipe(&["check", "p.toml"]);
        assert_eq!(ran.code, 2, "{stage}");
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("p.toml:"), "{stage}: {}", ran.stderr);
    }
    let workspace = Workspace::new();
    workspace.write("p.toml", "[stage.phantom]\noutputs = { x = \"table\" }\n");
    let ran = workspace.pipe(&["check", "p.toml"]);
    assert!(ran.stderr.contains("kind phantom takes no `outputs`"), "{}", ran.stderr);
}

#[test]
fn a_program_or_tool_that_is_not_there_is_told_before_any_work() {
    let table = [
        ("params = { run = [\"no-such-program\"] }", "there is no program `no-such-program` on PATH"),
        ("params = { run = [\"./say.sh\"] }", "there is no program `./say.sh` at an absolute path"),
        ("tools = [\"no-such-tool --version\"]", "there is no program `no-such-tool` on PATH"),
        ("tools = [\"false\"]", "the tool `false` in `tools`: it failed"),
    ];
    for (stage, expected) in table {
        let ran = project("echo x > \"$1\"", stage).pipe(&["run", "p.toml"]);
        assert!(ran.code != 0 && ran.stderr.contains(expected), "{stage}: {}", ran.stderr);
    }
}
