//! `Asking`: an answer that may already be there, or is on its way in a task of its own.
//!
//! Owns that look-ups whose answers are cached cost no task, that what nobody waits for any more is
//! given up, and that a panic in a look-up is an error of one message.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::task::JoinHandle;

/// Something asked for.
#[derive(Debug)]
pub struct Asking<T>(State<T>);

#[derive(Debug)]
enum State<T> {
    There(T),
    Coming(Task<T>),
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

/// The look-up panicked, or the runtime is ending. Ours to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl<T: Send + 'static> Asking<T> {
    /// Begins at once. Must be called within a tokio runtime.
    pub fn start(question: impl Future<Output = T> + Send + 'static) -> Self {
        let mut question: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(question);
        // Spawning polls it again, so a waker that does nothing loses nothing.
        let mut cx = Context::from_waker(Waker::noop());
        Self(match question.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => State::There(answer),
            Poll::Pending => State::Coming(Task(tokio::spawn(question))),
        })
    }

    /// Waits for the answer.
    pub async fn answer(self) -> Result<T, Broken> {
        match self.0 {
            State::There(answer) => Ok(answer),
            State::Coming(mut task) => (&mut task.0).await.map_err(|error| {
                Broken(match error.try_into_panic() {
                    Ok(panic) => panic_text(panic.as_ref()),
                    Err(error) => error.to_string(),
                })
            }),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn answers_at_once_or_later() {
        assert_eq!(Asking::start(async { 1 }).answer().await, Ok(1));
        let go = Arc::new(Notify::new());
        let wait = Arc::clone(&go);
        let asking = Asking::start(async move {
            wait.notified().await;
            2
        });
        go.notify_one();
        assert_eq!(asking.answer().await, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let asking = Asking::start(async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "no luck");
        });
        let broken = asking.answer().await.unwrap_err();
        assert!(broken.0.contains("no luck"), "{broken:?}");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_given_up() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let asking = Asking::start(async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        drop(asking);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
