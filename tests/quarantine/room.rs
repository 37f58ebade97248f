//! A release that is to bring an exception, when the store has no room for one more.

use crate::{House, NOW};
use alignd::outcome::OutcomeState;
use alignd::policy::OverrideType;
use alignd::policy::rules::Rule;
use alignd::quarantine::{Brought, QuarantineError, What, Wish};
use alignd::store::{Change, ExceptionId, MAX_EXCEPTIONS};

fn rule(list: &str) -> Rule {
    let json = format!(
        r#"{{"author_domain":"a.example","because":"mailing_list","require":{{"dkim":"{list}"}}}}"#
    );
    Rule::parse_json(&json).unwrap()
}

fn release(by: &str) -> Wish {
    Wish {
        what: What::Release {
            because: OverrideType::MailingList,
            exception: Some(Box::new(rule("lists.example"))),
        },
        by: by.to_owned(),
        comment: None,
    }
}

impl House {
    /// As many exceptions as there may be: straight into the table, since their adding isn't what is tried.
    fn fill(&self) {
        let file = self.home.path().join("alignd.db");
        let mut connection = rusqlite::Connection::open(file).unwrap();
        let transaction = connection.transaction().unwrap();
        let mut insert = transaction
            .prepare("INSERT INTO exception (same, rule, created) VALUES (?1, ?2, ?3)")
            .unwrap();
        for nth in 0..MAX_EXCEPTIONS {
            let rule = rule(&format!("d{nth}.example"));
            let row = rusqlite::params![format!("same-{nth}"), rule.to_json(), NOW.micros()];
            insert.execute(row).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }

    async fn make_room(&self) {
        let remove = Change::RemoveException {
            id: ExceptionId(1),
            at: NOW,
            who: "carol".to_owned(),
            why: None,
        };
        self.store.change(vec![remove]).await.unwrap();
    }

    fn last_detail(&self) -> Option<String> {
        let outcomes = self.reader().outcomes(self.verdict).unwrap();
        outcomes.last().and_then(|outcome| outcome.detail.clone())
    }
}

/// The mail goes, the operator is told, nothing is tried for ever; asked again once there is room, the
/// exception is made.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_the_mail_goes_and_no_exception_is_made() {
    let house = House::new().await;
    house.fill();
    let done = house.carry_out(&release("alice")).await.unwrap();
    assert_eq!((done.state, done.was_so), (OutcomeState::Released, false));
    assert_eq!(done.exception, Brought::NoRoom);
    assert_eq!(house.history(), "answering, held, released by alice");
    let detail = house.last_detail().unwrap();
    assert!(detail.contains("no exception was made"), "{detail}");
    assert!(house.reader().intents().unwrap().is_empty());

    let again = house.carry_out(&release("bob")).await.unwrap();
    assert_eq!((again.was_so, again.exception), (true, Brought::NoRoom));
    house.make_room().await;
    for _ in 0..2 {
        let again = house.carry_out(&release("bob")).await.unwrap();
        assert!(again.was_so);
        let id = ExceptionId(i64::try_from(MAX_EXCEPTIONS).unwrap() + 1);
        assert_eq!(again.exception, Brought::Exception(id));
    }
    assert_eq!(house.history(), "answering, held, released by alice");
    assert_eq!(house.mta.set(|state| state.released), 1);
}

/// One that was interrupted after the MTA let the mail go, and finds no room when it is finished.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_is_finished_without_room() {
    let mut house = House::new().await;
    let at = crate::memory::Killed::AfterAct;
    house.mta.set(|state| state.kill = Some(at));
    house.killed(&release("alice")).await;
    house.fill();
    assert_eq!(house.quarantine().resume().await.unwrap(), 0);
    assert_eq!(house.history(), "answering, held, released by alice");
    assert!(house.reader().intents().unwrap().is_empty());
}

/// With every place taken, a rule that is in force may still get another end, and room is counted whole.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_place_can_be_taken() {
    let house = House::new().await;
    house.fill();
    house.make_room().await;
    let done = house.carry_out(&release("alice")).await;
    let brought = done.map(|done| done.exception);
    assert!(
        matches!(brought, Ok(Brought::Exception(_))),
        "{:?}",
        brought.map_err(|e: QuarantineError| e.to_string())
    );
}
