//! The node's services: what it serves, and what it asks others.

use super::Node;
use crate::{
    Result,
    service::{
        Answer, CallOptions, Parts, Replies, Reply, ReplyParts, Request, ServeOptions,
        ServiceStats, Serving,
    },
};
use std::{fmt, future::Future};

impl Node {
    /// Serves a service: `handler` answers requests, each in a task of its own.
    /// The node's record names it, so that others find it. It is served until it is
    /// stopped or the node closes, also if what this gives is dropped.
    ///
    /// What the handler fails with is told to the caller: the error's text, as
    /// [`Remote`](crate::ErrorKind::Remote). Its future is dropped when the caller
    /// has gone, or the time is over.
    ///
    /// ```no_run
    /// # async fn example(node: casm::Node) -> casm::Result<()> {
    /// node.serve("shout", |request| async move {
    ///     let text = String::from_utf8(request.data().to_vec())?;
    ///     Ok::<_, std::string::FromUtf8Error>(text.to_uppercase())
    /// })?;
    /// println!("{}", node.call("shout", "hello").await?.text()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Config` if it is no name (1 to 48 of `A-Z a-z 0-9 . _ -`); `Busy` if it is
    /// served already; `TooLarge` if the record has no room for it; `Closed`.
    pub fn serve<F, Fut, T, E>(&self, name: &str, handler: F) -> Result<Serving>
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        self.serve_with(name, &ServeOptions::default(), handler)
    }

    /// The same with options.
    ///
    /// # Errors
    /// As of [`serve`](Self::serve); `Config` if an option is not acceptable.
    pub fn serve_with<F, Fut, T, E>(
        &self,
        name: &str,
        options: &ServeOptions,
        handler: F,
    ) -> Result<Serving>
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        self.0.services.serve(name, options, handler)
    }

    /// Serves a service that answers in parts, for
    /// [`call_stream`](Self::call_stream).
    ///
    /// # Errors
    /// As of [`serve`](Self::serve).
    pub fn serve_stream<F, Fut, T, E>(&self, name: &str, handler: F) -> Result<Serving>
    where
        F: Fn(Request, Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        self.serve_stream_with(name, &ServeOptions::default(), handler)
    }

    /// The same with options.
    ///
    /// # Errors
    /// As of [`serve_with`](Self::serve_with).
    pub fn serve_stream_with<F, Fut, T, E>(
        &self,
        name: &str,
        options: &ServeOptions,
        handler: F,
    ) -> Result<Serving>
    where
        F: Fn(Request, Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
        T: Into<Reply>,
        E: fmt::Display,
    {
        self.0.services.serve_stream(name, options, handler)
    }

    /// Asks a member that serves this, within 10 s: of two at random the one that
    /// has less to do for this node and was quicker lately. This node takes part, if
    /// it serves it, without the network. `data` has at most 1 MiB.
    ///
    /// If a member cannot be reached, has too much to do or is closing, another one
    /// is asked. Nobody is asked again who may have begun to work on it.
    ///
    /// # Errors
    /// `NotFound` if nobody serves it; `Remote` with the handler's message if it
    /// failed; `Timeout`; `Busy` or `Unreachable` if no member takes it;
    /// `Unreachable` also if the connection was lost and it may have been worked on;
    /// `TooLarge` if `data` or the answer is more than 1 MiB; `Invalid` if it
    /// answers in parts; `Protocol` if what came makes no sense; `Config` if it is
    /// no name; `Paused`, also if it was under way when the node was paused; `Closed`.
    pub async fn call(&self, name: &str, data: impl Into<Vec<u8>>) -> Result<Answer> {
        self.call_with(name, data, CallOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As of [`call`](Self::call); `Config` or `TooLarge` if an option is not
    /// acceptable.
    pub async fn call_with(
        &self,
        name: &str,
        data: impl Into<Vec<u8>>,
        options: CallOptions,
    ) -> Result<Answer> {
        self.0.services.call(name, data.into(), options).await
    }

    /// Asks all who serve this now, 64 at a time, and gives what they answer as it
    /// comes: within 10 s if nothing else is said.
    ///
    /// # Errors
    /// `TooLarge` or `Config` if something is not acceptable. That of a member is in
    /// its reply.
    pub fn call_all(
        &self,
        name: &str,
        data: impl Into<Vec<u8>>,
        options: CallOptions,
    ) -> Result<Replies> {
        self.0.services.call_all(name, data.into(), &options)
    }

    /// Asks a member for an answer in parts. It is chosen as by
    /// [`call`](Self::call); there is no time limit if none is given.
    ///
    /// # Errors
    /// `TooLarge` or `Config` if something is not acceptable. What goes wrong later
    /// is the last thing that comes, as of `call`.
    pub fn call_stream(
        &self,
        name: &str,
        data: impl Into<Vec<u8>>,
        options: CallOptions,
    ) -> Result<ReplyParts> {
        self.0.services.call_stream(name, data.into(), options)
    }

    /// The names of the services that this node serves, in their order.
    pub fn services(&self) -> Vec<String> {
        self.0.services.names()
    }

    /// What a service that this node serves has done so far.
    ///
    /// # Errors
    /// `NotFound` if it serves none of this name.
    pub fn service_stats(&self, name: &str) -> Result<ServiceStats> {
        self.0.services.stats(name)
    }
}
