//! One request over HTTP, which can be left behind when the run is asked to stop.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::Interrupted;

/// Bytes of a reply that are read at most.
const MOST_BYTES: u64 = 1 << 20;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);

/// How often to look whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// A request to post.
pub(super) struct Post {
    /// The address.
    pub(super) url: String,
    /// The header with the key, if there is one.
    pub(super) key: Option<(&'static str, String)>,
    /// The JSON.
    pub(super) body: String,
    /// How long all of it may take.
    pub(super) timeout: Duration,
}

/// What came back, whatever its status.
pub(super) struct Reply {
    /// The status code.
    pub(super) status: u16,
    /// Seconds after which the service wants to be asked again.
    pub(super) retry_after: Option<u64>,
    /// The text.
    pub(super) body: String,
}

/// Posts on a thread of its own, for a socket that waits cannot be told to stop.
pub(super) fn post(post: Post, context: &ItemContext<'_>) -> Result<Result<Reply, ureq::Error>, Interrupted> {
    let (sender, receiver) = channel();
    // A thread that outlives its run ends with its time-out, or with the process.
    std::thread::spawn(move || {
        let _ = sender.send(exchange(&post));
    });
    loop {
        context.check_cancelled()?;
        match receiver.recv_timeout(LOOK) {
            Ok(reply) => return Ok(reply),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Err(ureq::Error::ConnectionFailed)),
        }
    }
}

fn exchange(post: &Post) -> Result<Reply, ureq::Error> {
    // A redirect would take the key and the features to a place that nobody named.
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(post.timeout))
        .timeout_connect(Some(CONNECT.min(post.timeout)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut request = agent.post(&post.url).header("content-type", "application/json");
    if let Some((name, value)) = &post.key {
        request = request.header(*name, value);
    }
    let mut response = request.send(&post.body)?;
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    Ok(Reply {
        status: response.status().as_u16(),
        retry_after: retry_after.and_then(|seconds| seconds.trim().parse().ok()),
        body: response.body_mut().with_config().limit(MOST_BYTES).read_to_string()?,
    })
}
