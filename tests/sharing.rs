//! Many processes on one cache.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Workspace, wait_until};

/// How many processes; `PIPE_PROCESSES` says otherwise.
fn processes() -> usize {
    std::env::var("PIPE_PROCESSES").ok().and_then(|number| number.parse().ok()).unwrap_or(8)
}

fn start(workspace: &Workspace, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(arguments)
        .current_dir(workspace.path("."))
        .env_remove("PIPE_CACHE")
        .env_remove("OPENAI_API_KEY")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn every_result_is_computed_once() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 6, shape = [72, 72, 36] }\n\
         [stage.crop]\nparams = { size_mm = 60 }\ninputs = { dataset = \"@phantom\" }\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\n\
         [stage.report]\ninputs = { dataset = \"@phantom\" }\n\
         [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
         [stage.split]\nforeach = { n_splits = [2, 3, 4, 5, 6] }\n\
         inputs = { dataset = \"@phantom\" }\n",
    );
    let children: Vec<Child> =
        (0..processes()).map(|_| start(&workspace, &["run", "p.toml", "--json"])).collect();
    let mut executed: BTreeMap<String, usize> = BTreeMap::new();
    let mut items = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        for event in events {
            if event["event"] == "stage-finished" && event["executed"] == true {
                *executed.entry(event["stage"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            if event["event"] == "finished" {
                items += event["items_executed"].as_u64().unwrap();
            }
            assert_ne!(event["event"], "conflict");
        }
    }
    // Items may be shared out among processes, of which each then puts them together.
    let whole =
        executed.iter().filter(|(stage, _)| stage.starts_with("phantom") || stage.starts_with("split"));
    let whole: Vec<_> = whole.collect();
    assert_eq!(whole.len(), 6, "{executed:?}");
    assert!(whole.iter().all(|(_, times)| **times == 1), "{executed:?}");
    let alone = workspace.pipe_ok(&["run", "p.toml", "--json", "--cache", "other"]);
    assert_eq!(items, alone.count("items_executed"));
    let again = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!((again.count("executed"), again.count("items_executed")), (0, 0));
    assert_eq!(std::fs::read_dir(workspace.path(".pipe/claims")).unwrap().count(), 0);
}

#[test]
fn the_work_of_a_killed_process_is_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let (is_silent, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(0)));
    let (silence, count) = (Arc::clone(&is_silent), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            *count.lock().unwrap() += 1;
            let silence = Arc::clone(&silence);
            std::thread::spawn(move || answer(stream, &silence));
        }
    });
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,necrosis\n1,1,Absent\n");
    workspace.write(
        "p.toml",
        format!(
            "[stage.report]\ninputs = {{ dataset = \"nodules.csv\" }}\n\
             params = {{ provider = \"openai-compatible\", model = \"m\", base_url = \"{address}\" }}\n"
        ),
    );
    let mut first = start(&workspace, &["run", "p.toml"]);
    wait_until(Duration::from_secs(60), "the service is asked", || *asked.lock().unwrap() > 0);
    let mut second = start(&workspace, &["run", "p.toml", "--json"]);
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    let waiting = lines.by_ref().map(|line| line.unwrap()).find(|line| line.contains("\"waiting\"")).unwrap();
    assert!(waiting.contains(&format!("process {} on ", first.id())), "{waiting}");
    assert_eq!(*asked.lock().unwrap(), 1, "both asked");
    is_silent.store(false, Ordering::SeqCst);
    first.kill().unwrap();
    first.wait().unwrap();
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    assert!(second.wait().unwrap().success(), "{rest:?}");
    assert!(rest.last().unwrap().contains("\"items_executed\":1"), "{rest:?}");
}

fn answer(mut stream: std::net::TcpStream, is_silent: &AtomicBool) {
    let mut bytes = [0; 4096];
    let mut text = String::new();
    while !text.contains("messages") {
        let count = stream.read(&mut bytes).unwrap_or(0);
        text += &String::from_utf8_lossy(&bytes[..count]);
        if count == 0 {
            return;
        }
    }
    if is_silent.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(600));
    }
    let body =
        "{\"choices\": [{\"message\": {\"content\": \"Impression: none.\"}, \"finish_reason\": \"stop\"}]}";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + body).as_bytes());
}
