//! Targets of one route that have to be read again at about the same time are read together: one call reads two hundred
//! groups.

use crate::reconcile::{
    driver::Driver,
    reading::{Routes, TargetReading, TargetReadings},
};
use eg_model::{
    observation::Observation,
    target::{Target, TargetKey},
};
use std::{cell::RefCell, mem::take};
use tokio::{sync::Mutex, task::yield_now};

#[derive(Default)]
pub(super) struct SharedReading {
    /// One reading at a time. Whoever comes while one is under way joins the next.
    reader: Mutex<()>,
    asked: RefCell<Routes>,
    /// Readings that nobody has fetched yet.
    read: RefCell<TargetReadings>,
}

impl SharedReading {
    /// Reads a target again, together with all others that wait; each call waits for its `turn`. `None` if no route leads
    /// to the target.
    pub(super) async fn read<T>(
        &self,
        turn: impl AsyncFn() -> T,
        driver: &Driver<'_>,
        key: &TargetKey,
        routes: &[Target],
    ) -> Option<TargetReading> {
        let Self { reader, asked, read } = self;
        asked.borrow_mut().insert(key.clone(), routes.to_vec());
        let reader = reader.lock().await;
        if !read.borrow().contains_key(key) {
            // Targets whose wait ends in this moment come along.
            yield_now().await;
            let _turn = turn().await;
            let asked = take(&mut *asked.borrow_mut());
            let mut readings = driver.observe(&asked, false).await;
            // One refused page spoils the reading of many.
            if asked.len() > 1 {
                readings.retain(|_, reading| !matches!(reading.observation, Observation::Unavailable(_)));
            }
            read.borrow_mut().extend(readings);
        }
        let found = read.borrow_mut().remove(key);
        drop(reader);
        if found.is_some() {
            return found;
        }
        let _turn = turn().await;
        driver.observe(&Routes::from([(key.clone(), routes.to_vec())]), false).await.remove(key)
    }
}
