//! Asking a language model for a text: two protocols, one patient client.
//!
//! A request goes to a service that speaks OpenAI's chat completions (as do vLLM, Ollama, llama.cpp and most
//! gateways) or Gemini's `generateContent`. The key comes from an environment variable and goes nowhere but into the
//! request's header: never into an address, an error or a log. The module does not know what the text is about.

mod ask;
mod error;
mod protocol;
mod transport;

pub use ask::ask;
pub use protocol::Protocol;

use serde_json::{Map, Value};
use ureq::http::Uri;

/// Where a model is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What the service speaks.
    pub protocol: Protocol,
    /// Its address, without what the protocol adds.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// Further fields of every request, merged into the protocol's own.
    pub fields: Map<String, Value>,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text, without what a model thought before it.
    pub text: String,
    /// The model that answered, as the service names it.
    pub model: Option<String>,
}

impl Endpoint {
    /// What is wrong with it, before anybody is asked: one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(address_problem(&self.base_url));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@".contains(c);
        if self.model.is_empty() || self.model.contains("..") || !self.model.chars().all(plain) {
            problems.push(format!("`model`: {:?} cannot be a model's name", self.model));
        }
        for field in self.protocol.own_fields().iter().filter(|field| self.fields.contains_key(**field)) {
            problems.push(format!("`request.{field}` is set by the stage itself: leave it out"));
        }
        problems
    }
}

fn address_problem(base_url: &str) -> Option<String> {
    let problem = match base_url.parse::<Uri>() {
        Err(error) => error.to_string(),
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            "it must begin with https:// or http://".to_owned()
        }
        // Manifests are shared and recorded.
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            return Some(
                "`base_url` must hold no user or password: keys come from the environment".to_owned(),
            );
        }
        Ok(uri) if uri.query().is_some() || base_url.contains('#') => {
            return Some("`base_url` must end before `?` and `#`: keys come from the environment".to_owned());
        }
        Ok(_) => return None,
    };
    Some(format!("`base_url`: {base_url:?} is no address: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base_url: &str, model: &str) -> Endpoint {
        Endpoint {
            protocol: Protocol::Gemini,
            base_url: base_url.to_owned(),
            model: model.to_owned(),
            fields: Map::new(),
        }
    }

    #[test]
    fn addresses_and_names_are_looked_at_before_anybody_is_asked() {
        for (base_url, model, problem) in [
            ("https://models.example/v1", "gemini-2.5-flash", None),
            ("http://127.0.0.1:8000/v1/", "org/model:4b@q8", None),
            ("models.example/v1", "m", Some("`base_url`: \"models.example/v1\" is no address")),
            ("ftp://models.example", "m", Some("it must begin with https:// or http://")),
            ("https://me:secret@models.example", "m", Some("keys come from the environment")),
            ("https://models.example/v1?key=abc", "m", Some("keys come from the environment")),
            ("https://models.example", "", Some("cannot be a model's name")),
            ("https://models.example", "../../admin", Some("cannot be a model's name")),
            ("https://models.example", "m?key=1", Some("cannot be a model's name")),
        ] {
            let found = endpoint(base_url, model).problems();
            match problem {
                None => assert!(found.is_empty(), "{base_url} {model}: {found:?}"),
                Some(problem) => {
                    assert!(found.len() == 1 && found[0].contains(problem), "{base_url}: {found:?}")
                }
            }
            assert!(found.iter().all(|text| !text.contains("secret") && !text.contains("abc")), "{found:?}");
        }
    }

    #[test]
    fn fields_of_the_protocol_cannot_be_given() {
        let mut endpoint = endpoint("https://models.example", "m");
        endpoint.fields.insert("contents".to_owned(), Value::Null);
        assert_eq!(endpoint.problems(), ["`request.contents` is set by the stage itself: leave it out"]);
    }
}
