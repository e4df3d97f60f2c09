//! What the two protocols say: addresses, headers, requests and replies.

use serde_json::{Map, Value, json};

use super::{Answer, Endpoint};

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions, which many servers speak.
    OpenAi,
    /// Gemini's `generateContent`.
    Gemini,
}

/// Why a reply holds no text to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The model was stopped, or said nothing; the reason.
    NotWhole(String),
    /// It is no reply of this protocol; the problem.
    NoReply(String),
}

use NoAnswer::{NoReply, NotWhole};

impl Protocol {
    /// The address of the company's own service.
    pub fn default_base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta",
        }
    }

    /// The environment variable with the key.
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
        }
    }

    /// The fields of a request that are the protocol's own.
    pub(super) fn own_fields(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["model", "messages", "stream", "n"],
            Self::Gemini => &["contents"],
        }
    }

    /// What a reply should be, in words.
    pub(super) fn reply(self) -> &'static str {
        match self {
            Self::OpenAi => "a chat completion",
            Self::Gemini => "generated content",
        }
    }

    /// The header that carries a key.
    pub(super) fn key_header(self, key: &str) -> (&'static str, String) {
        match self {
            Self::OpenAi => ("authorization", format!("Bearer {key}")),
            Self::Gemini => ("x-goog-api-key", key.to_owned()),
        }
    }

    /// The text of a reply.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn answer(self, reply: &Value) -> Result<Answer, NoAnswer> {
        let (text, finish, model) = match self {
            Self::OpenAi => openai_reply(reply)?,
            Self::Gemini => gemini_reply(reply)?,
        };
        if !finish.is_empty() && !finish.eq_ignore_ascii_case("stop") {
            return Err(NotWhole(format!("it ended with `{finish}`")));
        }
        let text = without_thoughts(&text).trim().replace("\r\n", "\n");
        if text.is_empty() {
            return Err(NotWhole("the text is empty".to_owned()));
        }
        Ok(Answer { text, model })
    }
}

impl Endpoint {
    /// The address to post to.
    pub(super) fn url(&self) -> String {
        let base = self.base_url.trim_end_matches('/');
        match self.protocol {
            Protocol::OpenAi => format!("{base}/chat/completions"),
            Protocol::Gemini => format!("{base}/models/{}:generateContent", self.model),
        }
    }

    /// The request's body. Texts `{seed}` in further fields become the number.
    pub(super) fn body(&self, prompt: &str, seed: u32) -> Value {
        let own = match self.protocol {
            Protocol::OpenAi => {
                json!({"model": self.model, "messages": [{"role": "user", "content": prompt}], "stream": false})
            }
            Protocol::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}),
        };
        let mut body: Map<String, Value> =
            self.fields.iter().map(|(name, value)| (name.clone(), seeded(value, seed))).collect();
        if let Value::Object(own) = own {
            body.extend(own);
        }
        Value::Object(body)
    }
}

/// The value with `{seed}` filled in.
fn seeded(value: &Value, seed: u32) -> Value {
    match value {
        Value::String(text) if text == "{seed}" => seed.into(),
        Value::Array(values) => values.iter().map(|value| seeded(value, seed)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), seeded(value, seed))).collect()
        }
        other => other.clone(),
    }
}

/// The text, how it ended, and the model.
type Reply = (String, String, Option<String>);

fn openai_reply(reply: &Value) -> Result<Reply, NoAnswer> {
    let choice = reply.pointer("/choices/0").ok_or_else(|| NoReply("it has no `choices`".to_owned()))?;
    let message = &choice["message"];
    if let Some(refusal) = message["refusal"].as_str().filter(|text| !text.is_empty()) {
        return Err(NotWhole(format!("it refused: {}", shortened(refusal))));
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    };
    let finish = choice["finish_reason"].as_str().unwrap_or_default().to_owned();
    Ok((text, finish, reply["model"].as_str().map(str::to_owned)))
}

fn gemini_reply(reply: &Value) -> Result<Reply, NoAnswer> {
    if let Some(reason) = reply.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
        return Err(NotWhole(format!("the prompt was blocked: {reason}")));
    }
    let candidate =
        reply.pointer("/candidates/0").ok_or_else(|| NoReply("it has no `candidates`".to_owned()))?;
    let parts = candidate.pointer("/content/parts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let said = parts.iter().filter(|part| part["thought"] != true);
    let text = said.filter_map(|part| part["text"].as_str()).collect();
    let finish = candidate["finishReason"].as_str().unwrap_or_default().to_owned();
    Ok((text, finish, reply["modelVersion"].as_str().map(str::to_owned)))
}

/// What follows a block of thoughts with which some open models begin.
fn without_thoughts(text: &str) -> &str {
    match text.trim_start().strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, said)) => said,
        None => text,
    }
}

/// What a service says of an error, on one line.
pub(super) fn error_detail(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    // Some gateways wrap the object in a list.
    let message = parsed.as_ref().and_then(|value| {
        ["/error/message", "/0/error/message", "/error", "/message", "/detail"]
            .iter()
            .find_map(|place| value.pointer(place)?.as_str())
    });
    let text = shortened(message.unwrap_or(body));
    if text.is_empty() { text } else { format!(": {text}") }
}

/// Whether a service says that an account is used up, which no waiting mends.
pub(super) fn is_used_up(body: &str) -> bool {
    serde_json::from_str(body).is_ok_and(|value: Value| {
        ["/error/code", "/error/type"]
            .iter()
            .any(|place| value.pointer(place).and_then(Value::as_str) == Some("insufficient_quota"))
    })
}

fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(protocol: Protocol, fields: Value) -> Endpoint {
        let Value::Object(fields) = fields else { panic!("an object") };
        Endpoint { protocol, base_url: "http://here/v1/".to_owned(), model: "m-1".to_owned(), fields }
    }

    #[test]
    fn requests_are_what_the_protocols_say() {
        let fields = json!({"temperature": 0, "seed": "{seed}", "options": {"seeds": ["{seed}", "seed"]}});
        let openai = endpoint(Protocol::OpenAi, fields);
        assert_eq!(openai.url(), "http://here/v1/chat/completions");
        assert_eq!(
            openai.body("Say.", 7),
            json!({
                "model": "m-1",
                "messages": [{"role": "user", "content": "Say."}],
                "stream": false,
                "temperature": 0,
                "seed": 7,
                "options": {"seeds": [7, "seed"]},
            })
        );
        let gemini = endpoint(Protocol::Gemini, json!({"generationConfig": {"temperature": 0.5}}));
        assert_eq!(gemini.url(), "http://here/v1/models/m-1:generateContent");
        assert_eq!(
            gemini.body("Say.", 7),
            json!({
                "contents": [{"role": "user", "parts": [{"text": "Say."}]}],
                "generationConfig": {"temperature": 0.5},
            })
        );
    }

    #[test]
    fn replies_give_their_text_and_nothing_else() {
        let openai = |message: Value, finish: &str| json!({"model": "m-1-x", "choices": [{"message": message, "finish_reason": finish}]});
        let gemini = |parts: Value, finish: &str| json!({"modelVersion": "g-1", "candidates": [{"content": {"parts": parts}, "finishReason": finish}]});
        use Protocol::{Gemini, OpenAi};
        let cases: [(Protocol, Value, Result<&str, NoAnswer>); 12] = [
            (OpenAi, openai(json!({"content": " A.\r\nB. \n"}), "stop"), Ok("A.\nB.")),
            (OpenAi, openai(json!({"content": [{"text": "A"}, {"text": "B"}]}), "stop"), Ok("AB")),
            (OpenAi, openai(json!({"content": "<think>hm</think>\nA."}), "stop"), Ok("A.")),
            (
                OpenAi,
                openai(json!({"content": "A"}), "length"),
                Err(NotWhole("it ended with `length`".to_owned())),
            ),
            (OpenAi, openai(json!({"content": null}), "stop"), Err(NotWhole("the text is empty".to_owned()))),
            (
                OpenAi,
                openai(json!({"content": null, "refusal": "No."}), "stop"),
                Err(NotWhole("it refused: No.".to_owned())),
            ),
            (OpenAi, json!({"choices": []}), Err(NoReply("it has no `choices`".to_owned()))),
            (Gemini, gemini(json!([{"text": "A"}, {"text": "B"}]), "STOP"), Ok("AB")),
            (Gemini, gemini(json!([{"text": "hm", "thought": true}, {"text": "B"}]), "STOP"), Ok("B")),
            (Gemini, gemini(json!([]), "MAX_TOKENS"), Err(NotWhole("it ended with `MAX_TOKENS`".to_owned()))),
            (
                Gemini,
                json!({"promptFeedback": {"blockReason": "SAFETY"}}),
                Err(NotWhole("the prompt was blocked: SAFETY".to_owned())),
            ),
            (Gemini, json!(["text"]), Err(NoReply("it has no `candidates`".to_owned()))),
        ];
        for (protocol, reply, expected) in cases {
            let found = protocol.answer(&reply).map(|answer| answer.text);
            assert_eq!(found, expected.map(str::to_owned), "{reply}");
        }
    }

    #[test]
    fn errors_are_told_in_the_words_of_the_service() {
        assert_eq!(error_detail(r#"{"error": {"message": "no such\n model"}}"#), ": no such model");
        assert_eq!(error_detail("<html>Bad gateway</html>"), ": <html>Bad gateway</html>");
        assert_eq!(error_detail(" "), "");
        assert!(error_detail(&"x".repeat(5000)).len() < 400);
        assert!(is_used_up(r#"{"error": {"code": "insufficient_quota", "message": "pay"}}"#));
        assert!(!is_used_up(r#"{"error": {"code": "rate_limit_exceeded"}}"#));
        assert!(!is_used_up("soon"));
    }
}
