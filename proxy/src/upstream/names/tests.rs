use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use std::net::IpAddr;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn one(_: &str) -> io::Result<Vec<IpAddr>> {
    Ok(vec![IpAddr::from([192, 0, 2, 1])])
}

#[test]
fn who_asks_for_the_same_name_shares_a_look_up() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new(|name| {
        ASKED.fetch_add(1, SeqCst);
        one(name)
    });
    run(async {
        let (a, b) = tokio::join!(names.find("a.test", LONG), names.find("a.test", LONG));
        assert_eq!(a.unwrap(), b.unwrap());
        names.find("a.test", LONG).await.unwrap();
    });
    assert_eq!(ASKED.load(SeqCst), 1);
}

#[test]
fn an_answer_is_believed_for_its_time() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new(|_| {
        let number = ASKED.fetch_add(1, SeqCst);
        Ok(vec![number])
    });
    run(async {
        let mut last = 0;
        // What was found before counts until there is more.
        while last < 3 {
            last = names.find("a.test", Duration::ZERO).await.unwrap()[0];
            tokio::task::yield_now().await;
        }
    });
}

/// A name in use does not wait for those that take their time.
#[test]
fn what_a_name_stood_for_counts_while_it_is_looked_up_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new(|name| match ASKED.fetch_add(1, SeqCst) {
        0 => one(name),
        _ => Err(io::ErrorKind::TimedOut.into()),
    });
    let turns = names.turns.clone();
    run(async {
        let first = names.find("a.test", Duration::ZERO).await.unwrap();
        let all = turns.acquire_many(AT_ONCE as u32).await.unwrap();
        let again = names.find("a.test", Duration::ZERO).await.unwrap();
        assert_eq!((&again, ASKED.load(SeqCst)), (&first, 1));
        drop(all);
        // Nor where the new look-up fails.
        while ASKED.load(SeqCst) < 3 {
            let again = names.find("a.test", Duration::ZERO).await.unwrap();
            assert_eq!(again, first);
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_name_that_is_not_known_is_told_so() {
    let names = Names::<IpAddr>::new(|_| Err(io::ErrorKind::NotFound.into()));
    let error = run(names.find("a.test", LONG)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_look_up_that_breaks_is_an_error_and_done_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new(|name| match ASKED.fetch_add(1, SeqCst) {
        0 => panic!("meant by the test"),
        _ => one(name),
    });
    run(async {
        names.find("a.test", LONG).await.unwrap_err();
        names.find("a.test", LONG).await.unwrap();
    });
}

#[test]
fn there_are_only_so_many_names_and_look_ups() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST_NOW: AtomicUsize = AtomicUsize::new(0);
    let names = Names::new(|name| {
        MOST_NOW.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
        let found = one(name);
        NOW.fetch_sub(1, SeqCst);
        found
    });
    let names = std::rc::Rc::new(names);
    run(async {
        let asking: Vec<_> = (0..MOST + 100)
            .map(|number| {
                let names = names.clone();
                tokio::task::spawn_local(async move {
                    names.find(&format!("{number}.test"), LONG).await.unwrap();
                })
            })
            .collect();
        for asked in asking {
            asked.await.unwrap();
        }
    });
    assert_eq!(names.known.borrow().len(), MOST);
    assert!(MOST_NOW.load(SeqCst) <= AT_ONCE);
}
