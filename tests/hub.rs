//! Weights from a model hub: a local server in its place.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use support::{Ran, Workspace};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILE: &str = "/openai/clip-vit-base-patch32/resolve/main/model.safetensors";

/// A hub with one file.
struct Hub {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

/// Serves `content` as if its SHA-256 were `digest`.
fn hub(content: Vec<u8>, digest: String) -> Hub {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            answer(stream.unwrap(), &content, &digest);
        }
    });
    Hub { endpoint, asked }
}

fn answer(mut stream: TcpStream, content: &[u8], digest: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    let headers: Vec<String> =
        lines.map(|line| line.unwrap().to_lowercase()).take_while(|x| !x.is_empty()).collect();
    if request.split(' ').nth(1) != Some(FILE) {
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        return;
    }
    let range = headers.iter().find_map(|header| header.strip_prefix("range: bytes=")).unwrap_or("0-");
    let (start, end) = range.trim().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(content.len(), |end: usize| end + 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\
         ETag: \"{digest}\"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        end - start,
        end - 1,
        content.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&content[start..end]).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tiny towers, as a file of the hub.
fn weights() -> Vec<u8> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/stages/learning/tests/fixtures/model/clip_tiny.safetensors");
    std::fs::read(path).unwrap()
}

/// A workspace whose training takes weights from the hub.
fn workspace() -> Workspace {
    let workspace = Workspace::with_training(1);
    let manifest = workspace.read("p.toml");
    workspace.write("p.toml", manifest.replace("\"random\"", "\"hf://openai/clip-vit-base-patch32\""));
    workspace
}

/// Only what comes before training runs, for the tiny towers know few words.
fn run(workspace: &Workspace, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let home = workspace.path("hub").display().to_string();
    let cleared = [("HF_HUB_CACHE", ""), ("HF_TOKEN", ""), ("HF_HOME", home.as_str())];
    workspace.pipe_with(arguments, &[&cleared[..], environment].concat())
}

#[test]
fn weights_are_downloaded_once_checked_and_then_taken_from_the_cache() {
    let workspace = workspace();
    let content = weights();
    let hub = hub(content.clone(), sha256(&content));
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let check = run(&workspace, &["check", "p.toml"], &online);
    assert_eq!((check.code, hub.asked.load(Ordering::Relaxed)), (0, 0), "{}", check.stderr);

    let plan = run(&workspace, &["plan", "p.toml"], &online);
    assert_eq!(hub.asked.load(Ordering::Relaxed), 0, "{}", plan.stderr);
    let offline = run(&workspace, &["run", "p.toml", "--only", "split"], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.code, 2, "{}", offline.stderr);
    assert!(offline.stderr.contains("HF_HUB_OFFLINE is set"), "{}", offline.stderr);

    let first = run(&workspace, &["run", "p.toml", "--only", "split"], &online);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let asked = hub.asked.load(Ordering::Relaxed);
    assert!(asked >= 2);
    let kept = workspace.path("hub/hub/models--openai--clip-vit-base-patch32/snapshots").join(COMMIT);
    assert_eq!(std::fs::read(kept.join("model.safetensors")).unwrap(), content);

    let again = run(&workspace, &["run", "p.toml", "--only", "split"], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(hub.asked.load(Ordering::Relaxed), asked);
    // The plan knows the commit that was resolved.
    let planned = run(&workspace, &["plan", "p.toml"], &online);
    assert_eq!(planned.code, 0, "{}", planned.stderr);

    let pinned = format!("hf://openai/clip-vit-base-patch32#sha256={}", "0".repeat(64));
    let set = format!("train.inputs.weights={pinned}");
    let refused = run(&workspace, &["run", "p.toml", "--set", &set], &online);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains(&format!("expected {}", "0".repeat(64))), "{}", refused.stderr);
}

#[test]
fn what_arrives_damaged_or_is_not_there_is_an_error_and_leaves_nothing() {
    let workspace = workspace();
    let hub = hub(weights(), "f".repeat(64));
    let online = [("HF_ENDPOINT", hub.endpoint.as_str())];
    let damaged = run(&workspace, &["run", "p.toml"], &online);
    assert_eq!(damaged.code, 2, "{}", damaged.stderr);
    assert!(damaged.stderr.contains("arrived damaged"), "{}", damaged.stderr);
    let plan = run(&workspace, &["run", "p.toml"], &[("HF_HUB_OFFLINE", "1")]);
    assert!(plan.stderr.contains("is not in"), "{}", plan.stderr);

    let missing = ["run", "p.toml", "--set", "train.inputs.weights=hf://openai/nothing"];
    let missing = run(&workspace, &missing, &online);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert!(
        missing.stderr.contains("hf://openai/nothing@main/model.safetensors cannot be downloaded"),
        "{}",
        missing.stderr
    );

    let wrong = run(&workspace, &["check", "p.toml", "--set", "train.inputs.weights=hf://openai"], &online);
    assert!(wrong.code == 2 && wrong.stderr.contains("is no name in hf://"), "{}", wrong.stderr);
    let table = run(&workspace, &["check", "p.toml", "--set", "train.inputs.dataset=hf://a/b"], &online);
    assert!(table.code == 2 && table.stderr.contains("needs a table"), "{}", table.stderr);
}
