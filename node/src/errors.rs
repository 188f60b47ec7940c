//! Errors of the facade, on their way to JavaScript.

use casm_bindings::Error;
use napi_derive::napi;

/// The kind of an error: JavaScript's `code`.
pub struct Code(&'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl From<napi::Status> for Code {
    fn from(_: napi::Status) -> Self {
        Self("Internal")
    }
}

/// What a call of this module gives or throws.
pub type Result<T> = std::result::Result<T, napi::Error<Code>>;

/// An error that is not thrown but handed over.
#[napi(object, object_from_js = false)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
    /// What led to it.
    pub cause: Option<String>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            code: error.kind().name(),
            message: error.message().to_owned(),
            cause: std::error::Error::source(&error).map(ToString::to_string),
        }
    }
}

/// Translates the error of a result.
pub(crate) trait OrThrow<T> {
    fn or_throw(self) -> Result<T>;
}

impl<T> OrThrow<T> for casm_bindings::Result<T> {
    fn or_throw(self) -> Result<T> {
        self.map_err(|error| {
            let mut thrown = napi::Error::new(Code(error.kind().name()), error.message());
            if let Some(cause) = std::error::Error::source(&error) {
                thrown.set_cause(napi::Error::from_reason(cause.to_string()));
            }
            thrown
        })
    }
}
