//! Several look-ups at once, without a runtime: futures polled side by side in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Runs all futures concurrently; their results in the order given. For few futures: each wake-up
/// polls all that are still waiting.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Waiting<F>> = futures
        .into_iter()
        .map(|future| Waiting::Running(Box::pin(future)))
        .collect();
    poll_fn(|context| {
        let mut all_done = true;
        for slot in &mut waiting {
            if let Waiting::Running(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Waiting::Done(output),
                    Poll::Pending => all_done = false,
                }
            }
        }
        if all_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let outputs = waiting.into_iter().filter_map(|slot| match slot {
        Waiting::Done(output) => Some(output),
        Waiting::Running(_) => None,
    });
    outputs.collect()
}

enum Waiting<F: Future> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Barrier;

    #[tokio::test]
    async fn all_run_at_once_and_keep_their_order() {
        let barrier = Barrier::new(3);
        let meet = async |number: usize| {
            barrier.wait().await;
            number
        };
        let results = together([1, 2, 3].map(meet)).await;
        assert_eq!(results, [1, 2, 3]);
        assert!(
            together(Vec::<std::future::Ready<()>>::new())
                .await
                .is_empty()
        );
    }
}
