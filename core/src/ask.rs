//! A question to a task, with a channel for the answer.

use crate::{Error, Result};
use tokio::sync::{mpsc, oneshot};

/// Sends a command that has room for a reply, and waits for that.
///
/// A command that is sent while its receiver is being dropped can stay in the
/// channel, and the reply's sender in it, as long as this end is held: the
/// answer alone would never come. So the receiver's end is watched too.
///
/// # Errors
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the task has ended.
pub(crate) async fn ask<C, T>(
    task: &mpsc::Sender<C>,
    command: impl FnOnce(oneshot::Sender<T>) -> C,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    task.send(command(reply)).await.map_err(|_| Error::closed("node"))?;
    answered(task, answer).await
}

/// Waits for the answer to a command that was sent.
///
/// # Errors
/// As of [`ask`].
pub(crate) async fn answered<C, T>(
    task: &mpsc::Sender<C>,
    answer: oneshot::Receiver<T>,
) -> Result<T> {
    tokio::select! {
        biased;
        answer = answer => answer.map_err(|_| Error::closed("node")),
        () = task.closed() => Err(Error::closed("node")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn an_answer_comes_also_when_the_task_ends_after_it() {
        let (commands, mut received) = mpsc::channel::<oneshot::Sender<u8>>(1);
        let task = async move {
            let reply = received.recv().await.unwrap();
            reply.send(7).unwrap();
        };
        let (answer, ()) = tokio::join!(ask(&commands, |reply| reply), task);
        assert_eq!(answer.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_command_that_nobody_takes_any_more_does_not_wait_for_ever() {
        let (commands, mut received) = mpsc::channel::<oneshot::Sender<u8>>(1);
        let asked = ask(&commands, |reply| reply);
        // The command is in the channel, and is still there after the end.
        let end = async {
            while received.is_empty() {
                tokio::task::yield_now().await;
            }
            received.close();
        };
        let (answer, ()) = tokio::join!(asked, end);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(received.len(), 1);
    }
}
