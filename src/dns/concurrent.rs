//! Several look-ups at once, without a runtime: `all` polls a handful of futures side by side.
//!
//! For the few questions of one message, not for crowds: each wake-up polls all that are pending.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Waits for every future; their outputs in the given order.
pub async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<State<F>> = futures
        .into_iter()
        .map(|future| State::Pending(Box::pin(future)))
        .collect();
    poll_fn(|context| {
        let mut ready = true;
        for state in &mut pending {
            if let State::Pending(future) = state {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *state = State::Done(output),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let done = pending.into_iter().filter_map(|state| match state {
        State::Done(output) => Some(output),
        State::Pending(_) => None,
    });
    done.collect()
}

enum State<F: Future> {
    Pending(Pin<Box<F>>),
    Done(F::Output),
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn waits_for_all_at_once_and_keeps_their_order() {
        let (sender, receiver) = oneshot::channel();
        let first = async move { receiver.await.unwrap() };
        let second = async move {
            sender.send(1).unwrap();
            2
        };
        let both: [Pin<Box<dyn Future<Output = i32>>>; 2] = [Box::pin(first), Box::pin(second)];
        assert_eq!(all(both).await, [1, 2]);
        assert!(all(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
