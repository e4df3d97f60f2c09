//! Asking until there is an answer or no hope: turns, time-outs, retries that wait longer each time.

use std::net::IpAddr;
use std::time::Duration;

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::StageError;
use ureq::http::Uri;

use super::error::ModelError;
use super::protocol::{NoAnswer, error_detail, is_used_up};
use super::transport::{Post, Reply, post};
use super::{Answer, Endpoint};

/// The longest that a service can make us wait at once.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The longest wait between two tries when the service does not say.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What one try came to.
enum Try {
    Answer(Answer),
    /// Another try may help: what happened, and whether the service is too busy for anybody.
    Again {
        problem: String,
        retry_after: Option<u64>,
        busy: bool,
    },
}

/// Asks a model for a text. `name` stands in the log, `seed` for `{seed}` in the request's further fields.
///
/// # Errors
/// [`ModelError`], or that the run was asked to stop.
pub fn ask(
    endpoint: &Endpoint,
    prompt: &str,
    name: &str,
    seed: u32,
    context: &ItemContext<'_>,
) -> Result<Answer, StageError> {
    let key = key(endpoint, context).map_err(advised)?;
    let body = endpoint.body(prompt, seed).to_string();
    let limits = context.request_limits();
    let mut last = String::new();
    for attempt in 1..=limits.attempts {
        context.wait_for_turn()?;
        let request = Post {
            url: endpoint.url(),
            key: key.as_deref().map(|key| endpoint.protocol.key_header(key)),
            body: body.clone(),
            timeout: Duration::from_secs(limits.timeout_seconds.into()),
        };
        let outcome = match post(request, context)? {
            Ok(reply) => judge(endpoint, &reply, key.as_deref()).map_err(advised)?,
            Err(error) => transport_failure(endpoint, error).map_err(advised)?,
        };
        match outcome {
            Try::Answer(answer) => return Ok(answer),
            Try::Again { problem, retry_after, busy } => {
                if attempt < limits.attempts {
                    let wait = retry_after.map_or_else(
                        || backoff(attempt, seed),
                        |seconds| Duration::from_secs(seconds).min(LONGEST_WAIT),
                    );
                    context.log(&format!(
                        "item {name}: {problem}; try {} of {} in {:.1} s",
                        attempt + 1,
                        limits.attempts,
                        wait.as_secs_f64()
                    ));
                    if busy {
                        context.hold_requests(wait);
                    }
                    context.pause(wait)?;
                }
                last = problem;
            }
        }
    }
    let error = ModelError::Unavailable { url: endpoint.url(), problem: last, attempts: limits.attempts };
    Err(advised(error))
}

fn advised(error: ModelError) -> StageError {
    let advice = error.advice();
    StageError::from(error).advise(advice)
}

/// The service's key, if there is one; some services need none.
fn key(endpoint: &Endpoint, context: &ItemContext<'_>) -> Result<Option<String>, ModelError> {
    let variable = endpoint.protocol.key_variable();
    let Some(key) = context.secret(variable) else { return Ok(None) };
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ModelError::Key { variable });
    }
    if !is_private(&endpoint.base_url) {
        return Err(ModelError::UnsafeKey { variable, url: endpoint.url() });
    }
    Ok(Some(key))
}

/// Whether what is sent there cannot be read on the way.
fn is_private(base_url: &str) -> bool {
    let Ok(uri) = base_url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    uri.scheme_str() == Some("https")
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn judge(endpoint: &Endpoint, reply: &Reply, key: Option<&str>) -> Result<Try, ModelError> {
    // A service may repeat the key that it refuses.
    let body = match key {
        Some(key) => reply.body.replace(key, "[key]"),
        None => reply.body.clone(),
    };
    let (url, status) = (endpoint.url(), reply.status);
    let detail = || error_detail(&body);
    match status {
        200..=299 => answer(endpoint, &body),
        408 | 409 | 425 | 429 | 500..=599 if !is_used_up(&body) => Ok(Try::Again {
            problem: format!("answered {status}{}", detail()),
            retry_after: reply.retry_after,
            busy: matches!(status, 429 | 503),
        }),
        _ => Err(ModelError::Refused { url, status, detail: detail(), protocol: endpoint.protocol }),
    }
}

fn answer(endpoint: &Endpoint, body: &str) -> Result<Try, ModelError> {
    let reply = |problem: String| ModelError::Reply {
        url: endpoint.url(),
        expected: endpoint.protocol.reply(),
        problem,
    };
    let value = serde_json::from_str(body).map_err(|error| reply(error.to_string()))?;
    match endpoint.protocol.answer(&value) {
        Ok(answer) => Ok(Try::Answer(answer)),
        Err(NoAnswer::NotWhole(reason)) => Err(ModelError::NoText { reason }),
        Err(NoAnswer::NoReply(problem)) => Err(reply(problem)),
    }
}

/// A connection that failed may come about another time; an address or a certificate that is wrong stays so.
fn transport_failure(endpoint: &Endpoint, error: ureq::Error) -> Result<Try, ModelError> {
    use ureq::Error::{BodyExceedsLimit, ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
    let again = |problem: String| Ok(Try::Again { problem, retry_after: None, busy: false });
    match error {
        Timeout(_) => again("gave no answer in time".to_owned()),
        ConnectionFailed | HostNotFound | Io(_) | Protocol(_) => again(error.to_string()),
        BodyExceedsLimit(bytes) => Err(ModelError::Reply {
            url: endpoint.url(),
            expected: endpoint.protocol.reply(),
            problem: format!("it is longer than {bytes} bytes"),
        }),
        other => {
            Err(ModelError::Unavailable { url: endpoint.url(), problem: other.to_string(), attempts: 1 })
        }
    }
}

/// A second, then twice as long each time; cut by up to a half, so that those who wait do not come back at once.
fn backoff(attempt: u32, seed: u32) -> Duration {
    let whole = Duration::from_secs(1).saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_BACKOFF);
    let spread = f64::from(seed.wrapping_mul(0x9e37_79b9).wrapping_add(attempt) >> 16) / f64::from(u16::MAX);
    whole.mul_f64(1.0 - 0.5 * spread.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_are_spread() {
        for (attempt, seconds) in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (40, 60.0)] {
            let waits: Vec<f64> = (0..100).map(|seed| backoff(attempt, seed).as_secs_f64()).collect();
            assert!(
                waits.iter().all(|wait| (seconds * 0.5..=seconds).contains(wait)),
                "{attempt}: {waits:?}"
            );
            let (least, most) = (waits.iter().copied().fold(f64::MAX, f64::min), waits[0].max(waits[50]));
            assert!(most - least > 0.1 * seconds, "{attempt}");
        }
    }

    #[test]
    fn keys_go_only_where_nobody_can_read_them_on_the_way() {
        for (url, is_safe) in [
            ("https://models.example/v1", true),
            ("http://localhost:11434/v1", true),
            ("http://127.0.0.1:8000/v1", true),
            ("http://[::1]:8000/v1", true),
            ("http://models.example/v1", false),
            ("http://10.0.0.7/v1", false),
        ] {
            assert_eq!(is_private(url), is_safe, "{url}");
        }
    }
}
