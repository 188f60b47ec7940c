//! How a call is made.

use crate::{
    errors::Result,
    pending::{Given, Gives, Pending},
};
use casm_bindings::{Error, block, duration};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// A call that waits, before it is made: what waits, for how many seconds at most,
/// and what is made of what comes.
pub(crate) type Call<F, G> = (F, Option<f64>, G);

/// What waits, boxed.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = casm_bindings::Result<T>> + Send>>;

/// Makes a call, and waits on the calling thread.
pub(crate) fn wait<F, G, R, T>(
    what: &'static str,
    call: impl FnOnce() -> Result<Call<F, G>>,
) -> Result<T>
where
    F: Future<Output = casm_bindings::Result<R>>,
    G: FnOnce(R) -> T,
{
    let (future, timeout, give) = call()?;
    // A thread of these languages is not interrupted from outside.
    Ok(give(block(what, future, limit(timeout)?, || Ok::<(), Error>(()))?))
}

/// Begins a call in the background. What is wrong with it is told as its result.
pub(crate) fn start<F, G, R, T>(
    what: &'static str,
    call: impl FnOnce() -> Result<Call<F, G>>,
) -> Arc<T::Pending>
where
    F: Future<Output = casm_bindings::Result<R>> + Send + 'static,
    G: FnOnce(R) -> T + Send + 'static,
    R: Send + 'static,
    T: Gives,
{
    start_giving(what, || {
        call().map(|(future, timeout, give)| (future, timeout, |value| Ok(give(value))))
    })
}

/// The same, for what may be an error that has to go back as well if nobody takes it.
pub(crate) fn start_giving<F, G, R, T>(
    what: &'static str,
    call: impl FnOnce() -> Result<Call<F, G>>,
) -> Arc<T::Pending>
where
    F: Future<Output = casm_bindings::Result<R>> + Send + 'static,
    G: FnOnce(R) -> Result<T> + Send + 'static,
    R: Send + 'static,
    T: Gives,
{
    let limited = call().and_then(|(future, timeout, give)| Ok((future, limit(timeout)?, give)));
    T::exported(match limited {
        Ok((future, timeout, give)) => {
            let call = async move {
                let value = future.await?;
                Ok(Box::new(move || give(value)) as Given<T>)
            };
            Pending::begin(what, call, timeout)
        }
        Err(error) => Pending::over(what, Err(error)),
    })
}

/// Exports calls that wait, each in both forms.
///
/// What follows the signature gives a [`Call`].
macro_rules! waits {
    (impl $object:ident {$(
        $(#[doc = $doc:literal])+
        $(#[uniffi::method($($method:tt)+)])?
        fn $name:ident / $start:ident(&$this:ident $(, $arg:ident: $type:ty)* $(,)?) -> $result:ty
        $call:block
    )+}) => {
        #[uniffi::export]
        impl $object {$(
            $(#[doc = $doc])+
            $(#[uniffi::method($($method)+)])?
            pub fn $name(&$this $(, $arg: $type)*) -> $crate::errors::Result<$result> {
                $crate::call::wait(stringify!($name), move || Ok($call))
            }

            /// The same in the background: it begins, and this doesn't wait.
            $(#[uniffi::method($($method)+)])?
            pub fn $start(
                &$this $(, $arg: $type)*
            ) -> std::sync::Arc<<$result as $crate::pending::Gives>::Pending> {
                $crate::call::start(stringify!($name), move || Ok($call))
            }
        )+}
    };
}
pub(crate) use waits;

/// Seconds that a language gives.
pub(crate) fn limit(timeout: Option<f64>) -> casm_bindings::Result<Option<Duration>> {
    timeout.map(|timeout| duration("timeout", timeout)).transpose()
}

/// Runs a call that doesn't wait.
pub(crate) fn guard<T>(what: &str, call: impl FnOnce() -> casm_bindings::Result<T>) -> Result<T> {
    Ok(casm_bindings::guard(what, call)?)
}

/// A number of records, in 32 bits: a view never holds so many.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
