//! A call leaves soon after it was begun, or not at all. A process can be stopped (Ctrl-Z, a suspended machine) between
//! the record of its intent and the call. Minutes later others may have believed a reading without the rule and closed its
//! lease: an authorize that left only then would open a rule that no pass looks for. Once it is signed, AWS itself refuses
//! it after minutes.

use crate::{CallObserver, aws::wire::clock::Clock};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextRef,
                BeforeTransmitInterceptorContextRef,
            },
        },
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use chrono::TimeDelta;
use eg_model::Timestamp;
use std::{fmt, sync::Arc};

/// Longer than a call ever waits for credentials, and far shorter than the settle window.
const LONGEST: TimeDelta = TimeDelta::minutes(1);

/// A call that would leave too late.
#[derive(Debug, thiserror::Error)]
#[error("the call was begun {0} seconds ago, and is not sent any more: this process was stopped meanwhile")]
pub(super) struct TooLate(i64);

/// When a call was begun.
#[derive(Clone, Copy, Debug)]
struct CallStart(Timestamp);

impl Storable for CallStart {
    type Storer = StoreReplace<Self>;
}

/// Lets no call leave late, and reports every answer.
#[derive(Clone)]
pub struct InTime {
    now: Clock,
    observer: Arc<dyn CallObserver>,
}

impl InTime {
    pub fn new(now: Clock, observer: Arc<dyn CallObserver>) -> Self {
        Self { now, observer }
    }
}

impl fmt::Debug for InTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTime").finish_non_exhaustive()
    }
}

impl Intercept for InTime {
    fn name(&self) -> &'static str {
        "InTime"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(CallStart((self.now)()));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(CallStart(begun)) = bag.load::<CallStart>() else { return Ok(()) };
        let age = (self.now)() - *begun;
        if age > LONGEST { Err(TooLate(age.num_seconds()).into()) } else { Ok(()) }
    }

    fn read_after_transmit(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.observer.answered();
        Ok(())
    }
}
