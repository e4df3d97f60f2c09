//! What a program cannot do to the machine, to its inputs and to other stages, whatever it tries.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Ran, Workspace, has_part, wait_until};

/// Longer than anything waited for takes.
const LONG: Duration = Duration::from_secs(60);

/// A project with one stage that runs a script for bash and makes `made.txt`.
fn project(script: &str, more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("script.sh", script);
    workspace.write(
        "p.toml",
        format!(
            "[stage.say]\nuses = \"command\"\ninputs = {{ script = \"script.sh\" }}\noutputs = {{ made = \"made.txt\" }}\n\
             params = {{ run = [\"bash\", \"{{script}}\", \"{{out.made}}\"] }}\n{more}"
        ),
    );
    workspace
}

/// What a script wrote to its output.
fn made(script: &str) -> String {
    let workspace = project(script, "");
    workspace.run(&[]);
    workspace.pipe_ok(&["get", "latest", "say.made", "--to", "copied"]);
    workspace.read("copied/made.txt")
}

fn refused(script: &str, more: &str) -> Ran {
    let ran = project(script, more).pipe(&["run", "p.toml"]);
    assert_eq!(ran.code, 1, "{script}: {}", ran.stderr);
    ran
}

/// Whether programs have a file system of their own here.
fn closes_off(test: &str) -> bool {
    has_part("namespaces", made("pwd > $1") == "/pipe\n", test)
}

#[test]
fn links_in_place_of_outputs_lead_nowhere() {
    let victim = tempfile::tempdir().unwrap();
    let place = victim.path().display().to_string();
    fs::write(victim.path().join("made.txt"), "precious").unwrap();
    let software = format!("software = [\"{place}\"]\n");
    for script in [
        format!("rmdir out/made; ln -s {place} out/made"),
        format!("rm -r out; mkdir x; ln -s {place} x/made; ln -s x out"),
        format!("ln -s {place}/made.txt $1"),
        format!("ln {place}/made.txt $1 || cp -a --no-dereference {place} $1"),
    ] {
        refused(&script, &software);
        assert_eq!(fs::read_to_string(victim.path().join("made.txt")).unwrap(), "precious", "{script}");
    }
    let folder = format!(
        "[stage.all]\nuses = \"command\"\nsoftware = [\"{place}\"]\noutputs = {{ made = \"folder\" }}\n\
         params = {{ shell = \"rmdir {{out.made}}; ln -s {place} {{out.made}}\" }}\n"
    );
    let workspace = Workspace::new();
    workspace.write("p.toml", folder);
    let ran = workspace.pipe(&["run", "p.toml"]);
    assert!(ran.stderr.contains("its output `made` is a link"), "{}", ran.stderr);
    assert!(victim.path().join("made.txt").exists());
}

#[test]
fn pipes_and_links_among_outputs_hold_nobody_up() {
    let made = "outputs = { made = \"folder\" }";
    for script in [
        "mkfifo {out.made}/p; echo x > {out.made}/x",
        "mkfifo {out.made}/p; ln -s /dev/zero {out.made}/z; echo x > {out.made}/x; exit 3",
    ] {
        let workspace = Workspace::new();
        workspace.write(
            "p.toml",
            format!("[stage.say]\nuses = \"command\"\n{made}\nparams = {{ shell = \"{script}\" }}\n"),
        );
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let run = fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten().next().unwrap().path();
        let kept: Vec<_> = fs::read_dir(run.join("side/say/partial/made"))
            .unwrap()
            .flatten()
            .map(|one| one.file_name())
            .collect();
        assert_eq!(kept, ["x"], "{script}");
    }
}

#[test]
fn rights_that_a_program_takes_away_do_no_harm() {
    let workspace =
        project("echo x > $1; chmod 000 $1; chmod 000 out/made; chmod 500 out; mkdir -m 000 tmp/shut", "");
    workspace.run(&[]);
    assert_eq!(
        fs::read_dir(workspace.path(".pipe/tmp")).map_or(0, |hosts| {
            hosts.flatten().flat_map(|host| fs::read_dir(host.path()).into_iter().flatten()).count()
        }),
        0
    );
    // The folders are named; what was written is kept.
    let ran = refused("echo x > out/made/other; chmod 000 out/made; exit 1", "");
    assert!(ran.stderr.contains("exit code 1"), "{}", ran.stderr);
}

#[test]
fn open_files_of_the_caller_are_not_the_programs() {
    let workspace = project("(cat <&9) > $1 2>&1 || true", "");
    workspace.write("secret.txt", "secret\n");
    let pipe = env!("CARGO_BIN_EXE_pipe");
    let shell = format!("exec 9< secret.txt; exec {pipe} run p.toml");
    let ran = Command::new("bash").args(["-c", &shell]).current_dir(workspace.path("")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    workspace.pipe_ok(&["get", "latest", "say.made", "--to", "copied"]);
    let told = workspace.read("copied/made.txt");
    assert!(told.contains("9: Bad file descriptor"), "{told}");
}

#[test]
fn other_processes_and_devices_are_out_of_reach() {
    if !closes_off("other processes and devices are out of reach") {
        return;
    }
    let mut bystander = Command::new("sleep").arg("3602").process_group(0).spawn().unwrap();
    let pid = bystander.id();
    let script = format!(
        "kill -9 {pid} 2>/dev/null && echo killed; kill -9 -1; ls /proc | grep -c '^[0-9]' ; ls /dev | sort | tr '\\n' ' '; \
         (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote; hostname; echo left > /dev/shm/left; ls -l /proc/*/fd 2>/dev/null | grep -c pipe/tmp"
    );
    let told = made(&format!("{{ {script}; }} > $1; true"));
    assert!(bystander.try_wait().unwrap().is_none(), "{told}");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(!told.contains("killed") && !told.contains("wrote"), "{told}");
    assert!(told.contains("fd full null random shm stderr stdin stdout urandom zero"), "{told}");
    assert!(told.contains(" pipe\n"), "{told}");
    assert_eq!(told.lines().last(), Some("0"), "{told}");
    assert_eq!(made("ls /dev/shm | wc -l > $1"), "0\n");
}

#[test]
fn where_namespaces_are_not_allowed_landlock_closes_files() {
    let workspace = project("cat \"$(dirname $PWD)/../../../../../secret.txt\" || true; echo x > $1", "");
    workspace.write("secret.txt", "secret");
    let secret = fs::canonicalize(workspace.path("secret.txt")).unwrap().display().to_string();
    workspace.write("script.sh", format!("cat {secret} && exit 9; echo x > $1"));
    let run = |strict: &str| {
        workspace.write("p.toml", workspace.read("p.toml").replace("deterministic = true\n", "") + strict);
        let command = format!(
            "echo 0 > /proc/sys/user/max_user_namespaces && exec {} run p.toml --force say",
            env!("CARGO_BIN_EXE_pipe")
        );
        let ran = Command::new("unshare")
            .args(["-Ur", "sh", "-c", &command])
            .current_dir(workspace.path(""))
            .output();
        ran.map(|ran| (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned()))
            .unwrap_or_default()
    };
    let (code, told) = run("");
    let is_landlock = told.contains("closed off by Landlock alone");
    if !has_part("namespaces", is_landlock, "where namespaces are not allowed, Landlock closes files") {
        return;
    }
    assert_eq!(code, Some(0), "{told}");
    assert!(workspace.pipe_ok(&["show", "latest"]).stdout.contains("closed off by Landlock alone"));
    let log = workspace.pipe_ok(&["logs", "latest", "say"]).stdout;
    assert!(log.contains("Permission denied") && !log.contains("\nsecret"), "{log}");
}

#[test]
fn with_the_helper_killed_nothing_runs_on() {
    let mark = format!("3603.{}", std::process::id());
    let workspace = project(&format!("sleep {mark} & setsid sleep {mark}"), "");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(["run", "p.toml"])
        .current_dir(workspace.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(LONG, "the program runs", || running(&mark, "sleep").len() == 2);
    for helper in running("run-apart", "") {
        let _ = Command::new("kill").args(["-9", &helper.to_string()]).status();
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    wait_until(LONG, "nothing is left", || running(&mark, "sleep").is_empty());
}

/// The processes of this user whose command line begins so and has this in it.
fn running(mark: &str, begins: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mine = processes.filter_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.starts_with(begins) && line.contains(mark) && is_below_this_test(pid)).then_some(pid)
    });
    mine.collect()
}

/// Whether a process was started by this test's process, by however many others: other tests run beside it.
fn is_below_this_test(mut pid: u32) -> bool {
    while pid > 1 {
        if pid == std::process::id() {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        pid = parent.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    }
    false
}

#[test]
fn data_is_never_read_as_a_script() {
    let evil = [
        "$(touch out/hit)",
        "`touch out/hit`",
        "a b  *",
        "'; touch out/hit; '",
        "a[$(touch out/hit)]",
        "-n",
        "\\",
        "\n",
    ];
    for value in evil {
        let workspace = Workspace::new();
        let text = serde_json::Value::from(value).to_string();
        workspace.write(
            "p.toml",
            format!(
                "[stage.say]\nuses = \"command\"\noutputs = {{ made = \"made.txt\" }}\n[stage.say.params]\nvalue = {text}\n\
                 shell = '''\n# it's {{params.value}}\nv={{params.value}}\nprintf '<%s>' \"$v\" {{params.value}} \"x {{params.value}} y\" \"$(printf '%s' {{params.value}})\" > {{out.made}}\n\
                 [ {{params.value}} = \"$v\" ]\ntest ! -e out/hit\n'''\n"
            ),
        );
        workspace.run(&[]);
        workspace.pipe_ok(&["get", "latest", "say.made", "--to", "copied"]);
        let trimmed = value.trim_end_matches('\n');
        assert_eq!(workspace.read("copied/made.txt"), format!("<{value}><{value}><x {value} y><{trimmed}>"));
    }
}

#[test]
fn what_differs_is_never_taken_for_the_same() {
    let workspace = Workspace::new();
    let stage = |name: &str, own: &str| {
        format!(
            "[stage.{name}]\nuses = \"command\"\noutputs = {{ made = \"made.txt\" }}\n\
             params = {{ shell = \"cp {{params}} {{out.made}}\", {own} }}\n"
        )
    };
    let manifest = stage("a", "\"a.b\" = 1")
        + &stage("b", "a = { b = 1 }")
        + &stage("c", "a = { \"b.c\" = 1 }")
        + &stage("d", "a = { b = { c = 1 } }")
        + "[stage.fold]\nuses = \"command\"\nforeach = { k = [\"a/b\", \"a_b\", \"a%2Fb\"] }\noutputs = { made = \"made.txt\" }\n\
           params = { shell = \"echo {params.k} > {out.made}\" }\n\
           [stage.all]\nuses = \"command\"\ninputs = { folds = \"@fold\" }\noutputs = { made = \"made.txt\" }\n\
           params = { shell = \"cat {folds}/* > {out.made}\" }\n";
    workspace.write("p.toml", manifest);
    assert_eq!(workspace.run(&[]).count("executed"), 8);
    for (stage, expected) in [("b", "{\"a\": {\"b\": 1}}"), ("c", "{\"a\": {\"b.c\": 1}}")] {
        workspace.pipe_ok(&["get", "latest", stage, "--to", stage]);
        let told: serde_json::Value =
            serde_json::from_str(&workspace.read(&format!("{stage}/made.txt"))).unwrap();
        assert_eq!(told, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }
    workspace.pipe_ok(&["get", "latest", "all.made", "--to", "all"]);
    let mut lines: Vec<String> = workspace.read("all/made.txt").lines().map(str::to_string).collect();
    lines.sort();
    assert_eq!(lines, ["a%2Fb", "a/b", "a_b"]);
    // Numbers that count as one are given as one.
    let workspace = Workspace::new();
    let manifest = stage("a", "x = 1.0")
        .replace("cp {params} {out.made}", "cat {params} > {out.made}; echo {params.x} >> {out.made}");
    workspace.write("p.toml", &manifest);
    workspace.run(&[]);
    workspace.pipe_ok(&["get", "latest", "a.made", "--to", "one"]);
    workspace.write("p.toml", manifest.replace("1.0", "1"));
    let ran = workspace.run(&["--force", "a"]);
    assert!(!ran.stdout.contains("conflict"), "{}", ran.stdout);
}

#[test]
fn what_a_stage_declares_is_the_same_for_all_its_instances_and_programs_count() {
    let table = [
        (
            "foreach = { shell = [\"echo > {out.made}\", \"echo {seed} > {out.made}\"] }\n",
            "`foreach.shell` changes what the stage declares",
        ),
        (
            "inputs = { script = \"script.sh\" }\nparams = { run = [\"{script}\"] }\n",
            "in/script.sh is a script",
        ),
        ("params = { run = [\"no-such-program\"] }\n", "say: there is no program `no-such-program` on PATH"),
    ];
    for (more, expected) in table {
        let workspace = Workspace::new();
        workspace.write("script.sh", "#!/bin/sh\necho x > out/made/made.txt\n");
        workspace.write(
            "p.toml",
            format!("[stage.say]\nuses = \"command\"\noutputs = {{ made = \"made.txt\" }}\n{more}"),
        );
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert!(ran.code > 0 && ran.stderr.contains(expected), "{more}: {}", ran.stderr);
    }
    // A tool that is named is the one that a script finds.
    let workspace = Workspace::new();
    workspace.write("bin/mytool", "#!/bin/sh\necho mine\n");
    let path = workspace.path("bin/mytool");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    workspace.write(
        "p.toml",
        "[stage.say]\nuses = \"command\"\ntools = [\"mytool\"]\noutputs = { made = \"made.txt\" }\nparams = { shell = \"mytool > {out.made}\" }\n",
    );
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let ran = workspace.pipe_with(&["run", "p.toml"], &[("PATH", &path)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // Also where the system has one of that name, beside the shell that runs the script.
    fs::rename(workspace.path("bin/mytool"), workspace.path("bin/nproc")).unwrap();
    workspace.write("p.toml", workspace.read("p.toml").replace("mytool", "nproc"));
    let ran = workspace.pipe_with(&["run", "p.toml"], &[("PATH", &path)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    workspace.pipe_with(&["get", "latest", "say.made", "--to", "copied"], &[("PATH", &path)]);
    assert_eq!(workspace.read("copied/made.txt"), "mine\n");
}
