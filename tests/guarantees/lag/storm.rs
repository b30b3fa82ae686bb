//! Everything at once. What a single command comes to is left to chance here; what is true in the end is not.

use super::*;
use StaleSight::{NewMissing, RevokedPresent, TagsMissing};
use eg_sandbox::Script;

/// What goes wrong, each with its chance on every call.
fn weather() -> Script {
    let late = |action: &str, seconds| on(action, Fault::LandLate(TimeDelta::seconds(seconds))).chance(0.05);
    let lates = [AUTHORIZE, REVOKE, TAG, UNTAG].map(|action| [late(action, 40), late(action, 200)]);
    let any = [Fault::ResetAfter, Fault::ResetBefore, Fault::StatusAfter(500), Fault::TruncatedPage, Fault::Throttle];
    any.into_iter().map(|fault| Rule::new(fault).chance(0.06)).chain(lates.into_iter().flatten()).collect()
}

/// Two installations open and close the same rules at once, in bad weather.
#[test]
fn whatever_goes_wrong_nothing_is_left_over() {
    side_by_side(&[1, 2, 3, 4], |seed| {
        let world = Sandboxed::seeded(*seed, &[("api", &["tcp/22", "tcp/443"]), ("db", &["tcp/5432"])]);
        let other = world.installation("other-machine");
        let lag = Stale::new(TimeDelta::seconds(LAG), [NewMissing, RevokedPresent, TagsMissing]);
        world.region.set(|settings| settings.stale = Some(Stale { chance: 0.5, ..lag }));
        world.faults(weather());
        for command in [&["session", "start", "--ipv4", IPV4][..], &["session", "stop"]] {
            thread::scope(|scope| {
                scope.spawn(|| other.eg(command));
                world.eg(command);
            });
            world.advance(70);
        }
        world.ends();
    });
}
