//! eg
