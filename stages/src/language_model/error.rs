//! Why a model gave no text.

use thiserror::Error;

use super::protocol::Protocol;

/// Why a model gave no text. None of them holds a key.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The key holds characters that a header cannot.
    #[error("the key in {variable} holds characters that no key has")]
    Key {
        /// The environment variable.
        variable: &'static str,
    },
    /// The key would travel unprotected.
    #[error("the key in {variable} would go to {url} unencrypted")]
    UnsafeKey {
        /// The environment variable.
        variable: &'static str,
        /// The address.
        url: String,
    },
    /// The service said no.
    #[error("{url} answered {status}{detail}")]
    Refused {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
        /// What it said, after a colon.
        detail: String,
        /// What the service speaks.
        protocol: Protocol,
    },
    /// The service could not be reached, or had no time, again and again.
    #[error("{url}: {problem}, {attempts} times")]
    Unavailable {
        /// The address.
        url: String,
        /// What happened last.
        problem: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// The reply is not what the protocol says.
    #[error("{url} answered something else than {expected}: {problem}")]
    Reply {
        /// The address.
        url: String,
        /// What the protocol says.
        expected: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The model was stopped before its end, or said nothing.
    #[error("the model gave no whole text: {reason}")]
    NoText {
        /// Why, in the service's words.
        reason: String,
    },
}

impl ModelError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Key { variable } => {
                format!("set {variable} to the key alone, without quotes or line breaks")
            }
            Self::UnsafeKey { variable, .. } => {
                format!("use https, or unset {variable} where the service needs no key")
            }
            Self::Refused { status: 401 | 403, protocol, .. } => {
                format!("set the environment variable {} to a valid key", protocol.key_variable())
            }
            Self::Refused { status: 404, .. } => "look at `base_url` and `model`".to_owned(),
            Self::Refused { status: 300..=399, .. } => {
                "set `base_url` to where the service is now: redirects are not followed".to_owned()
            }
            Self::Refused { .. } => {
                "look at the `model`, the `request` fields and the account with the service".to_owned()
            }
            Self::Unavailable { .. } => {
                "run again later: what was answered is kept; `requests_per_minute`, `request_timeout_s` and \
                 `request_attempts` in `resources` say how patient a stage is"
                    .to_owned()
            }
            Self::Reply { .. } => "look at `provider` and `base_url`".to_owned(),
            Self::NoText { .. } => {
                "run again, shorten the prompt, or allow longer answers with the `request` fields".to_owned()
            }
        }
    }
}
