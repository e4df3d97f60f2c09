//! Reports by a language model: a local server in its place.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Ran, Workspace, wait_until};

const KEY: &str = "sk-test-0123456789-never-shown";

/// A request as the server saw it.
#[derive(Clone)]
struct Seen {
    path: String,
    headers: Vec<String>,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn prompt(&self) -> &str {
        let places = ["/messages/0/content", "/contents/0/parts/0/text"];
        places.iter().find_map(|place| self.body.pointer(place)).and_then(Value::as_str).unwrap()
    }
}

/// What the server does with its n-th request, counted from 0.
enum Does {
    Answers(u16, &'static str, Value),
    HangsUp,
    Hangs,
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn new(does: impl Fn(usize, &Seen) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (list, does) = (Arc::clone(&seen), Arc::new(does));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (list, does) = (Arc::clone(&list), Arc::clone(&does));
                std::thread::spawn(move || serve(stream, &list, does.as_ref()));
            }
        });
        Self { address, seen }
    }

    /// One that words every report.
    fn willing() -> Self {
        Self::new(|_, seen| Does::Answers(200, "", completion(seen)))
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.seen().len()
    }
}

fn serve(mut stream: TcpStream, list: &Mutex<Vec<Seen>>, does: &dyn Fn(usize, &Seen) -> Does) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let lower = |line: &String| {
        let (name, value) = line.split_once(": ").unwrap();
        format!("{}: {value}", name.to_lowercase())
    };
    let headers: Vec<String> = lines[1..].iter().map(lower).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let seen = Seen { path, headers, body: serde_json::from_slice(&body).unwrap() };
    let number = {
        let mut list = list.lock().unwrap();
        list.push(seen.clone());
        list.len() - 1
    };
    match does(number, &seen) {
        Does::HangsUp => {}
        Does::Hangs => std::thread::sleep(Duration::from_secs(600)),
        Does::Answers(status, headers, body) => {
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    }
}

fn completion(seen: &Seen) -> Value {
    let is_solid = seen.prompt().contains("consistency: Solid");
    let text =
        format!("Findings: a nodule.\n\nImpression: {}.", if is_solid { "solid" } else { "not solid" });
    json!({"model": "tiny-1", "choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
}

const ROWS: &str = "pid,nodule_id,nodule_consistency,necrosis\n100012,1,Solid,Absent\n100012,2,Part-solid,\n\
                    100099,1,Solid,Absent\n";

/// A workspace with three nodules and this provider.
fn workspace(server: &Server, provider: &str, more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", ROWS);
    workspace.write(
        "p.toml",
        format!(
            "[stage.report]\ninputs = {{ dataset = \"nodules.csv\" }}\npublish = \"reports\"\n{more}\n\
             [stage.report.params]\nprovider = \"{provider}\"\nmodel = \"tiny\"\nbase_url = \"{}\"\n",
            server.address
        ),
    );
    workspace
}

fn run(workspace: &Workspace, arguments: &[&str]) -> Ran {
    let keys = [("OPENAI_API_KEY", KEY), ("GEMINI_API_KEY", KEY)];
    workspace.pipe_with(&[&["run", "p.toml", "--json"], arguments].concat(), &keys)
}

fn run_ok(workspace: &Workspace, arguments: &[&str]) -> u64 {
    let ran = run(workspace, arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.count("items_executed")
}

/// The errors of a run that fails.
fn failure(workspace: &Workspace, arguments: &[&str]) -> String {
    let keys = [("OPENAI_API_KEY", KEY), ("GEMINI_API_KEY", KEY)];
    let ran = workspace.pipe_with(&[&["run", "p.toml"], arguments].concat(), &keys);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    unbroken(&ran.stderr)
}

/// A message without the breaks to the terminal's width.
fn unbroken(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// The files below a folder that hold these bytes.
fn files_with(folder: &Path, bytes: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files_with(&entry.path(), bytes, found);
        } else if std::fs::read(entry.path()).unwrap().windows(bytes.len()).any(|part| part == bytes) {
            found.push(entry.path().display().to_string());
        }
    }
}

#[test]
fn each_nodule_is_asked_about_once() {
    let server = Server::willing();
    let workspace = workspace(&server, "openai-compatible", "");
    assert_eq!((run_ok(&workspace, &[]), server.count()), (3, 3));
    assert_eq!(workspace.read("reports/100012_1.txt"), "Findings: a nodule.\n\nImpression: solid.\n");
    assert_eq!(workspace.read("reports/100012_2.txt"), "Findings: a nodule.\n\nImpression: not solid.\n");
    for seen in server.seen() {
        assert_eq!(seen.path, "/v1/chat/completions");
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {KEY}")));
        assert_eq!(seen.body["model"], "tiny");
        assert!(seen.prompt().contains("- consistency: "), "{}", seen.prompt());
        assert!(!seen.body.to_string().contains("1000"), "a patient's identifier: {}", seen.body);
    }
    let mut found = Vec::new();
    files_with(&workspace.path("."), KEY.as_bytes(), &mut found);
    assert!(found.is_empty(), "the key is in {found:?}");

    assert_eq!((run_ok(&workspace, &[]), server.count()), (0, 3));
    workspace.write("nodules.csv", format!("{ROWS}100200,1,Solid,Present\n"));
    assert_eq!((run_ok(&workspace, &[]), server.count()), (1, 4));
    // How patient a stage is makes no other report.
    let manifest = workspace.read("p.toml");
    let patient = "resources = { requests_per_minute = 6000, request_timeout_s = 9, request_attempts = 2 }\n";
    workspace.write(
        "p.toml",
        manifest.replace("[stage.report.params]", &format!("{patient}[stage.report.params]")),
    );
    assert_eq!((run_ok(&workspace, &[]), server.count()), (0, 4));
    assert_eq!((run_ok(&workspace, &["--set", "report.request={temperature = 0}"]), server.count()), (4, 8));
    assert_eq!(server.seen()[7].body["temperature"], 0);
    assert_eq!(run_ok(&workspace, &[]), 0);
}

#[test]
fn a_prompt_of_ones_own_counts_by_content() {
    let server = Server::willing();
    let workspace = workspace(&server, "openai-compatible", "");
    workspace.write("prompt.txt", "Kurz, bitte: {features}");
    let set = ["--set", "report.prompt=prompt.txt", "--set", "report.request.seed={seed}"];
    assert_eq!(run_ok(&workspace, &set), 3);
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.prompt().starts_with("Kurz, bitte: - consistency: ")));
    // Equal nodules are asked about with other seeds.
    let seeds: std::collections::BTreeSet<u64> =
        seen.iter().map(|seen| seen.body["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds.len(), 3);
    workspace.write("prompt.txt", "Lang, bitte: {features}");
    assert_eq!((run_ok(&workspace, &set), server.count()), (3, 6));
    workspace.write("prompt.txt", "Nichts.");
    let refused = run(&workspace, &set);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("prompt.txt: it has no {features}"), "{}", refused.stderr);
    assert_eq!(server.count(), 6);
}

#[test]
fn gemini_is_asked_in_its_own_words() {
    let server = Server::new(|_, _| {
        let parts = json!([{"text": "Findings: none. Impression: "}, {"text": "benign."}]);
        let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
        Does::Answers(200, "", body)
    });
    let workspace = workspace(&server, "gemini", "");
    assert_eq!(run_ok(&workspace, &["--set", "report.request.generationConfig={temperature = 0.2}"]), 3);
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v1/models/tiny:generateContent");
    assert_eq!((seen.header("x-goog-api-key"), seen.header("authorization")), (Some(KEY), None));
    assert_eq!(seen.body["generationConfig"], json!({"temperature": 0.2}));
    assert_eq!(workspace.read("reports/100099_1.txt"), "Findings: none. Impression: benign.\n");
}

#[test]
fn a_service_that_stumbles_is_asked_again() {
    let server = Server::new(|number, seen| match number {
        0 => Does::Answers(429, "Retry-After: 0\r\n", json!({"error": {"message": "slow down"}})),
        1 => Does::HangsUp,
        2 => Does::Answers(503, "Retry-After: 0\r\n", json!("busy")),
        _ => Does::Answers(200, "", completion(seen)),
    });
    let workspace = workspace(&server, "openai-compatible", "");
    assert_eq!((run_ok(&workspace, &["--jobs", "1"]), server.count()), (3, 6));
    let mut logs = Vec::new();
    files_with(&workspace.path(".pipe"), b"answered 429: slow down; try 2 of 6 in 0.0 s", &mut logs);
    assert!(logs.len() == 1 && logs[0].ends_with("logs/report.log"), "{logs:?}");
}

#[test]
fn what_was_answered_is_kept_when_the_service_gives_up() {
    let server = Server::new(|number, seen| match number {
        0 | 1 => Does::Answers(200, "", completion(seen)),
        2 | 3 => Does::Answers(500, "Retry-After: 0\r\n", json!({"error": "out of order"})),
        _ => Does::Answers(200, "", completion(seen)),
    });
    let workspace = workspace(&server, "openai-compatible", "resources = { request_attempts = 2 }");
    let error = failure(&workspace, &["--jobs", "1"]);
    assert!(error.contains("answered 500: out of order, 2 times"), "{error}");
    assert!(error.contains("run again later: what was answered is kept"), "{error}");
    assert_eq!((run_ok(&workspace, &[]), server.count()), (1, 5));
}

#[test]
fn refusals_are_told_at_once_and_without_the_key() {
    let cases = [
        (401, "", json!({"error": {"message": format!("bad key {KEY}")}}), "answered 401: bad key [key]"),
        (429, "", json!({"error": {"code": "insufficient_quota", "message": "pay"}}), "answered 429: pay"),
        (307, "Location: /elsewhere\r\n", json!({}), "redirects are not followed"),
        (200, "", json!({"hello": 1}), "something else than a chat completion: it has no `choices`"),
        (
            200,
            "",
            json!({"choices": [{"message": {"content": "Find"}, "finish_reason": "length"}]}),
            "the model gave no whole text: it ended with `length`",
        ),
    ];
    for (status, headers, body, expected) in cases {
        let server = Server::new(move |_, _| Does::Answers(status, headers, body.clone()));
        let workspace = workspace(&server, "openai-compatible", "");
        let error = failure(&workspace, &["--jobs", "1"]);
        assert!(error.contains(expected) && !error.contains(KEY), "{expected}: {error}");
        assert_eq!(server.count(), 1, "{expected}");
        let mut found = Vec::new();
        files_with(&workspace.path("."), KEY.as_bytes(), &mut found);
        assert!(found.is_empty(), "the key is in {found:?}");
    }
}

#[test]
fn a_silent_service_is_left_after_the_time_that_is_given() {
    let server = Server::new(|_, _| Does::Hangs);
    let limits = "resources = { request_timeout_s = 1, request_attempts = 1 }";
    let workspace = workspace(&server, "openai-compatible", limits);
    let error = failure(&workspace, &["--jobs", "1"]);
    assert!(error.contains("gave no answer in time, 1 times"), "{error}");
}

#[test]
fn an_interrupt_does_not_wait_for_an_answer() {
    let server = Server::new(|_, _| Does::Hangs);
    let workspace = workspace(&server, "openai-compatible", "");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(["run", "p.toml"])
        .current_dir(workspace.path("."))
        .env_remove("PIPE_CACHE")
        .env_remove("OPENAI_API_KEY")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(Duration::from_secs(60), "the service is asked", || {
        assert!(child.try_wait().unwrap().is_none());
        server.count() > 0
    });
    assert_eq!(server.seen()[0].header("authorization"), None);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    // The service is silent for ten minutes, and the stage patient for two.
    let has_ended = || child.try_wait().unwrap().is_some();
    wait_until(Duration::from_secs(30), "the run ends", has_ended);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_does_not_go_together_is_told_before_anybody_is_asked() {
    let server = Server::willing();
    let workspace = workspace(&server, "openai-compatible", "");
    workspace.write("prompt.txt", "{features}");
    workspace.write("ready/100012_1.txt", "Findings: none.");
    let manifest = workspace.read("p.toml");
    let without_model = manifest.replace("model = \"tiny\"\n", "");
    for (manifest, arguments, expected) in [
        (&without_model, &["--set", "vars.x=1"][..], "a language model needs its `model`"),
        (&manifest, &["--set", "report.base_url=models.example"], "is no address"),
        (&manifest, &["--set", "report.provider=template"], "`model` is for a language model"),
        (&manifest, &["--set", "report.request.messages=x"], "`request.messages` is set by the stage itself"),
        (&manifest, &["--set", "report.dir=ready"], "`dir` has ready reports"),
        (&manifest, &["--set", "report.provider=clippy"], "clippy"),
    ] {
        workspace.write("p.toml", manifest);
        let ran = workspace.pipe(&[&["check", "p.toml"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?} {}", ran.stdout);
        assert!(unbroken(&ran.stderr).contains(expected), "{arguments:?}: {}", ran.stderr);
    }
    let template = "[stage.report]\ninputs = { dataset = \"nodules.csv\", prompt = \"prompt.txt\" }\n\
                    resources = { requests_per_minute = 0 }\n[stage.crop]\ninputs = { dataset = \"nodules.csv\" }\n\
                    resources = { request_attempts = 3 }\n";
    workspace.write("p.toml", template);
    let ran = workspace.pipe(&["check", "p.toml"]);
    for expected in [
        "`prompt` is for a language model",
        "`requests_per_minute` must be at least 1",
        "`crop` asks no service",
    ] {
        assert!(unbroken(&ran.stderr).contains(expected), "{expected}: {}", ran.stderr);
    }
    workspace.write("p.toml", &manifest);
    let error = failure(&workspace, &["--set", "report.base_url=http://192.0.2.1/v1"]);
    assert!(
        error.contains("the key in OPENAI_API_KEY would go to http://192.0.2.1/v1/chat/completions"),
        "{error}"
    );
    assert_eq!(server.count(), 0);
}
